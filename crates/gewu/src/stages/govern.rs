//! Stage `govern`: the documents, judged; every decision in the ledger.

use anyhow::Result;
use data::{EvaluationItem, SourceConfig};

use super::Job;
use crate::progress;

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let mut source = SourceConfig::of(job.documents()?.corpus(&job.recipe.pull.part)?);
    let lock = job.documents()?.lock();
    if lock.source == "pypi:mendeleev" {
        // The other tables repeat these rows or hold the package's own bookkeeping.
        source.tables = knowledge::ELEMENT_TABLES.iter().map(|&table| table.to_owned()).collect();
    }
    source.text_field.clone_from(&job.recipe.pull.text_field);
    if !lock.licence.is_empty() {
        source.licence = Some(lock.licence.clone());
    }
    let mut config = job.recipe.govern_config(vec![source])?;
    // The built-in evaluation items must not be in the corpus that the run draws on.
    config.contamination.items.extend(
        tasks::protected_texts(job.recipe.seed)
            .into_iter()
            .map(|item| EvaluationItem { name: item.id, text: item.text }),
    );
    job.run.stage("govern", &inputs, |stage| -> Result<()> {
        let bar = progress::bytes(0, "govern");
        let report = data::govern(&config, stage.folder, stage.ledger, &mut |at| {
            bar.set_length(at.total_bytes);
            bar.set_position(at.bytes);
            bar.set_message(at.step);
        })?;
        bar.finish_and_clear();
        stage.metric("documents_read", report.documents_read as f64);
        stage.metric("documents_kept", report.documents_kept as f64);
        stage.metric("bytes_kept", report.bytes_kept as f64);
        for step in &report.funnel {
            stage.metric(&format!("dropped.{}", step.rule), step.dropped as f64);
        }
        Ok(())
    })?;
    Ok(())
}
