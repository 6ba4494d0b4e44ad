//! What a question is about: the entities and relations it names.

use std::collections::HashMap;

use rusqlite::Connection;

use crate::terms::{is_chinese, is_han, name_key, runs, stem};

/// Names and wordings of a pack, in memory.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    /// Lower-case name → entities.
    names: HashMap<String, Vec<i64>>,
    /// Symbol, as written → entities.
    symbols: HashMap<String, Vec<i64>>,
    /// Atomic number → entities.
    numbers: HashMap<String, Vec<i64>>,
    /// Longest name in words (Latin) and characters (Han).
    longest: (usize, usize),
    pub(crate) relations: Vec<Relation>,
    wordings: Vec<Wording>,
    pub(crate) entities: HashMap<i64, (String, i64)>,
}

/// A relation of the pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) id: i64,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) zh: String,
}

/// A way to name a relation: parts in order, with a gap between them.
#[derive(Debug)]
struct Wording {
    relation: i64,
    chinese: bool,
    parts: Vec<Vec<String>>,
    weight: usize,
}

/// A name found in a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) entities: Vec<i64>,
}

/// What a question names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Linked {
    pub(crate) mentions: Vec<Mention>,
    /// Relations with the weight of their best wording, best first.
    pub(crate) relations: Vec<(i64, usize)>,
}

/// Symbols that are common words; they need `symbol` or `element` in the question.
const WORDS: &[&str] = &[
    "I", "In", "As", "At", "He", "No", "Be", "Am", "A", "An", "It", "Is", "Do", "So", "Us", "La", "U", "K",
    "C",
];
const MOST_GAP_WORDS: usize = 6;
const MOST_GAP_CHARACTERS: usize = 8;

impl Lexicon {
    /// Reads the names of a pack.
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut lexicon = Self::default();
        let mut statement =
            connection.prepare("SELECT entity, alias, kind FROM aliases ORDER BY entity, alias")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (entity, alias, kind): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let map = match kind {
                0 => &mut lexicon.names,
                1 => &mut lexicon.symbols,
                _ => &mut lexicon.numbers,
            };
            if kind == 0 {
                lexicon.longest.0 = lexicon.longest.0.max(alias.split(' ').count());
                lexicon.longest.1 = lexicon.longest.1.max(alias.chars().count());
            }
            let list = map.entry(alias).or_default();
            if !list.contains(&entity) {
                list.push(entity);
            }
        }
        lexicon.longest = (lexicon.longest.0.min(12), lexicon.longest.1.min(24));
        let mut statement = connection.prepare("SELECT id, name, document FROM entities")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            lexicon.entities.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
        }
        lexicon.relations = connection
            .prepare("SELECT id, key, name, zh FROM relations ORDER BY id")?
            .query_map([], |r| {
                Ok(Relation { id: r.get(0)?, key: r.get(1)?, name: r.get(2)?, zh: r.get(3)? })
            })?
            .collect::<Result<_, _>>()?;
        let mut statement =
            connection.prepare("SELECT relation, phrase FROM phrases ORDER BY relation, phrase")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            lexicon.wordings.push(wording(row.get(0)?, &row.get::<_, String>(1)?));
        }
        Ok(lexicon)
    }

    /// The relation of this number.
    pub(crate) fn relation(&self, id: i64) -> Option<&Relation> {
        self.relations.iter().find(|r| r.id == id)
    }

    /// Finds names and relations in a question. Entities of the documents in `exclude` are unknown.
    pub(crate) fn link(&self, question: &str, exclude: &[i64]) -> Linked {
        let mut mentions = self.mentions(question);
        for mention in &mut mentions {
            mention.entities.retain(|e| self.entities.get(e).is_some_and(|(_, d)| !exclude.contains(d)));
        }
        mentions.retain(|m| !m.entities.is_empty());
        let mut relations = self.relations_in(question, &mentions);
        // `The element with atomic number 67` names the element; the question is about something else.
        let by_number = mentions.iter().any(|m| self.numbers.contains_key(&question[m.start..m.end]));
        let is_number =
            |r: &(i64, usize)| self.relation(r.0).is_some_and(|r| r.key.ends_with(".atomic_number"));
        if by_number && !relations.iter().all(is_number) {
            relations.retain(|r| !is_number(r));
        }
        Linked { relations, mentions }
    }

    fn mentions(&self, question: &str) -> Vec<Mention> {
        let runs = runs(question);
        let lower = question.to_lowercase();
        let about_symbols = lower.contains("symbol") || question.contains("符号");
        let about_elements = about_symbols || lower.contains("element") || question.contains("元素");
        let about_numbers = lower.contains("atomic number")
            || lower.contains("element number")
            || question.contains("原子序数");
        let mut found: Vec<Mention> = Vec::new();
        let mut offer = |start: usize, end: usize, entities: &[i64]| {
            found.push(Mention { start, end, entities: entities.to_vec() });
        };
        for (index, &(start, end, han)) in runs.iter().enumerate() {
            if han {
                let places: Vec<usize> =
                    question[start..end].char_indices().map(|(i, _)| start + i).chain([end]).collect();
                for from in 0..places.len() {
                    for to in from + 1..places.len().min(from + self.longest.1 + 1) {
                        if let Some(entities) = self.names.get(&question[places[from]..places[to]]) {
                            offer(places[from], places[to], entities);
                        }
                    }
                }
                continue;
            }
            let word = &question[start..end];
            for count in 1..=self.longest.0.min(runs.len() - index) {
                let last = runs[index + count - 1].1;
                let key = name_key(&question[start..last]);
                if let Some(entities) = self.names.get(&key).or_else(|| self.names.get(singular(&key))) {
                    offer(start, last, entities);
                }
            }
            if let Some(entities) = self.symbols.get(word)
                && (about_elements && !(index == 0 && WORDS.contains(&word)) || !WORDS.contains(&word))
            {
                offer(start, end, entities);
            }
            if let Some(entities) = self.numbers.get(word).filter(|_| about_numbers) {
                offer(start, end, entities);
            }
        }
        // The longest name at a place wins; at equal length the earlier.
        found.sort_by_key(|m| (std::cmp::Reverse(m.end - m.start), m.start));
        let mut chosen: Vec<Mention> = Vec::new();
        for mention in found {
            match chosen.iter_mut().find(|c| c.start < mention.end && mention.start < c.end) {
                Some(same) if (same.start, same.end) == (mention.start, mention.end) => {
                    same.entities.extend(
                        mention
                            .entities
                            .iter()
                            .filter(|e| !same.entities.contains(e))
                            .copied()
                            .collect::<Vec<_>>(),
                    );
                }
                Some(_) => {}
                None => chosen.push(mention),
            }
        }
        chosen.retain(|m| !inside_word(question, m));
        chosen.sort_by_key(|m| m.start);
        chosen
    }

    fn relations_in(&self, question: &str, mentions: &[Mention]) -> Vec<(i64, usize)> {
        let words: Vec<String> = runs(question)
            .into_iter()
            .filter(|(s, e, _)| !mentions.iter().any(|m| m.start <= *s && *e <= m.end))
            .map(|(s, e, _)| stem(&question[s..e].to_lowercase()))
            .collect();
        // `The source reports …` speaks of the source of the answer.
        let words = without_source(words);
        // Names are blanked, so that no wording reaches into them.
        let mut masked = question.to_lowercase();
        if masked.len() == question.len() {
            for mention in mentions {
                masked
                    .replace_range(mention.start..mention.end, &"\u{1}".repeat(mention.end - mention.start));
            }
        }
        let mut best: Vec<(i64, usize)> = Vec::new();
        for wording in &self.wordings {
            let found = if wording.chinese {
                found_chinese(&masked, &wording.parts)
            } else {
                found_words(&words, &wording.parts)
            };
            if !found {
                continue;
            }
            match best.iter_mut().find(|(r, _)| *r == wording.relation) {
                Some((_, weight)) => *weight = (*weight).max(wording.weight),
                None => best.push((wording.relation, wording.weight)),
            }
        }
        best.sort_by_key(|&(relation, weight)| (std::cmp::Reverse(weight), relation));
        best
    }
}

fn without_source(mut words: Vec<String>) -> Vec<String> {
    let verbs = ["report", "give", "list", "say", "state", "name"].map(stem);
    let speaks = |w: &[String]| w[0] == stem("the") && w[1] == stem("source") && verbs.contains(&w[2]);
    if let Some(at) = words.windows(3).position(speaks) {
        words.drain(at..at + 3);
    }
    words
}

fn singular(key: &str) -> &str {
    key.strip_suffix('s').filter(|k| k.len() > 3).unwrap_or(key)
}

/// A one-character Chinese name inside a longer word (`金属`, `合金`, `碳酸`) is not a mention; one beside a
/// particle, a relation's name or the end of the question is.
fn inside_word(question: &str, mention: &Mention) -> bool {
    let name = &question[mention.start..mention.end];
    if !name.chars().all(is_han) || name.chars().count() > 1 {
        return false;
    }
    const COMPOUNDS: &[&str] = &[
        "金属", "合金", "碳酸", "硫酸", "硝酸", "磷酸", "氧化", "氢氧", "硅酸", "现金", "资金", "基金",
        "黄金", "氯化", "氟化", "硫化", "钢铁", "奖金", "金额", "金融", "碳化",
    ];
    COMPOUNDS.iter().any(|compound| {
        question
            .match_indices(compound)
            .any(|(at, _)| at <= mention.start && mention.end <= at + compound.len())
    })
}

fn wording(relation: i64, phrase: &str) -> Wording {
    let chinese = is_chinese(phrase);
    let parts: Vec<Vec<String>> = phrase
        .split('…')
        .map(|part| {
            if chinese {
                return vec![part.trim().to_lowercase()];
            }
            runs(part).into_iter().map(|(s, e, _)| stem(&part[s..e].to_lowercase())).collect()
        })
        .collect();
    let size = |part: &Vec<String>| {
        if chinese { part.iter().map(|p| p.chars().count()).sum() } else { part.len() * 2 }
    };
    Wording { relation, chinese, weight: parts.iter().map(size).sum(), parts }
}

fn found_words(words: &[String], parts: &[Vec<String>]) -> bool {
    let Some((first, rest)) = parts.split_first().filter(|(f, _)| !f.is_empty()) else { return false };
    (0..words.len()).any(|at| {
        if !words[at..].starts_with(first) {
            return false;
        }
        let mut end = at + first.len();
        rest.iter().all(|part| {
            let next =
                (end..=end + MOST_GAP_WORDS).find(|&i| words.get(i..).is_some_and(|w| w.starts_with(part)));
            next.is_some_and(|i| {
                end = i + part.len();
                true
            })
        })
    })
}

fn found_chinese(question: &str, parts: &[Vec<String>]) -> bool {
    let Some(first) = parts.first().and_then(|p| p.first()).filter(|f| !f.is_empty()) else { return false };
    question.match_indices(first.as_str()).any(|(at, _)| {
        let mut end = at + first.len();
        parts[1..].iter().flatten().all(|part| {
            let Some(offset) = question[end..].find(part.as_str()) else { return false };
            let near =
                question[end..end + offset].chars().filter(|c| *c != '\u{1}').count() <= MOST_GAP_CHARACTERS;
            end += offset + part.len();
            near
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, pack};

    fn link(question: &str) -> (Vec<String>, Option<String>) {
        let (_dir, pack) = pack(&elements());
        let linked = pack.lexicon.link(question, &[]);
        let names =
            linked.mentions.iter().flat_map(|m| &m.entities).map(|e| pack.lexicon.entities[e].0.clone());
        let best = linked.relations.first().and_then(|(r, _)| pack.lexicon.relation(*r));
        (names.collect(), best.map(|r| r.key.clone()))
    }

    #[test]
    fn names_and_relations_of_both_languages() {
        for (question, name, relation) in [
            ("What is the melting point of gold?", "Gold", "phasetransitions.melting_point"),
            ("At what temperature does iron melt?", "Iron", "phasetransitions.melting_point"),
            ("How dense is Au?", "Gold", "elements.density"),
            ("In which year was indium discovered?", "Indium", "elements.discovery_year"),
            ("Which element has the symbol In?", "Indium", "elements.name"),
            ("金的熔点是多少？", "Gold", "phasetransitions.melting_point"),
            ("水银的密度是多少？", "Mercury", "elements.density"),
            ("铟是哪一年被发现的？", "Indium", "elements.discovery_year"),
            ("原子序数为79的元素的密度？", "Gold", "elements.density"),
            ("For gold, what series does the source report?", "Gold", "elements.series_id"),
        ] {
            let found = link(question);
            assert_eq!(found, (vec![name.to_owned()], Some(relation.to_owned())), "{question}");
        }
    }

    #[test]
    fn common_words_are_not_symbols() {
        assert!(link("In what way do metals conduct heat?").0.is_empty());
        assert!(link("金属的密度是多少？").0.is_empty());
    }
}
