//! Stage `merge`: the specialized model merged back with the model as it came, and what each mixture keeps of both
//! sides: the documents' facts, and general text.

use anyhow::{Context, Result};
use knowledge::Pack;
use knowledge::merge::{MergeRequest, Method, merge};
use knowledge::specialize;
use serde_json::{Value, json};

use super::specialize::{Known, share_right};
use super::{Job, MODEL, neutral};
use crate::failure::bad_input;
use crate::progress;

/// Number type of the mixtures, that of the specialized model.
const FORMAT: &str = "Q8_0";

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let base = job.model_before("specialize")?;
    let folder = job.run.folder();
    let (tuned, index) = (folder.join("specialize").join(MODEL), folder.join("index"));
    let Job { run, loaded, recipe, .. } = job;
    run.stage("merge", &inputs, |stage| -> Result<()> {
        if !tuned.exists() {
            let text = json!({"absent": "the model was not specialized"}).to_string();
            return Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?);
        }
        let settings = &recipe.merge;
        let options = specialize::SpecializeOptions { seed: recipe.seed, ..recipe.specialize.items.clone() };
        let mut items = specialize::compile(&Pack::open(&index)?, &options)?;
        items.unseen_phrasing.truncate(settings.questions);
        items.never_trained.clear();
        let text = neutral::text(&recipe.neutral)?;
        let mut rows = Vec::new();
        for &tuned_share in &settings.shares {
            if !(0.0..=1.0).contains(&tuned_share) {
                return Err(bad_input(format!("merge.shares has {tuned_share}; a share is from 0 to 1")));
            }
            let path = stage.folder.join(format!("merged-{tuned_share}.gguf"));
            let (path, mixed) = match tuned_share {
                0.0 => (base.clone(), false),
                1.0 => (tuned.clone(), false),
                _ => {
                    let request = MergeRequest {
                        method: Method::named("linear")?,
                        base: None,
                        models: vec![(base.clone(), 1.0 - tuned_share), (tuned.clone(), tuned_share)],
                        density: None,
                        t: None,
                        lambda: None,
                        normalize: None,
                        seed: recipe.seed,
                        format: FORMAT.into(),
                        output: path.clone(),
                    };
                    let bar = progress::bar(0, "merge");
                    merge(&request, &mut |_| bar.inc(1))?;
                    bar.finish_and_clear();
                    (path, true)
                }
            };
            let model = super::load(loaded, &path)?;
            let known = Known::measure(model, &items, tuned_share == 0.0)?;
            let perplexity = eval::perplexity(model, &text, neutral::WINDOW)?;
            *loaded = None;
            if mixed {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
            }
            let facts = share_right(&specialize::correctness(&known.unseen))?;
            stage.metric(&format!("facts.{tuned_share}"), facts["share"].as_f64().unwrap_or_default());
            stage.metric(&format!("perplexity.{tuned_share}"), perplexity.perplexity);
            rows.push(json!({"share": tuned_share, "facts": facts, "perplexity": perplexity.perplexity}));
        }
        let summary = json!({"method": "linear", "mixtures": Value::Array(rows)});
        let text = serde_json::to_string_pretty(&summary)?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}
