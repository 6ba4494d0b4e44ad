//! Packs, retrieval, checked answers with citations.
//!
//! - [`Pack::build`] compiles governed documents into one SQLite file: passages in a full-text index (BM25, Chinese
//!   segmented), facts (entity, relation, value, unit) from table rows and definitions, each with the bytes it stands
//!   on. [`Pack::delete`] removes a document and proves that nothing is left.
//! - [`ask`] retrieves, lets a model answer from the support, checks numbers, units and words against the source, and
//!   cites or abstains. [`look_up`] is the same without a model.
//! - [`questions`] generates questions with known answers from a pack; [`evaluate`] measures with retrieval, without
//!   it, and with the source removed.
//! - [`merge`](mod@merge) merges tuned checkpoints with each other or with their base.
//!
//! To name the columns of a source in questions: a table under `packs/`. To add a unit's spelling: `number.rs`.

mod answer;
mod ask;
mod build;
mod check;
mod cloze;
mod definition;
mod delete;
mod error;
mod evaluate;
mod fact;
mod lexicon;
pub mod merge;
mod number;
mod pack;
mod packs;
mod passage;
mod prompt;
pub mod questions;
pub mod specialize;
mod support;
mod terms;
#[cfg(test)]
mod testing;

pub use answer::{Answer, AskOptions, Citation, Role, Support, SupportKind};
pub use ask::ask;
pub use check::resolves;
pub use delete::DeletionReport;
pub use error::Error;
pub use evaluate::{Arm, Counts, Evaluation, Outcome, Verdict, evaluate, question_grade};
pub use pack::{FILE_NAME, Hit, Pack, Size};
pub use packs::elements::TABLES as ELEMENT_TABLES;
pub use support::look_up;
