//! Stage `text`: a small model from scratch on the governed documents, with held-out bits per character and samples.

use anyhow::Result;

use super::Job;
use crate::progress;

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let corpus = job.run.folder().join("govern");
    let Job { run, recipe, .. } = job;
    run.stage("text", &inputs, |stage| -> Result<()> {
        let documents: Vec<String> =
            data::corpus::read(&corpus)?.into_iter().map(|document| document.text).collect();
        let (result, parameters, tokenizer) = train::study::text::text(
            &documents,
            &recipe.text,
            recipe.seed,
            stage.checkpoint,
            &mut progress::training("text", None),
        )?;
        stage.metric("bits_per_character", result.bits_per_character);
        stage.metric("unigram_bits_per_character", result.unigram_bits_per_character);
        let format = kernels::quant::Format::F32;
        parameters.write_new(&tokenizer, None, &stage.folder.join("model"), format)?;
        let text = serde_json::to_string_pretty(&result)?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}
