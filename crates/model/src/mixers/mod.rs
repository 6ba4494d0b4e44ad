//! Sequence mixers: the half of a block that moves information between positions.
//!
//! To add one: a file here implementing [`Mixer`], a variant of [`MixerKind`], a line in [`MIXERS`].

mod attention;
mod conv;
mod delta;
mod recurrent;

pub use recurrent::Recurrent;

use burn::tensor::Tensor;

use crate::blocks::Scene;
use crate::hooks::Site;
use crate::transformer::WeightSource;
use crate::{Config, Error};

/// The name of a mixer in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixerKind {
    /// Softmax attention with grouped keys and values.
    Attention,
    /// The gated delta rule.
    Delta,
    /// A gated short convolution.
    Conv,
}

/// Builds the mixer of one block from its weights, whose names start with the given prefix.
type Build = fn(&Config, &str, &mut dyn WeightSource) -> Result<Box<dyn Mixer>, Error>;

/// A line of [`MIXERS`].
pub struct Entry {
    /// The kind.
    pub kind: MixerKind,
    /// The name used in a configuration.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    build: Build,
    state: fn(&Config) -> Result<State, Error>,
    /// The hook points between its input and its output, in order.
    points: &'static [(Site, &'static str)],
}

/// Every mixer.
pub const MIXERS: &[Entry] = &[
    Entry {
        kind: MixerKind::Attention,
        name: "attention",
        about: "softmax attention with grouped keys and values, rotary positions",
        build: attention::build,
        state: attention::state,
        points: attention::POINTS,
    },
    Entry {
        kind: MixerKind::Delta,
        name: "delta",
        about: "gated delta rule: a matrix per head that decays and replaces what a key finds",
        build: delta::build,
        state: delta::state,
        points: delta::POINTS,
    },
    Entry {
        kind: MixerKind::Conv,
        name: "conv",
        about: "gated convolution over a few tokens",
        build: conv::build,
        state: conv::state,
        points: conv::POINTS,
    },
];

impl MixerKind {
    /// The mixer of that name (spaces around it are ignored).
    ///
    /// # Errors
    /// [`Error::Unsupported`] listing the names that exist.
    pub fn named(name: &str) -> Result<Self, Error> {
        let name = name.trim();
        MIXERS.iter().find(|entry| entry.name == name).map(|entry| entry.kind).ok_or_else(|| {
            let known: Vec<_> = MIXERS.iter().map(|entry| entry.name).collect();
            Error::Unsupported(format!("layers: no mixer is called `{name}`; known: {}", known.join(", ")))
        })
    }

    /// The name used in a configuration.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    fn entry(self) -> &'static Entry {
        // Every kind has a line, so the first is never a wrong answer.
        MIXERS.iter().find(|entry| entry.kind == self).unwrap_or(&MIXERS[0])
    }

    pub(crate) fn points(self) -> &'static [(Site, &'static str)] {
        self.entry().points
    }

    pub(crate) fn build(
        self,
        config: &Config,
        prefix: &str,
        weights: &mut dyn WeightSource,
    ) -> Result<Box<dyn Mixer>, Error> {
        (self.entry().build)(config, prefix, weights)
    }
}

/// What a mixer costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// How the state grows.
    pub state: StateKind,
    /// Multiply-adds of its projections for one token.
    pub projection_macs: usize,
    /// Multiply-adds of its recurrence for one token, one token at a time.
    pub state_macs: usize,
    /// Multiply-adds more for every position a token looks at.
    pub macs_per_position: usize,
}

/// How the memory of a mixer grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// So many bytes for every position; can be truncated exactly.
    PerToken(usize),
    /// So many bytes, however many positions; returns to marked positions only.
    Fixed(usize),
}

/// A sequence mixer.
pub trait Mixer: Send + Sync {
    /// What it costs.
    fn spec(&self) -> Spec;

    /// Mixes a chunk `x` `[T, width]` that follows what `state` remembers, and remembers it too; without a
    /// state the chunk is the whole sequence, and the pass is differentiable.
    ///
    /// # Errors
    /// [`Error::Request`] from a hook that does not fit, or a tracked tensor meeting a state.
    fn forward(
        &self,
        x: Tensor<2>,
        state: Option<&mut State>,
        scene: &mut Scene<'_, '_>,
    ) -> Result<Tensor<2>, Error>;
}

/// What a mixer remembers of the positions before.
#[derive(Clone, Debug)]
pub enum State {
    /// Keys and values of every position.
    KeyValues(ops::KeyValues),
    /// A fixed number of values.
    Recurrent(Box<Recurrent>),
}

impl State {
    /// The state before the first position.
    ///
    /// # Errors
    /// The configuration lacks the mixer's settings.
    pub fn empty(mixer: MixerKind, config: &Config) -> Result<Self, Error> {
        (mixer.entry().state)(config)
    }

    /// The state of a recurrent mixer.
    pub fn recurrent(&self) -> Option<&Recurrent> {
        match self {
            Self::KeyValues(_) => None,
            Self::Recurrent(memory) => Some(memory),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Self::KeyValues(memory) => memory.bytes(),
            Self::Recurrent(memory) => memory.bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
