//! Training a model: examples, packing, AdamW, schedules, exact resume, and small studies.
//!
//! - [`Example`]: tokens and which of them count; [`chat_example`] learns an answer, [`Example::text`] a text.
//! - [`vocabulary`]: tokenizers made here, of bytes, characters or byte pairs.
//! - [`packing`]: whole examples packed into runs, in an order the seed decides.
//! - [`Schedule`], [`AdamWConfig`]: the rate over the steps, the optimizer.
//!
//! Same seed, same inputs: same bits, whatever the number of threads and wherever a training was interrupted.

#![forbid(unsafe_code)]

mod adamw;
mod error;
mod example;
pub mod packing;
mod schedule;
pub mod vocabulary;

pub use adamw::{AdamWConfig, decays};
pub use error::Error;
pub use example::{Example, chat_example};
pub use schedule::{Schedule, Shape};
