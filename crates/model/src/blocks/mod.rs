//! A block: `x + mixer(norm(x))`, then `x + channel(norm(x))`; and the pieces blocks are made of.

mod channel;

use burn::tensor::{Device, Tensor};
use ops::{Activation, Documents, Rotation, Weight};

use crate::config::ChannelKind;
use crate::hooks::{Hooks, Site};
use crate::mixers::{Mixer, MixerKind, Spec, State};
use crate::transformer::WeightSource;
use crate::{Config, Error, Init};
use channel::Channel;

/// What every block of one forward pass shares.
pub struct Scene<'h, 'a> {
    /// The rotary angles of the chunk's positions; `None` if nothing turns.
    pub(crate) rotation: Option<&'h Rotation>,
    /// Which tokens of the chunk belong together.
    pub(crate) documents: &'h Documents,
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
        init: Init,
    ) -> Result<Self, Error> {
        let weight = matrix(weights, name, rows, columns, init)?;
        let bias = match bias {
            true => Some(vector(weights, &format!("{name}_bias"), rows, Init::Constant(0.0))?),
            false => None,
        };
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
    init: Init,
) -> Result<Weight, Error> {
    let weight = weights.matrix(name, rows, columns, init)?;
    if (weight.rows(), weight.columns()) == (rows, columns) {
        return Ok(weight);
    }
    Err(Error::Unsupported(format!(
        "`{name}` is [{}, {}] where the configuration asks for [{rows}, {columns}]",
        weight.rows(),
        weight.columns()
    )))
}

/// The weights of a short convolution, `[features, kernel]`: the last column belongs to the token itself.
pub(crate) fn kernel(
    weights: &mut dyn WeightSource,
    name: &str,
    features: usize,
    kernel: usize,
) -> Result<Tensor<2>, Error> {
    let init = Init::Uniform(1.0 / (kernel as f32).sqrt());
    Ok(matrix(weights, name, features, kernel, init)?.to_dense(&Device::flex()))
}

/// A vector of the source, checked.
pub(crate) fn vector(
    weights: &mut dyn WeightSource,
    name: &str,
    length: usize,
    init: Init,
) -> Result<Tensor<1>, Error> {
    let vector = weights.vector(name, length, init)?;
    let found = vector.dims()[0];
    if found == length {
        return Ok(vector);
    }
    Err(Error::Unsupported(format!("`{name}` has {found} values where the configuration asks for {length}")))
}

/// One block.
pub(crate) struct Block {
    mixer_norm: Tensor<1>,
    mixer: Box<dyn Mixer>,
    /// The norm before the channel, and the channel, if there is one.
    channel: Option<(Tensor<1>, Channel)>,
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
        let norm = |name: &str, weights: &mut dyn WeightSource| {
            vector(weights, &format!("{prefix}.{name}"), config.width, Init::Constant(1.0))
        };
        let mixer_norm = norm("mixer_norm", weights)?;
        let mixer = kind.build(config, &format!("{prefix}.mixer"), weights)?;
        let channel = match config.channel.kind {
            ChannelKind::None => None,
            _ => {
                let norm = norm("channel_norm", weights)?;
                Some((norm, Channel::load(config, &format!("{prefix}.channel"), weights)?))
            }
        };
        Ok(Self { mixer_norm, mixer, channel, epsilon: config.norm_epsilon })
    }

    pub(crate) fn mixer_spec(&self) -> Spec {
        self.mixer.spec()
    }

    /// Multiply-adds of the channel for one token.
    pub(crate) fn channel_macs(&self) -> usize {
        self.channel.as_ref().map_or(0, |(_, channel)| channel.macs())
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
        let Some((norm, channel)) = &self.channel else {
            let x = scene.at(Site::Mid, ops::add(x, mixed))?;
            return scene.at(Site::Post, x);
        };
        let weight = norm.clone();
        let (x, normed) = if scene.listens(Site::Mid) {
            let x = scene.at(Site::Mid, x + mixed)?;
            (x.clone(), ops::rms_norm(x, weight, self.epsilon))
        } else {
            ops::add_rms_norm(x, mixed, weight, self.epsilon)
        };
        let normed = scene.at(Site::ChannelInput, normed)?;
        let changed = channel.forward(normed, scene)?;
        let changed = scene.at(Site::ChannelOutput, changed)?;
        scene.at(Site::Post, ops::add(x, changed))
    }
}
