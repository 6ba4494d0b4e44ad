//! Alignment: preference optimization, stability control, attacks, guards.
//!
//! - [`loss`]: the preference losses as plain functions with their gradients, and their form for training.
//! - [`preferences`]: the project's own requests, refusals and answers, in two languages and two splits.
//! - [`measure`]: refusals of held-out requests and perplexity of neutral text; [`attack`]: red-team templates.

#![forbid(unsafe_code)]

pub mod attack;
mod error;
pub mod loss;
pub mod measure;
pub mod preferences;
#[cfg(test)]
mod testing;

pub use error::Error;
