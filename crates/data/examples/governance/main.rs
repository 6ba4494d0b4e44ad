//! Measures governance on a generated corpus with known truth, on textbooks and on manual pages; prints one JSON object.
//!
//! `cargo run --release -p data --example governance -- [--documents N] [--seed N] [--out DIR] [--textbooks DIR]
//! [--manual DIR] [--sample N] [--only manual]`. The generated corpus stays in `DIR/corpus` for another tool to run on.
//! `--only manual` looks at the manual pages only, `--sample N` shows N of the findings there with their lines.

mod manual_pages;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use data::{
    GovernConfig, GovernReport,
    generator::{Generated, Planted, Sample, generate},
    rules::privacy,
};
use ledger::{Ledger, Trace, short_hash};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        options.insert(name.trim_start_matches('-').to_owned(), value);
    }
    let number = |name: &str, default: u64| options.get(name).map_or(Ok(default), |v| v.parse());
    let (documents, seed) = (number("documents", 20_000)? as usize, number("seed", 1)?);
    let manual = PathBuf::from(options.get("manual").map_or("/usr/share/man", String::as_str));
    if let Some(file) = options.get("judge") {
        write!(std::io::stdout(), "{}", manual_pages::judge(Path::new(file))?)?;
        return Ok(());
    }
    let sample = number("sample", 0)? as usize;
    if options.get("only").is_some_and(|part| part == "manual") {
        let result = manual_pages::measure(&manual, sample)?;
        writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&result)?)?;
        return Ok(());
    }
    let out = PathBuf::from(options.get("out").map_or("/tmp/gewu-governance", String::as_str));
    let _ = std::fs::remove_dir_all(&out);
    std::fs::create_dir_all(out.join("corpus"))?;

    let generated = generate(documents, seed);
    let bytes = write(&generated, &out.join("corpus"))?;
    let mut config = GovernConfig::of(out.join("corpus"));
    config.contamination.items.clone_from(&generated.items);
    let mut ledger = Ledger::open(out.join("ledger.sqlite"))?;
    let start = Instant::now();
    let report = data::govern(&config, &out.join("governed"), &mut ledger, &mut |_| {})?;
    let seconds = start.elapsed().as_secs_f64();

    let mut result = json!({
        "documents": documents, "bytes": bytes, "seconds": seconds,
        "documents_per_second": documents as f64 / seconds, "megabytes_per_second": bytes as f64 / 1e6 / seconds,
        "funnel": report.funnel, "dropped": report.dropped, "near": report.near,
    });
    result["truth"] = against_truth(&generated, &ledger)?;
    result["privacy"] = privacy_scores(&generated);
    result["deletion"] = deletion(&out, &mut ledger)?;
    let textbooks =
        options.get("textbooks").map_or("../shared/data/openstax-economics/modules", String::as_str);
    result["textbooks"] = books(Path::new(textbooks), &out)?;
    result["manual_pages"] = manual_pages::measure(&manual, sample)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&result)?)?;
    Ok(())
}

fn file_of(i: usize) -> (String, usize) {
    (format!("part-{}.jsonl", i / 5000), i % 5000 + 1)
}

fn write(generated: &Generated, folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for (part, documents) in generated.documents.chunks(5000).enumerate() {
        let mut text = String::new();
        for (i, sample) in documents.iter().enumerate() {
            bytes += sample.text.len() as u64;
            text.push_str(&json!({"text": sample.text, "id": (part * 5000 + i).to_string()}).to_string());
            text.push('\n');
        }
        std::fs::write(folder.join(format!("part-{part}.jsonl")), text)?;
    }
    Ok(bytes)
}

/// Identity of a generated document after redaction.
fn identity(i: usize, sample: &Sample) -> String {
    let (file, line) = file_of(i);
    let text = privacy::redact(&sample.text, &privacy::scan(&sample.text));
    short_hash(&[&file, &format!("line {line}"), &text])
}

fn dropped_by(trace: &Trace) -> Option<(String, String)> {
    let decision = trace.decisions.iter().find(|d| d.action == "drop")?;
    Some((decision.rule.clone(), decision.detail.clone()))
}

fn against_truth(generated: &Generated, ledger: &Ledger) -> Result<Value, Failure> {
    let ids: Vec<String> = generated.documents.iter().enumerate().map(|(i, s)| identity(i, s)).collect();
    let place: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let fates =
        ids.iter().map(|id| Ok(dropped_by(&ledger.trace(id)?))).collect::<Result<Vec<_>, Failure>>()?;
    let rule = |i: usize| fates[i].as_ref().map_or("", |(rule, _)| rule.as_str());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut add = |name: &'static str, yes: bool| *counts.entry(name).or_default() += u64::from(yes);
    let mut pairs: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (i, sample) in generated.documents.iter().enumerate() {
        let either = |of: usize, name: &str| rule(i) == name || rule(of) == name;
        match &sample.planted {
            Planted::Near { of, .. } => {
                pairs.insert((i.min(*of), i.max(*of)));
                add("near_planted", true);
                add("near_found", either(*of, "duplicate.near"));
            }
            Planted::Exact { of } => {
                add("exact_planted", true);
                add("exact_found", either(*of, "duplicate.exact"));
            }
            Planted::Numbers { of } => {
                add("number_variants", true);
                let lost = rule(i).starts_with("duplicate") || rule(*of).starts_with("duplicate");
                add("number_variants_wrongly_removed", lost);
            }
            Planted::Leak { .. } => {
                add("leaks_planted", true);
                add("leaks_found", rule(i) == "contamination");
            }
            _ => {}
        }
        if !matches!(sample.planted, Planted::Leak { .. }) {
            add("clean_of_leaks", true);
            add("false_alarms", rule(i) == "contamination");
        }
        add("dropped_for_quality", rule(i).starts_with("quality"));
        if let Some((name, detail)) = &fates[i]
            && name == "duplicate.near"
        {
            let other = detail.split_whitespace().find_map(|word| place.get(word));
            add("near_removed", true);
            add("near_removed_rightly", other.is_some_and(|o| pairs_hold(generated, i, *o)));
        }
    }
    let get = |name: &str| counts.get(name).copied().unwrap_or(0) as f64;
    let rates = json!({
        "near_recall": get("near_found") / get("near_planted"),
        "near_precision": get("near_removed_rightly") / get("near_removed"),
        "leaks_found": get("leaks_found") / get("leaks_planted"),
        "false_alarm_rate": get("false_alarms") / get("clean_of_leaks"),
        "exact_recall": get("exact_found") / get("exact_planted"),
    });
    Ok(json!({"counts": counts, "rates": rates}))
}

/// Whether two documents were planted as near-copies of each other.
fn pairs_hold(generated: &Generated, a: usize, b: usize) -> bool {
    let of =
        |i: usize, j: usize| matches!(generated.documents[i].planted, Planted::Near { of, .. } if of == j);
    of(a, b) || of(b, a)
}

fn privacy_scores(generated: &Generated) -> Value {
    let (mut right, mut wrong, mut missed, mut bytes) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut examples: Vec<String> = Vec::new();
    let start = Instant::now();
    for sample in &generated.documents {
        bytes += sample.text.len() as u64;
        let mut planted = match &sample.planted {
            Planted::Private(values) => values.clone(),
            _ => Vec::new(),
        };
        for finding in privacy::scan(&sample.text) {
            let value = &sample.text[finding.span.clone()];
            match planted.iter().position(|(kind, v)| *kind == finding.kind && v == value) {
                Some(at) => {
                    planted.swap_remove(at);
                    right += 1;
                }
                None => {
                    wrong += 1;
                    examples.push(format!("found {}: {value}", finding.kind));
                }
            }
        }
        missed += planted.len() as u64;
        examples.extend(planted.iter().map(|(kind, value)| format!("missed {kind}: {value}")));
    }
    examples.truncate(10);
    let f1 = 2.0 * right as f64 / (2 * right + wrong + missed) as f64;
    let speed = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
    json!({"right": right, "wrong": wrong, "missed": missed, "f1": f1, "errors": examples,
        "megabytes_per_second_one_thread": speed})
}

fn deletion(out: &Path, ledger: &mut Ledger) -> Result<Value, Failure> {
    let governed = out.join("governed");
    let ids: Vec<String> = data::corpus::read(&governed)?.into_iter().step_by(331).map(|d| d.id).collect();
    let proof = data::delete(&governed, &ids, "measurement", ledger, &mut [], &[])?;
    let left = data::corpus::read(&governed)?.iter().filter(|d| ids.contains(&d.id)).count();
    let without = proof.fragments.values().filter(|n| **n == 0).count();
    Ok(
        json!({"documents": ids.len(), "lines_removed": proof.shard_entries, "files_scanned": proof.files.len(),
        "clean": proof.clean, "still_in_corpus": left, "without_own_text": without}),
    )
}

fn books(folder: &Path, out: &Path) -> Result<Value, Failure> {
    if !folder.exists() {
        return Ok(json!({"skipped": format!("{} is absent", folder.display())}));
    }
    let mut ledger = Ledger::open(out.join("books.sqlite"))?;
    let report: GovernReport =
        data::govern(&GovernConfig::of(folder), &out.join("books"), &mut ledger, &mut |_| {})?;
    let dropped = report.documents_read - report.documents_kept;
    Ok(
        json!({"modules": report.documents_read, "dropped": dropped, "by": report.dropped, "redacted": report.redacted,
        "share": dropped as f64 / report.documents_read as f64}),
    )
}
