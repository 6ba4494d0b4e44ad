//! Items for tuning a model on a pack, with the items that measure it.
//!
//! [`compile`] turns facts into questions in many wordings and prose into cloze and reading comprehension. What is
//! trained, what is a trained fact in a wording never trained, and what is never trained at all is decided by the seed.
//! [`closed_book`] and [`with_retrieval`] measure a model on items; [`replay`] lets the model write general text to be
//! mixed in, so that it forgets less.

mod facts;
mod measure;
mod prose;
mod replay;
mod wordings;

use std::collections::BTreeSet;

use ledger::{Derivation, Stream};
use model::Message;
use serde::{Deserialize, Serialize};

use crate::{Error, Pack, prompt, questions::Question};

pub use measure::{Graded, closed_book, correctness, with_retrieval};
pub use replay::{Replayed, replay, replay_tokens};

/// How to compile items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpecializeOptions {
    /// Decides every choice.
    pub seed: u64,
    /// Facts to train, taken evenly from the relations; all that are left if there are fewer.
    pub facts: usize,
    /// Facts never to train, taken evenly from the relations before the others.
    pub held_out: usize,
    /// English training wordings of each fact.
    pub wordings: usize,
    /// Chinese training wordings of each fact, where entity and relation have Chinese names.
    pub chinese: usize,
    /// Training items that go from the value to the entity, for each fact whose value only one entity has.
    pub reversed: usize,
    /// Training items of each fact as an attribute or as a statement to complete.
    pub statements: usize,
    /// Training items from prose: statements with a gap.
    pub cloze: usize,
    /// Training items that show a text and ask about it.
    pub reading: usize,
    /// Most items of each evaluation line.
    pub evaluation: usize,
    /// Longest value, in words; definitions may have thirty.
    pub value_words: usize,
    /// Relations (`table.column`, or `definition`); empty takes those a small model learns well, or all of them if the
    /// source is not a known one.
    pub relations: Vec<String>,
}

impl Default for SpecializeOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            facts: 80,
            held_out: 60,
            wordings: 8,
            chinese: 1,
            reversed: 1,
            statements: 2,
            cloze: 24,
            reading: 24,
            evaluation: 60,
            value_words: 4,
            relations: Vec::new(),
        }
    }
}

impl SpecializeOptions {
    /// What the measurements of the full run use.
    pub fn full() -> Self {
        Self { facts: 400, held_out: 240, cloze: 120, reading: 120, evaluation: 240, ..Self::default() }
    }
}

/// The shape of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// From the entity to the value.
    Question,
    /// From the value to the entity.
    Reversed,
    /// Entity and attribute, not a sentence.
    Attribute,
    /// A sentence to complete.
    Statement,
    /// A sentence of the source with a gap.
    Cloze,
    /// A text of the source and a question about it.
    Reading,
}

/// Bytes of a document an item stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Document id.
    pub document: String,
    /// First byte in the governed text.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
}

/// One item: what to say to the model and what it should answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The question with its known answer, as [`crate::question_grade`] takes it; its id is the item's.
    pub question: Question,
    /// The shape.
    pub form: Form,
    /// The fact (`relation/entity`), or empty for prose.
    pub fact: String,
    /// The wording before names were put in: tells seen from unseen ones.
    pub wording: String,
    /// The conversation before the answer, as [`messages`] makes it.
    pub messages: Vec<Message>,
    /// What the item was made from, the answer's place first.
    pub origins: Vec<Origin>,
}

impl Item {
    /// The answer to train on and to grade by.
    pub fn answer(&self) -> &str {
        &self.question.answer
    }
}

/// The three lines of a specialization.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Specialization {
    /// Trained facts in training wordings, and prose.
    pub train: Vec<Item>,
    /// The same facts in wordings that never occur in `train`.
    pub unseen_phrasing: Vec<Item>,
    /// Facts of which `train` has no item, in wordings of both kinds. Retrieval can still answer them.
    pub never_trained: Vec<Item>,
}

impl Specialization {
    /// Every item.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.train.iter().chain(&self.unseen_phrasing).chain(&self.never_trained)
    }

    /// How many different facts the training items hold.
    pub fn trained_facts(&self) -> usize {
        let facts: BTreeSet<&str> = self.train.iter().map(|i| i.fact.as_str()).collect();
        facts.iter().filter(|f| !f.is_empty()).count()
    }

    /// Lineage of every item: document to `item <id>`, with the bytes.
    pub fn derivations(&self) -> Vec<Derivation> {
        self.items()
            .flat_map(|item| item.origins.iter().map(move |origin| (item, origin)))
            .map(|(item, origin)| Derivation {
                parent: origin.document.clone(),
                child: format!("item {}", item.question.id),
                kind: "item".into(),
                location: format!("bytes {}..{}", origin.start, origin.end),
            })
            .collect()
    }
}

/// The conversation in which a question is asked without support: in tuning and in every closed-book measurement.
pub fn messages(question: &str) -> Vec<Message> {
    prompt::closed_book(question)
}

/// Compiles the items of a pack. The same pack and options give the same items.
///
/// # Errors
/// [`Error::Request`] if the pack has no fact to train, or too few to hold some out.
pub fn compile(pack: &Pack, options: &SpecializeOptions) -> Result<Specialization, Error> {
    let (trained, held) = facts::choose(pack, options)?;
    let mut out = Specialization {
        train: facts::training(pack, &trained, options)?,
        unseen_phrasing: facts::unseen(pack, &trained, options)?,
        never_trained: facts::never(pack, &held, options)?,
    };
    out.train.extend(prose::cloze(pack, &held, options)?);
    out.train.extend(prose::reading(pack, &trained, &held, options)?);
    Stream::new(options.seed, "knowledge.specialize.order").shuffle(&mut out.train);
    for (line, items) in [
        ("train", &mut out.train),
        ("unseen_phrasing", &mut out.unseen_phrasing),
        ("never_trained", &mut out.never_trained),
    ] {
        for (index, item) in items.iter_mut().enumerate() {
            item.question.id = format!("{line}/{index:05}");
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
