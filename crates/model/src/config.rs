//! An architecture as data: front, a list of blocks, head; read from TOML or JSON and validated before use.
//!
//! A model is `embed → [block; n] → final norm → head`; a block is `norm, mixer, norm, channel` with a
//! residual around each half. [`Layers`] names the mixer of every block, in a small grammar:
//!
//! ```text
//! layers = "30 x [attention]"
//! layers = "6 x [delta, delta, delta, attention], 2 x [attention]"
//! layers = ["attention", "attention"]
//! ```
//!
//! The mixers that exist are the table [`crate::mixers::MIXERS`].

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::mixers::MixerKind;

/// Limits that no real checkpoint reaches; a larger number is a damaged or hostile file.
const MOST_LAYERS: usize = 4096;
const MOST_WIDTH: usize = 1 << 20;
const MOST_VOCABULARY: usize = 1 << 24;
const MOST_CONTEXT: usize = 1 << 28;

/// Everything about a model except its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// The longest sequence the model was made for, in tokens.
    pub context: usize,
    /// The mixer of each block.
    pub layers: Layers,
    /// Added to the mean square inside every RMS norm.
    pub norm_epsilon: f32,
    /// The head is the embedding matrix.
    pub tied_embeddings: bool,
    /// The settings of every attention mixer.
    pub attention: AttentionConfig,
    /// The settings of every SwiGLU channel.
    pub swiglu: SwigluConfig,
}

/// Softmax attention with grouped keys and values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionConfig {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Features of one head.
    pub head_dim: usize,
    /// Rotary positions.
    pub rope: RopeConfig,
    /// An RMS norm over each query and key head, before the rotation (Qwen3).
    #[serde(default)]
    pub qk_norm: bool,
    /// Biases on the query, key and value projections (Qwen2).
    #[serde(default)]
    pub qkv_bias: bool,
    /// A bias on the output projection.
    #[serde(default)]
    pub output_bias: bool,
}

/// Rotary position embedding (Su et al. 2021, arXiv:2104.09864).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RopeConfig {
    /// Base of the frequencies: pair `i` turns by `position · base^(-2i / dimensions)`.
    pub base: f32,
    /// Which features form a pair.
    #[serde(default)]
    pub style: RopeStyle,
    /// Features of a head that turn; the rest stay. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// How the frequencies are changed for long contexts.
    #[serde(default)]
    pub scaling: RopeScaling,
}

/// Which features of a head form the pairs that turn together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeStyle {
    /// Feature `i` with `i + dimensions / 2`: transformers' Llama and Qwen, GGUF's Qwen.
    #[default]
    Half,
    /// Feature `2i` with `2i + 1`: GGUF's Llama, whose query and key rows are permuted accordingly.
    Interleaved,
}

/// A change of the rotary frequencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum RopeScaling {
    /// As trained.
    #[default]
    None,
    /// Every frequency divided by `factor` (position interpolation, arXiv:2306.15595).
    Linear {
        /// How many times longer the context becomes.
        factor: f32,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// How many times longer the context becomes.
        factor: f32,
        /// Wavelengths above `original_context / low_frequency_factor` are stretched fully.
        low_frequency_factor: f32,
        /// Wavelengths below `original_context / high_frequency_factor` stay.
        high_frequency_factor: f32,
        /// Context the model was trained with before stretching, in tokens.
        original_context: usize,
    },
}

/// The gated channel of Shazeer 2020 (arXiv:2002.05202): `down · (silu(gate · x) ⊙ (up · x))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwigluConfig {
    /// Features between the two projections.
    pub hidden: usize,
}

/// The mixer of each block, first to last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LayersText", into = "String")]
pub struct Layers(Vec<MixerKind>);

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

impl Config {
    /// Checks that the numbers make a model.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<(), Error> {
        let AttentionConfig { heads, kv_heads, head_dim, rope, .. } = &self.attention;
        within("vocabulary", self.vocabulary, MOST_VOCABULARY)?;
        within("width", self.width, MOST_WIDTH)?;
        within("context", self.context, MOST_CONTEXT)?;
        within("layers", self.layers.len(), MOST_LAYERS)?;
        within("attention.heads", *heads, MOST_WIDTH)?;
        within("attention.kv_heads", *kv_heads, MOST_WIDTH)?;
        within("attention.head_dim", *head_dim, MOST_WIDTH)?;
        within("swiglu.hidden", self.swiglu.hidden, MOST_WIDTH)?;
        require(heads % kv_heads == 0, || {
            format!("attention.heads = {heads} must be a multiple of attention.kv_heads = {kv_heads}")
        })?;
        require(heads.saturating_mul(*head_dim) <= MOST_WIDTH, || {
            format!("attention: {heads} heads of {head_dim} features are more than {MOST_WIDTH}")
        })?;
        require(self.norm_epsilon > 0.0 && self.norm_epsilon < 1.0, || {
            format!("norm_epsilon = {} must lie between 0 and 1", self.norm_epsilon)
        })?;
        let dimensions = rope.dimensions.unwrap_or(*head_dim);
        require(dimensions.is_multiple_of(2) && dimensions <= *head_dim && dimensions > 0, || {
            format!("rope.dimensions = {dimensions} must be even and at most head_dim = {head_dim}")
        })?;
        require(rope.base.is_finite() && rope.base > 1.0, || {
            format!("rope.base = {} must be greater than 1", rope.base)
        })?;
        rope.scaling.validate()
    }
}

impl RopeScaling {
    fn validate(&self) -> Result<(), Error> {
        match *self {
            Self::None => Ok(()),
            Self::Linear { factor } => require(factor.is_finite() && factor > 0.0, || {
                format!("rope.scaling: linear factor = {factor} must be positive")
            }),
            Self::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_context,
            } => {
                let fits =
                    factor.is_finite() && factor > 0.0 && low > 0.0 && high > low && original_context > 0;
                require(fits && high.is_finite(), || {
                    format!(
                        "rope.scaling: llama3 needs factor > 0, high_frequency_factor > low_frequency_factor > 0 \
                         and original_context > 0; found {self:?}"
                    )
                })
            }
        }
    }
}

fn within(field: &str, value: usize, most: usize) -> Result<(), Error> {
    require((1..=most).contains(&value), || format!("{field} = {value} must lie between 1 and {most}"))
}

fn require(condition: bool, message: impl FnOnce() -> String) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Unsupported(message())) }
}

#[cfg(test)]
mod tests;
