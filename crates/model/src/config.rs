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
//! The mixers that exist are the table [`crate::mixers::MIXERS`]; [`Config::new`] fills in usual choices.

mod layers;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::mixers::MixerKind;

pub use layers::Layers;

/// Limits that no real checkpoint reaches; a larger number is a damaged or hostile file.
const MOST_LAYERS: usize = 4096;
const MOST_WIDTH: usize = 1 << 20;
const MOST_VOCABULARY: usize = 1 << 24;
const MOST_CONTEXT: usize = 1 << 28;
const MOST_KERNEL: usize = 256;

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
    /// The settings of every delta mixer; needed if `layers` has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaConfig>,
    /// The settings of every conv mixer; needed if `layers` has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv: Option<ConvConfig>,
    /// The channel of every block.
    pub channel: ChannelConfig,
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
    /// Features of a head that turn; the rest stay. Absent: all of them. 0: no rotation at all (NoPE).
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

/// The gated delta rule (Yang et al. 2024, arXiv:2412.06464): a state `[key_dim, value_dim]` per head that
/// decays, and in which every token replaces what its key finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaConfig {
    /// Heads, each with its own state.
    pub heads: usize,
    /// Features of a query or key head.
    pub key_dim: usize,
    /// Features of a value head.
    pub value_dim: usize,
    /// Tokens the short convolution over queries, keys and values sees.
    #[serde(default = "four")]
    pub kernel: usize,
    /// Writing strengths up to 2 instead of 1, so that a state can flip its sign (Grazzi et al. 2024,
    /// arXiv:2411.12537): needed to count modulo 2.
    #[serde(default)]
    pub negative_eigenvalues: bool,
    /// What the output gate is passed through.
    #[serde(default)]
    pub gate: GateKind,
}

fn four() -> usize {
    4
}

/// The function of an output gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// `x · sigmoid(x)`.
    #[default]
    Silu,
    /// `sigmoid(x)`.
    Sigmoid,
}

/// LFM2's gated short convolution: `output · (c ⊙ conv(b ⊙ x))`, with b, c and x projected from the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvConfig {
    /// Tokens the convolution sees.
    pub kernel: usize,
}

/// The half of a block that changes every position by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Which function.
    #[serde(default)]
    pub kind: ChannelKind,
    /// Features between its projections; ignored by [`ChannelKind::None`].
    #[serde(default)]
    pub hidden: usize,
}

/// The function of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// `down · (silu(gate · x) ⊙ (up · x))` (Shazeer 2020, arXiv:2002.05202).
    #[default]
    Swiglu,
    /// `down · relu(up · x)²` (So et al. 2021, arXiv:2109.08668).
    Relu2,
    /// No channel, and no norm before it: the block is a mixer alone.
    None,
}

impl Config {
    /// The usual choices for a model to be trained from scratch: heads of 64 features (32 or fewer in a narrow
    /// model), normed queries and keys, rotary positions, SwiGLU with 8/3 of the width, the head tied to the
    /// embedding; delta mixers with as many heads and negative eigenvalues, conv mixers over 3 tokens.
    pub fn new(vocabulary: usize, width: usize, context: usize, layers: Layers) -> Self {
        let fits = |head_dim: &usize| width.is_multiple_of(*head_dim) && width >= 4 * head_dim;
        let head_dim = [64, 32, 16, 8].into_iter().find(fits).unwrap_or(width);
        let heads = width.checked_div(head_dim).unwrap_or(1);
        let rope = RopeConfig {
            base: 10_000.0,
            style: RopeStyle::Half,
            dimensions: None,
            scaling: RopeScaling::None,
        };
        Self {
            vocabulary,
            width,
            context,
            layers,
            norm_epsilon: 1e-6,
            tied_embeddings: true,
            attention: AttentionConfig {
                heads,
                kv_heads: heads,
                head_dim,
                rope,
                qk_norm: true,
                qkv_bias: false,
                output_bias: false,
            },
            delta: Some(DeltaConfig {
                heads,
                key_dim: head_dim,
                value_dim: head_dim,
                kernel: 4,
                negative_eigenvalues: true,
                gate: GateKind::Silu,
            }),
            conv: Some(ConvConfig { kernel: 3 }),
            channel: ChannelConfig {
                kind: ChannelKind::Swiglu,
                hidden: (8 * width).div_ceil(3).next_multiple_of(32),
            },
        }
    }

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
        if self.channel.kind != ChannelKind::None {
            within("channel.hidden", self.channel.hidden, MOST_WIDTH)?;
        }
        self.validate_recurrent()?;
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
        require(dimensions.is_multiple_of(2) && dimensions <= *head_dim, || {
            format!("rope.dimensions = {dimensions} must be even and at most head_dim = {head_dim}")
        })?;
        require(rope.base.is_finite() && rope.base > 1.0, || {
            format!("rope.base = {} must be greater than 1", rope.base)
        })?;
        rope.scaling.validate()
    }

    fn validate_recurrent(&self) -> Result<(), Error> {
        let needs = |kind| self.layers.iter().any(|mixer| mixer == kind);
        if let Some(DeltaConfig { heads, key_dim, value_dim, kernel, .. }) = self.delta {
            within("delta.heads", heads, MOST_WIDTH)?;
            within("delta.key_dim", key_dim, MOST_WIDTH)?;
            within("delta.value_dim", value_dim, MOST_WIDTH)?;
            within("delta.kernel", kernel, MOST_KERNEL)?;
            require(heads.saturating_mul(key_dim.max(value_dim)) <= MOST_WIDTH, || {
                format!(
                    "delta: {heads} heads of {key_dim} and {value_dim} features are more than {MOST_WIDTH}"
                )
            })?;
        } else {
            require(!needs(MixerKind::Delta), || "layers has delta mixers but `delta` is not set".into())?;
        }
        match &self.conv {
            Some(conv) => within("conv.kernel", conv.kernel, MOST_KERNEL),
            None => {
                require(!needs(MixerKind::Conv), || "layers has conv mixers but `conv` is not set".into())
            }
        }
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
