//! A block: `x + mixer(norm(x))`, then `x + channel(norm(x))`; and the pieces blocks are made of.

mod swiglu;

use burn::tensor::Tensor;
use ops::{Activation, Rotation, Weight};

use crate::hooks::{Hooks, Site};
use crate::mixers::{Mixer, MixerKind, Spec, State};
use crate::transformer::WeightSource;
use crate::{Config, Error};
use swiglu::Swiglu;

/// What every block of one forward pass shares.
pub struct Scene<'h, 'a> {
    /// The rotary angles of the chunk's positions.
    pub(crate) rotation: &'h Rotation,
    /// How the linear operations treat their input.
    pub(crate) activation: Activation,
    /// Index of the block that runs.
    pub(crate) block: usize,
    /// Who listens.
    pub(crate) hooks: &'h mut Hooks<'a>,
}

impl Scene<'_, '_> {
    /// Whether somebody listens at a point of this block.
    pub(crate) fn listens(&self, site: Site) -> bool {
        !self.hooks.is_empty() && self.hooks.listens(self.block, site)
    }

    /// Passes a tensor through the listeners of a point of this block.
    pub(crate) fn at(&mut self, site: Site, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        if self.hooks.is_empty() { Ok(x) } else { self.hooks.matrix(self.block, site, x) }
    }

    /// As [`Scene::at`], for one matrix per head.
    pub(crate) fn at_heads(&mut self, site: Site, x: Tensor<3>) -> Result<Tensor<3>, Error> {
        self.hooks.heads(self.block, site, x)
    }
}

/// A projection `y = x · weightᵀ + bias`.
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// The matrix `name`, and the vector `name_bias` if there is one.
    pub(crate) fn load(
        weights: &mut dyn WeightSource,
        name: &str,
        rows: usize,
        columns: usize,
        bias: bool,
    ) -> Result<Self, Error> {
        let weight = matrix(weights, name, rows, columns)?;
        let bias = if bias { Some(vector(weights, &format!("{name}_bias"), rows)?) } else { None };
        Ok(Self { weight, bias })
    }

    /// `x` is `[T, columns]`.
    pub(crate) fn forward(&self, x: Tensor<2>, scene: &Scene<'_, '_>) -> Tensor<2> {
        let [y] = Self::forward_many([self], x, scene);
        y
    }

    /// Several projections of the same input in one pass over it.
    pub(crate) fn forward_many<const N: usize>(
        parts: [&Self; N],
        x: Tensor<2>,
        scene: &Scene<'_, '_>,
    ) -> [Tensor<2>; N] {
        let mut ys = ops::linear_many(x, parts.map(|part| &part.weight), scene.activation);
        for (y, part) in ys.iter_mut().zip(parts) {
            if let Some(bias) = &part.bias {
                *y = y.clone() + bias.clone().unsqueeze();
            }
        }
        ys
    }

    /// Multiply-adds for one token.
    pub(crate) fn macs(&self) -> usize {
        self.weight.rows() * self.weight.columns()
    }
}

/// A matrix of the source, checked.
pub(crate) fn matrix(
    weights: &mut dyn WeightSource,
    name: &str,
    rows: usize,
    columns: usize,
) -> Result<Weight, Error> {
    let weight = weights.matrix(name, rows, columns)?;
    if (weight.rows(), weight.columns()) == (rows, columns) {
        return Ok(weight);
    }
    Err(Error::Unsupported(format!(
        "`{name}` is [{}, {}] where the configuration asks for [{rows}, {columns}]",
        weight.rows(),
        weight.columns()
    )))
}

/// A vector of the source, checked, as a tensor.
pub(crate) fn vector(weights: &mut dyn WeightSource, name: &str, length: usize) -> Result<Tensor<1>, Error> {
    let values = weights.vector(name, length)?;
    if values.len() == length {
        return Ok(ops::tensor_from(values, [length]));
    }
    Err(Error::Unsupported(format!(
        "`{name}` has {} values where the configuration asks for {length}",
        values.len()
    )))
}

/// One block.
pub(crate) struct Block {
    mixer_norm: Tensor<1>,
    mixer: Box<dyn Mixer>,
    channel_norm: Tensor<1>,
    channel: Swiglu,
    epsilon: f32,
}

impl Block {
    pub(crate) fn load(
        config: &Config,
        index: usize,
        kind: MixerKind,
        weights: &mut dyn WeightSource,
    ) -> Result<Self, Error> {
        let prefix = format!("blocks.{index}");
        Ok(Self {
            mixer_norm: vector(weights, &format!("{prefix}.mixer_norm"), config.width)?,
            mixer: kind.build(config, &format!("{prefix}.mixer"), weights)?,
            channel_norm: vector(weights, &format!("{prefix}.channel_norm"), config.width)?,
            channel: Swiglu::load(config, &format!("{prefix}.channel"), weights)?,
            epsilon: config.norm_epsilon,
        })
    }

    pub(crate) fn mixer_spec(&self) -> Spec {
        self.mixer.spec()
    }

    /// Runs the block on a chunk `x` `[T, width]`.
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        state: Option<&mut State>,
        scene: &mut Scene<'_, '_>,
    ) -> Result<Tensor<2>, Error> {
        let x = scene.at(Site::Pre, x)?;
        let normed = ops::rms_norm(x.clone(), self.mixer_norm.clone(), self.epsilon);
        let normed = scene.at(Site::MixerInput, normed)?;
        let mixed = self.mixer.forward(normed, state, scene)?;
        let mixed = scene.at(Site::MixerOutput, mixed)?;
        let weight = self.channel_norm.clone();
        let (x, normed) = if scene.listens(Site::Mid) {
            let x = scene.at(Site::Mid, x + mixed)?;
            (x.clone(), ops::rms_norm(x, weight, self.epsilon))
        } else {
            ops::add_rms_norm(x, mixed, weight, self.epsilon)
        };
        let normed = scene.at(Site::ChannelInput, normed)?;
        let changed = self.channel.forward(normed, scene)?;
        let changed = scene.at(Site::ChannelOutput, changed)?;
        scene.at(Site::Post, ops::add(x, changed))
    }
}
