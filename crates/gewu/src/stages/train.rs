//! Stage `train`: continued training on the documents' text and on conversations.

use anyhow::{Context, Result};
use model::tokenizer::Tokenizer;
use model::{Checkpoint, Message};
use serde::Deserialize;
use serde_json::json;
use train::{Documents, Example};

use super::{Job, MODEL, neutral, tuning};
use crate::failure::bad_input;

/// One line of a file of conversations.
#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
}

/// What the model learns from.
enum Item {
    /// A text, tokenized when its turn comes.
    Document(String),
    /// A conversation; one that cannot be learned from is to be known before training begins.
    Conversation(Example),
}

impl Item {
    fn example(&self, tokenizer: &Tokenizer) -> Example {
        match self {
            Self::Document(text) => Example::text(tokenizer, text),
            Self::Conversation(example) => example.clone(),
        }
    }

    /// Bytes of its text; of a conversation about as many.
    fn bytes(&self) -> usize {
        match self {
            Self::Document(text) => text.len(),
            Self::Conversation(example) => 4 * example.tokens.len(),
        }
    }
}

/// A hash of all items.
fn identity(items: &[(usize, Item)]) -> String {
    let texts: Vec<String> = items
        .iter()
        .map(|(_, item)| match item {
            Item::Document(text) => ledger::short_hash(&[text]),
            Item::Conversation(example) => Example::hash(std::slice::from_ref(example)),
        })
        .collect();
    ledger::short_hash(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let base = job.model_before("train")?;
    let corpus = job.run.folder().join("govern");
    let Job { run, loaded, recipe, .. } = job;
    run.stage("train", &inputs, |stage| -> Result<()> {
        let settings = &recipe.train;
        let format = model::convert::type_named(&settings.format)?;
        let text = neutral::text(&recipe.neutral)?;
        let checkpoint = Checkpoint::open(&base)?;
        let model = super::load(loaded, &base)?;
        let template = checkpoint.chat_template(model.tokenizer())?;
        let mut items = Vec::new();
        if settings.documents && corpus.is_dir() {
            items.extend(
                data::corpus::read(&corpus)?.into_iter().map(|document| Item::Document(document.text)),
            );
        }
        for (number, line) in lines(&settings.conversations)?.iter().enumerate() {
            let place = || format!("`{}`, line {}", settings.conversations, number + 1);
            let conversation: Conversation = serde_json::from_str(line)
                .map_err(|error| bad_input(format!("{}: no conversation: {error}", place())))?;
            let example = train::chat_example(model.tokenizer(), &template, &conversation.messages);
            items.push(Item::Conversation(example.with_context(place)?));
        }
        let every = settings.held_out_one_in.max(2);
        let (held_out, items): (Vec<_>, Vec<_>) =
            items.into_iter().enumerate().partition(|(index, _)| index % every == every - 1);
        if items.is_empty() {
            return Err(bad_input(
                "there is nothing to learn: give documents (--docs) or conversations (train.conversations)",
            ));
        }
        let before = eval::perplexity(model, &text, neutral::WINDOW)?;
        let tokenizer = model.tokenizer();
        let held_out: Vec<Example> = held_out.iter().map(|(_, item)| item.example(tokenizer)).collect();
        let read = |index: usize| vec![items[index].1.example(tokenizer)];
        let sizes = items.iter().map(|(_, item)| item.bytes()).collect();
        let examples = Documents::new(sizes, &read, identity(&items));
        let trained =
            tuning::tune(&checkpoint, examples, &held_out, &[], &settings.tuning, stage, recipe.seed)?;
        trained.parameters.save(&stage.folder.join("trained.safetensors"))?;
        trained.parameters.write(&checkpoint, &stage.folder.join(MODEL), format)?;
        let model = super::load(loaded, &stage.folder.join(MODEL))?;
        let after = eval::perplexity(model, &text, neutral::WINDOW)?;
        // The folder takes its final name when the stage ends.
        *loaded = None;
        let summary = json!({
            "examples": items.len(),
            "held_out_examples": held_out.len(),
            "training": trained.summary(),
            "perplexity": neutral::change(&recipe.neutral, &before, &after),
        });
        let text = serde_json::to_string_pretty(&summary)?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}

/// The lines of a file that hold anything; none without a file.
fn lines(path: &str) -> Result<Vec<String>> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}
