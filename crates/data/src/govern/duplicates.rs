//! The near-duplicate step over the whole corpus: propose, confirm in pieces, decide.

use std::collections::{BTreeSet, HashMap, HashSet};

use ledger::Decision;
use rayon::prelude::*;

use super::{GovernReport, Survivors, spool::Spool};
use crate::{
    Error, GovernConfig,
    figures::{Figures, figures},
    rules::near::{Confirmed, Fate, candidates, confirm, ranked, shingles, star},
    tokens::content_hashes,
};

/// Pairs confirmed at a time: bounds the texts in memory.
const PIECE: usize = 8192;

/// Finds the documents that go, adding a decision for every document that has a near-duplicate.
pub(super) fn remove_near(
    config: &GovernConfig,
    spool: &Spool,
    survivors: &Survivors,
    decisions: &mut Vec<Decision>,
    report: &mut GovernReport,
) -> Result<HashSet<u32>, Error> {
    let near = &config.near;
    let order = ranked(&survivors.sketches);
    let (pairs, capped) = candidates(&survivors.sketches, &order, near.bands);
    let mut confirmed: Vec<Confirmed> = Vec::new();
    for piece in pairs.chunks(PIECE) {
        let needed: BTreeSet<u32> = piece.iter().flat_map(|(a, b)| [*a, *b]).collect();
        let loaded: HashMap<u32, (Vec<u64>, Figures)> = needed
            .into_par_iter()
            .map(|position| {
                let text = spool.document(order[position as usize])?.text;
                Ok((position, (shingles(&content_hashes(&text), near.shingle), figures(&text))))
            })
            .collect::<Result<_, Error>>()?;
        let found: Vec<Option<Confirmed>> = piece
            .par_iter()
            .map(|pair| {
                let (a, b) = (loaded.get(&pair.0)?, loaded.get(&pair.1)?);
                confirm(*pair, (&a.0, &b.0), (&a.1, &b.1), near.threshold)
            })
            .collect();
        confirmed.extend(found.into_iter().flatten());
    }
    report.near.candidates = pairs.len() as u64;
    report.near.confirmed = confirmed.len() as u64;
    report.near.large_buckets = capped as u64;

    let mut removed = HashSet::new();
    let id = |position: u32| &survivors.ids[order[position as usize] as usize];
    for (position, fate) in star(order.len(), &confirmed).into_iter().enumerate() {
        let (pair, action, detail) = match fate {
            None => continue,
            Some(Fate::Removed(pair)) => {
                removed.insert(order[position]);
                report.drop("duplicate.near");
                (pair, "drop", format!("near-copy of {}", id(pair.better)))
            }
            Some(Fate::Protected(pair)) => {
                report.near.protected_by_figures += 1;
                (pair, "keep", format!("resembles {} but has figures of its own", id(pair.better)))
            }
        };
        decisions.push(Decision {
            document: id(position as u32).clone(),
            rule: "duplicate.near".into(),
            action: action.into(),
            value: Some(pair.jaccard),
            threshold: Some(near.threshold),
            detail,
        });
    }
    Ok(removed)
}
