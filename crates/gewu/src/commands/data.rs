//! `gewu data`: govern documents; explain, delete and report what was governed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data::GovernConfig;
use knowledge::Pack;
use ledger::{Ledger, Run};

use super::options::{print_json, print_line};
use crate::failure::bad_input;
use crate::progress::{self, say};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Read, judge, deduplicate and redact a folder or file
    Govern(Govern),
    /// Explain one document: origin, decisions, duplicates, what was made of it
    Trace(Trace),
    /// Remove documents and everything derived from them, and prove it
    Delete(Delete),
    /// What a governance job did, in numbers
    Report(Report),
}

#[derive(clap::Args)]
pub(crate) struct Govern {
    /// A folder or file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The folder of the governed corpus and its ledger
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The limits for text from the web instead of those for chosen documents
    #[arg(long)]
    web: bool,
    /// Evaluation items that must not be in the corpus (.jsonl or .txt)
    #[arg(long, value_name = "FILE")]
    items: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Trace {
    /// A document's id, or the beginning of one
    #[arg(value_name = "ID")]
    id: String,
    /// The run folder, or the folder of a governed corpus
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Delete {
    /// The documents
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// The run folder, or the folder of a governed corpus
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT", default_value = "requested")]
    reason: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Report {
    /// The run folder, or the folder of a governed corpus
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Govern(arguments) => govern(arguments),
        Command::Trace(arguments) => trace(arguments),
        Command::Delete(arguments) => delete(arguments),
        Command::Report(arguments) => report(arguments),
    }
}

const LEDGER: &str = "ledger.sqlite";

fn govern(arguments: &Govern) -> Result<()> {
    if !arguments.path.exists() {
        return Err(bad_input(format!("`{}` does not exist", arguments.path.display())));
    }
    let mut config = match arguments.web {
        true => GovernConfig::of(&arguments.path),
        false => GovernConfig::curated(&arguments.path),
    };
    config.contamination.files.clone_from(&arguments.items);
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot create `{}`", arguments.out.display()))?;
    let mut ledger = Ledger::open(arguments.out.join(LEDGER))?;
    ledger.begin_stage("govern")?;
    let bar = progress::bytes(0, "govern");
    let report = data::govern(&config, &arguments.out, &mut ledger, &mut |at| {
        bar.set_length(at.total_bytes);
        bar.set_position(at.bytes);
        bar.set_message(at.step);
    })?;
    bar.finish_and_clear();
    if arguments.json {
        return print_json(&report);
    }
    print_line(&format!("{} of {} documents kept", report.documents_kept, report.documents_read))?;
    for step in report.funnel.iter().filter(|step| step.dropped > 0) {
        print_line(&format!("  {}: {} dropped, {} left", step.rule, step.dropped, step.left))?;
    }
    Ok(())
}

/// The corpus inside a run folder, or the folder itself.
fn corpus_of(folder: &Path) -> Result<PathBuf> {
    if !folder.join(LEDGER).is_file() {
        return Err(bad_input(format!(
            "`{}` holds no {LEDGER}; give a run folder or the --out of `gewu data govern`",
            folder.display()
        )));
    }
    let inner = folder.join("govern");
    Ok(if inner.is_dir() { inner } else { folder.to_owned() })
}

/// The full id that `beginning` stands for.
fn full_id(ledger: &Ledger, beginning: &str) -> Result<String> {
    let found = ledger.ids_with_prefix(beginning, 5)?;
    match &found[..] {
        [] => Err(bad_input(format!("the ledger knows nothing that begins with `{beginning}`"))),
        [one] => Ok(one.clone()),
        several if several.iter().any(|id| id == beginning) => Ok(beginning.to_owned()),
        several => Err(bad_input(format!("`{beginning}` is ambiguous: {} …", several.join(", ")))),
    }
}

fn trace(arguments: &Trace) -> Result<()> {
    let corpus = corpus_of(&arguments.run)?;
    let ledger = Ledger::open(arguments.run.join(LEDGER))?;
    let id = full_id(&ledger, &arguments.id)?;
    let known = ledger.trace(&id)?;
    if known.document.is_none() {
        // An answer, passage or shard: the ledger alone explains it.
        return print_json(&known);
    }
    let explanation = data::trace(&ledger, &id, Some(&corpus), &[])?;
    if arguments.json { print_json(&explanation) } else { print_line(&explanation.to_string()) }
}

/// What a deletion works on: a run, or a folder governed on its own.
enum Opened {
    Run(Box<Run>),
    Ledger(Box<Ledger>),
}

impl Opened {
    fn ledger(&mut self) -> &mut Ledger {
        match self {
            Self::Run(run) => run.ledger(),
            Self::Ledger(ledger) => ledger,
        }
    }
}

fn delete(arguments: &Delete) -> Result<()> {
    let corpus = corpus_of(&arguments.run)?;
    let is_run = corpus != arguments.run;
    let mut opened = if is_run {
        Opened::Run(Box::new(Run::reopen(&arguments.run)?))
    } else {
        Opened::Ledger(Box::new(Ledger::open(arguments.run.join(LEDGER))?))
    };
    let ledger = opened.ledger();
    let ids: Vec<String> = arguments.ids.iter().map(|id| full_id(ledger, id)).collect::<Result<_>>()?;
    for id in &ids {
        if ledger.trace(id)?.document.is_none() {
            return Err(bad_input(format!("`{id}` is no document; nothing was deleted")));
        }
    }
    let index = arguments.run.join("index");
    let mut pack = if index.is_dir() { Some(Pack::open(&index)?) } else { None };
    let mut derived: Vec<&mut dyn data::Derived> = Vec::new();
    derived.extend(pack.as_mut().map(|pack| pack as &mut dyn data::Derived));
    if let Opened::Run(run) = &mut opened {
        // Answers and reports quote documents; they are made again from what is left.
        for stage in ["ask", "report"] {
            for gone in run.discard_from(stage)? {
                say(format!("removed stage `{gone}`; the same `gewu run` makes it again"));
            }
        }
        for file in ["report.html", "scorecard.json"] {
            let path = arguments.run.join(file);
            if path.exists() {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
            }
        }
    }
    let also_scan = if is_run { vec![arguments.run.clone()] } else { Vec::new() };
    let proof = data::delete(&corpus, &ids, &arguments.reason, opened.ledger(), &mut derived, &also_scan)?;
    drop(pack);
    if let Opened::Run(run) = &mut opened {
        run.reseal("govern")?;
        run.reseal("index")?;
    }
    if arguments.json {
        print_json(&proof)?;
    } else {
        print_line(&format!(
            "{} documents deleted: {} corpus entries, {} derived entries; {} files scanned, {}",
            proof.documents.len(),
            proof.shard_entries,
            proof.derived_entries.values().sum::<u64>(),
            proof.files.len(),
            if proof.clean { "nothing found" } else { "traces remain (see --json)" }
        ))?;
    }
    anyhow::ensure!(proof.clean, "traces of the deleted documents remain");
    Ok(())
}

fn report(arguments: &Report) -> Result<()> {
    let path = corpus_of(&arguments.run)?.join("report.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    print_line(text.trim_end())
}
