//! General text that keeps its place while something else is learned.
//!
//! The penalty of a token is half the squared change of its log-probability since the training began. On text the
//! model wrote itself its expected gradient is that of the divergence KL(first ‖ now), which the log-probability
//! alone reaches only through much noisier samples (the k2 estimator, Schulman 2020).

use burn::tensor::Tensor;
use model::{Parameters, Transformer};

use super::Batch;
use crate::{Error, Example};

/// What to hold, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Anchor<'a> {
    /// General texts, best of the model's own writing.
    pub examples: &'a [Example],
    /// Weight of the mean penalty of a token beside the loss.
    pub weight: f32,
    /// Texts per step, taken in turn.
    pub per_step: usize,
}

/// The texts of an anchor with the log-probabilities they had at first.
pub(super) struct Held {
    batches: Vec<(Batch, Vec<f32>)>,
    weight: f32,
}

impl Held {
    /// Reads every text once with the parameters as they are; nothing without texts or weight.
    pub(super) fn new(
        anchor: Option<&Anchor<'_>>,
        parameters: &Parameters,
        activation: model::Activation,
    ) -> Result<Option<Self>, Error> {
        let Some(anchor) = anchor.filter(|anchor| anchor.weight > 0.0 && !anchor.examples.is_empty()) else {
            return Ok(None);
        };
        let transformer = parameters.freeze(activation)?;
        let mut batches = Vec::new();
        for texts in anchor.examples.chunks(anchor.per_step.max(1)) {
            let batch = Batch::new(texts);
            if batch.scored() > 0 {
                let losses = batch.losses(&transformer)?.into_data().convert::<f32>();
                let values =
                    losses.as_slice::<f32>().map_err(|error| Error::Request(format!("{error:?}")))?;
                batches.push((batch, values.to_vec()));
            }
        }
        Ok((!batches.is_empty()).then_some(Self { batches, weight: anchor.weight }))
    }

    /// The weighted penalty in step `step`, `[1]`.
    pub(super) fn penalty(&self, transformer: &Transformer, step: usize) -> Result<Tensor<1>, Error> {
        let (batch, first) = &self.batches[step % self.batches.len()];
        let losses = batch.losses(transformer)?;
        let first = Tensor::<1>::from_floats(first.as_slice(), &losses.device());
        let change = losses - first;
        Ok((change.clone() * change).mean() * (0.5 * self.weight))
    }
}
