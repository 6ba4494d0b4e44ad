//! Stage `evaluate`: the model on the built-in tasks, before and after what the run made of it.

use std::path::Path;

use anyhow::Result;
use eval::{Profile, RunOptions, Scorecard};

use super::Job;
use crate::failure::bad_input;
use crate::progress;
use crate::recipe::Evaluate;

/// The scorecard of the model as it came.
const BEFORE: &str = "before.json";
/// The scorecard of the model the run ends with.
const AFTER: &str = "scorecard.json";
/// The two item by item, if the run changed the model.
const COMPARISON: &str = "comparison.json";

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let (base, last) = (job.base()?, job.model_before("evaluate")?);
    let settings = options(&job.recipe.evaluate, job.recipe.seed)?;
    let Job { run, loaded, .. } = job;
    run.stage("evaluate", &inputs, |stage| -> Result<()> {
        let mut score = |path: &Path, file: &str, folder: &Path| -> Result<Scorecard> {
            let model = super::load(loaded, path)?;
            let log = Some(folder.join(format!("answers-{file}l")));
            let options = RunOptions { model_hash: hash_of(path)?, log, ..settings.clone() };
            let bar = progress::bar(0, "evaluate");
            let scorecard = eval::run(model, &options, &mut |at| {
                bar.set_length(at.total as u64);
                bar.set_position(at.done as u64);
            })?;
            bar.finish_and_clear();
            let text = serde_json::to_string_pretty(&scorecard)?;
            ledger::write_atomic(folder.join(file), text.as_bytes())?;
            Ok(scorecard)
        };
        let before = if base == last { None } else { Some(score(&base, BEFORE, stage.folder)?) };
        let after = score(&last, AFTER, stage.folder)?;
        if let Some(before) = before {
            let comparison = serde_json::to_string_pretty(&eval::compare(&before, &after)?)?;
            ledger::write_atomic(stage.folder.join(COMPARISON), comparison.as_bytes())?;
        }
        for cell in &after.dimensions {
            stage.metric(&format!("{}.{}", cell.dimension.name(), cell.language.code()), cell.score);
        }
        Ok(())
    })?;
    Ok(())
}

/// Hash of a checkpoint's weights: a file, or a folder.
pub(crate) fn hash_of(path: &Path) -> Result<String> {
    Ok(if path.is_file() { ledger::hash_file(path)? } else { ledger::hash_folder(path)? })
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
