//! Stage `specialize`: the model learns the governed documents, and is asked what it knows before and after.

use std::path::Path;

use anyhow::{Context, Result};
use knowledge::specialize::{self, Graded, Item, Specialization};
use knowledge::{AskOptions, Pack};
use model::template::ChatTemplate;
use model::{Checkpoint, Local, Message};
use serde_json::{Value, json};
use train::Example;

use super::{Job, MODEL, neutral, tuning};
use crate::progress;
use crate::recipe::Specialize;

/// File of the stage's result.
pub(crate) const SUMMARY: &str = "summary.json";

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let base = job.model_before("specialize")?;
    let index = job.run.folder().join("index");
    let Job { run, loaded, recipe, .. } = job;
    run.stage("specialize", &inputs, |stage| -> Result<()> {
        let settings = &recipe.specialize;
        let pack = Pack::open(&index)?;
        let options = specialize::SpecializeOptions { seed: recipe.seed, ..settings.items.clone() };
        let items = match specialize::compile(&pack, &options) {
            // Documents without facts are no failure: the run goes on with the model as it is.
            Err(knowledge::Error::Request(reason)) => {
                progress::say(format!("nothing to learn: {reason}"));
                let text = serde_json::to_string_pretty(&json!({"absent": reason}))?;
                return Ok(ledger::write_atomic(stage.folder.join(SUMMARY), text.as_bytes())?);
            }
            items => items?,
        };
        stage.ledger.add_derivations(&items.derivations())?;
        write_items(&stage.folder.join("items.jsonl"), &items)?;

        let text = neutral::text(&recipe.neutral)?;
        let model = super::load(loaded, &base)?;
        // A model that was never tuned is shown two answered questions, or it would not know how short to answer.
        let known = Known::measure(model, &items, true)?;
        let perplexity = eval::perplexity(model, &text, neutral::WINDOW)?;
        let checkpoint = Checkpoint::open(&base)?;
        let template = checkpoint.chat_template(model.tokenizer())?;
        let (examples, anchors, general) = examples(model, &template, &items, settings, recipe.seed)?;
        let mut trained =
            tuning::tune(&checkpoint, &examples, &[], &anchors, &settings.tuning, stage, recipe.seed)?;
        trained.temper(&general, settings.cost, &settings.tuning)?;
        trained.parameters.save(&stage.folder.join("trained.safetensors"))?;
        trained.parameters.write(&checkpoint, &stage.folder.join(MODEL), kernels::quant::Format::Q8_0)?;

        let model = super::load(loaded, &stage.folder.join(MODEL))?;
        let learned = Known::measure(model, &items, false)?;
        let after = eval::perplexity(model, &text, neutral::WINDOW)?;
        let ask = AskOptions::default();
        let bar = progress::bar(items.never_trained.len() as u64, "retrieval");
        let retrieved =
            specialize::with_retrieval(&pack, model, &items.never_trained, &ask, &mut |done, _| {
                bar.set_position(done as u64);
            })?;
        bar.finish_and_clear();
        // The folder takes its final name when the stage ends.
        *loaded = None;
        let lines = [
            ("unseen_phrasing", line(&items.unseen_phrasing, &known.unseen, &learned.unseen, recipe.seed)?),
            ("never_trained", line(&items.never_trained, &known.never, &learned.never, recipe.seed)?),
        ];
        for (name, value) in &lines {
            stage.metric(&format!("{name}.before"), value["before"]["share"].as_f64().unwrap_or_default());
            stage.metric(&format!("{name}.after"), value["after"]["share"].as_f64().unwrap_or_default());
        }
        stage.metric("perplexity.before", perplexity.perplexity);
        stage.metric("perplexity.after", after.perplexity);
        let summary = json!({
            "facts": items.trained_facts(),
            "items": items.train.len(),
            "examples": examples.len(),
            "training": trained.summary(),
            "closed_book": Value::from_iter(lines),
            "retrieval_never_trained": share_right(&specialize::correctness(&retrieved))?,
            "perplexity": neutral::change(&recipe.neutral, &perplexity, &after),
            "samples": samples(&items, &known, &learned),
        });
        let text = serde_json::to_string_pretty(&summary)?;
        Ok(ledger::write_atomic(stage.folder.join(SUMMARY), text.as_bytes())?)
    })?;
    Ok(())
}

/// What a model answers without the documents.
pub(super) struct Known {
    pub(super) unseen: Vec<Graded>,
    pub(super) never: Vec<Graded>,
}

impl Known {
    pub(super) fn measure(model: &mut Local, items: &Specialization, examples: bool) -> Result<Self> {
        let total = items.unseen_phrasing.len() + items.never_trained.len();
        let bar = progress::bar(total as u64, "closed book");
        let mut ask = |items: &[Item]| {
            specialize::closed_book(model, items, examples, &mut |_, _| bar.inc(1))
                .map_err(anyhow::Error::from)
        };
        let known = Self { unseen: ask(&items.unseen_phrasing)?, never: ask(&items.never_trained)? };
        bar.finish_and_clear();
        Ok(known)
    }
}

/// Passages of general text on which the cost of the update is weighed; they are not trained.
const WEIGHED: usize = 16;

/// Items as conversations of which the answer counts; general text of the model's own that is held in place while
/// they are learned; and more such text to weigh the cost on.
fn examples(
    model: &mut Local,
    template: &ChatTemplate,
    items: &Specialization,
    settings: &Specialize,
    seed: u64,
) -> Result<(Vec<Example>, Vec<Example>, Vec<Example>)> {
    let mut examples = Vec::with_capacity(items.train.len());
    for item in &items.train {
        let mut messages = item.messages.clone();
        messages.push(Message::new("assistant", item.answer()));
        examples.push(train::chat_example(model.tokenizer(), template, &messages)?);
    }
    let count = settings.passages + WEIGHED;
    let bar = progress::bar(count as u64, "own words");
    let passages = specialize::replay(model, count, settings.passage_length, seed, &mut |done, _| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let mut general: Vec<Example> =
        passages.iter().map(|passage| Example::text(model.tokenizer(), &passage.text)).collect();
    let anchors = general.split_off(WEIGHED.min(general.len()));
    Ok((examples, anchors, general))
}

/// The share of right answers.
pub(super) fn share_right(correct: &[f64]) -> Result<Value> {
    super::share(correct.iter().filter(|value| **value > 0.5).count(), correct.len())
}

/// One line of items before and after, and the paired difference.
fn line(items: &[Item], before: &[Graded], after: &[Graded], seed: u64) -> Result<Value> {
    let (before, after) = (specialize::correctness(before), specialize::correctness(after));
    let resampling = statistics::Resampling { seed, ..statistics::Resampling::default() };
    let difference = match items.len() {
        0 | 1 => Value::Null,
        _ => serde_json::to_value(statistics::paired_difference(&before, &after, &resampling)?)?,
    };
    Ok(json!({"before": share_right(&before)?, "after": share_right(&after)?, "difference": difference}))
}

/// A few answers side by side for a reader.
fn samples(items: &Specialization, known: &Known, learned: &Known) -> Vec<Value> {
    let rows = items.unseen_phrasing.iter().zip(&known.unseen).zip(&learned.unseen);
    rows.take(8)
        .map(|((item, before), after)| {
            json!({
                "question": item.question.text,
                "expected": item.answer(),
                "before": before.text,
                "after": after.text,
                "verdict": after.verdict,
            })
        })
        .collect()
}

fn write_items(path: &Path, items: &Specialization) -> Result<()> {
    let mut lines = String::new();
    for item in items.items() {
        lines += &serde_json::to_string(item).context("an item as JSON")?;
        lines.push('\n');
    }
    Ok(ledger::write_atomic(path, lines.as_bytes())?)
}
