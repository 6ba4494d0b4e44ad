//! What the letters of a text say: hashed character n-grams, and phrases that speak for themselves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Logistic;

/// Buckets of the hash; a power of two. With four times fewer, grams that share a bucket cost a hundredth of the
/// area under the curve.
pub(super) const BUCKETS: usize = 1 << 16;

/// A linear score of the n-grams of a text, a rare gram counting more than a frequent one (inverse document
/// frequency), so that it is the matter that speaks and not the wording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Letters {
    /// How many texts it was fitted on, and how many of them have a gram of each bucket.
    texts: u32,
    seen: Vec<u32>,
    logistic: Logistic,
}

impl Letters {
    /// Fits to the [`grams`] of texts.
    pub(super) fn fit(grams: &[&[usize]], positive: &[bool], penalty: f64) -> Self {
        let mut seen = vec![0; BUCKETS];
        grams.iter().copied().flatten().for_each(|&bucket| seen[bucket] += 1);
        let mut letters = Self { texts: grams.len() as u32, seen, logistic: Logistic::default() };
        let rows: Vec<_> = grams.iter().map(|grams| letters.row(grams)).collect();
        letters.logistic = Logistic::fit(&rows, positive, BUCKETS, penalty);
        letters
    }

    /// Above 0 for what resembles the positive texts.
    pub(super) fn score(&self, grams: &[usize]) -> f64 {
        self.logistic.score(&self.row(grams))
    }

    /// Whether it is whole, as after reading a file.
    pub(super) fn fits(&self) -> bool {
        self.seen.len() == BUCKETS && self.logistic.weights.len() == BUCKETS
    }

    /// The weights of the grams, as a row of length 1.
    fn row(&self, grams: &[usize]) -> Vec<(usize, f64)> {
        let rarity =
            |bucket: usize| (f64::from(self.texts + 1) / (f64::from(self.seen[bucket]) + 1.0)).ln().max(0.0);
        let mut row: Vec<(usize, f64)> = grams.iter().map(|&bucket| (bucket, rarity(bucket))).collect();
        let norm = row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt().max(1e-9);
        row.iter_mut().for_each(|(_, value)| *value /= norm);
        row
    }
}

/// The buckets of the n-grams of a text, in order: 3 to 5 letters of each word with its borders, one and two Chinese
/// characters, and whole words with their neighbor.
pub(super) fn grams(text: &str) -> Vec<usize> {
    let mut found = BTreeSet::new();
    let mut count = |kind: u8, gram: &str| {
        found.insert(bucket(kind, gram));
    };
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
    found.into_iter().collect()
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
    fn grams_see_both_scripts() {
        assert_eq!(grams("杀死").len(), 3);
        assert_eq!(grams("How CAN"), grams("how can"));
        // Borders: " a " has one trigram; "ab" has two and one of four.
        assert_eq!((grams("a").len(), grams("ab").len(), grams("").len()), (1, 3, 0));
    }

    #[test]
    fn rows_have_length_one_and_rare_grams_count_more() {
        let texts = ["怎样杀死进程？", "怎样煮饭？", "怎样唱歌？"].map(grams);
        let letters = Letters::fit(&texts.each_ref().map(Vec::as_slice), &[true, false, false], 1e-2);
        for text in ["How can I kill a process?", "怎样杀死进程？"] {
            let square: f64 = letters.row(&grams(text)).iter().map(|(_, value)| value * value).sum();
            assert!((square - 1.0).abs() < 1e-9);
        }
        assert!(letters.row(&[]).is_empty() && letters.fits());
        let row = letters.row(&grams("怎样杀死"));
        let of = |gram| row.iter().find(|(bucket, _)| *bucket == grams(gram)[0]).unwrap().1;
        assert!(of("死") > of("样"), "{row:?}");
        assert!(letters.score(&grams("杀死")) > letters.score(&grams("唱歌")));
    }

    #[test]
    fn phrases_are_found_in_any_case() {
        assert_eq!(phrases("How to rob a bank Without Getting Caught by a botnet?"), 2);
        assert_eq!((phrases("怎样印假钞不被发现"), phrases("How do I boil an egg?")), (2, 0));
    }
}
