//! Quality: measured properties of a text against limits by language and profile. One table holds every limit.
//!
//! After Gopher (Rae et al. 2021, appendix A), C4 (Raffel et al. 2020, § 2.2) and FineWeb (Penedo et al. 2024, § 3.6),
//! with limits of their own for Chinese, which has no spaces and whose verse consists of short lines. Differences are
//! deliberate: letters are looked for by Unicode, stop words without regard to case, a repeated n-gram must repeat.

use std::collections::HashMap;

use crate::{
    QualityConfig, QualityProfile,
    tokens::{is_character, is_han, ngrams},
};

/// What was measured of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    values: [f64; LIMITS.len()],
}

/// A property with its limits.
pub struct Limit {
    /// Name, as decisions write it after `quality.`.
    pub name: &'static str,
    /// What is measured.
    pub about: &'static str,
    /// Where the rule comes from.
    pub source: &'static str,
    /// Whether the limit is the least value allowed; otherwise the greatest.
    pub least: bool,
    /// Limit for English.
    pub en: Option<f64>,
    /// Limit for Chinese.
    pub zh: Option<f64>,
    /// Limit for other languages.
    pub other: Option<f64>,
    /// Limit of the curated profile, in every language.
    pub curated: Option<f64>,
}

const fn limit(
    name: &'static str,
    about: &'static str,
    source: &'static str,
    least: bool,
    [en, zh, other, curated]: [Option<f64>; 4],
) -> Limit {
    Limit { name, about, source, least, en, zh, other, curated }
}

const NO: Option<f64> = None;

/// Every limit: English, Chinese, other languages, curated profile.
pub const LIMITS: &[Limit] = &[
    limit(
        "words",
        "words, or characters of a script without spaces",
        "Gopher",
        true,
        [Some(50.0), Some(20.0), Some(40.0), Some(1.0)],
    ),
    limit(
        "most_words",
        "the same, above",
        "Gopher (100,000 there)",
        false,
        [Some(2e6), Some(4e6), Some(2e6), NO],
    ),
    limit("least_word_length", "mean characters of a word", "Gopher", true, [Some(3.0), NO, Some(2.0), NO]),
    limit("most_word_length", "mean characters of a word", "Gopher", false, [Some(10.0), NO, Some(15.0), NO]),
    limit("symbols", "`#` and `…` per word", "Gopher", false, [Some(0.1), Some(0.1), Some(0.1), NO]),
    limit(
        "bullets",
        "share of lines that start with a bullet",
        "Gopher",
        false,
        [Some(0.9), Some(0.9), Some(0.9), NO],
    ),
    limit(
        "ellipses",
        "share of lines that end with an ellipsis",
        "Gopher",
        false,
        [Some(0.3), Some(0.3), Some(0.3), NO],
    ),
    limit(
        "letters",
        "share of words with a letter",
        "Gopher (0.8 there; tables of figures pass here)",
        true,
        [Some(0.7), Some(0.5), Some(0.6), Some(0.02)],
    ),
    limit("stop_words", "occurrences of common words", "Gopher", true, [Some(2.0), NO, NO, NO]),
    limit("own_script", "share of letters that are Han", "own", true, [NO, Some(0.3), NO, NO]),
    limit(
        "line_ends",
        "share of lines that end with a punctuation sign",
        "FineWeb",
        true,
        [Some(0.12), Some(0.12), Some(0.12), NO],
    ),
    limit(
        "short_lines",
        "share of lines under 30 characters (zh: 4)",
        "FineWeb",
        false,
        [Some(0.67), Some(0.67), Some(0.67), NO],
    ),
    limit(
        "duplicate_lines",
        "share of characters in repeated lines",
        "Gopher, FineWeb",
        false,
        [Some(0.2), Some(0.2), Some(0.2), NO],
    ),
    limit(
        "duplicate_paragraphs",
        "share of paragraphs that repeat one before",
        "Gopher",
        false,
        [Some(0.3), Some(0.3), Some(0.3), NO],
    ),
    limit(
        "top_ngram",
        "share of the commonest repeated 3-gram (zh: 6-gram)",
        "Gopher",
        false,
        [Some(0.18), Some(0.18), Some(0.18), NO],
    ),
    limit(
        "duplicate_ngrams",
        "share of tokens in repeated 8-grams (zh: 16-grams)",
        "Gopher (0.12 there; textbooks recapitulate)",
        false,
        [Some(0.3), Some(0.3), Some(0.3), NO],
    ),
    limit(
        "braces",
        "curly brackets per character",
        "C4 (any there; formulas and code pass here)",
        false,
        [Some(0.02), Some(0.02), Some(0.02), NO],
    ),
    limit(
        "placeholders",
        "`lorem ipsum` and `javascript` notices per 100 words",
        "C4",
        false,
        [Some(0.5), Some(0.5), Some(0.5), NO],
    ),
    limit(
        "replacement",
        "replacement characters per character: text decoded wrongly",
        "own",
        false,
        [Some(0.01), Some(0.01), Some(0.01), Some(0.05)],
    ),
];

/// Words of which running English holds some.
const STOP_WORDS: &[&str] =
    &["the", "be", "to", "of", "and", "that", "have", "with", "is", "in", "for", "are", "as", "it"];

/// Notices a scraper leaves where a text should be, lower case.
const PLACEHOLDERS: &[&str] =
    &["lorem ipsum", "enable javascript", "javascript is disabled", "请启用javascript", "浏览器不支持"];

/// What a rule says of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Name of the property.
    pub rule: &'static str,
    /// Its value.
    pub value: f64,
    /// The limit it was compared with.
    pub limit: f64,
    /// Whether it is within.
    pub pass: bool,
}

/// Compares what was measured with the limits of a language and profile, in the order of the table.
pub fn judge(measured: &Measured, language: &str, config: &QualityConfig) -> Vec<Verdict> {
    let of = |limit: &Limit| match (config.profile, language) {
        (QualityProfile::Curated, _) => limit.curated,
        (QualityProfile::Web, "en") => limit.en,
        (QualityProfile::Web, "zh") => limit.zh,
        (QualityProfile::Web, _) => limit.other,
    };
    LIMITS
        .iter()
        .zip(measured.values)
        .filter_map(|(rule, value)| {
            let limit = of(rule)?;
            let pass = if rule.least { value >= limit } else { value <= limit };
            Some(Verdict { rule: rule.name, value, limit, pass })
        })
        .collect()
}

/// Measures a text; `content` are its token hashes in order.
pub(crate) fn measure(text: &str, content: &[u64]) -> Measured {
    let mut w = Words::default();
    text.split_whitespace().for_each(|word| w.add(word));
    let east = w.characters * 2 > w.letters;
    let units = (w.words + w.characters).max(1) as f64;
    let lines = Lines::of(text, if east { 4 } else { 30 });
    let (top, long) = if east { (6, 16) } else { (3, 8) };
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let length = text.chars().count();
    let values = [
        w.words as f64 + w.characters as f64,
        w.words as f64 + w.characters as f64,
        share(w.word_letters, w.words),
        share(w.word_letters, w.words),
        w.symbols as f64 / units,
        share(lines.bullets, lines.lines),
        share(lines.ellipses, lines.lines),
        (w.with_letter + w.characters) as f64 / units,
        w.stop_words as f64,
        share(w.han, w.letters),
        share(lines.ends, lines.lines),
        share(lines.short, lines.lines),
        share(lines.duplicate_characters, lines.characters),
        duplicate_paragraphs(text),
        top_ngram(content, top),
        duplicate_ngrams(content, long),
        share(text.bytes().filter(|b| matches!(b, b'{' | b'}')).count(), length),
        placeholders(text) as f64 * 100.0 / units,
        share(text.matches('\u{fffd}').count(), length),
    ];
    Measured { values }
}

#[derive(Default)]
struct Words {
    /// Words of scripts with spaces.
    words: usize,
    /// Letters and digits in them.
    word_letters: usize,
    /// Characters of scripts without spaces, and the Han among them.
    characters: usize,
    han: usize,
    letters: usize,
    with_letter: usize,
    stop_words: usize,
    symbols: usize,
}

impl Words {
    fn add(&mut self, word: &str) {
        let (mut own, mut letters, mut east) = (0, 0, 0);
        for c in word.chars() {
            if is_character(c) {
                east += 1;
                self.han += usize::from(is_han(c));
            } else if c.is_alphanumeric() {
                own += 1;
                letters += usize::from(c.is_alphabetic());
            } else {
                self.symbols += usize::from(matches!(c, '#' | '…'));
            }
        }
        self.symbols += word.matches("...").count();
        self.characters += east;
        self.letters += letters + east;
        if own > 0 {
            self.words += 1;
            self.word_letters += own;
            self.with_letter += usize::from(letters > 0);
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            self.stop_words += usize::from(STOP_WORDS.iter().any(|s| bare.eq_ignore_ascii_case(s)));
        }
    }
}

#[derive(Default)]
struct Lines {
    lines: usize,
    characters: usize,
    bullets: usize,
    ellipses: usize,
    ends: usize,
    short: usize,
    duplicate_characters: usize,
}

impl Lines {
    fn of(text: &str, short: usize) -> Self {
        let mut found = Self::default();
        let mut seen: HashMap<&str, ()> = HashMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let length = line.chars().count();
            found.lines += 1;
            found.characters += length;
            found.bullets += usize::from(
                line.starts_with(['•', '●', '*', '·', '‣', '◦', '○', '■']) || line.starts_with("- "),
            );
            found.ellipses += usize::from(line.ends_with('…') || line.ends_with("..."));
            found.ends += usize::from(line.ends_with([
                '.', '!', '?', '"', '”', '。', '！', '？', '；', '…', '」', '』', '’', ':', '：', '，', ',',
                ';', ')', '）',
            ]));
            found.short += usize::from(length < short);
            if seen.insert(line, ()).is_some() {
                found.duplicate_characters += length;
            }
        }
        found
    }
}

fn duplicate_paragraphs(text: &str) -> f64 {
    let mut seen: HashMap<&str, ()> = HashMap::new();
    let (mut all, mut repeated) = (0_usize, 0_usize);
    for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
        all += 1;
        repeated += usize::from(seen.insert(paragraph, ()).is_some());
    }
    repeated as f64 / all.max(1) as f64
}

/// Share of the tokens covered by the commonest n-gram that occurs at least three times.
fn top_ngram(content: &[u64], n: usize) -> f64 {
    if content.len() < 3 * n {
        return 0.0;
    }
    let mut grams: Vec<u64> = ngrams(content, n).collect();
    grams.sort_unstable();
    let most = grams.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0);
    if most < 3 { 0.0 } else { ((most * n) as f64 / content.len() as f64).min(1.0) }
}

/// Share of the tokens inside n-grams that occurred before.
fn duplicate_ngrams(content: &[u64], n: usize) -> f64 {
    if content.len() < 2 * n {
        return 0.0;
    }
    let mut grams: Vec<(u64, u32)> = ngrams(content, n).zip(0..).collect();
    grams.sort_unstable();
    let mut repeated: Vec<u32> =
        grams.chunk_by(|a, b| a.0 == b.0).flat_map(|same| same[1..].iter().map(|(_, at)| *at)).collect();
    repeated.sort_unstable();
    let (mut covered, mut end) = (0, 0);
    for at in repeated.into_iter().map(|at| at as usize) {
        covered += (at + n) - at.max(end);
        end = at + n;
    }
    covered as f64 / content.len() as f64
}

fn placeholders(text: &str) -> usize {
    // Most texts hold neither word; a look for them spares folding the case of everything.
    let may = |a: &str, b: &str, c: &str| text.contains(a) || text.contains(b) || text.contains(c);
    if !may("psum", "PSUM", "cript") && !text.contains("CRIPT") && !text.contains("浏览器不支持") {
        return 0;
    }
    let folded = text.to_lowercase();
    PLACEHOLDERS.iter().map(|p| folded.matches(p).count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::content_hashes;

    fn failed(text: &str, language: &str, config: &QualityConfig) -> Vec<&'static str> {
        let verdicts = judge(&measure(text, &content_hashes(text)), language, config);
        verdicts.into_iter().filter(|v| !v.pass).map(|v| v.rule).collect()
    }

    const GOOD: &str = "The demand for a good is the amount of it that buyers are willing to buy at each price, and the supply \
        of it is the amount that sellers are willing to sell. Where both are equal the market is in equilibrium, and there \
        is no pressure on the price to change until something else in the economy does.";

    #[test]
    fn each_rule_finds_its_kind_of_text() {
        let web = QualityConfig::default();
        assert!(failed(GOOD, "en", &web).is_empty(), "{:?}", failed(GOOD, "en", &web));
        let many = |line: &str| format!("{line}\n").repeat(30);
        for (text, language, rule) in [
            ("Buy now.".to_owned(), "en", "words"),
            (many("Home | About | Contact us today friends"), "en", "duplicate_lines"),
            ("7 13 22 9 1 4 4 8 ".repeat(20), "en", "letters"),
            ("### tag # tag # the # of ".repeat(20), "en", "symbols"),
            (
                format!("{GOOD} lorem ipsum dolor. {}", "please enable javascript ".repeat(3)),
                "en",
                "placeholders",
            ),
            ("a b c d e f g h the of ".repeat(10), "en", "least_word_length"),
            (
                (0..40).map(|i| format!("• item of number {i} in the list of goods\n")).collect(),
                "en",
                "bullets",
            ),
            ((0..40).map(|i| format!("story of the day number {i} is...\n")).collect(), "en", "ellipses"),
            (GOOD.replace(' ', " { } "), "en", "braces"),
            (format!("{GOOD} {}", "and so on it goes again and again ".repeat(40)), "en", "duplicate_ngrams"),
            (
                "首页\n登录\n注册\n更多\n关于\n联系\n帮助\n搜索\n下载\n论坛\n公告\n".to_owned(),
                "zh",
                "line_ends",
            ),
            ("供给与需求。".repeat(30), "zh", "duplicate_ngrams"),
        ] {
            assert!(
                failed(&text, language, &web).contains(&rule),
                "{rule}: {:?}",
                failed(&text, language, &web)
            );
        }
    }

    #[test]
    fn chinese_prose_and_verse_pass() {
        let web = QualityConfig::default();
        for text in [
            "床前明月光，\n疑是地上霜。\n举头望明月，\n低头思故乡。",
            "需求是指消费者在一定时期内，在各种可能的价格下愿意并且能够购买的商品数量。供给则是生产者愿意出售的数量。\
             二者相等时，市场达到均衡，价格不再有变动的压力，除非经济中的其他条件发生改变。",
        ] {
            assert!(failed(text, "zh", &web).is_empty(), "{:?}", failed(text, "zh", &web));
        }
    }

    #[test]
    fn the_curated_profile_keeps_a_note_and_drops_noise() {
        let curated = QualityConfig { profile: QualityProfile::Curated, ..QualityConfig::default() };
        assert!(failed("Call the plumber.", "en", &curated).is_empty());
        assert_eq!(failed("*** --- ***", "und", &curated), ["words", "letters"]);
    }

    proptest::proptest! {
        #[test]
        fn shares_stay_shares(text in "[a-c #.。的一\n…]{0,120}") {
            let measured = measure(&text, &content_hashes(&text));
            for (limit, value) in LIMITS.iter().zip(measured.values) {
                proptest::prop_assert!(value.is_finite() && value >= 0.0, "{}", limit.name);
                if limit.about.starts_with("share") {
                    proptest::prop_assert!(value <= 1.0, "{} {value}", limit.name);
                }
            }
        }
    }
}
