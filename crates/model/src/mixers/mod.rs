//! Sequence mixers: the half of a block that moves information between positions.
//!
//! To add one: a file here implementing [`Mixer`], a variant of [`MixerKind`], a line in [`MIXERS`].

use crate::Error;

/// The name of a mixer in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixerKind {
    /// Softmax attention with grouped keys and values.
    Attention,
}

/// Every mixer: the name used in a configuration, the kind, and what it is.
pub const MIXERS: &[(&str, MixerKind, &str)] = &[(
    "attention",
    MixerKind::Attention,
    "softmax attention with grouped keys and values, rotary positions",
)];

impl MixerKind {
    /// The mixer of that name (spaces around it are ignored).
    ///
    /// # Errors
    /// [`Error::Unsupported`] listing the names that exist.
    pub fn named(name: &str) -> Result<Self, Error> {
        let name = name.trim();
        MIXERS.iter().find(|(n, ..)| *n == name).map(|&(_, kind, _)| kind).ok_or_else(|| {
            let known: Vec<_> = MIXERS.iter().map(|(n, ..)| *n).collect();
            Error::Unsupported(format!("layers: no mixer is called `{name}`; known: {}", known.join(", ")))
        })
    }

    /// The name used in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
        }
    }
}
