//! Stage `evaluate`: the model on the built-in tasks.

use anyhow::{Context, Result};
use eval::{Profile, RunOptions};

use super::Job;
use crate::failure::bad_input;
use crate::progress;
use crate::recipe::Evaluate;

/// File of the stage's result.
pub(crate) const SCORECARD: &str = "scorecard.json";

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let options = options(&job.recipe.evaluate, job.recipe.seed)?;
    if !job.run.stages().iter().any(|stage| stage.name == "evaluate") {
        job.load()?;
    }
    let model_hash = job.model.as_ref().map(|model| model.hash()).unwrap_or_default();
    let Job { run, loaded, .. } = job;
    run.stage("evaluate", &inputs, |stage| -> Result<()> {
        let model = loaded.as_mut().context("the model is not loaded")?;
        let options = RunOptions { model_hash, log: Some(stage.folder.join("answers.jsonl")), ..options };
        let bar = progress::bar(0, "evaluate");
        let scorecard = eval::run(model, &options, &mut |at| {
            bar.set_length(at.total as u64);
            bar.set_position(at.done as u64);
        })?;
        bar.finish_and_clear();
        for cell in &scorecard.dimensions {
            stage.metric(&format!("{}.{}", cell.dimension.name(), cell.language.code()), cell.score);
        }
        let text = serde_json::to_string_pretty(&scorecard)?;
        Ok(ledger::write_atomic(stage.folder.join(SCORECARD), text.as_bytes())?)
    })?;
    Ok(())
}

/// The recipe's settings as those of the runner.
pub(crate) fn options(evaluate: &Evaluate, seed: u64) -> Result<RunOptions> {
    let languages = evaluate
        .languages
        .iter()
        .map(|code| {
            tasks::Language::ALL.into_iter().find(|language| language.code() == code).ok_or_else(|| {
                bad_input(format!("`{code}` is not a language of the tasks; there are en and zh"))
            })
        })
        .collect::<Result<_>>()?;
    Ok(RunOptions {
        tasks: evaluate.tasks.clone(),
        languages,
        profile: if evaluate.profile == "full" { Profile::Full } else { Profile::Quick },
        limit: (evaluate.limit > 0).then_some(evaluate.limit),
        seed,
        ..RunOptions::default()
    })
}
