//! Alignment: preference optimization, stability control, attacks, guards.
//!
//! - [`loss`]: the preference losses as plain functions with their gradients, and their form for training.

#![forbid(unsafe_code)]

mod error;
pub mod loss;

pub use error::Error;
