//! Chinese numerals: 十二, 三百零五, 两万, 二〇二四.

/// The value of the last Chinese numeral in a text.
pub(crate) fn last_numeral(text: &str) -> Option<f64> {
    let run: String = {
        let reversed: Vec<char> = text
            .chars()
            .rev()
            .skip_while(|&character| !is_part(character))
            .take_while(|&character| is_part(character))
            .collect();
        reversed.into_iter().rev().collect()
    };
    value(&run)
}

fn is_part(character: char) -> bool {
    digit(character).is_some() || unit(character).is_some() || matches!(character, '万' | '亿')
}

fn digit(character: char) -> Option<u64> {
    const DIGITS: &str = "零一二三四五六七八九";
    match character {
        '〇' => Some(0),
        '两' => Some(2),
        _ => DIGITS.chars().position(|candidate| candidate == character).map(|index| index as u64),
    }
}

fn unit(character: char) -> Option<u64> {
    match character {
        '十' => Some(10),
        '百' => Some(100),
        '千' => Some(1000),
        _ => None,
    }
}

/// The value of a numeral that consists of numeral characters only.
fn value(numeral: &str) -> Option<f64> {
    if numeral.is_empty() || numeral.chars().count() > 24 {
        return None;
    }
    // Digits alone are read one by one: 二〇二四.
    if numeral.chars().all(|character| digit(character).is_some()) {
        return Some(numeral.chars().filter_map(digit).fold(0.0, |value, digit| value * 10.0 + digit as f64));
    }
    let (mut total, mut section, mut pending) = (0_u64, 0_u64, None);
    for character in numeral.chars() {
        if let Some(digit) = digit(character) {
            pending = Some(digit);
        } else if let Some(unit) = unit(character) {
            section += pending.take().unwrap_or(1) * unit;
        } else {
            section += pending.take().unwrap_or(0);
            total = if character == '万' {
                total.saturating_add(section.saturating_mul(10_000))
            } else {
                total.saturating_add(section).saturating_mul(100_000_000)
            };
            section = 0;
        }
    }
    Some((total.saturating_add(section).saturating_add(pending.unwrap_or(0))) as f64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numerals_have_their_values() {
        for (text, wanted) in [
            ("答案是十二。", 12.0),
            ("三百零五", 305.0),
            ("两万", 20_000.0),
            ("一千二百三十四", 1234.0),
            ("二〇二四年", 2024.0),
            ("一亿零三万", 100_030_000.0),
            ("二十", 20.0),
        ] {
            assert_eq!(super::last_numeral(text), Some(wanted), "{text}");
        }
        assert_eq!(super::last_numeral("没有数字"), None);
    }
}
