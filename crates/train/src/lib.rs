//! Training a model: examples, packing, optimizers, schedules, exact resume, and small studies.
//!
//! - [`Example`]: tokens and which of them count; [`chat_example`] learns an answer, [`Example::text`] a text.
//! - [`vocabulary`]: tokenizers made here, of bytes, characters or byte pairs.
//! - [`Source`]: examples at hand, or [`Documents`] tokenized while steps compute.
//! - [`packing`]: whole examples packed into runs, in an order the seed decides.
//! - [`Learner`]: parameters and an optimizer (one of [`METHODS`]); [`Learner::step`] takes any loss, [`fit()`] takes examples and
//!   [`FitOptions`] and continues exactly after an interruption.
//! - [`plan`]: memory and time of a training before it begins.
//! - [`speed`]: how fast a step is, on shapes that other systems can run too.
//! - [`study`]: what small models from scratch can and cannot learn.
//!
//! Same seed, same inputs: same bits, whatever the number of threads and wherever a training was interrupted.

#![forbid(unsafe_code)]

mod error;
mod example;
mod fit;
mod learner;
mod optimizer;
pub mod packing;
pub mod plan;
mod schedule;
mod source;
pub mod speed;
pub mod study;
pub mod vocabulary;

pub use error::Error;
pub use example::{Example, chat_example};
pub use fit::{
    Anchor, Batch, Evaluation, Extent, FitOptions, Progress, Sequence, Summary, evaluate,
    evaluate_parameters, fit, fit_anchored, fit_measured, next_tokens,
};
pub use learner::{Learner, Snapshot, StepReport};
pub use optimizer::{About, Group, METHODS, Method, OptimizerConfig, decays, is_hidden_matrix};
pub use schedule::{Schedule, Shape};
pub use source::{Documents, Source};
