//! Stage `report`: the scorecard and the page, made from what the earlier stages left.

use anyhow::Result;

use super::Job;
use crate::report;

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let folder = job.run.folder().to_owned();
    let manifest = job.run.manifest().clone();
    job.run.stage("report", &inputs, |stage| -> Result<()> {
        let scorecard = report::scorecard(&folder, &manifest)?;
        let text = serde_json::to_string_pretty(&scorecard)?;
        Ok(ledger::write_atomic(stage.folder.join("scorecard.json"), text.as_bytes())?)
    })?;
    // The page shows times, so it stands outside the hashed stage; the scorecard stands beside it for convenience.
    let text = std::fs::read(folder.join("report/scorecard.json"))?;
    ledger::write_atomic(folder.join("scorecard.json"), &text)?;
    let scorecard = serde_json::from_slice(&text)?;
    let counts = job.run.ledger().counts()?;
    let page = report::page(&scorecard, job.run.times(), &counts);
    Ok(ledger::write_atomic(folder.join("report.html"), page.as_bytes())?)
}
