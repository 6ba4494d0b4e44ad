//! The half of a block that changes every position by itself: SwiGLU, or a squared rectifier.

use burn::tensor::Tensor;

use super::{Linear, Scene};
use crate::config::ChannelKind;
use crate::hooks::Site;
use crate::transformer::WeightSource;
use crate::{Config, Error, Init};

pub(super) struct Channel {
    /// Absent: the squared rectifier of `up`.
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
}

impl Channel {
    pub(super) fn load(config: &Config, prefix: &str, weights: &mut dyn WeightSource) -> Result<Self, Error> {
        let (width, hidden) = (config.width, config.channel.hidden);
        let mut linear = |name: &str, rows, columns, init| {
            Linear::load(weights, &format!("{prefix}.{name}"), rows, columns, false, init)
        };
        let gate = match config.channel.kind {
            ChannelKind::Swiglu => Some(linear("gate", hidden, width, Init::projection(width))?),
            ChannelKind::Relu2 | ChannelKind::None => None,
        };
        let up = linear("up", hidden, width, Init::projection(width))?;
        let down = linear("down", width, hidden, Init::output(hidden, config.layers.len()))?;
        Ok(Self { gate, up, down })
    }

    /// Multiply-adds for one token.
    pub(super) fn macs(&self) -> usize {
        self.gate.iter().chain([&self.up, &self.down]).map(Linear::macs).sum()
    }

    /// `x` is `[T, width]`.
    pub(super) fn forward(&self, x: Tensor<2>, scene: &mut Scene<'_, '_>) -> Result<Tensor<2>, Error> {
        let inside = [Site::Gate, Site::Up].into_iter().any(|site| scene.listens(site));
        let activation = match &self.gate {
            Some(gate) if inside => {
                let [gate, up] = Linear::forward_many([gate, &self.up], x, scene);
                let (gate, up) = (scene.at(Site::Gate, gate)?, scene.at(Site::Up, up)?);
                ops::swiglu(gate, up)
            }
            Some(gate) => ops::swiglu_linear(x, &gate.weight, &self.up.weight, scene.activation),
            None => {
                let up = self.up.forward(x, scene);
                ops::relu2(scene.at(Site::Up, up)?)
            }
        };
        let activation = scene.at(Site::Activation, activation)?;
        Ok(self.down.forward(activation, scene))
    }
}
