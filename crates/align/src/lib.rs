//! Alignment: preference optimization, stability control, attacks, guards.
//!
//! - [`loss`]: the preference losses as plain functions with their gradients, and their form for training.
//! - [`preferences`]: the project's own requests, refusals and answers, in two languages and two splits.

#![forbid(unsafe_code)]

mod error;
pub mod loss;
pub mod preferences;

pub use error::Error;
