//! Stages `mixers` and `induction`: models trained from scratch on tasks with known answers, by seed.

use anyhow::Result;
use serde_json::json;
use train::study::{parity, recall};

use super::Job;
use crate::progress;

pub(super) fn mixers(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let Job { run, recipe, .. } = job;
    run.stage("mixers", &inputs, |stage| -> Result<()> {
        let settings = &recipe.mixers;
        let (mut recalls, mut parities) = (Vec::new(), Vec::new());
        for seed in (0..settings.seeds as u64).map(|seed| recipe.seed + seed) {
            for variant in recall::variants().iter().take(if settings.recall { usize::MAX } else { 0 }) {
                let name = format!("recall {}", variant.name);
                let mut show = progress::training(&name, None);
                let result = recall::recall(variant, &recall::RecallOptions::default(), seed, &mut show)?;
                progress::say(format!("{name}, seed {seed}: {:.4}", result.accuracy));
                stage.metric(&format!("{name}.{seed}"), result.accuracy);
                recalls.push(result);
            }
            for variant in parity::variants().iter().take(if settings.parity { usize::MAX } else { 0 }) {
                let name = format!("parity {}", variant.name);
                let mut show = progress::training(&name, None);
                let result = parity::parity(variant, &parity::ParityOptions::default(), seed, &mut show)?;
                progress::say(format!("{name}, seed {seed}: {:.4}", result.accuracy_beyond));
                stage.metric(&format!("{name}.{seed}"), result.accuracy_beyond);
                parities.push(result);
            }
        }
        let result = json!({"recall": recalls, "parity": parities});
        let text = serde_json::to_string_pretty(&result)?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}

pub(super) fn induction(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let Job { run, recipe, .. } = job;
    run.stage("induction", &inputs, |stage| -> Result<()> {
        let options =
            ::probe::induction::InductionOptions { first_seed: recipe.seed, ..recipe.induction.clone() };
        let bar = progress::bar((2 * options.seeds * options.steps) as u64, "induction");
        let study = ::probe::induction::induction(&options, &mut |at| {
            let done = (2 * at.seed + usize::from(at.control)) * options.steps + at.step;
            bar.set_position(done as u64);
            true
        })?;
        bar.finish_and_clear();
        stage.metric("causal_seeds", study.verdict.causal_seeds as f64);
        stage.metric("control_seeds", study.verdict.control_seeds as f64);
        let text = serde_json::to_string_pretty(&study)?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}
