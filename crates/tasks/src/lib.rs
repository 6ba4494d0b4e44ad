//! Tasks: an item, its grading, its reward.
//!
//! An [`Item`] carries its prompt and its [`Reference`]; [`Item::grade`] turns a [`Response`] into a [`Grade`]
//! whose score, from 0 to 1, is also the reward in training. Items come from seeded generators with known
//! answers, in English and Chinese; [`tasks()`] lists them. This crate does not know how a model works.
//!
//! [`ifeval`] and [`gsm8k`] read those public sets and judge by their rules; recorded verdicts prove them.
//!
//! [`recall`], [`parity`] and [`induction`] make token sequences without words, for small models trained from
//! scratch; a row's target is known, there is nothing to grade.
//!
//! To add a task: write a generator beside the others and add one row to the table in `task.rs`.
//! To add a form constraint: one variant in `constraint.rs`.

#![forbid(unsafe_code)]

mod constraint;
mod documents;
mod draft;
mod error;
mod facts;
mod grade;
pub mod gsm8k;
pub mod ifeval;
pub mod induction;
mod instructions;
mod item;
mod jobs;
mod lines;
mod logic;
mod numeral;
pub mod parity;
mod random;
pub mod recall;
mod refusal;
mod safety;
mod solution;
mod task;

pub use constraint::Constraint;
pub use error::Error;
pub use item::{Dimension, Grade, Item, Language, Reference, Request, Response, Turn, Verdict};
pub use random::Random;
pub use refusal::is_refusal;
pub use task::{ProtectedText, Setting, Task, approximate_tokens, find, protected_texts, tasks};

/// Version of the grading rules and generators; a stored verdict is only comparable under the same version.
pub const RULES_VERSION: u32 = 1;
