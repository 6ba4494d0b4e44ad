//! Trains `gpt-5m` (or another configuration of `gewu bench train`) on the bytes of a text and follows the loss of its last twentieth:
//! `cargo run --release -p train --example text_loss -- TEXT [SETTINGS.json] [FOLDER]`.
//!
//! SETTINGS.json may hold `config`, `optimizer` (`train::OptimizerConfig`), `schedule`, `rate`, `steps`, `seed`,
//! `evaluate_every`, `f32`. FOLDER receives what another system needs to do the same: the first weights
//! (`weights.safetensors`), where the windows of every step begin (`offsets.bin`, u32), the rates (`rates.bin`, f32).
//! Prints a JSON line for every measurement; `seconds` count training alone.

use std::path::Path;
use std::time::Instant;

use model::Activation;
use serde_json::{Value, json};
use tasks::Random;
use train::speed::SETUPS;
use train::{Batch, Learner, OptimizerConfig, Schedule, Sequence, Shape, next_tokens};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Windows of the held-out part that are measured.
const WINDOWS: usize = 64;

fn window(text: &[u8], at: usize, length: usize) -> Sequence {
    let tokens: Vec<u32> = text[at..=at + length].iter().map(|byte| u32::from(*byte)).collect();
    next_tokens(&tokens)
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
    let name = settings["config"].as_str().unwrap_or("gpt-5m");
    let setup = SETUPS.iter().find(|setup| setup.name == name).ok_or("no configuration of that name")?;
    let length = setup.length;
    let parts = text.len() / 20 * 19;
    let (training, held_out) = text.split_at(parts);
    if held_out.len() < WINDOWS * (length + 1) {
        return Err("the text is too short; give at least a megabyte".into());
    }
    let parameters = setup.parameters(seed)?;
    let mut random = Random::new(seed, "text_loss");
    let offsets: Vec<usize> =
        (0..steps * setup.batch).map(|_| random.below(training.len() - length - 1)).collect();
    let rates: Vec<f32> = (0..steps).map(|step| rate * schedule.share(step, steps)).collect();
    if let Some(folder) = args.next() {
        let folder = Path::new(&folder);
        std::fs::create_dir_all(folder)?;
        parameters.save(&folder.join("weights.safetensors"))?;
        let offsets: Vec<u8> = offsets.iter().flat_map(|offset| (*offset as u32).to_le_bytes()).collect();
        std::fs::write(folder.join("offsets.bin"), offsets)?;
        let rates: Vec<u8> = rates.iter().flat_map(|rate| rate.to_le_bytes()).collect();
        std::fs::write(folder.join("rates.bin"), rates)?;
    }
    let mut learner = Learner::new(parameters, &optimizer).with_activation(activation);
    let spacing = (held_out.len() - length - 1) / WINDOWS;
    let measured = (0..WINDOWS).map(|index| window(held_out, index * spacing, length));
    let measured: Vec<Sequence> = measured.collect();
    let (mut seconds, mut recent) = (0.0, Vec::new());
    for (step, starts) in offsets.chunks_exact(setup.batch).enumerate() {
        let batch: Vec<Sequence> = starts.iter().map(|at| window(training, *at, length)).collect();
        let started = Instant::now();
        let batch = Batch::of_queries(&batch);
        let share = 1.0 / batch.scored() as f32;
        let report = learner
            .step(rates[step], 1, &mut |transformer, _| Ok(batch.losses(transformer)?.sum() * share))?;
        seconds += started.elapsed().as_secs_f64();
        recent.push(report.loss);
        if (step + 1) % every == 0 || step + 1 == steps {
            let transformer = learner.parameters().freeze(Activation::F32)?;
            let (mut sum, mut count) = (0.0, 0);
            for part in measured.chunks(setup.batch) {
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
