//! Chinese names of the chemical elements (the standard names of the national terminology committee), in order of
//! atomic number, and spellings of English names that are common beside the source's.

const CHINESE: [&str; 118] = [
    "氢", "氦", "锂", "铍", "硼", "碳", "氮", "氧", "氟", "氖", "钠", "镁", "铝", "硅", "磷", "硫", "氯",
    "氩", "钾", "钙", "钪", "钛", "钒", "铬", "锰", "铁", "钴", "镍", "铜", "锌", "镓", "锗", "砷", "硒",
    "溴", "氪", "铷", "锶", "钇", "锆", "铌", "钼", "锝", "钌", "铑", "钯", "银", "镉", "铟", "锡", "锑",
    "碲", "碘", "氙", "铯", "钡", "镧", "铈", "镨", "钕", "钷", "钐", "铕", "钆", "铽", "镝", "钬", "铒",
    "铥", "镱", "镥", "铪", "钽", "钨", "铼", "锇", "铱", "铂", "金", "汞", "铊", "铅", "铋", "钋", "砹",
    "氡", "钫", "镭", "锕", "钍", "镤", "铀", "镎", "钚", "镅", "锔", "锫", "锎", "锿", "镄", "钔", "锘",
    "铹", "𬬻", "𬭊", "𬭳", "𬭛", "𬭶", "鿏", "𫟼", "𬬭", "鿔", "鿭", "𫓧", "镆", "𫟷", "鿬", "鿫",
];

/// Other names by atomic number.
const MORE: &[(&str, &[&str])] = &[
    ("1", &["氢气"]),
    ("2", &["氦气"]),
    ("7", &["氮气"]),
    ("8", &["氧气"]),
    ("9", &["氟气"]),
    ("10", &["氖气"]),
    ("13", &["Aluminium"]),
    ("16", &["Sulphur"]),
    ("17", &["氯气"]),
    ("18", &["氩气"]),
    ("26", &["Ferrum"]),
    ("29", &["Cuprum"]),
    ("47", &["Argentum", "白银"]),
    ("55", &["Caesium"]),
    ("74", &["Wolfram"]),
    ("78", &["白金"]),
    ("79", &["Aurum", "黄金"]),
    ("80", &["Quicksilver", "水银"]),
];

/// The Chinese name of the element with this atomic number, and other names.
pub(super) fn chinese(number: &str) -> Option<(&'static str, &'static [&'static str])> {
    let name = CHINESE.get(number.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some((name, MORE.iter().find(|(n, _)| *n == number).map_or(&[], |(_, names)| names)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_single_and_unique() {
        let mut names = super::CHINESE.to_vec();
        assert!(names.iter().all(|n| n.chars().count() == 1));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 118);
        assert_eq!(super::chinese("79").unwrap().0, "金");
        assert_eq!(super::chinese("118").unwrap().0, "鿫");
        assert!(
            super::chinese("0").is_none() && super::chinese("119").is_none() && super::chinese("x").is_none()
        );
    }
}
