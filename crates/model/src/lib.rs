//! What is inside a checkpoint: configuration, blocks, weights, tokenizer, templates, sampling.

pub mod config;
mod error;
mod language_model;
pub mod mixers;

pub use config::Config;
pub use error::Error;
pub use language_model::{
    Finish, GenerateOptions, Generation, LanguageModel, LogLikelihood, Message, RollingLogLikelihood,
};
