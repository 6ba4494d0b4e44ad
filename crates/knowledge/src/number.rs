//! Numbers and units in answers: found, normalised, compared.

/// A number in a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    /// Its value.
    pub(crate) value: f64,
    /// Half a unit of the last printed digit.
    pub(crate) precision: f64,
    /// First byte.
    pub(crate) start: usize,
    /// First byte after it.
    pub(crate) end: usize,
}

/// The numbers of a text: digits with thousands separators, a fraction, an exponent (`e-5`, `×10^-5`, `*10^7`).
pub(crate) fn numbers(text: &str) -> Vec<Number> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        // A digit inside a word (`H2O`, `c12`) is no number; after an ideograph it is.
        let inside_word = text[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let start = at;
        let digits = |mut i: usize| {
            while bytes.get(i).is_some_and(u8::is_ascii_digit) {
                i += 1;
            }
            i
        };
        let mut end = digits(at);
        while bytes.get(end) == Some(&b',') && end - start <= 12 && digits(end + 1) == end + 4 {
            end += 4;
        }
        let mut decimals = 0;
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            let stop = digits(end + 1);
            decimals = (stop - end - 1) as i32;
            end = stop;
        }
        let mantissa_end = end;
        let mut exponent = 0;
        if let Some((power, stop)) = exponent_at(text, end) {
            (exponent, end) = (power, stop);
        }
        at = end.max(at + 1);
        if inside_word {
            continue;
        }
        let sign = if negative(text, start) { -1.0 } else { 1.0 };
        let plain = text[start..mantissa_end].replace(',', "");
        if let Ok(value) = format!("{plain}e{exponent}").parse::<f64>() {
            let precision = 0.5 * 10f64.powi(exponent - decimals);
            out.push(Number { value: sign * value, precision, start: start - usize::from(sign < 0.0), end });
        }
    }
    out
}

/// A minus sign directly before, itself after a space, an opening bracket or nothing.
fn negative(text: &str, start: usize) -> bool {
    let Some(before) = text[..start].strip_suffix('-') else { return false };
    before.chars().next_back().is_none_or(|c| c.is_whitespace() || "([:=：（".contains(c))
}

fn exponent_at(text: &str, end: usize) -> Option<(i32, usize)> {
    let rest = &text[end..];
    let body =
        ["e", "E", "×10^", "*10^", "x10^", " × 10^", " x 10^"].iter().find_map(|p| rest.strip_prefix(p))?;
    let sign = usize::from(body.starts_with(['-', '+']));
    let digits = body[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let length = sign + digits;
    // `5e` before a word (`5eggs`) is no exponent.
    if digits == 0 || digits > 3 || body[length..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    Some((body[..length].parse().ok()?, end + (rest.len() - body.len()) + length))
}

/// Whether two printed numbers say the same: equal up to half the last digit of the coarser one.
pub(crate) fn agree(a: &Number, b: &Number) -> bool {
    (a.value - b.value).abs() <= a.precision.max(b.precision) * 1.000_001
}

/// Whether two printed numbers are the same number, up to binary rounding.
pub(crate) fn equal(a: &Number, b: &Number) -> bool {
    (a.value - b.value).abs() <= 1e-9 * a.value.abs().max(b.value.abs())
}

/// Whether every number of `answer` occurs in `source`.
pub(crate) fn all_occur(answer: &str, source: &str) -> bool {
    let wanted = numbers(answer);
    let found = numbers(source);
    wanted.iter().all(|w| found.iter().any(|f| equal(w, f)))
}

/// A number of a table as it is shown: without the `.0` a database adds to whole numbers, and without the digits
/// beyond the fifteenth that binary arithmetic leaves (`317.29999999999996` is 317.3).
pub(crate) fn shown(value: &str) -> String {
    if let Some(whole) = value.strip_suffix(".0")
        && !whole.is_empty()
        && whole.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit())
    {
        return whole.to_owned();
    }
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    let rounded = value.parse::<f64>().ok().filter(|_| plain && digits > 15 && value.contains('.'));
    match rounded.and_then(|v| format!("{v:.13e}").parse::<f64>().ok()) {
        Some(rounded) => rounded.to_string(),
        None => value.to_owned(),
    }
}

/// Whether a whole text is one number.
pub(crate) fn is_number(text: &str) -> bool {
    let text = text.trim();
    matches!(numbers(text).as_slice(), [n] if n.start == 0 && n.end == text.len())
}

/// Spellings of units that mean the same, first the symbol.
const UNITS: &[&[&str]] = &[
    &["K", "kelvin", "kelvins", "开尔文", "开"],
    &["pm", "picometer", "picometers", "picometre", "picometres", "皮米"],
    &["angstrom", "angstroms", "Å", "埃"],
    &[
        "g/cm^3",
        "g/cm3",
        "g/cm³",
        "grams per cubic centimeter",
        "gram per cubic centimeter",
        "克每立方厘米",
        "克/立方厘米",
    ],
    &["eV", "electronvolt", "electronvolts", "electron volts", "电子伏特", "电子伏"],
    &["kJ/mol", "kilojoules per mole", "kilojoule per mole", "千焦每摩尔", "千焦/摩尔"],
    &["J/g/K", "J/(g K)", "J/(g·K)", "joules per gram kelvin"],
    &["J/mol/K", "J/(mol K)", "J/(mol·K)", "joules per mole kelvin"],
    &["W/m/K", "W/(m K)", "W/(m·K)", "watts per meter kelvin"],
    &["mg/kg", "milligrams per kilogram", "毫克每千克", "毫克/千克"],
    &["mg/L", "milligrams per liter", "毫克每升", "毫克/升"],
    &["Da", "u", "dalton", "daltons", "道尔顿"],
    &["MPa", "megapascal", "megapascals", "兆帕"],
    &["kPa", "kilopascal", "kilopascals", "千帕"],
    &["USD/kg", "dollars per kilogram", "US dollars per kilogram", "美元每千克", "美元/千克"],
    &["bohr^3", "cubic bohr", "a.u.", "bohr³"],
    &["%", "percent", "per cent"],
    &["s", "sec", "second", "seconds", "秒"],
    &["day", "days", "天"],
    &["year", "years", "yr", "年"],
];

/// The canonical symbol of a unit, or the text itself without spaces at the ends.
pub(crate) fn unit_symbol(text: &str) -> &str {
    let text = text.trim().trim_end_matches(['.', '。', '，', ',', ';']);
    let same = |spelling: &str| {
        // Symbols are told apart by case (K, k); names are not.
        spelling == text || (spelling.chars().count() > 3 && spelling.eq_ignore_ascii_case(text))
    };
    UNITS.iter().find(|row| row.iter().any(|s| same(s))).map_or(text, |row| row[0])
}

/// Whether two unit spellings mean the same unit.
pub(crate) fn same_unit(a: &str, b: &str) -> bool {
    unit_symbol(a) == unit_symbol(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<f64> {
        numbers(text).iter().map(|n| n.value).collect()
    }

    #[test]
    fn numbers_are_found() {
        assert_eq!(values("1,337.33 K and 3e-5, -12 °C; 7.6*10^7 years"), [1337.33, 3e-5, -12.0, 7.6e7]);
        assert_eq!(values("H2O, c12, 1940-45, 熔点为1064.18"), [1940.0, 45.0, 1064.18]);
        assert_eq!(values("1) China 2) Peru 10,20"), [1.0, 2.0, 10.0, 20.0]);
        assert!(values("no figures 十二").is_empty());
    }

    #[test]
    fn comparison_follows_printed_precision() {
        let n = |t: &str| numbers(t).remove(0);
        assert!(agree(&n("1337"), &n("1337.33")) && !agree(&n("1338"), &n("1337.33")));
        assert!(agree(&n("19.3"), &n("19.30")) && !agree(&n("19.4"), &n("19.3")));
        assert!(all_occur("135 pm", "radius: 135.0") && !all_occur("136 pm", "radius: 135.0"));
    }

    #[test]
    fn units_have_many_names() {
        assert!(same_unit("kelvin", "K") && same_unit("g/cm³", "g/cm^3") && same_unit("开尔文", "K"));
        assert!(!same_unit("K", "kPa") && !same_unit("MPa", "mPa"));
        for (value, expected) in [
            ("135.0", "135"),
            ("19.30", "19.30"),
            (".0", ".0"),
            ("x.0", "x.0"),
            ("317.29999999999996", "317.3"),
        ] {
            assert_eq!(shown(value), expected);
        }
        assert!(is_number("-1.5e-3") && !is_number("5 K") && !is_number(""));
    }
}
