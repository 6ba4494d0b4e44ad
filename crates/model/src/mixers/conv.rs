//! LFM2's gated short convolution: `b, c, x̃ = W x`, then `output · (c ⊙ conv(b ⊙ x̃))`; nothing else inside.

use burn::tensor::Tensor;

use super::recurrent::{Recurrent, refuse_tracked};
use super::{Mixer, Spec, State, StateKind};
use crate::blocks::{Linear, Scene, kernel};
use crate::hooks::Site;
use crate::transformer::WeightSource;
use crate::{Config, Error, Init};

struct Conv {
    /// b, c and x̃, one after the other.
    input: Linear,
    /// `[width, kernel]`.
    kernel: Tensor<2>,
    output: Linear,
}

pub(super) const POINTS: &[(Site, &str)] = &[(Site::Value, "value"), (Site::Mix, "mix")];

fn kernel_size(config: &Config) -> Result<usize, Error> {
    let unset = || Error::Unsupported("layers has conv mixers but `conv` is not set".into());
    config.conv.as_ref().map(|conv| conv.kernel).ok_or_else(unset)
}

pub(super) fn state(config: &Config) -> Result<State, Error> {
    let zeros = Recurrent::zeros(&[config.width], kernel_size(config)?, None);
    Ok(State::Recurrent(Box::new(zeros)))
}

pub(super) fn build(
    config: &Config,
    prefix: &str,
    weights: &mut dyn WeightSource,
) -> Result<Box<dyn Mixer>, Error> {
    let (width, size) = (config.width, kernel_size(config)?);
    let (into, out) = (Init::projection(width), Init::output(width, config.layers.len()));
    let input = Linear::load(weights, &format!("{prefix}.input"), 3 * width, width, false, into)?;
    let kernel = kernel(weights, &format!("{prefix}.conv"), width, size)?;
    let output = Linear::load(weights, &format!("{prefix}.output"), width, width, false, out)?;
    Ok(Box::new(Conv { input, kernel, output }))
}

impl Mixer for Conv {
    fn spec(&self) -> Spec {
        let [width, kernel] = self.kernel.dims();
        Spec {
            state: StateKind::Fixed((kernel - 1) * width * size_of::<f32>()),
            projection_macs: self.input.macs() + self.output.macs(),
            state_macs: kernel * width,
            macs_per_position: 0,
        }
    }

    fn forward(
        &self,
        x: Tensor<2>,
        state: Option<&mut State>,
        scene: &mut Scene<'_, '_>,
    ) -> Result<Tensor<2>, Error> {
        let [tokens, width] = x.dims();
        let parts = self.input.forward(x, scene);
        let part = |index: usize| parts.clone().slice([0..tokens, index * width..(index + 1) * width]);
        let value = scene.at(Site::Value, part(0) * part(2))?;
        let convolved = match state {
            Some(State::Recurrent(memory)) => {
                refuse_tracked(value.is_tracked() || self.kernel.is_tracked())?;
                let (y, rows) = ops::short_conv_step(value, self.kernel.clone(), memory.rows[0].clone())?;
                memory.rows[0] = rows;
                y
            }
            _ => ops::short_conv(value, self.kernel.clone(), scene.documents),
        };
        let mixed = scene.at(Site::Mix, part(1) * convolved)?;
        Ok(self.output.forward(mixed, scene))
    }
}
