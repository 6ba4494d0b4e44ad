//! Findings of personal data in the manual pages of this machine, each judged by a person's reading.
//!
//! `judgments.tsv` holds, for each value met so far, a hash (the values themselves are people's addresses) and what it
//! is. A value without judgment counts as false until somebody has read its line: `--sample 200` shows such lines, and
//! `--judge FILE` turns lines `kind, value, class`, separated by tabs, into lines of `judgments.tsv`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use data::rules::privacy;
use ledger::short_hash;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::Failure;

const JUDGMENTS: &str = include_str!("judgments.tsv");

/// What a value was judged to be, and whether finding it is right.
const CLASSES: &[(&str, bool)] = &[
    // An address or number of a named or pseudonymous person.
    ("person", true),
    // A person's address with a slip of the pen.
    ("misprint", true),
    // Made up, or a public server's, to show how something is written.
    ("example", false),
    // A mailing list, a project, an office.
    ("list", false),
    // A program's account, a protocol's name, a message.
    ("machine", false),
    // No address and no phone at all.
    ("number", false),
    // A part of an address only.
    ("cut", false),
];

struct Found {
    kind: &'static str,
    value: String,
    page: PathBuf,
    line: String,
}

/// Identity of a value in `judgments.tsv`: letter case and the escapes of manual pages make no difference.
fn key(kind: &str, value: &str) -> String {
    short_hash(&[kind, &value.replace('\\', "").to_lowercase()])[..12].to_owned()
}

/// Lines of `judgments.tsv` for a file of judgments.
pub(crate) fn judge(file: &Path) -> Result<String, Failure> {
    let mut lines = BTreeSet::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let [kind, value, class] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("{line:?} is not kind, value and class, separated by tabs").into());
        };
        if !CLASSES.iter().any(|(name, _)| *name == class) {
            return Err(format!("{class:?} is no class; there are {CLASSES:?}").into());
        }
        lines.insert(format!("{}\t{class}\n", key(kind, value)));
    }
    Ok(lines.into_iter().collect())
}

/// Scans every page below a folder once, in every language, and sets findings against their judgments.
pub(crate) fn measure(folder: &Path, sample: usize) -> Result<Value, Failure> {
    let judged: BTreeMap<&str, &str> = JUDGMENTS.lines().filter_map(|line| line.split_once('\t')).collect();
    // A page may have several names.
    let pages: BTreeSet<PathBuf> = data::readers::walk(folder)
        .into_iter()
        .filter(|f| f.refusal.is_none() && f.path.extension().is_some_and(|e| e == "gz"))
        .filter_map(|f| f.path.canonicalize().ok())
        .collect();
    let pages: Vec<PathBuf> = pages.into_iter().collect();
    let scanned = pages
        .par_iter()
        .map(|page| scan(page).map_err(|error| format!("{}: {error}", page.display())))
        .collect::<Result<Vec<_>, String>>()?;
    let bytes: usize = scanned.iter().map(|(bytes, _)| bytes).sum();
    let found: Vec<Found> = scanned.into_iter().flat_map(|(_, found)| found).collect();

    let mut kinds: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let (mut right, mut wrong, mut unread) = (0_u64, 0_u64, 0_u64);
    let mut shown: BTreeMap<String, u64> = BTreeMap::new();
    for finding in &found {
        let key = key(finding.kind, &finding.value);
        let class = judged.get(key.as_str()).copied().unwrap_or("unjudged");
        *kinds.entry(finding.kind).or_default().entry(class).or_default() += 1;
        match CLASSES.iter().find(|(name, _)| *name == class) {
            Some((_, true)) => right += 1,
            Some((_, false)) => wrong += 1,
            None => unread += 1,
        }
        if !CLASSES.iter().any(|(name, good)| *good && *name == class) {
            *shown.entry(format!("{class} {}: {}", finding.kind, finding.value)).or_default() += 1;
        }
        values.entry(finding.kind).or_default().insert(key);
    }
    let megabytes = bytes as f64 / 1e6;
    let distinct: BTreeMap<&str, usize> = values.iter().map(|(kind, keys)| (*kind, keys.len())).collect();
    Ok(json!({
        "pages": pages.len(), "megabytes": megabytes, "findings": kinds, "distinct_values": distinct,
        "right": right, "wrong": wrong, "unjudged": unread,
        "precision": right as f64 / found.len() as f64,
        "false_per_megabyte": wrong as f64 / megabytes,
        "false_or_unjudged_per_megabyte": (wrong + unread) as f64 / megabytes,
        "false_and_unjudged": shown,
        "sample": lines(&found, sample),
    }))
}

/// A sample of findings with their lines, the same every time: those with the smallest hash.
fn lines(found: &[Found], count: usize) -> Vec<String> {
    let mut order: Vec<(String, &Found)> = found
        .iter()
        .enumerate()
        .map(|(i, f)| (short_hash(&["sample", &i.to_string(), &f.value]), f))
        .collect();
    order.sort_by(|a, b| a.0.cmp(&b.0));
    order
        .into_iter()
        .take(count)
        .map(|(_, f)| format!("{} {} in {}: {}", f.kind, f.value, f.page.display(), f.line))
        .collect()
}

/// Bytes and findings of a page.
fn scan(page: &Path) -> Result<(usize, Vec<Found>), Failure> {
    let output = std::process::Command::new("zcat").arg(page).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let found = privacy::scan(&text).into_iter().map(|finding| {
        let start = text[..finding.span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[finding.span.end..].find('\n').map_or(text.len(), |at| at + finding.span.end);
        Found {
            kind: finding.kind,
            value: text[finding.span].to_owned(),
            page: page.to_path_buf(),
            line: text[start..end].chars().take(160).collect(),
        }
    });
    Ok((text.len(), found.collect()))
}
