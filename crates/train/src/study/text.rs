//! A small model from scratch on documents: held-out bits per character, and samples.
//!
//! The measure does not depend on the vocabulary: the bits of all tokens of the held-out documents, the end of each
//! included, over their characters. Beside it stands what a table of character frequencies reaches.

use std::collections::BTreeMap;
use std::path::Path;

use model::config::Layers;
use model::template::{CHATML, ChatTemplate};
use model::tokenizer::Tokenizer;
use model::{Activation, Config, GenerateOptions, LanguageModel, Local, Parameters};
use serde::{Deserialize, Serialize};

use crate::vocabulary::{self, END_OF_TEXT, Learned, Unit};
use crate::{
    Documents, Error, Example, Extent, FitOptions, Learner, OptimizerConfig, Progress, Schedule, Shape,
    evaluate, fit_measured,
};

/// The model and its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextOptions {
    /// Most tokens of the vocabulary.
    pub vocabulary: usize,
    /// What the vocabulary is made of.
    pub unit: Unit,
    /// The mixers, in the grammar of [`model::config`].
    pub layers: String,
    /// Features of the residual stream.
    pub width: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// One document in so many is held out.
    pub held_out_one_in: usize,
    /// At most so many held-out documents are measured.
    pub most_held_out: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Tokens of one step at most, in packed runs of at most [`run_tokens`](Self::run_tokens).
    pub run_tokens: usize,
    /// Packed runs of one step.
    pub micro_batches: usize,
    /// Peak learning rate.
    pub rate: f32,
    /// Whether linear operations run in bf16 instead of f32.
    pub bf16: bool,
    /// Steps between two measurements of the held-out loss; 0: at the end only.
    pub evaluate_every: usize,
    /// Texts to write.
    pub samples: usize,
    /// Most tokens of one.
    pub sample_tokens: usize,
    /// Temperature of the samples.
    pub temperature: f32,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            vocabulary: 6144,
            unit: Unit::Character,
            layers: "6 x [attention]".into(),
            width: 192,
            context: 256,
            held_out_one_in: 50,
            most_held_out: 400,
            steps: 1000,
            run_tokens: 2048,
            micro_batches: 1,
            rate: 3e-3,
            bf16: true,
            evaluate_every: 0,
            samples: 10,
            sample_tokens: 120,
            temperature: 0.8,
        }
    }
}

/// What the model reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextResult {
    /// The seed of weights, order and samples.
    pub seed: u64,
    /// Parameters, embedding included.
    pub parameters: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Documents learned from.
    pub documents: usize,
    /// Characters in them.
    pub characters: u64,
    /// Documents measured.
    pub held_out_documents: usize,
    /// Characters in them.
    pub held_out_characters: u64,
    /// Bits per held-out character.
    pub bits_per_character: f64,
    /// The same of a table of character frequencies of the training documents.
    pub unigram_bits_per_character: f64,
    /// Steps trained.
    pub steps: usize,
    /// Tokens read in training.
    pub tokens: u64,
    /// How often the training documents were read.
    pub epochs: f64,
    /// Mean training loss over every hundredth of the steps, in nats per token.
    pub losses: Vec<f32>,
    /// Held-out bits per character along the way: steps before, bits.
    pub held_out: Vec<(usize, f64)>,
    /// Texts of the model, each begun from nothing.
    pub samples: Vec<String>,
    /// Whether all steps were done.
    pub finished: bool,
}

/// Learns a vocabulary and a model from `documents`, one in [`held_out_one_in`](TextOptions::held_out_one_in) of
/// which is held out by its content, so that equal documents fall on one side. The vocabulary and the state of an
/// interrupted training are kept in `folder`. Returns the model, too.
///
/// # Errors
/// Too few documents, options that make no model, the file system.
pub fn text(
    documents: &[String],
    options: &TextOptions,
    seed: u64,
    folder: &Path,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<(TextResult, Parameters, Tokenizer), Error> {
    let (training, mut held_out) = split(documents, options, seed);
    held_out.truncate(options.most_held_out);
    if training.is_empty() || held_out.is_empty() {
        return Err(Error::Request(format!(
            "{} documents are too few to hold out one in {}; give more documents",
            documents.len(),
            options.held_out_one_in
        )));
    }
    std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    Learned::train(training.iter().copied(), options.vocabulary, options.unit)?.write(folder)?;
    let tokenizer = vocabulary::open(folder)?;
    let config = Config::new(
        tokenizer.len().next_multiple_of(16),
        options.width,
        options.context,
        Layers::parse(&options.layers)?,
    );
    let parameters = Parameters::random(&config, seed)?;
    let count = parameters.count();
    let activation = if options.bf16 { Activation::Bf16 } else { Activation::F32 };
    let mut learner = Learner::new(parameters, &OptimizerConfig::default()).with_activation(activation);
    // Windows are as long as the context; a step packs several.
    let examples = |text: &&str| crate::packing::windows(&[example(&tokenizer, text)], options.context);
    let held_out_examples: Vec<Example> = held_out.iter().flat_map(examples).collect();
    let read = |index: usize| examples(&training[index]);
    let sizes = training.iter().map(|text| text.len()).collect();
    let documents = Documents::new(sizes, &read, ledger::short_hash(&training));
    let held_out_characters = characters(&held_out);
    let bits = |nats: f64| nats / std::f64::consts::LN_2 / held_out_characters.max(1) as f64;
    let held_out_tokens: usize = held_out_examples.iter().map(|example| example.scored.len()).sum();
    let fit_options = FitOptions {
        extent: Extent::Steps(options.steps),
        run_tokens: options.run_tokens.max(options.context),
        micro_batches: options.micro_batches,
        rate: options.rate,
        schedule: Schedule { warmup: options.steps / 50, shape: Shape::Wsd { decay: 0.4, floor: 0.02 } },
        seed,
        evaluate_every: options.evaluate_every,
        checkpoint: Some(folder.join("state")),
        checkpoint_every: (options.steps / 10).max(1),
        ..FitOptions::default()
    };
    let summary = fit_measured(&mut learner, documents, &held_out_examples, &fit_options, control)?;
    let held_out_loss = evaluate(&learner, &held_out_examples, fit_options.run_tokens)?;
    let parameters = learner.into_parameters();
    let samples = if summary.finished { samples(&parameters, folder, options, seed)? } else { Vec::new() };
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let along = |(step, loss): &(usize, f32)| (*step, bits(f64::from(*loss) * held_out_tokens as f64));
    let result = TextResult {
        seed,
        parameters: count,
        vocabulary: tokenizer.len(),
        documents: training.len(),
        characters: characters(&training),
        held_out_documents: held_out.len(),
        held_out_characters,
        bits_per_character: bits(held_out_loss.sum),
        unigram_bits_per_character: unigram_bits(&training, &held_out),
        steps: summary.steps,
        tokens: summary.tokens,
        epochs: f64::from(summary.epochs),
        losses: summary.losses.chunks((summary.steps / 100).max(1)).map(mean).collect(),
        held_out: summary.held_out.iter().map(along).collect(),
        samples,
        finished: summary.finished,
    };
    Ok((result, parameters, tokenizer))
}

/// The texts of a governed corpus, in its order.
///
/// # Errors
/// The corpus is unfinished or damaged.
pub fn corpus_texts(folder: &Path) -> Result<Vec<String>, Error> {
    let documents = data::corpus::read(folder).map_err(Error::state(folder))?;
    Ok(documents.into_iter().map(|document| document.text).collect())
}

/// A document between two ends of text: its first character is predicted, too.
fn example(tokenizer: &Tokenizer, text: &str) -> Example {
    let end = tokenizer.marker(END_OF_TEXT);
    let tokens = end.into_iter().chain(tokenizer.encode(text)).chain(end).collect();
    Example::whole(tokens)
}

/// Training and held-out documents, empty ones left out; which side one falls on depends on its text and the seed.
fn split<'d>(documents: &'d [String], options: &TextOptions, seed: u64) -> (Vec<&'d str>, Vec<&'d str>) {
    let one_in = options.held_out_one_in.max(2) as u64;
    let texts = documents.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    texts.partition(|text| {
        let hash = ledger::short_hash(&["held out", &seed.to_string(), text]);
        let number = u64::from_str_radix(&hash[..15], 16).unwrap_or(0);
        !number.is_multiple_of(one_in)
    })
}

fn characters(texts: &[&str]) -> u64 {
    texts.iter().map(|text| text.chars().count() as u64).sum()
}

/// Bits per character of the frequencies in `training`, with one added to each, on `held_out`. The end of a text
/// counts as a character does in the model's bits: it costs bits but is no character.
fn unigram_bits(training: &[&str], held_out: &[&str]) -> f64 {
    let mut counts = BTreeMap::<Option<char>, u64>::new();
    for text in training {
        for char in text.chars().map(Some).chain([None]) {
            *counts.entry(char).or_default() += 1;
        }
    }
    // One more kind stands for every character never seen.
    let total = (counts.values().sum::<u64>() + counts.len() as u64 + 1) as f64;
    let bits = |char| (total / (counts.get(&char).copied().unwrap_or(0) + 1) as f64).log2();
    let sum: f64 = held_out.iter().flat_map(|text| text.chars().map(Some).chain([None])).map(bits).sum();
    sum / characters(held_out).max(1) as f64
}

fn samples(
    parameters: &Parameters,
    folder: &Path,
    options: &TextOptions,
    seed: u64,
) -> Result<Vec<String>, Error> {
    let tokenizer = vocabulary::open(folder)?;
    let template = ChatTemplate::new(CHATML, END_OF_TEXT, END_OF_TEXT)?;
    let transformer = parameters.freeze(Activation::F32)?;
    let mut model = Local::new("text", transformer, tokenizer, template)?;
    (0..options.samples as u64)
        .map(|index| {
            let generate = GenerateOptions {
                max_tokens: options.sample_tokens.min(options.context.saturating_sub(1)),
                temperature: options.temperature,
                top_p: 0.95,
                seed: seed.wrapping_mul(1000).wrapping_add(index),
                ..GenerateOptions::default()
            };
            Ok(model.generate(END_OF_TEXT, &generate, &mut |_| true)?.text)
        })
        .collect()
}
