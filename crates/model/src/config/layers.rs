//! The mixers of a model's blocks, and the small grammar they are written in.

use serde::{Deserialize, Serialize};

use super::MOST_LAYERS;
use crate::Error;
use crate::mixers::MixerKind;

/// The mixer of each block, first to last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LayersText", into = "String")]
pub struct Layers(pub(super) Vec<MixerKind>);

/// The two spellings of [`Layers`].
#[derive(Deserialize)]
#[serde(untagged)]
enum LayersText {
    Grammar(String),
    List(Vec<String>),
}

impl Layers {
    /// `count` blocks with the same mixer.
    pub fn uniform(count: usize, mixer: MixerKind) -> Self {
        Self(vec![mixer; count])
    }

    /// Reads the grammar of the module's documentation.
    ///
    /// # Errors
    /// [`Error::Request`] with the piece that was not understood.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut layers = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (count, after_count) = repeat_count(rest)?;
            let (names, after_group) = match after_count.strip_prefix('[') {
                Some(inside) => inside.split_once(']').ok_or_else(|| {
                    Error::Request(format!("layers: `[` without `]` in `{text}`; close the group"))
                })?,
                None => match after_count.split_once(',') {
                    Some((name, _)) => (name, &after_count[name.len()..]),
                    None => (after_count, ""),
                },
            };
            let group = names.split(',').map(MixerKind::named).collect::<Result<Vec<_>, _>>()?;
            if count.saturating_mul(group.len()).saturating_add(layers.len()) > MOST_LAYERS {
                return Err(Error::Request(format!("layers: `{text}` is more than {MOST_LAYERS} blocks")));
            }
            for _ in 0..count {
                layers.extend_from_slice(&group);
            }
            rest = after_group.trim_start();
            if !rest.is_empty() {
                rest = rest.strip_prefix(',').map(str::trim_start).filter(|r| !r.is_empty()).ok_or_else(
                    || Error::Request(format!("layers: expected `, <group>` at `{rest}` in `{text}`")),
                )?;
            }
        }
        Ok(Self(layers))
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mixer of a block.
    pub fn get(&self, block: usize) -> Option<MixerKind> {
        self.0.get(block).copied()
    }

    /// The mixers, first block to last.
    pub fn iter(&self) -> impl Iterator<Item = MixerKind> + '_ {
        self.0.iter().copied()
    }
}

/// Reads `30 x ` in front of a group; absent means once.
fn repeat_count(text: &str) -> Result<(usize, &str), Error> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits == 0 {
        return Ok((1, text));
    }
    let count = text[..digits].parse::<usize>().ok().filter(|n| (1..=MOST_LAYERS).contains(n));
    let count = count.ok_or_else(|| {
        Error::Request(format!("layers: `{}` is not a count from 1 to {MOST_LAYERS}", &text[..digits]))
    })?;
    let after = text[digits..].trim_start();
    let after = after
        .strip_prefix('x')
        .or_else(|| after.strip_prefix('×'))
        .ok_or_else(|| Error::Request(format!("layers: expected `{count} x [mixer, …]`, found `{text}`")))?;
    Ok((count, after.trim_start()))
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, run) in self.0.chunk_by(|a, b| a == b).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{} x [{}]", run.len(), run[0].name())?;
        }
        Ok(())
    }
}

impl From<Layers> for String {
    fn from(layers: Layers) -> Self {
        layers.to_string()
    }
}

impl TryFrom<LayersText> for Layers {
    type Error = Error;

    fn try_from(text: LayersText) -> Result<Self, Error> {
        match text {
            LayersText::Grammar(text) => Self::parse(&text),
            LayersText::List(names) if names.len() > MOST_LAYERS => {
                Err(Error::Request(format!("layers: more than {MOST_LAYERS} blocks")))
            }
            LayersText::List(names) => {
                names.iter().map(|n| MixerKind::named(n)).collect::<Result<_, _>>().map(Self)
            }
        }
    }
}
