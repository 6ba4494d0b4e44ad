//! `gewu bench`: speed as one JSON object on standard output.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use kernels::gemm::Precision;
use model::{Activation, Checkpoint, GenerateOptions, LanguageModel, LowRank, Parameters};
use serde_json::json;
use train::speed::{Course, SETUPS, Setup};
use train::{Learner, Method, OptimizerConfig};

use super::options::{ModelArguments, print_json};
use crate::failure::bad_input;
use crate::pull::{self, DEFAULT_MODEL};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Tokens per second of reading a prompt and of writing
    Decode(Decode),
    /// Documents and bytes per second of governance
    Data(Data),
    /// Tokens per second of training steps
    Train(Train),
}

#[derive(clap::Args)]
pub(crate) struct Train {
    /// tiny, gpt-5m, gpt-30m (from scratch); lora, full (the model of --model, 512 tokens, batch 4)
    #[arg(long, value_name = "NAME", default_value = "gpt-5m")]
    config: String,
    /// For lora and full: a .gguf file, a folder with safetensors, or a source
    #[arg(long, value_name = "FILE", default_value = DEFAULT_MODEL)]
    model: String,
    /// Steps that count, after three that do not
    #[arg(long, value_name = "N", default_value_t = 20)]
    steps: usize,
    /// Tokens of a sequence instead of the configuration's
    #[arg(long, value_name = "N")]
    length: Option<usize>,
    /// Sequences per step instead of the configuration's
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// How parameters move (`gewu list optimizers`)
    #[arg(long, value_name = "NAME", default_value_t = Method::Adamw)]
    optimizer: Method,
    /// Learning rate
    #[arg(long, value_name = "R", default_value_t = 1e-3)]
    rate: f32,
    /// Decides weights and stream
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Run every block again in the backward pass: less memory, more time
    #[arg(long)]
    recompute: bool,
    /// With --recompute: every weight moves as soon as its gradient is there; takes a pass more to clip
    #[arg(long, requires = "recompute")]
    at_once: bool,
    /// Keep what the optimizer remembers in files of this folder, mapped into memory
    #[arg(long, value_name = "FOLDER")]
    state_in: Option<PathBuf>,
    /// No clipping of the gradient's norm
    #[arg(long)]
    no_clip: bool,
    /// Seconds and calls of every operation in a step
    #[arg(long)]
    timings: bool,
    /// Matrix products in f32 instead of bf16
    #[arg(long)]
    f32: bool,
    /// Always the output of this verb
    #[arg(long)]
    json: bool,
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
        Command::Train(arguments) => train(arguments),
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

fn train(arguments: &Train) -> Result<()> {
    let (parameters, (length, batch)) = match arguments.config.as_str() {
        "lora" | "full" => {
            let checkpoint = Checkpoint::open(&pull::model(&arguments.model)?)?;
            let kind = match arguments.config.as_str() {
                "lora" => model::Train::LowRank(LowRank::default()),
                _ => model::Train::Everything,
            };
            (Parameters::open(&checkpoint, &kind, arguments.seed)?, (512, 4))
        }
        name => {
            let setup = SETUPS.iter().find(|setup| setup.name == name).ok_or_else(|| {
                let known: Vec<_> = SETUPS.iter().map(|setup| setup.name).collect();
                bad_input(format!(
                    "no configuration is called `{name}`; known: {}, lora, full",
                    known.join(", ")
                ))
            })?;
            let setup = Setup { length: arguments.length.unwrap_or(setup.length), ..*setup };
            (setup.parameters(arguments.seed)?, (setup.length, setup.batch))
        }
    };
    let shape = (arguments.length.unwrap_or(length), arguments.batch.unwrap_or(batch));
    if shape.0 == 0 || shape.1 == 0 || arguments.steps == 0 {
        return Err(bad_input("--length, --batch and --steps must be at least 1"));
    }
    let (activation, precision) = match arguments.f32 {
        true => (Activation::F32, Precision::F32),
        false => (Activation::Bf16, Precision::BF16),
    };
    let Train { rate, steps, seed, recompute, at_once, timings, .. } = *arguments;
    let ((length, batch), method) = (shape, arguments.optimizer);
    let mut optimizer = OptimizerConfig { method, ..OptimizerConfig::default() };
    if arguments.no_clip {
        optimizer.clip_norm = None;
    }
    let course = Course { length, batch, rate, steps, seed, recompute, at_once, timings };
    let learner = match &arguments.state_in {
        Some(folder) => Learner::new_in(parameters, &optimizer, folder)?,
        None => Learner::new(parameters, &optimizer),
    };
    let speed = train::speed::measure(learner.with_activation(activation), course)?;
    let peak = kernels::gemm::peak(precision) / 1e9;
    print_json(&json!({
        "config": arguments.config,
        "optimizer": method.to_string(),
        "tokens_per_s": speed.tokens_per_s,
        "gflops": speed.gflops,
        "peak_gflops": peak,
        "peak_fraction": speed.gflops / peak,
        "rss_bytes": peak_rss(),
        "loss": speed.loss,
        "parameters": speed.parameters,
        "step_seconds": speed.step_seconds,
        "fastest_step_seconds": speed.fastest_seconds,
        "steps": speed.steps,
        "operations": speed.operations,
        "recompute": recompute,
        "at_once": at_once,
        "state_in_files": arguments.state_in.is_some(),
        "clip_norm": optimizer.clip_norm,
        "length": shape.0,
        "batch": shape.1,
        "cpu": kernels::cpu::chosen()?.name(),
        "threads": kernels::pool::threads(),
    }))
}

/// The most memory this process has held so far, in bytes, where the system tells.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
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
