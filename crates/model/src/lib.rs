//! What is inside a checkpoint: configuration, blocks, weights, tokenizer, templates, sampling.

mod error;
mod language_model;

pub use error::Error;
pub use language_model::{
    Finish, GenerateOptions, Generation, LanguageModel, LogLikelihood, Message, RollingLogLikelihood,
};
