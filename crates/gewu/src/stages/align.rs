//! Stage `align`: unsafe requests are refused, harmless look-alikes answered; refusals, attacks and general text
//! before and after.

use std::path::Path;

use align::attack::{AttackLine, attacks};
use align::guard::{Guard, GuardOptions};
use align::measure::{MeasureOptions, RefusalLine, refusals};
use align::preferences::{Side, split};
use anyhow::{Context, Result};
use model::template::ChatTemplate;
use model::{Activation, Checkpoint, Local, LowRank, Parameters, Train};
use serde_json::{Value, json};
use train::{Learner, OptimizerConfig};

use super::{Job, MODEL, neutral};
use crate::progress;

/// File of the guard that goes with the model.
const GUARD: &str = "guard.json";

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let base = job.model_before("align")?;
    let Job { run, loaded, recipe, .. } = job;
    run.stage("align", &inputs, |stage| -> Result<()> {
        let settings = &recipe.align;
        let text = neutral::text(&recipe.neutral)?;
        let measure = MeasureOptions {
            requests: settings.requests,
            attacked: settings.attacked,
            max_tokens: settings.max_tokens,
            ..MeasureOptions::default()
        };
        let model = super::load(loaded, &base)?;
        let before = Behavior::measure(model, &measure)?;
        let perplexity = eval::perplexity(model, &text, neutral::WINDOW)?;

        let checkpoint = Checkpoint::open(&base)?;
        let template = checkpoint.chat_template(model.tokenizer())?;
        // Whether to refuse is read off in the middle blocks; what comes before them may stay.
        let first_block = checkpoint.config().layers.len() / 4;
        let low_rank =
            LowRank { rank: settings.rank, alpha: settings.alpha, first_block, ..LowRank::default() };
        let parameters = Parameters::open(&checkpoint, &Train::LowRank(low_rank), recipe.seed)?;
        let optimizer = OptimizerConfig { weight_decay: 0.0, ..OptimizerConfig::default() };
        let mut learner = Learner::new(parameters, &optimizer).with_activation(Activation::Bf16);
        let options = align::Options { seed: recipe.seed, ..settings.options.clone() };
        let bar = progress::bar(0, "align");
        let summary = align::align(&mut learner, model.tokenizer(), &template, &options, &mut |at| {
            bar.set_length(at.steps as u64);
            bar.set_position(at.step as u64);
            bar.set_message(format!("{:?}", at.phase).to_lowercase());
            true
        })?;
        bar.finish_and_clear();
        learner.parameters().save(&stage.folder.join("trained.safetensors"))?;
        learner.parameters().write(&checkpoint, &stage.folder.join(MODEL), kernels::quant::Format::Q8_0)?;
        drop(learner);

        let model = super::load(loaded, &stage.folder.join(MODEL))?;
        let after = Behavior::measure(model, &measure)?;
        let guard = guard(model, &template, &settings.guard, &stage.folder.join(GUARD))?;
        let perplexity =
            neutral::change(&recipe.neutral, &perplexity, &eval::perplexity(model, &text, neutral::WINDOW)?);
        // The folder takes its final name when the stage ends.
        *loaded = None;
        for (name, behavior) in [("before", &before), ("after", &after)] {
            for line in behavior.refusals.iter().filter(|line| line.language.is_none()) {
                let side = format!("{:?}", line.side).to_lowercase();
                stage.metric(&format!("refused.{side}.{name}"), line.refused.value);
            }
        }
        let result = json!({
            "before": before.value()?,
            "after": after.value()?,
            "perplexity": perplexity,
            "guard": guard,
            "training": summary,
        });
        let text = serde_json::to_string_pretty(&result)?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}

/// Fits the serving-time guard to the aligned model and measures it on held-out requests.
fn guard(model: &Local, template: &ChatTemplate, options: &GuardOptions, path: &Path) -> Result<Value> {
    let (transformer, tokenizer) = (model.transformer(), model.tokenizer());
    let bar = progress::bar(0, "guard");
    let mut show = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        true
    };
    let guard = Guard::fit(transformer, tokenizer, template, options, &mut show)?
        .context("the measurement was stopped")?;
    guard.save(path)?;
    let (mut scores, mut unsafe_ones, mut right) = (Vec::new(), Vec::new(), 0);
    let prompts: Vec<&str> = split(true).map(|request| request.prompt.as_str()).collect();
    let judgments = guard.judge_all(transformer, tokenizer, template, &prompts)?;
    for (request, judgment) in split(true).zip(judgments) {
        let is_unsafe = request.side == Side::Unsafe;
        right += usize::from(judgment.risky == is_unsafe);
        scores.push(judgment.score);
        unsafe_ones.push(is_unsafe);
    }
    bar.finish_and_clear();
    Ok(json!({
        "held_out": scores.len(),
        "auroc": statistics::auroc(&scores, &unsafe_ones)?,
        "right": right as f64 / scores.len().max(1) as f64,
        "block": guard.block(),
    }))
}

/// What a model does with the held-out requests, and under attack.
struct Behavior {
    refusals: Vec<RefusalLine>,
    attacks: Vec<AttackLine>,
}

impl Behavior {
    fn measure(model: &mut Local, options: &MeasureOptions) -> Result<Self> {
        let bar = progress::bar(0, "requests");
        let mut show = |done: usize, total: usize| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            true
        };
        let refusals = refusals(model, options, &mut show)?.context("the measurement was stopped")?;
        let attacks = match options.attacked {
            0 => Vec::new(),
            _ => attacks(model, options, &mut show)?.context("the measurement was stopped")?,
        };
        bar.finish_and_clear();
        Ok(Self { refusals, attacks })
    }

    fn value(&self) -> Result<Value> {
        Ok(
            json!({"refusals": serde_json::to_value(&self.refusals)?, "attacks": serde_json::to_value(&self.attacks)?}),
        )
    }
}
