//! Language of a text: the script decides where it can, trigrams of the Latin, Cyrillic and other scripts otherwise.

use crate::tokens::is_han;

/// Characters looked at: enough to be sure, few enough to be fast.
const SAMPLE: usize = 2000;

/// Common English function words, for texts too short for trigrams.
const ENGLISH: &[&str] = &[
    "the", "of", "and", "to", "is", "in", "that", "for", "it", "with", "as", "are", "this", "be", "by",
    "from", "an",
];

/// A language with the share of the evidence that speaks for it, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Language {
    /// ISO 639-1 code (639-3 where there is none), or `und`.
    pub code: String,
    /// Confidence, 0 to 1.
    pub confidence: f64,
}

/// Identifies the language of a text.
pub fn identify(text: &str) -> Language {
    let sample: String = text.chars().take(SAMPLE).collect();
    let (mut han, mut kana, mut hangul, mut letters) = (0_usize, 0_usize, 0_usize, 0_usize);
    for c in sample.chars() {
        match c as u32 {
            _ if is_han(c) => han += 1,
            0x3040..=0x30FF => kana += 1,
            0xAC00..=0xD7AF => hangul += 1,
            _ => letters += usize::from(c.is_alphabetic()),
        }
    }
    // A Han character carries about as much as three Latin letters.
    let east = (han + kana + hangul) * 3;
    let total = east + letters;
    if total == 0 {
        return Language { code: "und".into(), confidence: 0.0 };
    }
    let share = |part: usize| part as f64 / total as f64;
    if share(east) >= 0.5 {
        let code = match () {
            () if hangul > han + kana => "ko",
            () if kana * 20 > han + kana => "ja",
            () => "zh",
        };
        return Language { code: code.into(), confidence: share(east) };
    }
    let words = sample.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty());
    let (mut all, mut english, mut ascii) = (0_usize, 0_usize, 0_usize);
    for word in words {
        all += 1;
        english += usize::from(ENGLISH.contains(&word.to_lowercase().as_str()));
        ascii += usize::from(word.is_ascii());
    }
    let rate = english as f64 / all.max(1) as f64;
    match whatlang::detect(&sample) {
        // Function words outvote trigrams in short and technical texts.
        Some(_) | None if rate >= 0.12 => {
            Language { code: "en".into(), confidence: (0.5 + 2.0 * rate).min(1.0) }
        }
        Some(info) if info.is_reliable() || (all > 12 && rate < 0.02) => {
            Language { code: code(info.lang()).into(), confidence: info.confidence() }
        }
        _ if ascii == all && rate > 0.0 => Language { code: "en".into(), confidence: 0.5 },
        _ => Language { code: "und".into(), confidence: 0.0 },
    }
}

/// ISO 639-1 code of the languages that have one.
fn code(lang: whatlang::Lang) -> &'static str {
    const SHORT: &[(&str, &str)] = &[
        ("eng", "en"),
        ("cmn", "zh"),
        ("spa", "es"),
        ("por", "pt"),
        ("fra", "fr"),
        ("deu", "de"),
        ("ita", "it"),
        ("rus", "ru"),
        ("ukr", "uk"),
        ("pol", "pl"),
        ("nld", "nl"),
        ("swe", "sv"),
        ("dan", "da"),
        ("nob", "no"),
        ("fin", "fi"),
        ("tur", "tr"),
        ("ces", "cs"),
        ("ron", "ro"),
        ("hun", "hu"),
        ("ell", "el"),
        ("bul", "bg"),
        ("ara", "ar"),
        ("pes", "fa"),
        ("heb", "he"),
        ("hin", "hi"),
        ("ben", "bn"),
        ("tha", "th"),
        ("vie", "vi"),
        ("ind", "id"),
        ("jpn", "ja"),
        ("kor", "ko"),
        ("lat", "la"),
        ("epo", "eo"),
        ("slk", "sk"),
        ("hrv", "hr"),
    ];
    let long = lang.code();
    SHORT.iter().find(|(three, _)| *three == long).map_or(long, |(_, two)| two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_languages() {
        for (text, code) in [
            ("The price of a good is set by the demand for it and the supply of it.", "en"),
            ("Gold is a metal.", "en"),
            ("金是一种金属，化学符号为 Au，原子序数为 79。", "zh"),
            ("使用 cargo run --release 命令运行程序", "zh"),
            ("これは日本語の文章です。", "ja"),
            ("이것은 한국어 문장입니다.", "ko"),
            (
                "Der Preis eines Gutes wird durch Angebot und Nachfrage bestimmt und nicht durch den Staat.",
                "de",
            ),
            ("Это предложение написано на русском языке, и его легко узнать.", "ru"),
            ("12 34 56", "und"),
            ("", "und"),
        ] {
            assert_eq!(identify(text).code, code, "{text}");
        }
    }
}
