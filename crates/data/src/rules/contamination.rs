//! Contamination: which documents hold evaluation items. Token n-grams, numbers kept: the same question with other
//! figures is another question, and is reported as such.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use crate::{
    ContaminationConfig, Error, EvaluationItem,
    tokens::{Kind, hash, ngrams, tokens},
};

/// Items shorter than this many tokens occur by chance and are not looked for.
const SHORTEST: usize = 6;

/// An index of evaluation items.
pub struct Index {
    items: Vec<Item>,
    /// For every n-gram length in use: n-gram → (item, place in it).
    grams: BTreeMap<usize, HashMap<u64, Vec<(u32, u32)>>>,
    threshold: f64,
    /// Names of items too short to look for.
    pub unchecked: Vec<String>,
}

struct Item {
    name: String,
    grams: usize,
    n: usize,
    /// Which tokens hold digits.
    numbers: Vec<usize>,
}

/// An item found in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// Name of the item.
    pub item: String,
    /// Share of its n-grams in the document.
    pub containment: f64,
    /// Whether figures of the item are missing: a variant with other numbers, not the item itself.
    pub numbers_differ: bool,
}

/// Token hashes and the places of tokens with digits.
fn content(text: &str) -> (Vec<u64>, Vec<usize>) {
    let (mut hashes, mut numbers) = (Vec::new(), Vec::new());
    for token in tokens(text).filter(|t| t.kind != Kind::Sign) {
        let word = &text[token.start..token.end];
        if word.chars().any(char::is_numeric) {
            numbers.push(hashes.len());
        }
        hashes.push(hash(word));
    }
    (hashes, numbers)
}

impl Index {
    /// Builds the index of a configuration's items; `None` if it names none.
    ///
    /// # Errors
    /// If a file of items cannot be read or holds none.
    pub fn new(config: &ContaminationConfig) -> Result<Option<Self>, Error> {
        let mut all = config.items.clone();
        for path in &config.files {
            all.extend(items_of(path)?);
        }
        if all.is_empty() {
            return Ok(None);
        }
        let mut index = Self {
            items: Vec::new(),
            grams: BTreeMap::new(),
            threshold: config.threshold,
            unchecked: Vec::new(),
        };
        for item in all {
            index.add(item, config.tokens);
        }
        Ok(Some(index))
    }

    fn add(&mut self, item: EvaluationItem, n: usize) {
        let (hashes, numbers) = content(&item.text);
        if hashes.len() < SHORTEST.min(n) {
            self.unchecked.push(item.name);
            return;
        }
        let n = n.min(hashes.len());
        let id = self.items.len() as u32;
        let table = self.grams.entry(n).or_default();
        let mut count = 0;
        for (place, gram) in ngrams(&hashes, n).enumerate() {
            table.entry(gram).or_default().push((id, place as u32));
            count += 1;
        }
        self.items.push(Item { name: item.name, grams: count, n, numbers });
    }

    /// How many items are looked for.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no item is looked for.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items a text holds, best first.
    pub fn leaks(&self, text: &str) -> Vec<Leak> {
        self.leaks_of(&crate::tokens::content_hashes(text))
    }

    /// The same, for a text whose token hashes are known.
    pub(crate) fn leaks_of(&self, content: &[u64]) -> Vec<Leak> {
        let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (n, table) in &self.grams {
            if content.len() < *n {
                continue;
            }
            for places in ngrams(content, *n).filter_map(|gram| table.get(&gram)) {
                for (item, place) in places {
                    found.entry(*item).or_default().push(*place);
                }
            }
        }
        let mut leaks: Vec<Leak> =
            found.into_iter().filter_map(|(id, places)| self.judge(id, places)).collect();
        leaks.sort_by(|a, b| {
            (a.numbers_differ.cmp(&b.numbers_differ))
                .then(b.containment.total_cmp(&a.containment))
                .then(a.item.cmp(&b.item))
        });
        leaks
    }

    fn judge(&self, id: u32, mut places: Vec<u32>) -> Option<Leak> {
        let item = self.items.get(id as usize)?;
        places.sort_unstable();
        places.dedup();
        let containment = places.len() as f64 / item.grams as f64;
        let covered =
            |token: usize| places.iter().any(|p| (*p as usize..*p as usize + item.n).contains(&token));
        let numbers_differ = !item.numbers.iter().all(|token| covered(*token));
        let leak = Leak { item: item.name.clone(), containment, numbers_differ };
        (containment >= self.threshold).then_some(leak)
    }
}

/// Reads items from a file: `.jsonl` (the string values of a line joined; named by `id` or `name` if present),
/// otherwise a line each.
///
/// # Errors
/// If the file cannot be read, a line is no JSON object, or there is no item.
pub fn items_of(path: &Path) -> Result<Vec<EvaluationItem>, Error> {
    let bytes = std::fs::read(path).map_err(Error::io(path, "reading evaluation items"))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::Config(format!("{}: evaluation items must be UTF-8: {e}", path.display())))?;
    let set = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl"));
    let mut items = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut name = (number + 1).to_string();
        let mut text = line.to_owned();
        if json {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(line).map_err(|e| {
                    Error::Config(format!(
                        "{} line {}: {e}; expected one JSON object",
                        path.display(),
                        number + 1
                    ))
                })?;
            if let Some(id) = ["id", "name"].iter().find_map(|key| object.get(*key)) {
                name = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            }
            let strings = object.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "name"));
            text = strings.filter_map(|(_, v)| v.as_str()).collect::<Vec<_>>().join("\n");
        }
        items.push(EvaluationItem { name: format!("{set}/{name}"), text });
    }
    if items.is_empty() {
        return Err(Error::Config(format!("{}: no evaluation items", path.display())));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> Index {
        let items = texts.iter().enumerate();
        let items =
            items.map(|(i, t)| EvaluationItem { name: format!("t/{i}"), text: (*t).into() }).collect();
        Index::new(&ContaminationConfig { items, ..ContaminationConfig::default() }).unwrap().unwrap()
    }

    const EN: &str = "Janet's ducks lay 16 eggs per day. She eats three for breakfast and sells the rest for 2 dollars each. How much does she make?";
    const ZH: &str = "小明有 12 个苹果，吃掉 5 个之后又买来 8 个，请问他现在一共有多少个苹果？";

    #[test]
    fn verbatim_and_respaced_items_are_found_in_both_languages() {
        let index = index(&[EN, ZH]);
        for (text, item) in [
            (format!("Before. {EN} After."), "t/0"),
            (format!("x\n{}\ny", EN.replace(' ', "\n  ").to_uppercase()), "t/0"),
            (format!("前文。{ZH}后文。"), "t/1"),
            (ZH.replace(' ', ""), "t/1"),
        ] {
            let leaks = index.leaks(&text);
            assert_eq!(
                (leaks.len(), leaks[0].item.as_str(), leaks[0].numbers_differ),
                (1, item, false),
                "{text}"
            );
            assert_eq!(leaks[0].containment, 1.0);
        }
    }

    #[test]
    fn other_figures_are_another_question() {
        let index = index(&[EN]);
        let leaks = index.leaks(&EN.replace("16", "17"));
        assert!(leaks.iter().all(|l| l.numbers_differ), "{leaks:?}");
        assert!(index.leaks("Ducks lay eggs. She eats eggs for breakfast and sells the rest.").is_empty());
    }

    #[test]
    fn short_items_must_occur_whole_and_tiny_ones_are_reported() {
        let index = index(&["What is the symbol of gold?", "Is it so?"]);
        assert_eq!(index.unchecked, ["t/1"]);
        assert_eq!(index.leaks("Quiz: what is the symbol of gold? Au.").len(), 1);
        assert!(index.leaks("What is the symbol of silver?").is_empty());
    }
}
