//! Two scorecards on the items they share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statistics::{PairedDifference, Resampling, Settled};
use tasks::{Dimension, Language};

use crate::{Error, ItemResult, Scorecard};

/// The comparison in one dimension and language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What is measured.
    pub dimension: Dimension,
    /// In which language.
    pub language: Language,
    /// Mean score of the first on the shared items.
    pub first: f64,
    /// Mean score of the second on the shared items.
    pub second: f64,
    /// Second minus first, with interval and p.
    pub difference: PairedDifference,
    /// The p adjusted for the number of rows (Holm).
    pub adjusted_p: f64,
    /// Whether it is settled, judged by the adjusted p.
    pub settled: Settled,
}

/// Two scorecards side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the first model.
    pub first: String,
    /// Name of the second model.
    pub second: String,
    /// One row for each dimension and language with at least two shared items.
    pub rows: Vec<Row>,
    /// Items that only one of the two has, or has with another text.
    pub unpaired: usize,
}

/// Compares `second` with `first`, item by item.
///
/// # Errors
/// If the two were graded by different rules or share fewer than two items in every dimension.
pub fn compare(first: &Scorecard, second: &Scorecard) -> Result<Comparison, Error> {
    if first.rules != second.rules {
        return Err(Error::Request(format!(
            "the scorecards were graded by different rules (version {} and {}); run both again",
            first.rules, second.rules
        )));
    }
    let others: BTreeMap<(&str, &str), &ItemResult> =
        second.items.iter().map(|item| ((item.id.as_str(), item.hash.as_str()), item)).collect();
    let mut pairs: BTreeMap<(Dimension, Language), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut shared = 0;
    for item in &first.items {
        if let Some(other) = others.get(&(item.id.as_str(), item.hash.as_str())) {
            let (left, right) = pairs.entry((item.dimension, item.language)).or_default();
            left.push(item.score);
            right.push(other.score);
            shared += 1;
        }
    }
    let resampling = Resampling { confidence: first.confidence, seed: first.seed, ..Resampling::default() };
    let mut rows = Vec::new();
    for ((dimension, language), (left, right)) in pairs.into_iter().filter(|(_, (left, _))| left.len() > 1) {
        let difference = statistics::paired_difference(&left, &right, &resampling)?;
        let differences: Vec<f64> = left.iter().zip(&right).map(|(left, right)| right - left).collect();
        let deviation = statistics::variance(&differences).sqrt();
        let (first, second) = (statistics::mean(&left), statistics::mean(&right));
        rows.push((
            Row {
                dimension,
                language,
                first,
                second,
                difference,
                adjusted_p: difference.p_value,
                settled: Settled::NotYet { more: None },
            },
            deviation,
        ));
    }
    if rows.is_empty() {
        return Err(Error::Request(
            "the scorecards share fewer than two items in every dimension; run both with the same seed and tasks".into(),
        ));
    }
    let adjusted = statistics::holm(&rows.iter().map(|(row, _)| row.difference.p_value).collect::<Vec<_>>());
    let rows = rows
        .into_iter()
        .zip(adjusted)
        .map(|((mut row, deviation), adjusted_p)| {
            row.adjusted_p = adjusted_p;
            row.settled =
                statistics::settle(&PairedDifference { p_value: adjusted_p, ..row.difference }, deviation);
            row
        })
        .collect();
    Ok(Comparison {
        first: first.model.clone(),
        second: second.model.clone(),
        rows,
        unpaired: first.items.len() + second.items.len() - 2 * shared,
    })
}
