//! Stage `ask`: generated questions with known answers, asked in four ways; every answer's citations in the ledger.

use anyhow::Result;
use knowledge::questions::{Question, generate};
use knowledge::{Answer, Arm, AskOptions, Counts, Evaluation, Outcome, Pack, Verdict};
use ledger::{AnswerRow, Derivation, Ledger};
use serde_json::{Value, json};

use super::{Job, share};
use crate::failure::bad_input;
use crate::progress;
use crate::recipe::Ask;

/// Bytes of source shown on each side of a cited span.
const AROUND: usize = 160;

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let path = job.model_before("ask")?;
    let Job { run, loaded, recipe, .. } = job;
    let (index, corpus) = (run.folder().join("index"), run.folder().join("govern"));
    run.stage("ask", &inputs, |stage| -> Result<()> {
        let model = super::load(loaded, &path)?;
        let pack = Pack::open(&index)?;
        let questions = generate(&pack, recipe.ask.questions, recipe.seed)?;
        if questions.is_empty() {
            return Err(bad_input(
                "the documents hold no table rows, definitions or sentences that questions can be made of; leave `ask` out of the recipe's stages",
            ));
        }
        let bar = progress::bar(questions.len() as u64, "ask");
        let result = knowledge::evaluate(&pack, model, &questions, &options(&recipe.ask), &mut |done, _| {
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        record(stage.ledger, &questions, &result)?;
        let mut lines = String::new();
        for outcome in &result.outcomes {
            lines += &serde_json::to_string(outcome)?;
            lines.push('\n');
        }
        ledger::write_atomic(stage.folder.join("answers.jsonl"), lines.as_bytes())?;
        ledger::write_atomic(
            stage.folder.join("questions.json"),
            serde_json::to_string_pretty(&questions)?.as_bytes(),
        )?;
        for (arm, counts) in &result.arms {
            let name = format!("{}.correct", name_of(arm));
            stage.metric(&name, counts.correct as f64 / counts.questions.max(1) as f64);
        }
        let samples = samples(&corpus, &questions, &result, recipe.ask.samples)?;
        let summary = summary(&result, &samples)?;
        let text = serde_json::to_string_pretty(&summary)?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}

/// The recipe's settings as those of the answerer.
fn options(ask: &Ask) -> AskOptions {
    AskOptions {
        support: ask.support,
        max_tokens: ask.max_tokens,
        coverage: ask.coverage,
        ..AskOptions::default()
    }
}

/// Records an answer and the spans it cites.
pub(crate) fn rows_of(id: &str, question: &str, answer: &Answer) -> (AnswerRow, Vec<Derivation>) {
    let row = AnswerRow {
        id: id.to_owned(),
        question: question.to_owned(),
        answer: answer.text.clone(),
        outcome: if answer.abstained { format!("abstained: {}", answer.reason) } else { "answered".into() },
    };
    let citations = answer
        .citations
        .iter()
        .map(|citation| Derivation {
            parent: citation.document.clone(),
            child: id.to_owned(),
            kind: "citation".into(),
            location: format!("bytes {}..{}", citation.start, citation.end),
        })
        .collect();
    (row, citations)
}

fn record(ledger: &mut Ledger, questions: &[Question], result: &Evaluation) -> Result<()> {
    let (mut answers, mut derivations) = (Vec::new(), Vec::new());
    for outcome in &result.outcomes {
        let Some(question) = questions.iter().find(|question| question.id == outcome.question) else {
            continue;
        };
        let id = ledger::short_hash(&[&name_of(&outcome.arm), &question.id, &question.text]);
        let (row, citations) = rows_of(&id, &question.text, &outcome.answer);
        answers.push(row);
        derivations.extend(citations);
    }
    ledger.add_answers(&answers)?;
    Ok(ledger.add_derivations(&derivations)?)
}

/// The name an arm has in JSON.
fn name_of(arm: &Arm) -> String {
    serde_json::to_value(arm).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Counts as shares with Wilson intervals.
fn summary(result: &Evaluation, samples: &[Value]) -> Result<Value> {
    let row = |counts: &Counts| -> Result<Value> {
        Ok(json!({
            "counts": counts,
            "correct": share(counts.correct, counts.questions)?,
            "wrong": share(counts.wrong, counts.questions)?,
            "abstained": share(counts.abstained, counts.questions)?,
            "citations_resolve": share(counts.resolved, counts.answered())?,
        }))
    };
    let mut arms = serde_json::Map::new();
    for (arm, counts) in &result.arms {
        arms.insert(name_of(arm), row(counts)?);
    }
    let mut categories = serde_json::Map::new();
    for (category, counts) in &result.categories {
        let name = serde_json::to_value(category)?.as_str().unwrap_or_default().to_owned();
        categories.insert(name, row(counts)?);
    }
    let mut languages = serde_json::Map::new();
    for (language, counts) in &result.languages {
        languages.insert(language.clone(), row(counts)?);
    }
    Ok(json!({"arms": arms, "categories": categories, "languages": languages, "samples": samples}))
}

/// A few answers for a reader: right ones, wrong ones and abstentions in turn.
fn samples(
    corpus: &std::path::Path,
    questions: &[Question],
    result: &Evaluation,
    count: usize,
) -> Result<Vec<Value>> {
    let of = |verdict: Verdict| {
        result.outcomes.iter().filter(move |o| o.arm == Arm::Retrieval && o.verdict == verdict)
    };
    let mut chosen: Vec<&Outcome> = Vec::new();
    // Right answers from both halves of the list, so that later categories are seen too.
    let half = of(Verdict::Correct).count().div_ceil(2);
    let mut kinds = [
        Box::new(of(Verdict::Correct).take(half)) as Box<dyn Iterator<Item = &Outcome>>,
        Box::new(of(Verdict::Wrong)),
        Box::new(of(Verdict::Correct).skip(half)),
        Box::new(of(Verdict::Abstained)),
    ];
    while chosen.len() < count {
        let before = chosen.len();
        for kind in &mut kinds {
            chosen.extend(kind.next().filter(|_| chosen.len() < count));
        }
        if chosen.len() == before {
            break;
        }
    }
    let documents = data::corpus::read(corpus)?;
    chosen
        .into_iter()
        .map(|outcome| {
            let question = questions.iter().find(|question| question.id == outcome.question);
            let citations: Vec<Value> = outcome
                .answer
                .citations
                .iter()
                .map(|citation| {
                    let text = documents
                        .iter()
                        .find(|document| document.id == citation.document)
                        .map_or("", |document| document.text.as_str());
                    let (before, after) = around(text, citation.start, citation.end);
                    json!({"citation": citation, "before": before, "after": after})
                })
                .collect();
            Ok(json!({
                "question": question.map(|question| &question.text),
                "expected": question.map(|question| &question.answer),
                "answer": outcome.answer.text,
                "verdict": outcome.verdict,
                "reason": outcome.answer.reason,
                "citations": citations,
            }))
        })
        .collect()
}

/// The text on both sides of a span, cut at characters.
fn around(text: &str, start: usize, end: usize) -> (&str, &str) {
    let from = text.floor_char_boundary(start.saturating_sub(AROUND));
    let to = text.ceil_char_boundary(end.saturating_add(AROUND));
    (text.get(from..start).unwrap_or_default(), text.get(end..to).unwrap_or_default())
}
