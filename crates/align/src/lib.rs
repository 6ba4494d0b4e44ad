//! Alignment: preference optimization, stability control, attacks, guards.
//!
//! - [`loss`]: the preference losses as plain functions with their gradients, and their form for training.
//! - [`preferences`]: the project's own requests, refusals and answers, in two languages and two splits.
//! - [`align`]: supervised tuning, then preference optimization, watched by a [`monitor`].
//! - [`measure`]: refusals of held-out requests and perplexity of neutral text; [`attack`]: red-team templates.
//! - [`guard`]: judges requests and responses while serving.

#![forbid(unsafe_code)]

pub mod attack;
mod error;
pub mod guard;
pub mod loss;
pub mod measure;
pub mod monitor;
pub mod preferences;
mod sequence;
#[cfg(test)]
mod testing;
mod tune;

pub use error::Error;
pub use tune::{
    Course, Event, Fault, Injection, Line, OPENING, Options, Phase, PhaseSummary, Progress, Ranking,
    StepRecord, Summary, align, rank_held_out,
};
