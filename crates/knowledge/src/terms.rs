//! Text to search terms: English words lower-cased and lightly stemmed, Chinese segmented into words and bigrams.

use std::{collections::HashSet, sync::OnceLock};

use jieba_rs::Jieba;

/// A search term with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The normalised term.
    pub(crate) text: String,
    /// First byte of the word it comes from.
    pub(crate) start: usize,
    /// First byte after the word.
    pub(crate) end: usize,
}

/// Words that carry no content of their own.
const STOP: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "by", "can", "could", "did", "do", "does", "for",
    "from", "give", "had", "has", "have", "how", "i", "in", "into", "is", "it", "its", "kind", "me", "much",
    "many", "of", "on", "or", "please", "s", "should", "tell", "than", "that", "the", "their", "there",
    "this", "to", "was", "were", "what", "when", "where", "which", "who", "whom", "whose", "these", "why",
    "will", "with", "would", "you", "your", "的", "了", "是", "在", "和", "与", "有", "什么", "多少", "哪",
    "哪个", "哪些", "谁", "请", "请问", "吗", "呢", "为", "何", "几", "它", "其", "被",
];

/// Whether a term is a function word.
pub(crate) fn is_stop(term: &str) -> bool {
    // Terms arrive stemmed: `the` as `th`.
    static WORDS: OnceLock<HashSet<String>> = OnceLock::new();
    let words = WORDS.get_or_init(|| STOP.iter().flat_map(|w| [(*w).to_owned(), stem(w)]).collect());
    words.contains(term)
}

fn jieba() -> &'static Jieba {
    static SEGMENTER: OnceLock<Jieba> = OnceLock::new();
    SEGMENTER.get_or_init(Jieba::new)
}

/// Whether a character is a Han ideograph.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}' | '〇')
}

/// Whether a text is mostly Chinese: at least a third of its letters are ideographs.
pub(crate) fn is_chinese(text: &str) -> bool {
    let han = text.chars().filter(|&c| is_han(c)).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    han * 3 >= letters && han > 0
}

/// Cuts a text into runs of ideographs and runs of other letters and digits, with byte spans.
pub(crate) fn runs(text: &str) -> Vec<(usize, usize, bool)> {
    let mut out: Vec<(usize, usize, bool)> = Vec::new();
    let mut open: Option<(usize, bool)> = None;
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    for (index, &(at, c)) in characters.iter().enumerate() {
        let next_digit = characters.get(index + 1).is_some_and(|(_, n)| n.is_ascii_digit());
        let in_number =
            index > 0 && characters[index - 1].1.is_ascii_digit() && next_digit && matches!(c, '.' | ',');
        let kind = if is_han(c) {
            Some(true)
        } else if c.is_alphanumeric() || in_number {
            Some(false)
        } else {
            None
        };
        match (open, kind) {
            (Some((_, a)), Some(b)) if a == b => {}
            (previous, _) => {
                if let Some((start, han)) = previous {
                    out.push((start, at, han));
                }
                open = kind.map(|han| (at, han));
            }
        }
    }
    if let Some((start, han)) = open {
        out.push((start, text.len(), han));
    }
    out
}

/// The search terms of a text, in order. Chinese runs give their words and, between them, every pair of
/// neighbouring characters, so that a segmentation error costs rank, not recall.
pub(crate) fn terms(text: &str) -> Vec<Term> {
    let mut out = Vec::new();
    for (start, end, han) in runs(text) {
        let run = &text[start..end];
        if !han {
            out.push(Term { text: stem(&run.to_lowercase().replace(',', "")), start, end });
            continue;
        }
        for token in jieba().cut_for_search(run, false) {
            let (from, to) = (start + token.byte_start, start + token.byte_end);
            out.push(Term { text: token.word.to_owned(), start: from, end: to });
        }
        let places: Vec<usize> = run.char_indices().map(|(i, _)| i).chain([run.len()]).collect();
        for window in places.windows(3) {
            let pair = &run[window[0]..window[2]];
            out.push(Term { text: pair.to_owned(), start: start + window[0], end: start + window[2] });
        }
    }
    out
}

/// The terms joined by spaces: what the index stores.
pub(crate) fn index_text(text: &str) -> String {
    terms(text).into_iter().map(|t| t.text).collect::<Vec<_>>().join(" ")
}

/// A light English stemmer: plural, `-ing`, `-ed`, doubled consonants and a final `e`. Wrong stems are harmless
/// as long as question and text get the same one.
pub(crate) fn stem(word: &str) -> String {
    if !word.bytes().all(|b| b.is_ascii_lowercase()) || word.len() < 3 {
        return word.to_owned();
    }
    let has_vowel = |w: &str| w.bytes().any(|b| b"aeiouy".contains(&b));
    let mut w = word;
    let ies;
    if let Some(base) = w.strip_suffix("ies").filter(|b| b.len() > 1) {
        ies = format!("{base}y");
        w = &ies;
    } else if w.ends_with('s') && !w.ends_with("ss") && !w.ends_with("us") && !w.ends_with("is") {
        w = &w[..w.len() - 1];
    }
    for ending in ["ing", "ed"] {
        if let Some(base) =
            w.strip_suffix(ending).filter(|b| b.len() > 1 && has_vowel(b) && !w.ends_with("eed"))
        {
            let last: Vec<u8> = base.bytes().rev().take(2).collect();
            let doubled = last.len() == 2 && last[0] == last[1] && !b"lsz".contains(&last[0]);
            w = if doubled { &base[..base.len() - 1] } else { base };
            break;
        }
    }
    if w.len() > 2 {
        w = w.strip_suffix('e').unwrap_or(w);
    }
    w.to_owned()
}

/// A name as the entity index stores it: lower case, hyphens and other separators as one space.
pub(crate) fn name_key(text: &str) -> String {
    let words: Vec<String> = runs(text).into_iter().map(|(s, e, _)| text[s..e].to_lowercase()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        terms(text).into_iter().map(|t| t.text).collect()
    }

    #[test]
    fn related_forms_share_a_stem() {
        for group in [
            ["melts", "melting", "melted"],
            ["discover", "discovered", "discovering"],
            ["use", "uses", "used"],
            ["energy", "energies", "energy"],
            ["stopped", "stopping", "stops"],
        ] {
            assert_eq!(stem(group[0]), stem(group[1]), "{group:?}");
            assert_eq!(stem(group[0]), stem(group[2]), "{group:?}");
        }
        assert_eq!(stem("gas"), "ga");
        assert!(words("the there were have").iter().all(|w| is_stop(w)) && !is_stop("gold"));
        assert_ne!(stem("ring"), stem("red"));
    }

    #[test]
    fn both_languages_with_places() {
        let text = "Gold 的熔点是 1,337.33 K。";
        let found = terms(text);
        assert!(found.iter().any(|t| t.text == "gold" && &text[t.start..t.end] == "Gold"));
        assert!(found.iter().any(|t| t.text == "熔点" && &text[t.start..t.end] == "熔点"));
        assert!(found.iter().any(|t| t.text == "1337.33"));
        assert!(words("氢氧化钠").contains(&"氧化".to_owned()));
        assert!(words("").is_empty() && words("，。!").is_empty());
    }

    #[test]
    fn languages_are_told_apart() {
        assert!(is_chinese("金的熔点是多少？") && is_chinese("Au 的密度"));
        assert!(!is_chinese("What is gold?") && !is_chinese("123"));
        assert_eq!(name_key("Gold-198"), "gold 198");
    }
}
