//! What a governance job did, in numbers.

use std::collections::BTreeMap;

use super::{
    Facts,
    judge::{Judge, Judged},
    source::File,
};
use crate::{
    corpus::{Manifest, Shard},
    rules::RULES,
};

/// What a rule took out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FunnelStep {
    /// Name of the rule, by `rules::RULES`.
    pub rule: String,
    /// Documents it dropped.
    pub dropped: u64,
    /// Documents left after it.
    pub left: u64,
}

/// The near-duplicate rule in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NearReport {
    /// Pairs that met in a band.
    pub candidates: u64,
    /// Of them, pairs at or above the threshold by exact Jaccard.
    pub confirmed: u64,
    /// Documents kept because they have figures the similar one lacks.
    pub protected_by_figures: u64,
    /// Buckets too large to compare every pair.
    pub large_buckets: u64,
}

/// The result of a governance job.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GovernReport {
    /// Files found.
    pub files: u64,
    /// Bytes of those files.
    pub file_bytes: u64,
    /// Documents (and refused files or rows) that entered the funnel.
    pub documents_read: u64,
    /// Bytes of their text.
    pub bytes_read: u64,
    /// Documents kept.
    pub documents_kept: u64,
    /// Bytes of their text.
    pub bytes_kept: u64,
    /// What each rule took out, in order.
    pub funnel: Vec<FunnelStep>,
    /// The same by part: `quality.words`, `read.binary`.
    pub dropped: BTreeMap<String, u64>,
    /// Pieces of personal data replaced, by kind.
    pub redacted: BTreeMap<String, u64>,
    /// Kept documents by language.
    pub languages: BTreeMap<String, u64>,
    /// Kept documents by licence.
    pub licences: BTreeMap<String, u64>,
    /// Near-duplicates.
    pub near: NearReport,
    /// Evaluation items looked for.
    pub evaluation_items: u64,
    /// Names of items too short to look for.
    pub evaluation_items_unchecked: Vec<String>,
    /// The shards.
    pub shards: Vec<Shard>,
}

impl GovernReport {
    pub(super) fn new(judge: &Judge<'_>, files: &[File]) -> Self {
        Self {
            files: files.len() as u64,
            file_bytes: files.iter().map(|f| f.found.bytes).sum(),
            evaluation_items: judge.index.as_ref().map_or(0, |i| i.len() as u64),
            evaluation_items_unchecked: judge.index.as_ref().map(|i| i.unchecked.clone()).unwrap_or_default(),
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, one: &Judged) {
        self.documents_read += 1;
        self.bytes_read += one.row.bytes;
        if let Some(rule) = &one.dropped {
            self.drop(rule);
        }
        for (kind, count) in &one.redacted {
            *self.redacted.entry((*kind).into()).or_default() += u64::from(*count);
        }
    }

    pub(super) fn drop(&mut self, rule: &str) {
        *self.dropped.entry(rule.into()).or_default() += 1;
    }

    pub(super) fn keep(&mut self, facts: &Facts) {
        self.documents_kept += 1;
        self.bytes_kept += facts.bytes;
        *self.languages.entry(facts.language.clone()).or_default() += 1;
        *self.licences.entry(facts.licence.clone()).or_default() += 1;
    }

    pub(super) fn finish(&mut self, manifest: &Manifest) {
        self.shards.clone_from(&manifest.shards);
        let mut left = self.documents_read;
        self.funnel = RULES
            .iter()
            .map(|rule| {
                let part = |name: &str| name == rule.name || name.starts_with(&format!("{}.", rule.name));
                let dropped =
                    self.dropped.iter().filter(|(name, _)| part(name)).map(|(_, count)| count).sum();
                left = left.saturating_sub(dropped);
                FunnelStep { rule: rule.name.into(), dropped, left }
            })
            .collect();
    }

    /// Why no document is left, in one sentence.
    pub(super) fn why_empty(&self) -> String {
        let reasons: Vec<String> =
            self.dropped.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        format!(
            "no document is left of {} in {} files (dropped by {}); the ledger says why for each",
            self.documents_read,
            self.files,
            reasons.join(", ")
        )
    }
}

/// The report as indented JSON.
pub(super) fn json(report: &GovernReport) -> Vec<u8> {
    // Strings and integers always serialize.
    serde_json::to_vec_pretty(report).unwrap_or_default()
}
