//! `gewu generate`: continue a prompt, streaming to standard output.

use std::io::Read;

use anyhow::{Context, Result};
use model::{LanguageModel, Message};
use serde_json::json;

use super::options::{ModelArguments, SamplingArguments, print_json, print_line, print_text};
use crate::failure::bad_input;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The text to continue; `-` reads standard input
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Treat the prompt as a user's message: wrap it in the model's chat template
    #[arg(long)]
    chat: bool,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Print one JSON object at the end instead of streaming
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut text = arguments.prompt.clone();
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("cannot read the prompt from standard input")?;
    }
    if text.is_empty() {
        return Err(bad_input("the prompt is empty"));
    }
    let mut model = arguments.model.open()?;
    let prompt = if arguments.chat { model.chat_prompt(&[Message::new("user", text)])? } else { text };
    let mut failed = None;
    let generation = model.generate(&prompt, &arguments.sampling.options(), &mut |piece| {
        if !arguments.json
            && let Err(error) = print_text(piece)
        {
            failed = Some(error);
        }
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    if !arguments.json {
        return print_line("");
    }
    print_json(&json!({
        "model": model.name(),
        "text": generation.text,
        "tokens": generation.tokens,
        "prompt_tokens": generation.prompt_tokens,
        "generated_tokens": generation.tokens.len(),
        "finish": generation.finish,
        "seed": arguments.sampling.seed,
    }))
}
