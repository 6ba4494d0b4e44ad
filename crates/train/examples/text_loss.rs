//! Trains `gpt-5m` (or another configuration of `gewu bench train`) on the bytes of a text, or a whole checkpoint on
//! its tokens, and follows the loss of the text's last twentieth:
//! `cargo run --release -p train --example text_loss -- TEXT [SETTINGS.json] [FOLDER]`.
//!
//! SETTINGS.json may hold `config` or `model` (a checkpoint), `optimizer` (`train::OptimizerConfig`), `schedule`,
//! `rate`, `steps`, `seed`, `evaluate_every`, `windows` (held-out windows that are measured), `f32`. FOLDER receives what
//! another system needs to do the same: the shape (`shape.json`), the text's tokens (`tokens.bin`, u32), the first
//! weights (`weights.safetensors`), where the windows of every step begin (`offsets.bin`, u32), the rates (`rates.bin`,
//! f32). Prints a JSON line for every measurement; `seconds` count training alone.

use std::path::Path;
use std::time::Instant;

use model::{Activation, Checkpoint, Parameters, Train};
use serde_json::{Value, json};
use tasks::Random;
use train::speed::SETUPS;
use train::{Batch, Learner, OptimizerConfig, Schedule, Sequence, Shape, next_tokens};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What is trained, on which tokens, in sequences of which length, how many per step.
struct Task {
    parameters: Parameters,
    tokens: Vec<u32>,
    length: usize,
    batch: usize,
}

fn task(text: &[u8], settings: &Value, seed: u64) -> Outcome<Task> {
    if let Some(model) = settings["model"].as_str() {
        let checkpoint = Checkpoint::open(Path::new(model))?;
        let parameters = Parameters::open(&checkpoint, &Train::Everything, seed)?;
        let tokens = checkpoint.tokenizer()?.encode(std::str::from_utf8(text)?);
        return Ok(Task { parameters, tokens, length: 512, batch: 4 });
    }
    let name = settings["config"].as_str().unwrap_or("gpt-5m");
    let setup = SETUPS.iter().find(|setup| setup.name == name).ok_or("no configuration of that name")?;
    let tokens = text.iter().map(|byte| u32::from(*byte)).collect();
    Ok(Task { parameters: setup.parameters(seed)?, tokens, length: setup.length, batch: setup.batch })
}

fn window(tokens: &[u32], at: usize, length: usize) -> Sequence {
    next_tokens(&tokens[at..=at + length])
}

fn bytes<const N: usize>(numbers: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    numbers.flatten().collect()
}

fn main() -> Outcome<()> {
    model::memory::keep_freed();
    let mut args = std::env::args().skip(1);
    let text = std::fs::read(args.next().ok_or("name a text")?)?;
    let settings: Value = match args.next() {
        Some(file) => serde_json::from_str(&std::fs::read_to_string(file)?)?,
        None => json!({}),
    };
    let optimizer: OptimizerConfig = match settings.get("optimizer") {
        Some(optimizer) => serde_json::from_value(optimizer.clone())?,
        None => OptimizerConfig::default(),
    };
    let schedule: Schedule = match settings.get("schedule") {
        Some(schedule) => serde_json::from_value(schedule.clone())?,
        None => Schedule { warmup: 20, shape: Shape::Cosine { floor: 0.1 } },
    };
    let number = |key: &str, default: f64| settings[key].as_f64().unwrap_or(default);
    let (rate, steps) = (number("rate", 1e-3) as f32, number("steps", 1000.0) as usize);
    let (seed, every) = (number("seed", 0.0) as u64, number("evaluate_every", 250.0) as usize);
    let activation = if settings["f32"] == true { Activation::F32 } else { Activation::Bf16 };
    let windows = number("windows", 64.0).max(1.0) as usize;
    let Task { parameters, tokens, length, batch } = task(&text, &settings, seed)?;
    let (training, held_out) = tokens.split_at(tokens.len() / 20 * 19);
    if held_out.len() <= windows + length || training.len() <= length + 1 {
        return Err("the text is too short; give at least a megabyte".into());
    }
    let mut random = Random::new(seed, "text_loss");
    let offsets: Vec<usize> = (0..steps * batch).map(|_| random.below(training.len() - length - 1)).collect();
    let rates: Vec<f32> = (0..steps).map(|step| rate * schedule.share(step, steps)).collect();
    if let Some(folder) = args.next() {
        let folder = Path::new(&folder);
        std::fs::create_dir_all(folder)?;
        parameters.save(&folder.join("weights.safetensors"))?;
        let shape =
            json!({"config": parameters.config(), "length": length, "batch": batch, "windows": windows});
        std::fs::write(folder.join("shape.json"), shape.to_string())?;
        std::fs::write(folder.join("tokens.bin"), bytes(tokens.iter().map(|token| token.to_le_bytes())))?;
        let starts = offsets.iter().map(|offset| (*offset as u32).to_le_bytes());
        std::fs::write(folder.join("offsets.bin"), bytes(starts))?;
        std::fs::write(folder.join("rates.bin"), bytes(rates.iter().map(|rate| rate.to_le_bytes())))?;
    }
    let mut learner = Learner::new(parameters, &optimizer).with_activation(activation);
    let spacing = (held_out.len() - length - 1) / windows;
    let measured = (0..windows).map(|index| window(held_out, index * spacing, length));
    let measured: Vec<Sequence> = measured.collect();
    let (mut seconds, mut recent) = (0.0, Vec::new());
    for (step, starts) in offsets.chunks_exact(batch).enumerate() {
        let sequences: Vec<Sequence> = starts.iter().map(|at| window(training, *at, length)).collect();
        let started = Instant::now();
        let run = Batch::of_queries(&sequences);
        let share = 1.0 / run.scored() as f32;
        let report =
            learner.step(rates[step], 1, &mut |transformer, _| Ok(run.losses(transformer)?.sum() * share))?;
        seconds += started.elapsed().as_secs_f64();
        recent.push(report.loss);
        if (step + 1) % every == 0 || step + 1 == steps {
            let transformer = learner.parameters().freeze(Activation::F32)?;
            let (mut sum, mut count) = (0.0, 0);
            for part in measured.chunks(batch) {
                let losses = Batch::of_queries(part).losses(&transformer)?.into_data().convert::<f32>();
                let losses = losses.as_slice::<f32>().map_err(|error| format!("{error:?}"))?;
                sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
                count += losses.len();
            }
            let mean = recent.iter().sum::<f32>() / recent.len() as f32;
            recent.clear();
            println!(
                "{}",
                json!({"step": step + 1, "seconds": seconds, "train": mean, "held_out": sum / count as f64})
            );
        }
    }
    Ok(())
}
