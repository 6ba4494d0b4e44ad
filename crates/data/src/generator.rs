//! A corpus in English and Chinese with planted duplicates, number-only variants, personal data and leaked evaluation
//! items, and the truth about each: what the rules are measured by. Everything follows from one seed.

mod identities;
mod words;

use ledger::Stream;

use crate::{
    EvaluationItem,
    rules::near::{jaccard, shingles},
    tokens::content_hashes,
};

pub use identities::{identity, look_alike};

/// What was planted in a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Planted {
    /// Nothing.
    Nothing,
    /// A copy of another document with other white space.
    Exact {
        /// Its original, as an index.
        of: usize,
    },
    /// A copy with words, sentences or headers changed, no figure among them.
    Near {
        /// Its original, as an index.
        of: usize,
        /// Exact Jaccard similarity of their 5-token shingles.
        jaccard: f64,
    },
    /// A copy in which figures, units or codes differ and nothing else does.
    Numbers {
        /// Its original, as an index.
        of: usize,
    },
    /// Personal data: kind and value.
    Private(Vec<(&'static str, String)>),
    /// An evaluation item, as an index.
    Leak {
        /// The item.
        item: usize,
    },
}

/// A generated document.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `en` or `zh`.
    pub language: &'static str,
    /// The text.
    pub text: String,
    /// What was planted.
    pub planted: Planted,
}

/// A generated corpus.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The documents, shuffled.
    pub documents: Vec<Sample>,
    /// Evaluation items, some of them leaked.
    pub items: Vec<EvaluationItem>,
}

/// Shares of a corpus, in thousandths; the rest has nothing planted.
const EXACT: usize = 60;
const NEAR: usize = 100;
const NUMBERS: usize = 80;
const PRIVATE: usize = 60;
const LEAKS: usize = 40;

/// Generates `documents` documents, half of them Chinese.
pub fn generate(documents: usize, seed: u64) -> Generated {
    let mut random = Stream::new(seed, "data.generator");
    let share = |thousandths: usize| documents * thousandths / 1000;
    let copies = share(EXACT) + share(NEAR) + share(NUMBERS);
    let originals = documents.saturating_sub(copies + share(PRIVATE) + share(LEAKS));
    let items: Vec<EvaluationItem> = (0..share(LEAKS).max(1) * 2)
        .map(|i| EvaluationItem { name: format!("generated/{i}"), text: item(&mut random, i) })
        .collect();
    let mut all: Vec<Sample> = (0..originals)
        .map(|i| {
            let language = if i % 2 == 0 { "en" } else { "zh" };
            Sample { language, text: article(&mut random, language), planted: Planted::Nothing }
        })
        .collect();
    // Every copy has an original of its own, so that the truth about a pair depends on nothing else.
    let copied = copies.min(originals);
    for of in 0..copied {
        let Sample { language, text, .. } = all[of].clone();
        let (text, planted) = if of < share(EXACT) {
            (respaced(&text), Planted::Exact { of })
        } else if of < share(EXACT) + share(NEAR) {
            let (text, jaccard) = near_copy(&mut random, &text, language);
            (text, Planted::Near { of, jaccard })
        } else {
            (other_numbers(&mut random, &text), Planted::Numbers { of })
        };
        all.push(Sample { language, text, planted });
    }
    for i in 0..share(PRIVATE) {
        all.push(private(&mut random, if i % 2 == 0 { "en" } else { "zh" }));
    }
    for (item, leak) in items.iter().enumerate().take(share(LEAKS)) {
        let language = if item % 2 == 0 { "en" } else { "zh" };
        let mut parts = sentences(&article(&mut random, language));
        let leaked = if item % 3 == 0 { respaced(&leak.text) } else { leak.text.clone() };
        parts.insert(random.below(parts.len() + 1), leaked);
        all.push(Sample { language, text: parts.join("\n"), planted: Planted::Leak { item } });
    }
    shuffled(&mut random, all, items)
}

fn shuffled(random: &mut Stream, all: Vec<Sample>, items: Vec<EvaluationItem>) -> Generated {
    let mut order: Vec<usize> = (0..all.len()).collect();
    random.shuffle(&mut order);
    let mut place = vec![0; all.len()];
    order.iter().enumerate().for_each(|(new, old)| place[*old] = new);
    let documents = order
        .iter()
        .map(|old| {
            let mut sample = all[*old].clone();
            match &mut sample.planted {
                Planted::Exact { of } | Planted::Near { of, .. } | Planted::Numbers { of } => {
                    *of = place[*of]
                }
                _ => {}
            }
            sample
        })
        .collect();
    Generated { documents, items }
}

/// Fills a pattern: `N` noun, `V` verb, `A` adjective, `P` place, `#` figure with unit, anything else as it stands.
fn fill(random: &mut Stream, pattern: &str, language: &str) -> String {
    let lists = words::of(language);
    let mut out = String::new();
    for c in pattern.chars() {
        match c {
            'N' => out.push_str(pick(random, lists.nouns)),
            'V' => out.push_str(pick(random, lists.verbs)),
            'A' => out.push_str(pick(random, lists.adjectives)),
            'P' => out.push_str(pick(random, lists.places)),
            '#' => {
                let (whole, tenth) = (random.below(9000) + 11, random.below(10));
                let gap = if language == "en" { " " } else { "" };
                let number =
                    if random.below(2) == 0 { format!("{whole}.{tenth}") } else { whole.to_string() };
                out.push_str(&format!("{number}{gap}{}", pick(random, lists.units)));
            }
            other => out.push(other),
        }
    }
    out
}

fn pick(random: &mut Stream, list: &'static str) -> &'static str {
    let words: Vec<&str> = list.split_ascii_whitespace().collect();
    random.choose(&words).copied().unwrap_or_default()
}

fn sentence(random: &mut Stream, language: &str, figures: bool) -> String {
    let lists = words::of(language);
    let patterns: Vec<&str> =
        lists.patterns.iter().copied().filter(|p| figures || !p.contains('#')).collect();
    let pattern = random.choose(&patterns).copied().unwrap_or_default();
    let text = fill(random, pattern, language);
    let mut characters = text.chars();
    characters.next().map(|c| c.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn article(random: &mut Stream, language: &str) -> String {
    let count = 12 + random.below(24);
    let mut sentences: Vec<String> = (0..count).map(|_| sentence(random, language, true)).collect();
    // Every article has a figure to vary.
    let figure =
        if language == "en" { "The N of P counted # that year." } else { "P的N当年清点了#。" };
    sentences.insert(random.below(count), fill(random, figure, language));
    let gap = if language == "en" { " " } else { "" };
    sentences.chunks(4).map(|p| p.join(gap)).collect::<Vec<_>>().join("\n\n")
}

/// Sentences of a text, each with its sign.
fn sentences(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        part.push(c);
        if c == '。' || (c == '.' && rest.peek().is_none_or(|n| n.is_whitespace())) {
            parts.push(part.trim().to_owned());
            part.clear();
        }
    }
    parts.retain(|p| !p.is_empty());
    parts
}

/// The same words with other white space.
fn respaced(text: &str) -> String {
    text.replace("\n\n", "\n").replace(". ", ".  \n")
}

/// A copy at a similarity between 0.8 and 0.95: words replaced, sentences without figures dropped, added or moved.
fn near_copy(random: &mut Stream, text: &str, language: &str) -> (String, f64) {
    let gap = if language == "en" { " " } else { "" };
    let original = shingles(&content_hashes(text), 5);
    let goal = 0.81 + 0.13 * random.uniform();
    let mut parts = sentences(text);
    let mut best = (parts.join(gap), 1.0);
    let header = sentence(random, language, false);
    for _ in 0..200 {
        let before = parts.clone();
        let at = random.below(parts.len());
        let plain = !parts[at].chars().any(char::is_numeric);
        match random.below(6) {
            0 if plain && parts.len() > 4 => drop(parts.remove(at)),
            1 => parts.insert(at, sentence(random, language, false)),
            2 if !parts.contains(&header) => parts.insert(0, header.clone()),
            _ => parts[at] = one_word_changed(random, &parts[at], language),
        }
        let copy = parts.join(gap);
        let similarity = jaccard(&original, &shingles(&content_hashes(&copy), 5));
        if similarity < 0.8 {
            parts = before;
            continue;
        }
        if similarity < best.1 {
            best = (copy, similarity);
        }
        if similarity <= goal {
            break;
        }
    }
    best
}

fn one_word_changed(random: &mut Stream, sentence: &str, language: &str) -> String {
    let lists = words::of(language);
    for list in [lists.nouns, lists.adjectives, lists.verbs] {
        if let Some(word) = list.split_ascii_whitespace().find(|w| sentence.contains(w)) {
            return sentence.replacen(word, pick(random, list), 1);
        }
    }
    sentence.to_owned()
}

/// A copy with at least one figure or unit changed and nothing else.
fn other_numbers(random: &mut Stream, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let digits: Vec<usize> = text.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let certain = random.choose(&digits).copied();
    for (at, c) in text.char_indices() {
        match c.to_digit(10).filter(|_| c.is_ascii_digit()) {
            // The first digit of a number stays above zero, so that its length stays too.
            Some(digit) if Some(at) == certain || random.below(3) == 0 => {
                let other = (digit as usize + 1 + random.below(8)) % 10;
                let other = if other == 0 { 1 + usize::from(digit == 1) } else { other };
                out.push_str(&other.to_string());
            }
            _ => out.push(c),
        }
    }
    out
}

/// An article with personal data of random kinds in it, and look-alikes that are nobody's.
fn private(random: &mut Stream, language: &'static str) -> Sample {
    let mut parts = sentences(&article(random, language));
    let mut planted = Vec::new();
    for _ in 0..1 + random.below(4) {
        let (kind, value, carrier) = identity(random, language);
        parts.insert(random.below(parts.len() + 1), carrier.replace("{}", &value));
        planted.push((kind, value));
    }
    for _ in 0..random.below(3) {
        parts.insert(random.below(parts.len() + 1), look_alike(random, language));
    }
    Sample { language, text: parts.join("\n"), planted: Planted::Private(planted) }
}

/// A word problem with figures.
fn item(random: &mut Stream, i: usize) -> String {
    let mut n = || (random.below(90) + 3).to_string();
    let (a, b, c) = (n(), n(), n());
    let (language, pattern) = if i.is_multiple_of(2) {
        (
            "en",
            "A N in P had {a} A crates of N. The owner sold {b} of them to a N and then bought {c} more from P. How many crates does the owner of the N have now?",
        )
    } else {
        ("zh", "P的N仓库里原有{a}箱A的N，先卖给N商店{b}箱，后来又从P运来{c}箱N，请问仓库里现在一共有多少箱？")
    };
    let filled = fill(random, pattern, language);
    filled.replace("{a}", &a).replace("{b}", &b).replace("{c}", &c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_is_true() {
        let corpus = generate(600, 1);
        assert_eq!(corpus, generate(600, 1));
        assert_ne!(corpus, generate(600, 2));
        assert_eq!(corpus.documents.len(), 600);
        let set = |i: usize| shingles(&content_hashes(&corpus.documents[i].text), 5);
        let (mut near, mut numbers) = (0, 0);
        for (i, sample) in corpus.documents.iter().enumerate() {
            match &sample.planted {
                Planted::Near { of, jaccard: stated } => {
                    assert_eq!(jaccard(&set(*of), &set(i)), *stated);
                    assert!((0.8..0.97).contains(stated), "{stated}");
                    near += 1;
                }
                Planted::Numbers { of } => {
                    let bare = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
                    let original = &corpus.documents[*of].text;
                    assert!(bare(original) == bare(&sample.text) && *original != sample.text);
                    numbers += 1;
                }
                Planted::Private(values) => {
                    assert!(values.iter().all(|(_, value)| sample.text.contains(value)))
                }
                _ => {}
            }
        }
        assert_eq!((near, numbers), (60, 48));
    }
}
