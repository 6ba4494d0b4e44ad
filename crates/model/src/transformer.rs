//! A model from a configuration and its weights: `embed → [block; n] → final norm → head`.
//!
//! # Names of the weights
//! [`WeightSource`] is asked for each of these once, by name; a matrix is `[rows = outputs, columns = inputs]`,
//! row-major. `H` = heads, `K` = kv_heads, `D` = head_dim, `F` = channel.hidden, `W` = width, `V` = vocabulary.
//!
//! | name | kind | shape | when |
//! |---|---|---|---|
//! | `embed` | matrix | `[V, W]` | always |
//! | `blocks.{i}.mixer_norm` | vector | `[W]` | always |
//! | `blocks.{i}.mixer.query` | matrix | `[H·D, W]` | attention |
//! | `blocks.{i}.mixer.key` | matrix | `[K·D, W]` | attention |
//! | `blocks.{i}.mixer.value` | matrix | `[K·D, W]` | attention |
//! | `blocks.{i}.mixer.output` | matrix | `[W, H·D]` | attention |
//! | `blocks.{i}.mixer.query_bias`, `key_bias`, `value_bias` | vector | `[H·D]`, `[K·D]`, `[K·D]` | `qkv_bias` |
//! | `blocks.{i}.mixer.output_bias` | vector | `[W]` | `output_bias` |
//! | `blocks.{i}.mixer.query_norm`, `key_norm` | vector | `[D]` | `qk_norm` |
//! | `blocks.{i}.mixer.query`, `key` | matrix | `[h·k, W]` | delta: `h` heads of `k` and `v` features |
//! | `blocks.{i}.mixer.value`, `gate` | matrix | `[h·v, W]` | delta |
//! | `blocks.{i}.mixer.decay`, `strength` | matrix | `[h, W]` | delta |
//! | `blocks.{i}.mixer.output` | matrix | `[W, h·v]` | delta |
//! | `blocks.{i}.mixer.query_conv`, `key_conv`, `value_conv` | matrix | `[h·k or h·v, kernel]` | delta |
//! | `blocks.{i}.mixer.log_rate`, `decay_bias` | vector | `[h]` | delta |
//! | `blocks.{i}.mixer.output_norm` | vector | `[v]` | delta |
//! | `blocks.{i}.mixer.input`, `output` | matrix | `[3·W, W]`, `[W, W]` | conv |
//! | `blocks.{i}.mixer.conv` | matrix | `[W, kernel]` | conv |
//! | `blocks.{i}.channel_norm` | vector | `[W]` | swiglu, relu2 |
//! | `blocks.{i}.channel.gate` | matrix | `[F, W]` | swiglu |
//! | `blocks.{i}.channel.up` | matrix | `[F, W]` | swiglu, relu2 |
//! | `blocks.{i}.channel.down` | matrix | `[W, F]` | swiglu, relu2 |
//! | `final_norm` | vector | `[W]` | always |
//! | `head` | matrix | `[V, W]` | not `tied_embeddings` |

use burn::tensor::{Int, Tensor, TensorData};
use ops::{Activation, Documents, Rotation, Weight};

use crate::blocks::{Block, Scene, matrix, vector};
use crate::cache::{Cache, admit};
use crate::config::{RopeConfig, RopeScaling, RopeStyle};
use crate::hooks::{Hooks, Site};
use crate::mixers::Spec;
use crate::{Config, Error, Init, Packed};

/// A long prompt runs in chunks of this many tokens: the same logits, bit for bit, in less memory.
const CHUNK: usize = 512;

/// Where the weights of a model come from; the names and shapes are those of the module's documentation.
pub trait WeightSource {
    /// The matrix called `name`, `[rows, columns]`: packed (`ops::Weight::from_bytes`), dense, or with a low-rank
    /// change. `init` is what a new model begins with; a source of stored weights ignores it.
    ///
    /// # Errors
    /// The tensor is absent, or its shape differs.
    fn matrix(&mut self, name: &str, rows: usize, columns: usize, init: Init) -> Result<Weight, Error>;

    /// The vector called `name`, `[length]`.
    ///
    /// # Errors
    /// The tensor is absent, or its length differs.
    fn vector(&mut self, name: &str, length: usize, init: Init) -> Result<Tensor<1>, Error>;
}

/// What a forward pass returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The logits after the last token, `[1, vocabulary]`.
    Last,
    /// The logits after every token from this one (counted within the call), `[T - first, vocabulary]`.
    From(usize),
    /// The logits after every token, `[T, vocabulary]`.
    All,
    /// The normalized stream before the head, `[T, width]`.
    Hidden,
}

impl Want {
    /// The first of so many tokens whose row is wanted.
    fn first(self, tokens: usize) -> usize {
        match self {
            Self::Last => tokens - 1,
            Self::From(first) => first,
            Self::All | Self::Hidden => 0,
        }
    }
}

/// A model that can run; frozen if its weights are packed.
pub struct Transformer {
    config: Config,
    embed: Weight,
    blocks: Vec<Block>,
    final_norm: Tensor<1>,
    head: Weight,
    /// Radians per position of each rotary pair.
    frequencies: Vec<f32>,
    activation: Activation,
}

impl Transformer {
    /// Asks `weights` for everything the configuration names.
    ///
    /// # Errors
    /// The configuration is not valid, or `weights` refuses.
    pub fn load(
        config: &Config,
        weights: &mut dyn WeightSource,
        activation: Activation,
    ) -> Result<Self, Error> {
        config.validate()?;
        let (vocabulary, width) = (config.vocabulary, config.width);
        let embed = matrix(weights, "embed", vocabulary, width, Init::projection(width))?;
        let blocks = config.layers.iter().enumerate();
        let blocks = blocks.map(|(index, mixer)| Block::load(config, index, mixer, weights));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        let final_norm = vector(weights, "final_norm", width, Init::Constant(1.0))?;
        let head = match config.tied_embeddings {
            true => embed.clone(),
            false => matrix(weights, "head", vocabulary, width, Init::projection(width))?,
        };
        let frequencies = frequencies(&config.attention.rope, config.attention.head_dim);
        let config = config.clone();
        Ok(Self { config, embed, blocks, final_norm, head, frequencies, activation })
    }

    /// What it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How the linear operations treat their input.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Changes how the linear operations treat their input.
    pub fn set_activation(&mut self, activation: Activation) {
        self.activation = activation;
    }

    /// Multiply-adds of each block's channel for one token.
    pub fn channel_macs(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.iter().map(Block::channel_macs)
    }

    /// What the mixer of each block costs.
    pub fn mixer_specs(&self) -> impl Iterator<Item = Spec> + '_ {
        self.blocks.iter().map(Block::mixer_spec)
    }

    /// An empty cache for at most `limit` positions.
    pub fn cache(&self, limit: usize) -> Cache {
        Cache::new(&self.config, limit)
    }

    /// Reads `tokens` after what `cache` remembers, and remembers them too. The result of a token does not
    /// depend, to the bit, on how the tokens are split over calls. Without a cache the tokens are the whole
    /// sequence, and the pass is differentiable.
    ///
    /// # Errors
    /// No tokens, a token outside the vocabulary, or more than the cache takes; the cache is then unchanged.
    pub fn forward(&self, tokens: &[u32], cache: Option<&mut Cache>, want: Want) -> Result<Tensor<2>, Error> {
        let Some(cache) = cache else {
            return self.forward_with(tokens, None, want, &mut Hooks::new());
        };
        self.check(tokens, Some(cache), want)?;
        let before = cache.mark();
        let result = self.chunks(tokens, cache, want);
        if result.is_err() {
            cache.return_to(&before);
        }
        result
    }

    /// The logits of tokens that were checked, chunk by chunk; only the wanted rows of the wanted chunks are kept.
    fn chunks(&self, tokens: &[u32], cache: &mut Cache, want: Want) -> Result<Tensor<2>, Error> {
        let first = want.first(tokens.len());
        let mut kept = Vec::new();
        for (index, chunk) in tokens.chunks(CHUNK).enumerate() {
            let (start, end) = (index * CHUNK, index * CHUNK + chunk.len());
            let documents = Documents::single(chunk.len());
            let hidden = self.run(chunk, &documents, Some(&mut *cache), &mut Hooks::new())?;
            if end > first {
                let hidden = hidden.slice(first.saturating_sub(start)..chunk.len());
                kept.push(self.head(hidden, want, &mut Hooks::new())?);
            }
        }
        Ok(if kept.len() == 1 { kept.remove(0) } else { Tensor::cat(kept, 0) })
    }

    /// As [`forward`](Self::forward), with listeners at named points.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); and a hook whose name does not exist, whose replacement has another
    /// shape, or which did not fire. After an error of a hook the cache is as before the call.
    pub fn forward_with(
        &self,
        tokens: &[u32],
        mut cache: Option<&mut Cache>,
        want: Want,
        hooks: &mut Hooks<'_>,
    ) -> Result<Tensor<2>, Error> {
        self.check(tokens, cache.as_deref(), want)?;
        hooks.resolve(&self.config)?;
        let before = cache.as_deref().map(Cache::mark);
        let documents = Documents::single(tokens.len());
        let result = self.run(tokens, &documents, cache.as_deref_mut(), hooks).and_then(|hidden| {
            let hidden = hidden.slice(want.first(tokens.len())..tokens.len());
            let output = self.head(hidden, want, hooks)?;
            hooks.finish()?;
            Ok(output)
        });
        if let (Err(_), Some(cache), Some(before)) = (&result, cache, before) {
            cache.return_to(&before);
        }
        result
    }

    /// The normalized stream before the head after every token of `packed`, `[T, width]`. Differentiable.
    ///
    /// # Errors
    /// No tokens, a token outside the vocabulary, a document longer than the context, or a hook that does not
    /// fit or fire.
    pub fn hidden(&self, packed: &Packed, hooks: &mut Hooks<'_>) -> Result<Tensor<2>, Error> {
        self.check_packed(packed)?;
        hooks.resolve(&self.config)?;
        let documents = Documents::new(packed.starts(), packed.len());
        let x = self.run(packed.tokens(), &documents, None, hooks)?;
        let hidden = self.head(x, Want::Hidden, hooks)?;
        hooks.finish()?;
        Ok(hidden)
    }

    /// The logits of rows of [`hidden`](Self::hidden), `[rows, vocabulary]`. Differentiable.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        ops::pool::forward(|| ops::linear(hidden, &self.head, self.activation))
    }

    /// `−log p` of `targets[i]` after row `rows[i]` of [`hidden`](Self::hidden), `[rows.len()]`, in nats; the
    /// logits of all rows never exist at once. Differentiable.
    ///
    /// # Errors
    /// No rows, another number of targets, a row outside `hidden`, or a target outside the vocabulary.
    pub fn losses(&self, hidden: Tensor<2>, rows: &[usize], targets: &[u32]) -> Result<Tensor<1>, Error> {
        let [tokens, _] = hidden.dims();
        if rows.is_empty() || rows.len() != targets.len() {
            return Err(Error::Request(format!(
                "losses of {} rows with {} targets; give one target for each of at least one row",
                rows.len(),
                targets.len()
            )));
        }
        if let Some(row) = rows.iter().find(|&&row| row >= tokens) {
            return Err(Error::Request(format!("losses: row {row} of {tokens}")));
        }
        self.check_tokens(targets)?;
        let all = rows.len() == tokens && rows.iter().enumerate().all(|(index, &row)| index == row);
        let hidden = if all { hidden } else { select(hidden, rows) };
        ops::pool::forward(|| Ok(ops::cross_entropy_with(hidden, &self.head, targets, self.activation)?))
    }

    pub(crate) fn check_packed(&self, packed: &Packed) -> Result<(), Error> {
        self.check_tokens(packed.tokens())?;
        let longest = packed.ranges().map(|range| range.len()).max().unwrap_or(0);
        admit(0, longest, self.config.context)
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        if tokens.is_empty() {
            return Err(Error::Request("no tokens to read; give at least one".into()));
        }
        let vocabulary = self.config.vocabulary;
        match tokens.iter().enumerate().find(|&(_, &id)| id as usize >= vocabulary) {
            Some((index, id)) => Err(Error::Request(format!(
                "token id {id} (number {index} of the sequence) is outside the vocabulary of {vocabulary}"
            ))),
            None => Ok(()),
        }
    }

    fn check(&self, tokens: &[u32], cache: Option<&Cache>, want: Want) -> Result<(), Error> {
        self.check_tokens(tokens)?;
        if let Want::From(first) = want
            && first >= tokens.len()
        {
            return Err(Error::Request(format!("logits from token {first} of {}", tokens.len())));
        }
        match cache {
            Some(cache) if cache.blocks() != self.blocks.len() => {
                Err(Error::Request("the cache belongs to another model".into()))
            }
            Some(cache) => cache.admit(tokens.len()),
            None => admit(0, tokens.len(), self.config.context),
        }
    }

    /// The stream after the last block, `[T, width]`, before the final norm.
    fn run(
        &self,
        tokens: &[u32],
        documents: &Documents,
        mut cache: Option<&mut Cache>,
        hooks: &mut Hooks<'_>,
    ) -> Result<Tensor<2>, Error> {
        ops::pool::forward(|| {
            let first = cache.as_deref().map_or(0, Cache::positions) as u32;
            let rotation = self.rotation(first, documents);
            let x = self.embedded(tokens)?;
            let rotation = rotation.as_ref();
            let mut scene = Scene { rotation, documents, activation: self.activation, block: 0, hooks };
            let mut x = scene.at(Site::Embed, x)?;
            for (index, block) in self.blocks.iter().enumerate() {
                scene.block = index;
                let state = cache.as_deref_mut().and_then(|cache| cache.state_mut(index));
                x = block.forward(x, state, &mut scene)?;
            }
            if let Some(cache) = cache {
                cache.advance(tokens.len());
            }
            Ok(x)
        })
    }

    /// The rows of the embedding, `[T, width]`.
    pub(crate) fn embedded(&self, tokens: &[u32]) -> Result<Tensor<2>, Error> {
        ops::embed(&self.embed, tokens).map_err(|error| Error::Request(error.to_string()))
    }

    /// One block by itself, without a cache or listeners.
    pub(crate) fn block(
        &self,
        block: usize,
        x: Tensor<2>,
        documents: &Documents,
        rotation: Option<&Rotation>,
    ) -> Result<Tensor<2>, Error> {
        let hooks = &mut Hooks::new();
        let mut scene = Scene { rotation, documents, activation: self.activation, block, hooks };
        self.blocks[block].forward(x, None, &mut scene)
    }

    /// The final norm.
    pub(crate) fn normalized(&self, x: Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x, self.final_norm.clone(), self.config.norm_epsilon)
    }

    /// Gives up the final norm and the head, which must not be asked for again; their weights can then change in place.
    pub(crate) fn let_go_of_head(&mut self) {
        self.final_norm = ops::tensor_from(Vec::new(), [0]);
        self.head = Weight::dense(ops::tensor_from(Vec::new(), [0, 0]));
    }

    /// Gives up the last block in the same way.
    pub(crate) fn let_go_of_last_block(&mut self) {
        self.blocks.pop();
    }

    /// The angles of every token, or `None` if nothing turns.
    pub(crate) fn rotation(&self, first: u32, documents: &Documents) -> Option<Rotation> {
        let style = match self.config.attention.rope.style {
            RopeStyle::Half => ops::RopeStyle::HalfSplit,
            RopeStyle::Interleaved => ops::RopeStyle::Interleaved,
        };
        let positions = documents.positions().map(|position| first + position);
        (!self.frequencies.is_empty()).then(|| Rotation::new(&self.frequencies, positions, style))
    }

    fn head(&self, x: Tensor<2>, want: Want, hooks: &mut Hooks<'_>) -> Result<Tensor<2>, Error> {
        ops::pool::forward(|| {
            let x = self.normalized(x);
            let x = hooks.matrix(0, Site::FinalNorm, x)?;
            match want {
                Want::Hidden => Ok(x),
                _ => hooks.matrix(0, Site::Logits, ops::linear(x, &self.head, self.activation)),
            }
        })
    }
}

/// Rows of a matrix.
fn select(x: Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let ids: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [rows.len()]), &x.device());
    x.select(0, ids)
}

/// Radians per position of each rotary pair, after scaling.
fn frequencies(rope: &RopeConfig, head_dim: usize) -> Vec<f32> {
    let mut frequencies = ops::rope_frequencies(rope.dimensions.unwrap_or(head_dim), rope.base);
    match rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => frequencies.iter_mut().for_each(|f| *f /= factor),
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            for f in &mut frequencies {
                let turns = original_context as f32 * *f / std::f32::consts::TAU;
                let kept = (turns - low_frequency_factor) / (high_frequency_factor - low_frequency_factor);
                let kept = kept.clamp(0.0, 1.0);
                *f = (1.0 - kept) * *f / factor + kept * *f;
            }
        }
    }
    frequencies
}

#[cfg(test)]
mod tests;
