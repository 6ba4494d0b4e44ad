//! `gewu eval`: the built-in tasks, perplexity, comparison of two scorecards.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use eval::{RunOptions, Scorecard};

use super::options::{ModelArguments, print_json, print_line};
use crate::progress;
use crate::recipe::Evaluate;
use crate::stages::{evaluate_options, hash_of};

/// Tokens of a perplexity window unless --context says otherwise, as in llama.cpp.
const WINDOW: usize = 512;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Score a model on the built-in tasks (`gewu list tasks`)
    Run(Tasks),
    /// How well a model predicts a text, in windows of --context tokens (512), the second half of each scored
    Perplexity(Perplexity),
    /// Compare two scorecards item by item
    Compare(Compare),
}

#[derive(clap::Args)]
pub(crate) struct Tasks {
    #[command(flatten)]
    model: ModelArguments,
    /// Only these tasks
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    tasks: Vec<String>,
    /// Only these languages: en, zh
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    languages: Vec<String>,
    /// Every item, not a sample
    #[arg(long)]
    full: bool,
    /// At most this many items of each task and language
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// Seed of the items
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write the scorecard here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Log of answers, to continue an interrupted evaluation
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print the scorecard as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Perplexity {
    #[command(flatten)]
    model: ModelArguments,
    /// The text
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Compare {
    /// A scorecard
    first: PathBuf,
    /// Another
    second: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Run(arguments) => tasks(arguments),
        Command::Perplexity(arguments) => perplexity(arguments),
        Command::Compare(arguments) => compare(arguments),
    }
}

fn tasks(arguments: &Tasks) -> Result<()> {
    let evaluate = Evaluate {
        tasks: arguments.tasks.clone(),
        languages: arguments.languages.clone(),
        profile: if arguments.full { "full".into() } else { "quick".into() },
        limit: arguments.limit,
    };
    let options = evaluate_options(&evaluate, arguments.seed)?;
    let path = arguments.model.path()?;
    let weights = hash_of(&path)?;
    // A log answers only for the same weights, activations and instruction level.
    let activations = format!("{:?}", arguments.model.activations);
    let model_hash = ledger::short_hash(&[&weights, &activations, kernels::cpu::chosen()?.name()]);
    let mut model = arguments.model.open()?;
    let options = RunOptions { model_hash, log: arguments.log.clone(), ..options };
    let bar = progress::bar(0, "evaluate");
    let scorecard = eval::run(&mut model, &options, &mut |at| {
        bar.set_length(at.total as u64);
        bar.set_position(at.done as u64);
    })?;
    bar.finish_and_clear();
    if let Some(out) = &arguments.out {
        ledger::write_atomic(out, serde_json::to_string_pretty(&scorecard)?.as_bytes())?;
    }
    if arguments.json {
        return print_json(&scorecard);
    }
    for cell in &scorecard.dimensions {
        let interval =
            cell.interval.map_or(String::new(), |i| format!("[{:.1}, {:.1}]", 100.0 * i.low, 100.0 * i.high));
        print_line(&format!(
            "{:22} {}  n {:4}  {:5.1} % {interval}",
            cell.dimension.name(),
            cell.language.code(),
            cell.n,
            100.0 * cell.score
        ))?;
    }
    Ok(())
}

fn perplexity(arguments: &Perplexity) -> Result<()> {
    let bytes = std::fs::read(&arguments.file)
        .with_context(|| format!("cannot read `{}`", arguments.file.display()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        crate::failure::bad_input(format!("`{}` is not UTF-8: {error}", arguments.file.display()))
    })?;
    let mut model = arguments.model.open()?;
    let result = eval::perplexity(&mut model, &text, arguments.model.context.unwrap_or(WINDOW))?;
    if arguments.json {
        return print_json(&result);
    }
    let interval = result.interval.map_or(String::new(), |i| format!(" [{:.2}, {:.2}]", i.low, i.high));
    print_line(&format!("perplexity {:.4}{interval} over {} tokens", result.perplexity, result.tokens))
}

fn compare(arguments: &Compare) -> Result<()> {
    let comparison = eval::compare(&read(&arguments.first)?, &read(&arguments.second)?)?;
    if arguments.json {
        return print_json(&comparison);
    }
    for row in &comparison.rows {
        print_line(&format!(
            "{:22} {}  {:5.1} % → {:5.1} %  p {:.3} (Holm)  {:?}",
            row.dimension.name(),
            row.language.code(),
            100.0 * row.first,
            100.0 * row.second,
            row.adjusted_p,
            row.settled
        ))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Scorecard> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| crate::failure::bad_input(format!("`{}` is not JSON: {error}", path.display())))?;
    // The scorecard of a run folder holds the evaluation beside other things.
    let inner = value.get_mut("evaluation").map(serde_json::Value::take);
    serde_json::from_value(inner.unwrap_or(value))
        .map_err(|error| crate::failure::bad_input(format!("`{}` is no scorecard: {error}", path.display())))
}
