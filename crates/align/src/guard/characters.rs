//! What the letters of a text say: hashed character n-grams, and phrases that speak for themselves.

use std::collections::BTreeMap;

/// Buckets of the hash; a power of two.
pub(super) const BUCKETS: usize = 1 << 14;

/// The n-grams of a text as a sparse row of length 1: 3 to 5 letters of each word with its borders, one and two
/// Chinese characters, and whole words with their neighbor.
pub(super) fn features(text: &str) -> Vec<(usize, f64)> {
    let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
    let mut count = |kind: u8, gram: &str| *counts.entry(bucket(kind, gram)).or_insert(0.0) = 1.0;
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|w| !w.is_empty()).collect();
    for word in &words {
        let word: Vec<char> =
            if word.is_ascii() { format!(" {word} ").chars().collect() } else { word.chars().collect() };
        let sizes = if word.first() == Some(&' ') { 3..=5 } else { 1..=2 };
        for size in sizes {
            word.windows(size).for_each(|gram| count(0, &gram.iter().collect::<String>()));
        }
    }
    for pair in words.windows(2).filter(|pair| pair.iter().all(|word| word.is_ascii())) {
        count(1, &pair.join(" "));
    }
    let norm = (counts.len() as f64).sqrt().max(1.0);
    counts.into_iter().map(|(bucket, value)| (bucket, value / norm)).collect()
}

/// FNV-1a of the gram, folded into a bucket.
fn bucket(kind: u8, gram: &str) -> usize {
    let hash = std::iter::once(kind)
        .chain(gram.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash ^ (hash >> 29)) as usize % BUCKETS
}

/// Phrases of requests that hardly any harmless one has.
const PHRASES: &[&str] = &[
    "without getting caught",
    "without being caught",
    "without anyone knowing",
    "without being noticed",
    "without being detected",
    "without their consent",
    "without leaving traces",
    "avoid detection",
    "evade law enforcement",
    "pipe bomb",
    "homemade explosive",
    "untraceable",
    "ransomware",
    "keylogger",
    "botnet",
    "identity theft",
    "counterfeit",
    "launder money",
    "money laundering",
    "child soldier",
    "ethnic cleansing",
    "blackmail",
    "stolen credit card",
    "illegal drugs",
    "methamphetamine",
    "hitman",
    "mass shooting",
    "不被发现",
    "不被抓",
    "不留痕迹",
    "造炸弹",
    "制毒",
    "假钞",
    "勒索",
    "洗钱",
    "偷拍",
    "黑进",
    "下毒",
    "走私",
];

/// How many of the phrases a text has.
pub(super) fn phrases(text: &str) -> usize {
    let lower = text.to_lowercase();
    PHRASES.iter().filter(|phrase| lower.contains(**phrase)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_length_one_and_see_both_scripts() {
        for text in ["How can I kill a process?", "怎样杀死进程？", ""] {
            let row = features(text);
            let square: f64 = row.iter().map(|(_, value)| value * value).sum();
            assert!(text.is_empty() || (square - 1.0).abs() < 1e-9);
            assert!(row.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        assert_eq!(features("杀死").len(), 3);
        assert_eq!(features("How CAN").len(), features("how can").len());
        // Borders: " a " has one trigram; "ab" has two and one of four.
        assert_eq!((features("a").len(), features("ab").len()), (1, 3));
    }

    #[test]
    fn phrases_are_found_in_any_case() {
        assert_eq!(phrases("How to rob a bank Without Getting Caught by a botnet?"), 2);
        assert_eq!((phrases("怎样印假钞不被发现"), phrases("How do I boil an egg?")), (2, 0));
    }
}
