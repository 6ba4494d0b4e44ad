//! Steps in little memory: activations of one block at a time, and if wanted its gradients only.

use std::collections::BTreeMap;

use model::Transformer;
use model::optimizer::square_sum;

use super::{Learner, StepReport, add};
use crate::optimizer::Update;
use crate::{Batch, Error};

impl Learner {
    /// One optimizer step on the sum over `batches` of their losses, times `share`, averaged over the batches: as
    /// [`step`](Self::step), but every block is run again when its gradient is due
    /// ([`Parameters::backward_by_block`]), so that the activations of one block are held at a time.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_by_block(&mut self, rate: f32, batches: &[Batch], share: f32) -> Result<StepReport, Error> {
        self.check(rate, batches.len())?;
        let places = self.places();
        let mut sums: Vec<Option<Vec<f32>>> = vec![None; places.len()];
        let mut total = 0.0;
        for batch in batches {
            let mut loss = |transformer: &Transformer, hidden| {
                let losses = transformer.losses(hidden, batch.rows(), batch.targets())?;
                Ok(losses.sum() * share)
            };
            let mut each = |name: &str, gradient: Vec<f32>| {
                if let Some(&place) = places.get(name) {
                    add(&mut sums[place], Some(gradient));
                }
            };
            let value =
                self.parameters.backward_by_block(batch.packed(), self.activation, &mut loss, &mut each)?;
            total += f64::from(value);
        }
        self.take(rate, batches.len(), &sums, total)
    }

    /// As [`step_by_block`](Self::step_by_block) on one batch, but every weight moves as soon as its gradient is
    /// there, so that the gradients of one block are held at a time, too.
    ///
    /// Clipping ([`OptimizerConfig::clip_norm`]) and [`skip_above`](Self::skip_above) need the norm of all gradients
    /// first: with either, a pass before finds the norm and keeps nothing else, and the step is that of
    /// [`step_by_block`](Self::step_by_block) to the bit, in twice the time. With neither there is one pass; a
    /// gradient that is not finite then leaves its weight where it is, and the step counts as skipped though others
    /// moved.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_at_once(&mut self, rate: f32, batch: &Batch, share: f32) -> Result<StepReport, Error> {
        self.check(rate, 1)?;
        let mut loss = |transformer: &Transformer, hidden| {
            Ok((transformer.losses(hidden, batch.rows(), batch.targets())?).sum() * share)
        };
        let places = self.places();
        let mut squares = vec![0f64; places.len()];
        let norm = |squares: &[f64]| squares.iter().sum::<f64>().sqrt();
        let (packed, activation) = (batch.packed(), self.activation);
        let mut scale = 1.0;
        let needs_norm = self.optimizer.clip_norm.is_some() || self.norm_limit.is_finite();
        if needs_norm {
            let mut each = |name: &str, gradient: Vec<f32>| squares[places[name]] = square_sum(&gradient);
            let value = self.parameters.backward_by_block(packed, activation, &mut loss, &mut each)?;
            let norm = norm(&squares);
            if !(value.is_finite() && norm.is_finite() && norm <= self.norm_limit) {
                self.steps += 1;
                return Ok(StepReport {
                    step: self.steps,
                    loss: value,
                    gradient_norm: norm as f32,
                    skipped: true,
                });
            }
            scale = self.clipping(norm) as f32;
        }
        let shapes: Vec<Vec<usize>> = self.parameters.trainable().map(|(_, shape)| shape.to_vec()).collect();
        let step = self.applied + 1;
        let (parameters, mut memory) = self.memory();
        let mut each = |name: &str, values: &mut [f32], gradient: &[f32]| {
            let place = places[name];
            squares[place] = square_sum(gradient);
            if squares[place].is_finite() {
                let how = Update { name, shape: &shapes[place], rate, decay: 0.0, scale, step };
                memory.step(place, values, gradient, how);
            }
        };
        let value = parameters.descend_by_block(packed, activation, &mut loss, &mut each)?;
        let norm = norm(&squares);
        self.steps += 1;
        // A loss that is not finite has moved nothing.
        self.applied += u64::from(value.is_finite());
        let skipped = !(value.is_finite() && norm.is_finite());
        Ok(StepReport { step: self.steps, loss: value, gradient_norm: norm as f32, skipped })
    }

    /// Where each trained weight stands in [`Parameters::trainable`].
    fn places(&self) -> BTreeMap<String, usize> {
        let names = self.parameters.trainable().enumerate();
        names.map(|(index, (name, _))| (name.to_string(), index)).collect()
    }
}
