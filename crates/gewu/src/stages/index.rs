//! Stage `index`: the governed documents, compiled into a knowledge pack.

use anyhow::Result;
use knowledge::Pack;

use super::Job;
use crate::progress;

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let corpus = job.run.folder().join("govern");
    job.run.stage("index", &inputs, |stage| -> Result<()> {
        let documents = data::corpus::read(&corpus)?;
        let bar = progress::bar(documents.len() as u64, "index");
        let pack = Pack::build(&documents, stage.folder, stage.ledger, &mut |done, _| {
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        let size = pack.size()?;
        stage.metric("documents", size.documents as f64);
        stage.metric("passages", size.passages as f64);
        stage.metric("entities", size.entities as f64);
        stage.metric("facts", size.facts as f64);
        Ok(())
    })?;
    Ok(())
}
