//! The report of a run: `scorecard.json` for machines, `report.html` for people, in English and Chinese.

mod answers;
mod behavior;
mod inside;
mod learning;
mod page;
mod plot;
mod studies;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use ledger::Manifest;
use serde_json::{Map, Value, json};

pub(crate) use page::page;

/// Files of the stages that make up the scorecard: key, path below the run folder.
const PARTS: &[(&str, &str)] = &[
    ("inputs", "pull/inputs.json"),
    ("governance", "govern/report.json"),
    ("specialize", "specialize/summary.json"),
    ("merge", "merge/summary.json"),
    ("train", "train/summary.json"),
    ("align", "align/summary.json"),
    ("probe", "probe/summary.json"),
    ("text", "text/summary.json"),
    ("mixers", "mixers/summary.json"),
    ("induction", "induction/summary.json"),
    ("ask", "ask/summary.json"),
    ("evaluation_before", "evaluate/before.json"),
    ("evaluation", "evaluate/scorecard.json"),
    ("comparison", "evaluate/comparison.json"),
];

/// Everything the run found out, without times. Stages that the recipe leaves out are absent.
pub(crate) fn scorecard(folder: &Path, manifest: &Manifest) -> Result<Value> {
    let mut scorecard = Map::new();
    scorecard.insert(
        "run".into(),
        json!({
            "recipe": manifest.recipe,
            "seed": manifest.seed,
            "environment": manifest.environment,
            "configuration": manifest.configuration,
        }),
    );
    for (key, path) in PARTS {
        let path = folder.join(path);
        if path.exists() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            let value: Value =
                serde_json::from_slice(&bytes).with_context(|| format!("`{}` is damaged", path.display()))?;
            scorecard.insert((*key).to_owned(), value);
        }
    }
    Ok(Value::Object(scorecard))
}
