//! The gated channel: `down · (silu(gate · x) ⊙ (up · x))`.

use burn::tensor::Tensor;

use super::{Linear, Scene};
use crate::hooks::Site;
use crate::transformer::WeightSource;
use crate::{Config, Error};

pub(super) struct Swiglu {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Swiglu {
    pub(super) fn load(config: &Config, prefix: &str, weights: &mut dyn WeightSource) -> Result<Self, Error> {
        let (width, hidden) = (config.width, config.swiglu.hidden);
        Ok(Self {
            gate: Linear::load(weights, &format!("{prefix}.gate"), hidden, width, false)?,
            up: Linear::load(weights, &format!("{prefix}.up"), hidden, width, false)?,
            down: Linear::load(weights, &format!("{prefix}.down"), width, hidden, false)?,
        })
    }

    /// `x` is `[T, width]`.
    pub(super) fn forward(&self, x: Tensor<2>, scene: &mut Scene<'_, '_>) -> Result<Tensor<2>, Error> {
        let inside = [Site::Gate, Site::Up].into_iter().any(|site| scene.listens(site));
        let activation = if inside {
            let [gate, up] = Linear::forward_many([&self.gate, &self.up], x, scene);
            let (gate, up) = (scene.at(Site::Gate, gate)?, scene.at(Site::Up, up)?);
            ops::swiglu(gate, up)
        } else {
            ops::swiglu_linear(x, &self.gate.weight, &self.up.weight, scene.activation)
        };
        let activation = scene.at(Site::Activation, activation)?;
        Ok(self.down.forward(activation, scene))
    }
}
