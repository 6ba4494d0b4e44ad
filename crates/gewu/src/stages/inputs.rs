//! Stage `pull`: what was fetched, with the hash of every file.

use anyhow::Result;
use ledger::Artifact;
use serde_json::json;

use super::Job;
use crate::pull::Fetched;

/// File of the stage.
const INPUTS: &str = "inputs.json";

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let Job { run, model, source, .. } = job;
    let fetched: Vec<(&str, &Fetched)> =
        model.iter().map(|it| ("model", it)).chain(source.iter().map(|it| ("corpus", it))).collect();
    run.stage("pull", &inputs, |stage| -> Result<()> {
        let mut entries = serde_json::Map::new();
        for (role, input) in &fetched {
            let lock = input.lock();
            entries.insert(
                (*role).to_owned(),
                json!({
                    "source": input.source(),
                    "version": lock.version,
                    "licence": lock.licence,
                    "hash": input.hash(),
                    "files": lock.files,
                }),
            );
            let artifacts: Vec<Artifact> = lock
                .files
                .iter()
                .map(|file| Artifact {
                    hash: file.blake3.clone(),
                    kind: (*role).to_owned(),
                    path: format!("{}/{}", input.source(), file.path),
                    bytes: file.bytes,
                })
                .collect();
            stage.ledger.add_artifacts(&artifacts)?;
        }
        let text = serde_json::to_string_pretty(&entries)?;
        Ok(ledger::write_atomic(stage.folder.join(INPUTS), text.as_bytes())?)
    })?;
    Ok(())
}
