//! Optimizers: the settings, the table of methods, and one step on one parameter.

mod apollo;
mod state;

use std::fmt;

use model::optimizer::{self, AdamW};
use serde::{Deserialize, Serialize};

use crate::Error;
pub(crate) use state::{Buffer, State};

/// How a parameter moves along its gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// See [`METHODS`].
    #[default]
    Adamw,
    /// See [`METHODS`].
    #[serde(rename = "adamw_8bit")]
    Adamw8bit,
    /// See [`METHODS`].
    Muon,
    /// See [`METHODS`].
    Apollo,
}

/// A method and what it is.
pub struct About {
    /// As in settings and on the command line.
    pub name: &'static str,
    /// The method.
    pub method: Method,
    /// In a line.
    pub about: &'static str,
}

/// Every method.
pub const METHODS: [About; 4] = [
    About {
        name: "adamw",
        method: Method::Adamw,
        about: "Adam with decoupled weight decay (arXiv:1711.05101); 8 bytes of state per number",
    },
    About {
        name: "adamw_8bit",
        method: Method::Adamw8bit,
        about: "the same on moments of one byte (arXiv:2110.02861); 2 bytes per number",
    },
    About {
        name: "muon",
        method: Method::Muon,
        about: "orthogonalized momentum for matrices (arXiv:2502.16982), AdamW for the rest; 4 bytes per number",
    },
    About {
        name: "apollo",
        method: Method::Apollo,
        about: "AdamW's scaling learned from a random projection (arXiv:2412.05270); 8 · rank bytes per row or column",
    },
];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = METHODS.iter().find(|about| about.method == *self);
        f.write_str(found.map_or("", |about| about.name))
    }
}

impl std::str::FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        METHODS.iter().find(|about| about.name == name).map(|about| about.method).ok_or_else(|| {
            let known = METHODS.map(|about| about.name).join(", ");
            Error::Request(format!("no optimizer is called `{name}`; known: {known}"))
        })
    }
}

/// Other numbers for the parameters whose name contains `name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Part of a parameter's name, as `embed`, `blocks.0.` or `channel`. The first group that fits counts.
    pub name: String,
    /// Times the learning rate.
    #[serde(default = "one")]
    pub rate: f32,
    /// Instead of the general weight decay, also where there would be none.
    #[serde(default)]
    pub weight_decay: Option<f32>,
}

fn one() -> f32 {
    1.0
}

/// The settings of the optimizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// How parameters move.
    pub method: Method,
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
    /// Of Muon: decay of the momentum (Nesterov's).
    pub momentum: f32,
    /// Of Muon: steps of its Newton–Schulz iteration.
    pub iterations: usize,
    /// Of APOLLO: rank of the projection; 1 is APOLLO-Mini, one scale for a whole matrix.
    pub rank: usize,
    /// Keep an exponential moving average of the weights with this decay, which is smaller in the first steps; 0
    /// keeps none.
    pub average: f32,
    /// Rates and decays of their own.
    pub groups: Vec<Group>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            method: Method::Adamw,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: Some(1.0),
            momentum: 0.95,
            iterations: 3,
            rank: 1,
            average: 0.0,
            groups: Vec::new(),
        }
    }
}

impl OptimizerConfig {
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
        fits("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "[0, 1)")?;
        fits("epsilon", self.epsilon, self.epsilon > 0.0 && self.epsilon.is_finite(), "(0, ∞)")?;
        let positive = |value: f32| value >= 0.0 && value.is_finite();
        fits("weight_decay", self.weight_decay, positive(self.weight_decay), "[0, ∞)")?;
        let clip = self.clip_norm.unwrap_or(1.0);
        fits("clip_norm", clip, clip > 0.0, "(0, ∞]")?;
        fits("iterations", self.iterations as f32, self.iterations > 0, "1, 2, …")?;
        fits("rank", self.rank as f32, self.rank > 0, "1, 2, …")?;
        fits("average", self.average, (0.0..1.0).contains(&self.average), "[0, 1)")?;
        for group in &self.groups {
            fits(&format!("rate of group `{}`", group.name), group.rate, positive(group.rate), "[0, ∞)")?;
            let decay = group.weight_decay.unwrap_or(0.0);
            fits(&format!("weight_decay of group `{}`", group.name), decay, positive(decay), "[0, ∞)")?;
        }
        Ok(())
    }

    fn adamw(&self, update: Update) -> AdamW {
        let Self { beta1, beta2, epsilon, .. } = *self;
        let Update { step, rate, decay: weight_decay, scale, .. } = update;
        AdamW { step, rate, beta1, beta2, epsilon, weight_decay, scale }
    }

    /// Learning rate, as a multiple of the general one, and weight decay of a parameter.
    pub(crate) fn group(&self, name: &str, shape: &[usize]) -> (f32, f32) {
        let group = self.groups.iter().find(|group| name.contains(&group.name));
        let decay = if decays(name, shape) { self.weight_decay } else { 0.0 };
        (group.map_or(1.0, |group| group.rate), group.and_then(|group| group.weight_decay).unwrap_or(decay))
    }
}

/// Whether a parameter takes weight decay: matrices do; vectors (norms, biases), the embedding and the gates of
/// recurrent mixers (`log_rate`, `decay_bias`) do not.
pub fn decays(name: &str, shape: &[usize]) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    shape.len() > 1 && !matches!(last, "embed" | "log_rate" | "decay_bias")
}

/// Whether a parameter maps hidden features to hidden features: what Muon and APOLLO are for. The embedding, the head
/// and short convolutions (few columns) are AdamW's.
pub fn is_hidden_matrix(name: &str, shape: &[usize]) -> bool {
    decays(name, shape) && name != "head" && shape.len() == 2 && shape.iter().all(|side| *side >= 8)
}

/// The share that a moving average keeps at its update `step`, from 1: less in the beginning, so that the first weights
/// do not linger (as in TensorFlow's `ExponentialMovingAverage` with a number of updates).
pub(crate) fn average_keeps(decay: f32, step: u64) -> f32 {
    decay.min((1.0 + step as f32) / (10.0 + step as f32))
}

/// What one update of one parameter needs beside its values.
#[derive(Clone, Copy)]
pub(crate) struct Update<'a> {
    /// Which it is.
    pub(crate) name: &'a str,
    /// Of the parameter.
    pub(crate) shape: &'a [usize],
    /// Learning rate.
    pub(crate) rate: f32,
    /// Weight decay of this parameter.
    pub(crate) decay: f32,
    /// Every gradient is multiplied by this first (averaging and clipping).
    pub(crate) scale: f32,
    /// Number of this update, from 1.
    pub(crate) step: u64,
}

/// One step on one parameter.
pub(crate) fn update(
    values: &mut [f32],
    gradient: &[f32],
    state: &mut State,
    config: &OptimizerConfig,
    update: Update,
) {
    let Update { rate, decay, scale, shape, .. } = update;
    match state {
        State::Moments { first, second } => {
            optimizer::adamw(values, gradient, first, second, config.adamw(update));
        }
        State::Bytes(moments) => optimizer::adamw_8bit(values, gradient, moments, config.adamw(update)),
        State::Momentum(momentum) => muon(values, gradient, momentum, config, shape, [rate, decay, scale]),
        State::Projected { first, second, norm } => {
            apollo::step(values, gradient, first, second, norm, config, update);
        }
    }
}

/// Muon with Nesterov momentum and decoupled decay; the orthogonal step has the root mean square of one of AdamW's,
/// so that both take the same rate (Liu et al. 2025, arXiv:2502.16982, eq. 4).
fn muon(
    values: &mut [f32],
    gradient: &[f32],
    momentum: &mut [f32],
    config: &OptimizerConfig,
    shape: &[usize],
    [rate, decay, scale]: [f32; 3],
) {
    let (rows, columns) = (shape[0], shape[1]);
    optimizer::blend(momentum, config.momentum, gradient, scale);
    let mut step = momentum.to_vec();
    optimizer::blend(&mut step, config.momentum, gradient, scale);
    optimizer::orthogonalize(&mut step, rows, columns, config.iterations);
    let length = rate * 0.2 * (rows.max(columns) as f32).sqrt();
    optimizer::blend(values, 1.0 - rate * decay, &step, -length);
}

#[cfg(test)]
mod tests;
