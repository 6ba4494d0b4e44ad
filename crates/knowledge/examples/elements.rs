//! Measures `ask` over the element database or a folder: `elements MODEL SOURCE [N] [SEED]`; JSON on standard output,
//! failures on standard error. A file instead of N: its lines are asked, answers on standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{io::Write, path::Path};

use knowledge::{Arm, AskOptions, ELEMENT_TABLES, Pack, Verdict, ask, evaluate, questions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, source, rest @ ..] = arguments.as_slice() else {
        return Err("usage: elements MODEL SOURCE [N] [SEED]".into());
    };
    let asked = rest.first().map(std::fs::read_to_string).and_then(Result::ok);
    let count = rest.first().filter(|_| asked.is_none()).map_or(Ok(500), |n| n.parse())?;
    let seed = rest.get(1).map_or(Ok(1), |n| n.parse())?;
    let folder = std::env::temp_dir().join(format!("gewu-elements-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut ledger = ledger::Ledger::open(folder.join("ledger.sqlite"))?;
    let mut config = data::GovernConfig::curated(source.as_str());
    config.near.enabled = false;
    config.privacy.redact = false;
    if source.ends_with("elements.db") {
        config.sources[0].tables = ELEMENT_TABLES.iter().map(|t| (*t).to_owned()).collect();
    }
    let report = data::govern(&config, &folder.join("corpus"), &mut ledger, &mut |_| {})?;
    let documents = data::corpus::read(&folder.join("corpus"))?;
    let started = std::time::Instant::now();
    let pack = Pack::build(&documents, folder.join("pack"), &mut ledger, &mut |_, _| {})?;
    let mut err = std::io::stderr();
    writeln!(
        err,
        "{} documents, {:?}, built in {:?}; {report:.0?}",
        documents.len(),
        pack.size()?,
        started.elapsed()
    )?;
    let mut model = model::Local::open(Path::new(model), &model::LoadOptions::default())?;
    if let Some(lines) = asked {
        for line in lines.lines().filter(|l| !l.trim().is_empty()) {
            let answer = ask(&pack, &mut model, line, &AskOptions::default())?;
            let places: Vec<String> =
                answer.citations.iter().map(|c| format!("{} {}..{}", c.locator, c.start, c.end)).collect();
            let shown = if answer.abstained { "(no answer)" } else { &answer.text };
            writeln!(std::io::stdout(), "{line}\t{shown}\t{}\t{}", places.join("; "), answer.reason)?;
        }
        return Ok(std::fs::remove_dir_all(&folder)?);
    }
    let questions = questions::generate(&pack, count, seed)?;
    let started = std::time::Instant::now();
    let result = evaluate(&pack, &mut model, &questions, &AskOptions::default(), &mut |_, _| {})?;
    for outcome in &result.outcomes {
        let failed = match outcome.arm {
            Arm::Retrieval => outcome.verdict != Verdict::Correct || !outcome.resolved,
            Arm::SourceRemoved => outcome.verdict != Verdict::Abstained,
            _ => false,
        };
        if let Some(question) = questions.iter().find(|q| q.id == outcome.question).filter(|_| failed) {
            let (answer, reason) = (&outcome.answer.text, &outcome.answer.reason);
            writeln!(
                err,
                "{:?} {}: {:?} | {} | wanted {} | {answer} | {reason}",
                outcome.arm, question.id, outcome.verdict, question.text, question.answer
            )?;
        }
    }
    let how = |reason: &str| {
        result.outcomes.iter().filter(|o| o.arm == Arm::Retrieval && o.answer.reason.contains(reason)).count()
    };
    writeln!(
        err,
        "generated answer accepted {}, replaced {}, ranked {}; {:?}",
        how("equals"),
        how("differed"),
        how("likeliest"),
        started.elapsed()
    )?;
    let summary = serde_json::json!({"arms": result.arms, "categories": result.categories, "languages": result.languages});
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&summary)?)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
