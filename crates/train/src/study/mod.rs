//! Small models trained from scratch on tasks with known answers: what a mixer can learn, by seed.
//!
//! - [`recall`]: find the value of a key among many pairs (MQAR).
//! - [`parity`]: count modulo 2, on sequences longer than any in training.
//! - [`text`]: predict text of a folder of documents, in bits per character.
//!
//! Results are plain data that depend on options and seed alone; who calls measures the time.

mod curriculum;
pub mod parity;
pub mod recall;
pub mod text;

pub use curriculum::Curriculum;

use model::config::Layers;
use model::{Config, Parameters, Transformer};

use crate::{Batch, Error, Learner, Sequence};

/// A model of a study.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// What results call it.
    pub name: String,
    /// Its mixers, in the grammar of [`model::config`].
    pub layers: String,
    /// Its own peak learning rate: mixers differ in what they bear. Absent: that of the study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f32>,
}

impl Variant {
    /// A variant of that name, trained at the rate of the study.
    pub fn new(name: &str, layers: &str) -> Self {
        Self { name: name.into(), layers: layers.into(), rate: None }
    }

    /// The same at a rate of its own.
    #[must_use]
    pub fn at_rate(self, rate: f32) -> Self {
        Self { rate: Some(rate), ..self }
    }

    fn layers(&self) -> Result<Layers, Error> {
        Ok(Layers::parse(&self.layers)?)
    }
}

/// How a study trains.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Peak learning rate.
    pub rate: f32,
    /// Decay of matrices.
    pub weight_decay: f32,
    /// Tokens of one step, in whole sequences.
    pub step_tokens: usize,
    /// Stages of growing difficulty.
    pub curriculum: Curriculum,
    /// Whether linear operations run in bf16 instead of f32.
    pub bf16: bool,
}

impl Training {
    /// The same with the rate of a variant.
    fn of(&self, variant: &Variant) -> Self {
        Self { rate: variant.rate.unwrap_or(self.rate), ..self.clone() }
    }

    fn learner(&self, parameters: Parameters) -> Learner {
        let optimizer = crate::OptimizerConfig { weight_decay: self.weight_decay, ..Default::default() };
        let activation = if self.bf16 { model::Activation::Bf16 } else { model::Activation::F32 };
        Learner::new(parameters, &optimizer).with_activation(activation)
    }
}

/// Changes the width of the channels so that the model has as nearly as possible `target` parameters, in steps of
/// eight features, and returns the configuration with its number of parameters.
fn matched(mut config: Config, target: usize) -> Result<(Config, usize), Error> {
    let mut count = |hidden: usize| -> Result<usize, Error> {
        config.channel.hidden = hidden;
        Ok(Parameters::random(&config, 0)?.count())
    };
    // The number is linear in the features of the channel.
    let (small, large) = (count(8)?, count(16)?);
    let steps = target.saturating_sub(small) as f64 / (large - small).max(1) as f64;
    let hidden = 8 + 8 * steps.round() as usize;
    let parameters = count(hidden)?;
    Ok((config, parameters))
}

/// Bytes a model remembers after `length` tokens.
fn state_bytes(transformer: &Transformer, tokens: &[u32]) -> Result<usize, Error> {
    let mut cache = transformer.cache(tokens.len());
    transformer.forward(tokens, Some(&mut cache), model::Want::Last)?;
    Ok(cache.bytes())
}

/// Calls `each(sequence, row, right)` for every query of `sequences`: whether the likeliest token is the expected.
fn grade(
    transformer: &Transformer,
    sequences: &[Sequence],
    run_tokens: usize,
    each: &mut dyn FnMut(usize, usize, bool),
) -> Result<(), Error> {
    let mut first = 0;
    while first < sequences.len() {
        let mut tokens = 0;
        let fits = sequences[first..].iter().take_while(|(sequence, _)| {
            tokens += sequence.len();
            tokens <= run_tokens
        });
        let last = first + fits.count().max(1);
        let run = &sequences[first..last];
        let batch = Batch::of_queries(run);
        let logits = transformer.logits(batch.hidden(transformer)?);
        let [_, vocabulary] = logits.dims();
        let values = logits.into_data().convert::<f32>();
        let values = values.as_slice::<f32>().map_err(|error| Error::Request(format!("{error:?}")))?;
        let mut rows = batch.rows().iter();
        for (index, (_, queries)) in run.iter().enumerate() {
            for (row, target) in queries {
                let Some(at) = rows.next() else { continue };
                let logits = &values[at * vocabulary..][..vocabulary];
                each(first + index, *row, likeliest(logits) == *target as usize);
            }
        }
        first = last;
    }
    Ok(())
}

/// The first index of the largest value.
fn likeliest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests;
