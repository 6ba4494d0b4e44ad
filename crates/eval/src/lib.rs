//! Running tasks on a language model and scoring what it says.
//!
//! [`run`] asks a model the items of the registered tasks and returns a [`Scorecard`]: for each dimension and
//! language the number of items, the score, its interval and the chance level. Each answer goes to an
//! append-only log as it comes, so an interrupted run continues where it stopped and ends in the same scorecard.
//! [`compare`] sets two scorecards side by side on the items they share; [`perplexity`] scores a text.
//!
//! This crate sees a model only through [`model::LanguageModel`] and grades only through [`tasks::Item`].

#![forbid(unsafe_code)]

mod comparison;
mod error;
mod log;
mod perplexity;
mod run;
mod scorecard;

pub use comparison::{Comparison, Row, compare};
pub use error::Error;
pub use perplexity::{Perplexity, perplexity};
pub use run::{Profile, Progress, RunOptions, run, run_items};
pub use scorecard::{Cell, Failure, ItemResult, Scorecard};
