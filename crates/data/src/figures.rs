//! Figures, units and codes of a text: what may not be lost when one of two similar documents is removed.

use crate::tokens::{Kind, Token, hash, is_han, mix, tokens};

/// Units that belong to the number before them. Case counts: `mW` is not `MW`.
const UNITS: &[&str] = &[
    "m",
    "cm",
    "mm",
    "km",
    "nm",
    "um",
    "μm",
    "µm",
    "ft",
    "mi",
    "yd",
    "g",
    "kg",
    "mg",
    "ug",
    "μg",
    "µg",
    "t",
    "lb",
    "oz",
    "s",
    "ms",
    "us",
    "ns",
    "min",
    "h",
    "hr",
    "hrs",
    "A",
    "mA",
    "V",
    "mV",
    "kV",
    "W",
    "mW",
    "kW",
    "MW",
    "GW",
    "TW",
    "Wh",
    "kWh",
    "J",
    "kJ",
    "MJ",
    "eV",
    "keV",
    "MeV",
    "cal",
    "kcal",
    "K",
    "C",
    "F",
    "Pa",
    "kPa",
    "MPa",
    "GPa",
    "hPa",
    "bar",
    "mbar",
    "atm",
    "psi",
    "Hz",
    "kHz",
    "MHz",
    "GHz",
    "mol",
    "mmol",
    "M",
    "mM",
    "μM",
    "L",
    "l",
    "mL",
    "ml",
    "dL",
    "dl",
    "N",
    "kN",
    "T",
    "mT",
    "Ω",
    "kΩ",
    "dB",
    "B",
    "kB",
    "KB",
    "MB",
    "GB",
    "TB",
    "bit",
    "bits",
    "byte",
    "bytes",
    "Bq",
    "Sv",
    "mSv",
    "Gy",
    "IU",
    "ppm",
    "ppb",
    "rpm",
    "mph",
    "kph",
    "USD",
    "EUR",
    "RMB",
    "CNY",
    "GBP",
    "JPY",
    "HKD",
    "percent",
    "million",
    "billion",
    "trillion",
    "thousand",
    "hundred",
    "dollars",
    "euros",
    "yuan",
    "pounds",
    "seconds",
    "minutes",
    "hours",
    "days",
    "weeks",
    "months",
    "years",
    "meters",
    "metres",
    "kilometers",
    "grams",
    "kilograms",
    "milligrams",
    "liters",
    "litres",
    "degrees",
];

/// Signs that belong to the number before or after them.
const SIGNS: &str = "%‰°℃℉$€£¥￥+-−±<>≤≥≈~";

/// Han characters that are units after a number.
const HAN_UNITS: &str =
    "元角分吨克斤两米里升毫微千百万亿兆年月日号时秒度倍成瓦伏安帕摩磅尺寸亩岁名例章节条款届级";

/// Han characters that are digits or powers of ten.
const HAN_DIGITS: &str = "〇零一二三四五六七八九十百千万亿两";

/// A figure with the words around it, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figure {
    /// The figure with its unit and sign.
    value: u64,
    /// The same with the nearest word before it.
    placed: u64,
}

/// The figures of a text, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    figures: Vec<Figure>,
    /// Hash of the text without its figures.
    rest: u64,
}

impl Figures {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.figures.len()
    }

    /// One hash of all of them, in order.
    pub(crate) fn hash(&self) -> u64 {
        self.figures.iter().fold(0, |h: u64, f| mix(h.rotate_left(7) ^ f.value))
    }

    /// Whether a text with the figures `other` may go because this one stays: every figure of `other` is here, in
    /// the same order or beside the same words; and the two do not differ in figures alone.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        if self.rest == other.rest {
            return self.hash() == other.hash() && self.count() == other.count();
        }
        let mut mine = self.figures.iter();
        let ordered = other.figures.iter().all(|f| mine.any(|m| m.value == f.value));
        ordered || {
            let sorted = |figures: &[Figure]| {
                let mut placed: Vec<u64> = figures.iter().map(|f| f.placed).collect();
                placed.sort_unstable();
                placed
            };
            let mut mine = sorted(&self.figures).into_iter();
            sorted(&other.figures).into_iter().all(|f| mine.by_ref().find(|m| *m >= f) == Some(f))
        }
    }
}

/// Finds the figures of a text.
pub(crate) fn figures(text: &str) -> Figures {
    let all: Vec<Token> = tokens(text).collect();
    let shouting = mostly_capitals(text);
    let word = |i: usize| all.get(i).map_or("", |t| &text[t.start..t.end]);
    let joined = |i: usize| i > 0 && all.get(i).is_some_and(|t| all[i - 1].end == t.start);
    let mut found = Figures::default();
    let mut before = 0_u64;
    let mut i = 0;
    while i < all.len() {
        let token = all[i];
        let end = match token.kind {
            Kind::Word if word(i).bytes().any(|b| b.is_ascii_digit()) || is_number(word(i)) => {
                run_end(&all, text, i)
            }
            Kind::Word if !shouting && is_code(word(i)) => i + 1,
            Kind::Character => han_number_end(&all, text, i),
            _ => i,
        };
        if end == i {
            if token.kind != Kind::Sign {
                before = hash(word(i));
                found.rest = mix(found.rest.rotate_left(9) ^ before);
            }
            i += 1;
            continue;
        }
        let mut value = canonical(&text[token.start..all[end - 1].end]);
        // `-5`, `$5`, `x < 5`; but not the hyphen of `A-5`, which the run of tokens already holds.
        let sign = if i > 0 { word(i - 1) } else { "" };
        let apart = "<>≤≥±≈$€£¥￥".contains(sign);
        let hyphen = joined(i) && joined(i - 1) && all[i - 2].kind == Kind::Word;
        if !sign.is_empty() && SIGNS.contains(sign) && (apart || joined(i)) && !hyphen {
            value = mix(value ^ hash(sign));
        }
        let mut next = end;
        while next < all.len() && SIGNS.contains(word(next)) && joined(next) {
            value = mix(value.rotate_left(3) ^ hash(word(next)));
            next += 1;
        }
        if is_unit(&all, text, next) {
            value = mix(value.rotate_left(3) ^ case_hash(word(next)));
            next += 1;
        }
        found.figures.push(Figure { value, placed: mix(value ^ before.rotate_left(17)) });
        i = next;
    }
    found
}

fn is_unit(all: &[Token], text: &str, i: usize) -> bool {
    let Some(token) = all.get(i) else { return false };
    let word = &text[token.start..token.end];
    match token.kind {
        Kind::Word => UNITS.contains(&word),
        Kind::Character => HAN_UNITS.contains(word),
        Kind::Sign => SIGNS.contains(word) && matches!(word, "%" | "‰" | "°" | "℃" | "℉"),
    }
}

/// Letters that are numbers themselves: `½`, `Ⅳ`, full-width digits.
fn is_number(word: &str) -> bool {
    word.chars().any(char::is_numeric)
}

/// `AAPL`, `USD`: two to six capitals.
fn is_code(word: &str) -> bool {
    (2..=6).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase())
}

fn mostly_capitals(text: &str) -> bool {
    let (mut capitals, mut letters) = (0_usize, 0_usize);
    for b in text.bytes().filter(u8::is_ascii_alphabetic) {
        letters += 1;
        capitals += usize::from(b.is_ascii_uppercase());
    }
    capitals * 3 > letters
}

/// End of a run like `1,000.5`, `I21.4`, `7440-57-3`, `3/4`, `10:30`, `2026年` without its unit.
fn run_end(all: &[Token], text: &str, start: usize) -> usize {
    let mut end = start + 1;
    while let (Some(sign), Some(next)) = (all.get(end), all.get(end + 1)) {
        let link = matches!(&text[sign.start..sign.end], "." | "," | "-" | "/" | ":" | "–");
        let touching = all[end - 1].end == sign.start && sign.end == next.start;
        let digits = text[next.start..next.end].bytes().any(|b| b.is_ascii_digit());
        if !(link && touching && next.kind == Kind::Word && digits) {
            break;
        }
        end += 2;
    }
    end
}

/// End of a number in Han characters: two or more of them, or one followed by a unit or after `第`.
fn han_number_end(all: &[Token], text: &str, start: usize) -> usize {
    let at = |i: usize| all.get(i).map_or("", |t: &Token| &text[t.start..t.end]);
    let mut end = start;
    while end < all.len() && all[end].kind == Kind::Character && HAN_DIGITS.contains(at(end)) {
        end += 1;
    }
    let followed = at(end).chars().next().is_some_and(|c| is_han(c) && HAN_UNITS.contains(c));
    let ordinal = start > 0 && at(start - 1) == "第";
    match end - start {
        0 => start,
        1 if followed || ordinal => end,
        1 => start,
        _ => end,
    }
}

/// Hash of a number written in one way: without thousands separators and empty decimals; codes as written.
fn canonical(run: &str) -> u64 {
    let grouped = run.contains(',')
        && run.split([',', '.']).skip(1).all(|part| part.len() == 3 || run.ends_with(&format!(".{part}")));
    let plain: String = if grouped { run.chars().filter(|c| *c != ',').collect() } else { run.to_owned() };
    match plain.split_once('.') {
        Some((whole, decimals))
            if plain.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !decimals.contains('.') =>
        {
            let decimals = decimals.trim_end_matches('0');
            case_hash(&if decimals.is_empty() { whole.to_owned() } else { format!("{whole}.{decimals}") })
        }
        _ => case_hash(&plain),
    }
}

/// Hash that keeps case.
fn case_hash(text: &str) -> u64 {
    let mut h = 0x51ed_270b_27b4_d1f3_u64;
    for byte in text.bytes() {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(h)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(kept: &str, removed: &str) -> bool {
        figures(kept).cover(&figures(removed))
    }

    #[test]
    fn a_changed_figure_unit_or_code_is_never_covered() {
        for (a, b) in [
            ("Revenue was 5.2 million in 2024.", "Revenue was 5.3 million in 2024."),
            ("Give 5 mg twice a day.", "Give 5 g twice a day."),
            ("A 5 MW turbine.", "A 5 mW turbine."),
            ("At -5 degrees.", "At 5 degrees."),
            ("Costs $5 now.", "Costs €5 now."),
            ("Code I21.4 applies.", "Code I21.0 applies."),
            ("CAS 7440-57-3 is it.", "CAS 7440-22-4 is it."),
            ("Shares of AAPL rose.", "Shares of MSFT rose."),
            ("增长 5.2% 到 300 亿元。", "增长 5.2% 到 300 万元。"),
            ("总额为三百五十元整。", "总额为三百六十元整。"),
            ("第三章讲供给。", "第四章讲供给。"),
            ("共12人参加。", "共21人参加。"),
            ("dose 5 then 7 daily", "dose 7 then 5 daily"),
            ("x > 5 holds", "x < 5 holds"),
            ("version 2 is out", "version is out"),
        ] {
            assert!(!cover(a, b), "{a} | {b}");
            assert!(!cover(b, a), "{b} | {a}");
        }
    }

    #[test]
    fn reprints_and_shortened_copies_are_covered() {
        for (kept, removed) in [
            ("A total of 1,000 people came to the hall.", "A total of 1000 people came to a hall."),
            ("It weighs 12.50 kg or so.", "It weighs 12.5 kg or thereabouts."),
            ("Page 12 of 30. The plant grows 5 cm a year.", "The plant grows 5 cm a year."),
            ("First 5 cats slept. Then 7 dogs barked loudly.", "Then 7 dogs barked. First 5 cats slept."),
            ("这种植物每年长 5 厘米，很快。", "这种植物每年长5厘米，较快。"),
            ("一般来说，这是一个好办法。", "总的来说，这是个好办法。"),
        ] {
            assert!(cover(kept, removed), "{kept} | {removed}");
        }
    }
}
