//! Governance of a corpus: read, judge, deduplicate, write shards, record every decision.
//!
//! One thread reads, the others judge batches in their order, so the result does not depend on their number. Texts
//! wait in a nameless temporary file, not in memory; a document costs about 300 bytes until the shards are written.

mod duplicates;
mod judge;
mod report;
mod shards;
mod source;
mod spool;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use ledger::{Artifact, Decision, Derivation, Ledger};
use rayon::prelude::*;

pub(crate) use judge::exact_hash;
pub(crate) use shards::rewrite_shard;

pub use report::{FunnelStep, GovernReport, NearReport};

use crate::{
    Error, GovernConfig,
    corpus::{Manifest, Shard},
    rules::contamination::Index,
    rules::near::{Signer, Sketch},
};
use judge::{Judge, Judged};
use spool::Spool;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: `reading`, `comparing`, `writing`.
    pub step: &'static str,
    /// Documents read so far.
    pub documents: u64,
    /// Bytes of the source files read so far.
    pub bytes: u64,
    /// Bytes of all source files.
    pub total_bytes: u64,
}

/// What waits for the comparison of documents: one entry per surviving document, in corpus order.
#[derive(Default)]
struct Survivors {
    ids: Vec<String>,
    sketches: Vec<Sketch>,
    exact: HashMap<u128, u32>,
    /// Texts of documents deleted on request.
    deleted: HashSet<u128>,
    facts: Vec<Facts>,
}

/// What the report counts of a kept document.
struct Facts {
    language: String,
    licence: String,
    bytes: u64,
}

/// Governs the sources of `config` into the folder `out`: shards `documents-00000.jsonl.zst`, `report.json` and, last
/// of all, `manifest.json`; decisions, documents, derivations and artifacts go to `ledger`.
///
/// A corpus already in `out` is replaced. The same inputs and configuration give the same bytes, whatever the number
/// of threads (rayon's current pool).
///
/// # Errors
/// A configuration out of range; no file, or no document left; a full disk (nothing that looks finished is left).
pub fn govern(
    config: &GovernConfig,
    out: &Path,
    ledger: &mut Ledger,
    progress: &mut dyn FnMut(Progress),
) -> Result<GovernReport, Error> {
    config.check()?;
    let index = Index::new(&config.contamination)?;
    let replaced = shards::clear(out)?;
    let files = source::list(config, out)?;
    let judge = Judge {
        config,
        signer: Signer::new(&config.near),
        index,
        may_be_deleted: ledger.counts()?.iter().any(|(table, rows)| *table == "deletions" && *rows > 0),
    };
    let mut report = GovernReport::new(&judge, &files);
    let mut spool = Spool::create(out)?;
    let mut survivors = Survivors::default();

    let total_bytes = files.iter().map(|f| f.found.bytes).sum();
    let mut at = Progress { step: "reading", documents: 0, bytes: 0, total_bytes };
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::sync_channel(2);
        let files = &files;
        scope.spawn(move || source::batches(config, files, &send));
        // Leaving this loop early drops `receive`, which ends the reading thread.
        for batch in receive {
            at.bytes += batch.bytes;
            let judged: Vec<Vec<Judged>> =
                batch.work.into_par_iter().map(|work| judge.work(config, work)).collect();
            for one in judged.into_iter().flatten() {
                at.documents += 1;
                report.count(&one);
                settle(one, config, ledger, &mut spool, &mut survivors, &mut report)?;
            }
            spool.flush_rows(ledger)?;
            progress(at);
        }
        Ok::<(), Error>(())
    })?;
    spool.finish()?;

    at.step = "comparing";
    progress(at);
    let mut decisions = Vec::new();
    let removed = if config.near.enabled {
        duplicates::remove_near(config, &spool, &survivors, &mut decisions, &mut report)?
    } else {
        HashSet::new()
    };
    let kept: Vec<u32> = (0..survivors.ids.len() as u32).filter(|i| !removed.contains(i)).collect();
    ledger.add_decisions(&decisions)?;
    if kept.is_empty() {
        return Err(Error::Empty(report.why_empty()));
    }

    at.step = "writing";
    progress(at);
    let shards = shards::write(out, config.shard_bytes, &spool, &kept)?;
    kept.iter().for_each(|i| report.keep(&survivors.facts[*i as usize]));
    // The lineage of the corpus that was here before says nothing about this one.
    let names: BTreeSet<&str> =
        replaced.iter().chain(shards.iter().map(|shard| &shard.name)).map(String::as_str).collect();
    ledger.remove_derivations(&names.into_iter().collect::<Vec<_>>())?;
    record_shards(ledger, &survivors, &kept, &shards)?;
    let manifest = Manifest::of(shards);
    report.finish(&manifest);
    ledger::write_atomic(out.join("report.json"), &report::json(&report))?;
    manifest.write(out)?;
    Ok(report)
}

/// Under what a deletion names the text of its document, which may come again from another file.
pub(crate) fn deleted_text(exact: u128) -> String {
    format!("text:{exact:032x}")
}

/// Takes a judged document over: exact duplicates end here, the rest goes to the spool.
fn settle(
    mut one: Judged,
    config: &GovernConfig,
    ledger: &Ledger,
    spool: &mut Spool,
    survivors: &mut Survivors,
    report: &mut GovernReport,
) -> Result<(), Error> {
    if let Some(kept) = one.kept.take() {
        let drop = |rule: &str, detail: String| Decision {
            document: one.row.id.clone(),
            rule: rule.into(),
            action: "drop".into(),
            value: Some(1.0),
            threshold: Some(1.0),
            detail,
        };
        let copy = survivors.exact.get(&kept.exact).filter(|_| config.exact.enabled);
        if kept.may_be_deleted && !ledger.trace(&one.row.id)?.deletions.is_empty() {
            survivors.deleted.insert(kept.exact);
            one.decisions.push(drop("deleted", "deleted on request before".into()));
            report.drop("deleted");
        } else if survivors.deleted.contains(&kept.exact)
            || (kept.may_be_deleted && !ledger.trace(&deleted_text(kept.exact))?.deletions.is_empty())
        {
            // The document under another name, or the copy that was dropped in favour of it.
            one.decisions.push(drop("deleted", "same text as a document deleted on request".into()));
            report.drop("deleted");
        } else if let Some(first) = copy {
            let first = &survivors.ids[*first as usize];
            let detail = if *first == one.row.id {
                "the same document read again".into()
            } else {
                format!("same text as {first}")
            };
            one.decisions.push(drop("duplicate.exact", detail));
            report.drop("duplicate.exact");
        } else {
            survivors.exact.insert(kept.exact, survivors.ids.len() as u32);
            survivors.ids.push(one.row.id.clone());
            survivors.sketches.push(kept.sketch);
            let (language, licence) = (one.row.language.clone(), one.row.licence.clone());
            survivors.facts.push(Facts { language, licence, bytes: one.row.bytes });
            spool.append(&kept.line)?;
        }
    }
    spool.rows(one.row, one.decisions);
    Ok(())
}

fn record_shards(
    ledger: &mut Ledger,
    survivors: &Survivors,
    kept: &[u32],
    shards: &[Shard],
) -> Result<(), Error> {
    let mut derivations = Vec::with_capacity(kept.len());
    let mut documents = kept.iter();
    for shard in shards {
        for (line, document) in documents.by_ref().take(shard.documents as usize).enumerate() {
            derivations.push(Derivation {
                parent: survivors.ids[*document as usize].clone(),
                child: shard.name.clone(),
                kind: "shard".into(),
                location: format!("line {}", line + 1),
            });
        }
    }
    ledger.add_derivations(&derivations)?;
    let artifact = |s: &Shard| Artifact {
        hash: s.hash.clone(),
        kind: "shard".into(),
        path: s.name.clone(),
        bytes: s.bytes,
    };
    ledger.add_artifacts(&shards.iter().map(artifact).collect::<Vec<_>>())?;
    Ok(())
}
