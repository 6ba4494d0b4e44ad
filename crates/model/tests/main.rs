//! Checkpoints as a whole: files in, conversions, corruption, tokens, text.

mod files;
mod local;
mod mixed_text;
mod recorded;
mod tiny;
mod tokenizer;
mod training;
