//! What an optimizer remembers of one parameter.

use std::io;
use std::path::Path;

use model::memory::Stored;
use model::optimizer::{BLOCK, Moments8bit};

use super::{Method, OptimizerConfig, is_hidden_matrix};

/// Parameters with fewer numbers keep moments of four bytes: they cost nothing and are the delicate ones.
const SMALL: usize = 4096;

/// The memory of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// Adam's two moments.
    Moments { first: Stored<f32>, second: Stored<f32> },
    /// The same in a byte each.
    Bytes(Moments8bit),
    /// Muon's.
    Momentum(Stored<f32>),
    /// Adam's moments of a projected gradient, and the length of the last step.
    Projected { first: Stored<f32>, second: Stored<f32>, norm: Stored<f32> },
}

/// A part of a state as it is saved.
pub(crate) enum Buffer<'a> {
    F32(&'a mut Stored<f32>),
    U8(&'a mut Stored<u8>),
}

impl Buffer<'_> {
    /// See [`Stored::fetch`].
    pub(crate) fn fetch(&self) {
        match self {
            Self::F32(values) => values.fetch(),
            Self::U8(values) => values.fetch(),
        }
    }

    /// See [`Stored::release`].
    pub(crate) fn release(&mut self) {
        match self {
            Self::F32(values) => values.release(),
            Self::U8(values) => values.release(),
        }
    }
}

impl State {
    /// Before the first step, on the heap or in files of `folder`.
    pub(crate) fn new_in(
        folder: Option<&Path>,
        config: &OptimizerConfig,
        name: &str,
        shape: &[usize],
    ) -> io::Result<Self> {
        let zeros = |count| Stored::zeros_in(folder, count);
        Ok(match Kind::of(config, name, shape) {
            Kind::Moments(count) => Self::Moments { first: zeros(count)?, second: zeros(count)? },
            Kind::Bytes(count) => Self::Bytes(Moments8bit::zeros_in(folder, count)?),
            Kind::Momentum(count) => Self::Momentum(zeros(count)?),
            Kind::Projected(count) => {
                Self::Projected { first: zeros(count)?, second: zeros(count)?, norm: zeros(1)? }
            }
        })
    }

    /// Takes the values of another state of the same parameter; where they lie stays.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let mut other = other.clone();
        for ((_, to), (_, from)) in self.buffers().into_iter().zip(other.buffers()) {
            match (to, from) {
                (Buffer::F32(to), Buffer::F32(from)) => to.copy_from_slice(from),
                (Buffer::U8(to), Buffer::U8(from)) => to.copy_from_slice(from),
                _ => unreachable!("one method has one list of buffers"),
            }
        }
    }

    /// Its parts, by name, always in the same order.
    pub(crate) fn buffers(&mut self) -> Vec<(&'static str, Buffer<'_>)> {
        use Buffer::{F32, U8};
        match self {
            Self::Moments { first, second } => vec![("first", F32(first)), ("second", F32(second))],
            Self::Bytes(moments) => vec![
                ("first", U8(&mut moments.first)),
                ("first_scales", F32(&mut moments.first_scales)),
                ("root", U8(&mut moments.root)),
                ("root_scales", F32(&mut moments.root_scales)),
            ],
            Self::Momentum(momentum) => vec![("momentum", F32(momentum))],
            Self::Projected { first, second, norm } => {
                vec![("first", F32(first)), ("second", F32(second)), ("norm", F32(norm))]
            }
        }
    }

    /// Bytes it takes for a parameter of this name and shape.
    pub(crate) fn bytes(config: &OptimizerConfig, name: &str, shape: &[usize]) -> u64 {
        let bytes = match Kind::of(config, name, shape) {
            Kind::Moments(count) => 8 * count,
            Kind::Bytes(count) => 2 * count + 8 * count.div_ceil(BLOCK),
            Kind::Momentum(count) => 4 * count,
            Kind::Projected(count) => 8 * count + 4,
        };
        bytes as u64
    }
}

/// Which state a parameter has, and of how many numbers.
enum Kind {
    Moments(usize),
    Bytes(usize),
    Momentum(usize),
    Projected(usize),
}

impl Kind {
    fn of(config: &OptimizerConfig, name: &str, shape: &[usize]) -> Self {
        let count = shape.iter().product();
        match config.method {
            Method::Adamw8bit if count >= SMALL => Self::Bytes(count),
            Method::Muon if is_hidden_matrix(name, shape) => Self::Momentum(count),
            Method::Apollo if is_hidden_matrix(name, shape) => {
                let (least, most) = (shape[0].min(shape[1]), shape[0].max(shape[1]));
                Self::Projected(config.rank.min(least) * most)
            }
            _ => Self::Moments(count),
        }
    }
}
