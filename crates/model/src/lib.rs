//! What is inside a checkpoint: configuration, blocks, weights, tokenizer, templates, sampling.

mod blocks;
mod cache;
mod checkpoint;
pub mod config;
pub mod convert;
mod error;
pub mod families;
pub mod hooks;
mod init;
mod language_model;
mod local;
pub mod mixers;
mod packed;
mod parameters;
mod sampling;
mod stream;
pub mod template;
pub mod tokenizer;
mod transformer;
pub mod weights;

pub use cache::{Cache, Snapshot};
pub use checkpoint::Checkpoint;
pub use config::Config;
pub use error::Error;
pub use hooks::Hooks;
pub use init::Init;
pub use language_model::{
    Finish, GenerateOptions, Generation, LanguageModel, LogLikelihood, Message, RollingLogLikelihood,
};
pub use local::{LoadOptions, Local, common_prefix};
pub use ops::{Activation, memory, optimizer, pool, timing};
pub use packed::Packed;
pub use parameters::{LowRank, Parameters, Tracked, Train};
pub use transformer::{Transformer, Want, WeightSource};
