//! Refusal direction: the difference of mean activations between prompts a model refuses and prompts it answers,
//! what happens when it is removed or added, and norm-matched random controls.
//!
//! Arditi et al. 2024, "Refusal in language models is mediated by a single direction" (arXiv:2406.11717). The
//! direction is taken from the residual stream after the last prompt token, and removed from everything that is
//! written to the stream (the embedding, every mixer and channel output), which is the same as removing it from
//! the weights. A control takes the same amount out of every write along a random direction instead, so the
//! norm of the intervention is the same at every layer and position.

mod effect;
mod select;
mod study;

pub use effect::{Addition, Arm, Effect, EffectOptions, Outcome, Reading, judge, measure_effect};
pub use select::{Candidate, Selected, Selection, select};
pub use study::{PromptSet, RefusalOptions, RefusalStudy, refusal_study};

use ledger::Stream;
use model::{LanguageModel, Local, Message, Transformer, Want};
use serde::{Deserialize, Serialize};

use crate::decompose::components;
use crate::distribution::log_softmax;
use crate::error::require;
use crate::intervene::{Change, With, run};
use crate::lens::{stream, stream_points};
use crate::matrix::norm;
use crate::{Error, Matrix};

/// A direction of the residual stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// Where it was taken: 0 is the embedding, `i + 1` the stream after block `i`.
    pub layer: usize,
    /// The difference of means, as long as it was found.
    pub vector: Vec<f32>,
}

impl Direction {
    /// Its length.
    pub fn norm(&self) -> f64 {
        norm(&self.vector)
    }

    /// The same direction of length 1.
    ///
    /// # Errors
    /// [`Error::Request`] if it has no length.
    pub fn unit(&self) -> Result<Vec<f32>, Error> {
        let length = self.norm();
        require(length.is_finite() && length > 1e-12, || {
            format!("the difference of means after layer {} has length {length}; no direction", self.layer)
        })?;
        Ok(self.vector.iter().map(|value| (f64::from(*value) / length) as f32).collect())
    }
}

/// The difference of mean activations after the last token, `refused` minus `answered`, for every layer of the
/// stream: `layers + 1` directions.
///
/// # Errors
/// [`Error::Request`] if a set is empty; [`Error::Model`] from the forward passes.
pub fn differences(
    transformer: &Transformer,
    refused: &[Vec<u32>],
    answered: &[Vec<u32>],
) -> Result<Vec<Direction>, Error> {
    let refused = mean_stream(transformer, refused)?;
    let answered = mean_stream(transformer, answered)?;
    let layers = refused.into_iter().zip(answered).enumerate();
    Ok(layers
        .map(|(layer, (refused, answered))| {
            let vector = refused.iter().zip(&answered).map(|(a, b)| (a - b) as f32).collect();
            Direction { layer, vector }
        })
        .collect())
}

/// The mean row of every layer after the last token.
fn mean_stream(transformer: &Transformer, prompts: &[Vec<u32>]) -> Result<Vec<Vec<f64>>, Error> {
    require(!prompts.is_empty(), || "a mean over no prompts; give at least one of each kind".into())?;
    let width = transformer.config().width;
    let mut sums = vec![vec![0.0; width]; transformer.config().layers.len() + 1];
    for prompt in prompts {
        require(!prompt.is_empty(), || "a prompt has no tokens".into())?;
        let rows = stream(transformer, prompt, prompt.len() - 1)?;
        for (layer, sum) in sums.iter_mut().enumerate() {
            sum.iter_mut().zip(rows.row(layer)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
    let count = prompts.len() as f64;
    sums.iter_mut().flatten().for_each(|sum| *sum /= count);
    Ok(sums)
}

/// Takes the component along `of` out of everything that is written to the stream, along `along`. With both the
/// same, the direction is removed; both must have length 1.
pub fn removal(transformer: &Transformer, along: &[f32], of: &[f32]) -> Vec<Change> {
    let without =
        |point: String| Change::new(point, With::Without { along: along.to_vec(), of: of.to_vec() });
    components(transformer).into_iter().map(without).collect()
}

/// Adds a vector to the stream after `layer` (0: the embedding) at every position.
///
/// # Errors
/// [`Error::Request`] if there is no such layer.
pub fn addition(transformer: &Transformer, layer: usize, vector: Vec<f32>) -> Result<Change, Error> {
    let points = stream_points(transformer);
    let point = points.get(layer).ok_or_else(|| {
        Error::Request(format!("layer {layer} of a stream with {} (0 is the embedding)", points.len()))
    })?;
    Ok(Change::new(point, With::Plus(vector)))
}

/// A random direction of length 1, the same for the same seed and index.
pub fn random_direction(width: usize, seed: u64, index: usize) -> Vec<f32> {
    let mut draws = Stream::new(seed, &format!("direction.{index}"));
    // Box and Muller 1958: a normal vector has no preferred direction.
    let mut normal = || {
        let radius = (-2.0 * (1.0 - draws.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * draws.uniform()).cos()
    };
    let values: Vec<f64> = (0..width).map(|_| normal()).collect();
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    values.iter().map(|value| (value / length) as f32).collect()
}

/// The refusal score of a row of logits: `ln P − ln(1 − P)`, P being the probability that a refusal opens with
/// one of `openings`.
pub fn refusal_score(logits: &[f32], openings: &[u32]) -> f64 {
    let p = log_softmax(logits);
    let refuses: f64 = openings.iter().filter_map(|token| p.get(*token as usize)).map(|p| p.exp()).sum();
    let refuses = refuses.clamp(1e-12, 1.0 - 1e-12);
    (refuses / (1.0 - refuses)).ln()
}

/// The tokens with which a refusal opens: those whose mean probability after refused prompts is at least
/// `least`, and twice that after answered ones; likeliest first.
///
/// # Errors
/// [`Error::Request`] if there is none: the model does not refuse, or does not refuse these prompts only.
pub fn refusal_openings(
    transformer: &Transformer,
    refused: &[Vec<u32>],
    answered: &[Vec<u32>],
    least: f64,
) -> Result<Vec<u32>, Error> {
    let (refused, answered) = (mean_opening(transformer, refused)?, mean_opening(transformer, answered)?);
    let mut found: Vec<(u32, f64)> = Vec::new();
    for (token, (p, other)) in refused.iter().zip(&answered).enumerate() {
        if *p >= least && *p >= 2.0 * other {
            found.push((token as u32, *p));
        }
    }
    require(!found.is_empty(), || {
        "no token opens the answers to refused prompts only: the model refuses none of them, or everything"
            .into()
    })?;
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Ok(found.into_iter().map(|(token, _)| token).collect())
}

fn mean_opening(transformer: &Transformer, prompts: &[Vec<u32>]) -> Result<Vec<f64>, Error> {
    require(!prompts.is_empty(), || "a mean over no prompts; give at least one of each kind".into())?;
    let mut sums = vec![0.0; transformer.config().vocabulary];
    for prompt in prompts {
        let logits = run(transformer, prompt, &[], Want::Last)?;
        let p = log_softmax(logits.last());
        sums.iter_mut().zip(p).for_each(|(sum, p)| *sum += p.exp());
    }
    sums.iter_mut().for_each(|sum| *sum /= prompts.len() as f64);
    Ok(sums)
}

/// The logits after the last token of a prompt under changes.
fn last_logits(transformer: &Transformer, prompt: &[u32], changes: &[Change]) -> Result<Matrix, Error> {
    run(transformer, prompt, changes, Want::Last)
}

/// The tokens of a one-turn conversation, ready for the assistant's answer, as the model was tuned to see it.
///
/// # Errors
/// [`Error::Model`] if the chat template refuses.
pub fn chat_tokens(model: &Local, text: &str) -> Result<Vec<u32>, Error> {
    let prompt = model.chat_prompt(&[Message::new("user", text)])?;
    let mut tokens = model.tokenizer().encode_prompt(&prompt);
    if let Some(beginning) = model.tokenizer().beginning()
        && tokens.first() != Some(&beginning)
    {
        tokens.insert(0, beginning);
    }
    Ok(tokens)
}
