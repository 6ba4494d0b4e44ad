//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), in place.

use model::optimizer;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The settings of the optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the mean of the gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// A decaying parameter loses `rate · weight_decay` of itself per step; see [`decays`].
    pub weight_decay: f32,
    /// Gradients whose global norm is larger are scaled down to it; `None` leaves them.
    pub clip_norm: Option<f32>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, clip_norm: Some(1.0) }
    }
}

impl AdamWConfig {
    /// Checks that the numbers make an optimizer.
    ///
    /// # Errors
    /// [`Error::Request`] naming the first that does not fit.
    pub fn validate(&self) -> Result<(), Error> {
        let fits = |name: &str, value: f32, fits: bool, range: &str| match fits {
            true => Ok(()),
            false => Err(Error::Request(format!("optimizer: {name} = {value} must lie in {range}"))),
        };
        fits("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "[0, 1)")?;
        fits("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "[0, 1)")?;
        fits("epsilon", self.epsilon, self.epsilon > 0.0 && self.epsilon.is_finite(), "(0, ∞)")?;
        let decay = self.weight_decay;
        fits("weight_decay", decay, decay >= 0.0 && decay.is_finite(), "[0, ∞)")?;
        let clip = self.clip_norm.unwrap_or(1.0);
        fits("clip_norm", clip, clip > 0.0, "(0, ∞]")
    }
}

/// Whether a parameter takes weight decay: matrices do; vectors (norms, biases), the embedding and the gates of
/// recurrent mixers (`log_rate`, `decay_bias`) do not.
pub fn decays(name: &str, shape: &[usize]) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    shape.len() > 1 && !matches!(last, "embed" | "log_rate" | "decay_bias")
}

/// The two moments of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moments {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
}

impl Moments {
    pub(crate) fn zeros(length: usize) -> Self {
        Self { first: vec![0.0; length], second: vec![0.0; length] }
    }
}

/// What one update of one parameter needs beside its values.
#[derive(Clone, Copy)]
pub(crate) struct Update {
    /// Learning rate.
    pub(crate) rate: f32,
    /// Weight decay of this parameter.
    pub(crate) decay: f32,
    /// Every gradient is multiplied by this first (averaging and clipping).
    pub(crate) scale: f32,
    /// Number of this update, from 1.
    pub(crate) step: u64,
}

/// One step on one parameter. Each element depends on itself alone.
pub(crate) fn adamw(
    values: &mut [f32],
    gradient: &[f32],
    moments: &mut Moments,
    config: &AdamWConfig,
    update: Update,
) {
    let Update { rate, decay, scale, step } = update;
    let AdamWConfig { beta1, beta2, epsilon, .. } = *config;
    let Moments { first, second } = moments;
    optimizer::adamw(values, gradient, first, second, step, rate, beta1, beta2, epsilon, decay, scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_rate() {
        // With bias correction the first step is rate · sign(gradient), whatever the gradient's size.
        let config = AdamWConfig::default();
        for gradient in [1e-3, 0.5, -40.0] {
            let mut values = [2.0f32];
            let mut moments = Moments::zeros(1);
            let update = Update { rate: 0.01, decay: 0.0, scale: 1.0, step: 1 };
            adamw(&mut values, &[gradient], &mut moments, &config, update);
            assert!((values[0] - (2.0 - 0.01 * gradient.signum())).abs() < 1e-5, "{gradient}: {values:?}");
        }
    }

    #[test]
    fn three_steps_equal_the_formula_in_f64() {
        let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
        let (mut value, mut first, mut second) = (0.7f64, 0.0f64, 0.0f64);
        let mut values = [0.7f32];
        let mut moments = Moments::zeros(1);
        for (step, gradient) in (1..).zip([0.3f32, -0.2, 0.9]) {
            let update = Update { rate: 0.02, decay: 0.1, scale: 0.5, step };
            adamw(&mut values, &[gradient], &mut moments, &config, update);
            let g = f64::from(gradient) * 0.5;
            first = 0.9 * first + 0.1 * g;
            second = 0.95 * second + 0.05 * g * g;
            let (m, v) =
                (first / (1.0 - 0.9f64.powi(step as i32)), second / (1.0 - 0.95f64.powi(step as i32)));
            value -= 0.02 * 0.1 * value;
            value -= 0.02 * m / (v.sqrt() + 1e-8);
            assert!((f64::from(values[0]) - value).abs() < 1e-6, "step {step}: {values:?} {value}");
        }
    }

    #[test]
    fn only_matrices_outside_the_embedding_decay() {
        assert!(decays("blocks.0.mixer.query", &[4, 4]) && decays("head", &[9, 4]));
        assert!(!decays("embed", &[9, 4]) && !decays("final_norm", &[4]));
        assert!(!decays("blocks.1.mixer.log_rate", &[2, 1]) && !decays("blocks.1.mixer.decay_bias", &[2]));
    }

    #[test]
    fn settings_are_checked() {
        assert!(AdamWConfig::default().validate().is_ok());
        let bad = AdamWConfig { beta2: 1.0, ..AdamWConfig::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("beta2"));
        let bad = AdamWConfig { clip_norm: Some(f32::NAN), ..AdamWConfig::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("clip_norm"));
    }
}
