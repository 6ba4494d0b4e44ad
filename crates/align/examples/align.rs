//! Aligns a checkpoint and measures it before and after:
//! `cargo run --release -p align --example align -- MODEL.gguf [SETTINGS.json] [ADAPTER.safetensors]`.
//!
//! SETTINGS.json may hold `options` (`align::Options`), `measure` (`align::measure::MeasureOptions`), `rank`, `alpha`, `first_block`,
//! `targets`, `from` (an adapter to begin with), `scale` (of it), `before` (measure before training; default true), `texts` and `full`. Prints one JSON object at the end.

use std::path::Path;
use std::time::Instant;

use align::attack::attacks;
use align::measure::{MeasureOptions, perplexities, refusals};
use align::{Options, align};
use model::{Activation, Checkpoint, Local, LowRank, Parameters, Train};
use serde_json::json;
use train::{Learner, OptimizerConfig};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn measure(local: &mut Local, options: &MeasureOptions, texts: bool) -> Outcome<serde_json::Value> {
    let start = Instant::now();
    let perplexity = perplexities(local, options.window)?;
    let seconds = start.elapsed().as_secs_f64();
    let lines = refusals(local, options, &mut |_, _| true)?.unwrap_or_default();
    let refusal_seconds = start.elapsed().as_secs_f64() - seconds;
    let attack_lines = match options.attacked {
        0 => Vec::new(),
        _ => attacks(local, options, &mut |_, _| true)?.unwrap_or_default(),
    };
    for line in &lines {
        let refused = line.refused;
        eprintln!(
            "{:?} {:?}: refused {:.3} [{:.3}, {:.3}] of {}; degenerate {:.3}",
            line.side,
            line.language,
            refused.value,
            refused.interval.low,
            refused.interval.high,
            refused.n,
            line.degenerate.value
        );
        for answer in line.answers.iter().filter(|_| texts) {
            let response = answer.response.replace('\n', " / ");
            eprintln!("    {:?} {} => {response}", answer.outcome, answer.prompt);
        }
    }
    for line in &attack_lines {
        let (success, noise) = (line.success.value, line.degenerate.value);
        eprintln!("{:?}: success {success:.3} of {}, degenerate {noise:.3}", line.attack, line.success.n);
    }
    let all = start.elapsed().as_secs_f64();
    eprintln!(
        "perplexity {perplexity:?}; seconds: {seconds:.1}, refusals {refusal_seconds:.1}, all {all:.1}"
    );
    Ok(json!({"perplexity": perplexity, "refusals": lines, "attacks": attack_lines}))
}

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("name a checkpoint")?;
    let settings: serde_json::Value = match args.next() {
        Some(file) => serde_json::from_str(&std::fs::read_to_string(file)?)?,
        None => json!({}),
    };
    let adapter = args.next();
    let options: Options = match settings.get("options") {
        Some(options) => serde_json::from_value(options.clone())?,
        None if settings["full"] == true => Options::full(),
        None => Options::default(),
    };
    let measured: MeasureOptions = match settings.get("measure") {
        Some(measured) => serde_json::from_value(measured.clone())?,
        None => MeasureOptions::default(),
    };
    let mut low_rank = LowRank::default();
    low_rank.rank = settings["rank"].as_u64().map_or(low_rank.rank, |rank| rank as usize);
    low_rank.alpha = settings["alpha"].as_f64().map_or(low_rank.alpha, |alpha| alpha as f32);
    low_rank.first_block = settings["first_block"].as_u64().unwrap_or(0) as usize;
    if let Some(targets) = settings["targets"].as_array() {
        low_rank.targets = targets.iter().filter_map(|t| t.as_str().map(str::to_string)).collect();
    }
    let checkpoint = Checkpoint::open(Path::new(&path))?;
    let tokenizer = checkpoint.tokenizer()?;
    let template = checkpoint.chat_template(&tokenizer)?;
    let mut parameters = Parameters::open(&checkpoint, &Train::LowRank(low_rank), options.seed)?;
    if let Some(from) = settings["from"].as_str() {
        parameters.load(Path::new(from))?;
    }
    if let Some(scale) = settings["scale"].as_f64() {
        let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
        for name in names.iter().filter(|name| name.ends_with("low_rank_b")) {
            parameters.update(name, |values| values.iter_mut().for_each(|value| *value *= scale as f32))?;
        }
    }
    eprintln!("{} numbers trained", parameters.trainable_count());
    let texts = settings["texts"] == true;
    let view = |parameters: &Parameters| -> Outcome<Local> {
        let (tokenizer, transformer) = (checkpoint.tokenizer()?, parameters.freeze(Activation::Int8)?);
        let template = checkpoint.chat_template(&tokenizer)?;
        Ok(Local::new("model", transformer, tokenizer, template)?)
    };
    let before = match settings["before"] == false {
        true => serde_json::Value::Null,
        false => measure(&mut view(&parameters)?, &measured, texts)?,
    };
    let optimizer = OptimizerConfig { weight_decay: 0.0, ..OptimizerConfig::default() };
    let mut learner = Learner::new(parameters, &optimizer).with_activation(Activation::Bf16);
    let start = Instant::now();
    let summary = align(&mut learner, &tokenizer, &template, &options, &mut |progress| {
        let r = progress.record;
        let pair = match (r.rejected, r.margin, r.accuracy, r.divergence) {
            (Some(rejected), Some(margin), Some(accuracy), Some(kl)) => {
                format!(" rejected {rejected:.2} margin {margin:.2} accuracy {accuracy:.2} kl {kl:.3}")
            }
            _ => String::new(),
        };
        eprintln!(
            "{:?} {}/{} loss {:.3} norm {:.2} chosen {:.2}{pair} entropy {:.2} drift {:?}{} {:.0} s",
            progress.phase,
            progress.step,
            progress.steps,
            r.loss,
            r.gradient_norm,
            r.chosen,
            r.entropy,
            r.drift,
            if r.undone { " UNDONE" } else { "" },
            start.elapsed().as_secs_f64()
        );
        true
    })?;
    let seconds = start.elapsed().as_secs_f64();
    summary.lines.iter().for_each(|line| eprintln!("{line:?}"));
    let tokens: usize = summary.phases.iter().map(|phase| phase.trained_tokens).sum();
    eprintln!(
        "trained on {tokens} tokens, {} of the reference, in {seconds:.0} s; events {:?}",
        summary.reference_tokens, summary.events
    );
    if let Some(adapter) = adapter {
        learner.parameters().save(Path::new(&adapter))?;
    }
    let after = measure(&mut view(learner.parameters())?, &measured, texts)?;
    println!("{}", json!({"before": before, "summary": summary, "seconds": seconds, "after": after}));
    Ok(())
}
