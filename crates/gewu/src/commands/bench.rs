//! `gewu bench`: speed as one JSON object on standard output.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use model::{GenerateOptions, LanguageModel};
use serde_json::json;

use super::options::{ModelArguments, print_json};
use crate::failure::bad_input;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Tokens per second of reading a prompt and of writing
    Decode(Decode),
    /// Documents and bytes per second of governance
    Data(Data),
}

#[derive(clap::Args)]
pub(crate) struct Decode {
    #[command(flatten)]
    model: ModelArguments,
    /// Tokens to write
    #[arg(long, value_name = "N", default_value_t = 128)]
    tokens: usize,
    /// Words of the prompt
    #[arg(long, value_name = "N", default_value_t = 256)]
    prompt_words: usize,
    /// Always the output of this verb
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Data {
    /// A folder or file to govern
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Always the output of this verb
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Decode(arguments) => decode(arguments),
        Command::Data(arguments) => govern(arguments),
    }
}

fn decode(arguments: &Decode) -> Result<()> {
    let started = Instant::now();
    let mut model = arguments.model.open()?;
    let load = started.elapsed().as_secs_f64();
    let prompt = "the quick brown fox jumps over the lazy dog ".repeat(arguments.prompt_words.div_ceil(9));
    // The first token waits for the prompt; the clock of writing starts with it.
    let options = GenerateOptions { max_tokens: 1, ..GenerateOptions::default() };
    let started = Instant::now();
    let first = model.generate(&prompt, &options, &mut |_| true)?;
    let read = started.elapsed().as_secs_f64();
    let options = GenerateOptions { max_tokens: arguments.tokens, ..options };
    let started = Instant::now();
    let generation = model.generate(&prompt, &options, &mut |_| true)?;
    let write = started.elapsed().as_secs_f64();
    print_json(&json!({
        "model": model.name(),
        "cpu": kernels::cpu::chosen()?.name(),
        "threads": kernels::pool::threads(),
        "load_seconds": load,
        "prompt_tokens": first.prompt_tokens,
        "prompt_tokens_per_second": first.prompt_tokens as f64 / read,
        "generated_tokens": generation.tokens.len(),
        "generated_tokens_per_second": generation.tokens.len() as f64 / write,
    }))
}

fn govern(arguments: &Data) -> Result<()> {
    if !arguments.path.exists() {
        return Err(bad_input(format!("`{}` does not exist", arguments.path.display())));
    }
    let out = std::env::temp_dir().join(format!("gewu-bench-{}", std::process::id()));
    std::fs::create_dir_all(&out)?;
    let started = Instant::now();
    let result = ledger::Ledger::open(out.join("ledger.sqlite")).map_err(anyhow::Error::from).and_then(
        |mut ledger| {
            Ok(data::govern(&data::GovernConfig::curated(&arguments.path), &out, &mut ledger, &mut |_| {})?)
        },
    );
    let seconds = started.elapsed().as_secs_f64();
    let _ = std::fs::remove_dir_all(&out);
    let report = result?;
    print_json(&json!({
        "documents": report.documents_read,
        "bytes": report.bytes_read,
        "kept": report.documents_kept,
        "seconds": seconds,
        "documents_per_second": report.documents_read as f64 / seconds,
        "megabytes_per_second": report.bytes_read as f64 / 1e6 / seconds,
    }))
}
