//! What a training needs before it begins: peak memory and time of a step, for any size.
//!
//! Memory is counted from what a step holds at its three fullest moments. When the backward pass begins: weights,
//! optimizer state, all activations. When it ends: weights, state, gradients, one block's work. When the weights move:
//! weights, gradients, and of a state in files one parameter's. The sizes of activations were measured on this
//! implementation (BENCHMARKS, "Planner"); with other implementations they differ.

use model::config::{ChannelKind, Config};
use model::mixers::MixerKind;
use serde::Serialize;

use crate::optimizer::State;
use crate::speed::SETUPS;
use crate::{Error, Method, OptimizerConfig};

/// The sizes of a Transformer that decide what its training costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shape {
    /// What it is called.
    pub name: String,
    /// Blocks.
    pub layers: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Features of all query heads.
    pub queries: usize,
    /// Features of all key heads; as many of values.
    pub keys: usize,
    /// Features of the channel, or of one expert.
    pub hidden: usize,
    /// Number of token ids.
    pub vocabulary: usize,
    /// The head is the embedding matrix.
    pub tied: bool,
    /// Experts of a block; 1 in a dense model.
    pub experts: usize,
    /// Experts that a token visits.
    pub active: usize,
}

/// Published shapes: layers, width, query features, key features, hidden, vocabulary, tied, experts, active ones.
type Published = (&'static str, usize, usize, usize, usize, usize, usize, bool, usize, usize);
#[rustfmt::skip]
const PUBLISHED: [Published; 8] = [
    ("smollm2-135m", 30, 576, 576, 192, 1536, 49_152, true, 1, 1),
    ("smollm2-360m", 32, 960, 960, 320, 2560, 49_152, true, 1, 1),
    ("smollm2-1.7b", 24, 2048, 2048, 2048, 8192, 49_152, true, 1, 1),
    ("qwen3-1.7b", 28, 2048, 2048, 1024, 6144, 151_936, true, 1, 1),
    ("qwen2.5-7b", 28, 3584, 3584, 512, 18_944, 152_064, false, 1, 1),
    ("qwen3-32b", 64, 5120, 8192, 1024, 25_600, 151_936, false, 1, 1),
    ("qwen2.5-72b", 80, 8192, 8192, 1024, 29_568, 152_064, false, 1, 1),
    ("qwen3-235b-a22b", 94, 4096, 8192, 512, 1536, 151_936, false, 128, 8),
];

impl Shape {
    /// The names that [`Shape::named`] knows.
    pub fn names() -> Vec<&'static str> {
        SETUPS.iter().map(|setup| setup.name).chain(PUBLISHED.iter().map(|row| row.0)).collect()
    }

    /// A known shape.
    ///
    /// # Errors
    /// No shape has that name.
    pub fn named(name: &str) -> Result<Self, Error> {
        if let Some(setup) = SETUPS.iter().find(|setup| setup.name == name) {
            return Self::of(name, &setup.config());
        }
        let known = || format!("no shape is called `{name}`; known: {}", Self::names().join(", "));
        let row = PUBLISHED.iter().find(|row| row.0 == name).ok_or_else(|| Error::Request(known()))?;
        let (_, layers, width, queries, keys, hidden, vocabulary, tied, experts, active) = *row;
        let name = name.to_string();
        Ok(Self { name, layers, width, queries, keys, hidden, vocabulary, tied, experts, active })
    }

    /// The shape of a configuration.
    ///
    /// # Errors
    /// It has mixers or channels whose activations nobody measured yet.
    pub fn of(name: &str, config: &Config) -> Result<Self, Error> {
        if let Some(kind) = config.layers.iter().find(|kind| *kind != MixerKind::Attention) {
            return Err(Error::Request(format!(
                "`{name}` has {kind:?} blocks; the planner knows attention blocks only"
            )));
        }
        if config.channel.kind != ChannelKind::Swiglu {
            return Err(Error::Request(format!(
                "`{name}` has {:?} channels; the planner knows SwiGLU only",
                config.channel.kind
            )));
        }
        Ok(Self {
            name: name.to_string(),
            layers: config.layers.len(),
            width: config.width,
            queries: config.attention.heads * config.attention.head_dim,
            keys: config.attention.kv_heads * config.attention.head_dim,
            hidden: config.channel.hidden,
            vocabulary: config.vocabulary,
            tied: config.tied_embeddings,
            experts: 1,
            active: 1,
        })
    }

    /// The matrices of a block: name, rows, columns, how many there are, how many a token visits.
    fn matrices(&self) -> Vec<(&'static str, usize, usize, usize, usize)> {
        let Self { width, queries, keys, hidden, experts, active, .. } = *self;
        let mut all = vec![
            ("mixer.query", queries, width, 1, 1),
            ("mixer.key", keys, width, 1, 1),
            ("mixer.value", keys, width, 1, 1),
            ("mixer.output", width, queries, 1, 1),
            ("channel.gate", hidden, width, experts, active),
            ("channel.up", hidden, width, experts, active),
            ("channel.down", width, hidden, experts, active),
        ];
        if experts > 1 {
            all.push(("channel.router", experts, width, 1, 1));
        }
        all
    }

    /// Numbers of a block's matrices and norms: those there are, those a token meets.
    fn block(&self) -> (u64, u64) {
        let sum = |count: &dyn Fn(usize, usize) -> usize| -> u64 {
            self.matrices().iter().map(|(_, r, c, all, met)| (r * c * count(*all, *met)) as u64).sum()
        };
        let norms = 2 * self.width as u64;
        (sum(&|all, _| all) + norms, sum(&|_, met| met) + norms)
    }

    fn embedding(&self) -> u64 {
        (self.vocabulary * self.width) as u64
    }

    /// All numbers.
    pub fn parameters(&self) -> u64 {
        let tables = if self.tied { 1 } else { 2 };
        self.layers as u64 * self.block().0 + tables * self.embedding() + self.width as u64
    }

    /// Numbers in the products that a token meets, the head included.
    pub fn active_parameters(&self) -> u64 {
        self.layers as u64 * self.block().1 + self.embedding()
    }
}

/// What of the model is trained, and how the rest is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tuned {
    /// Every weight, in f32.
    Full,
    /// Low-rank changes of every projection beside weights of 16 bits.
    Lora,
    /// The same beside weights in blocks of 4 bits and a scale.
    Qlora,
}

/// Ways to hold less at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Thrift {
    /// Every block is run again in the backward pass.
    pub recompute: bool,
    /// Every weight moves as soon as its gradient is there ([`crate::Learner::step_at_once`]); with `recompute` only.
    pub at_once: bool,
    /// The optimizer's state lies in files ([`crate::Learner::new_in`]).
    pub state_in_files: bool,
}

/// How a training is meant to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// What is trained.
    pub tuned: Tuned,
    /// How it moves.
    pub optimizer: OptimizerConfig,
    /// Rank of low-rank changes.
    pub rank: usize,
    /// Bytes of all frozen weights, where they are known better than by `tuned` (a file's size).
    pub frozen_bytes: Option<u64>,
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences of a step, over all devices.
    pub batch: usize,
    /// How it saves memory.
    pub thrift: Thrift,
    /// Devices; weights, gradients and state are divided among them, and so is the batch.
    pub devices: usize,
}

/// Bytes and operations of a step on one device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Numbers trained.
    pub trained: u64,
    /// Weights.
    pub weights: u64,
    /// State of the optimizer.
    pub state: u64,
    /// Gradients, all of them.
    pub gradients: u64,
    /// Activations when the backward pass begins.
    pub activations: u64,
    /// Most bytes held at a time.
    pub peak: u64,
    /// Floating-point operations of a step.
    pub operations: f64,
}

/// The program itself, its threads and buffers of products.
const BASE: f64 = 19e6;
/// Copies of the residual stream that a block keeps, trained wholly and by low rank.
const STREAMS: [f64; 2] = [5.6, 4.45];
/// Bytes per number of a quantized weight of 4 bits: 32 of them and a scale of 16 bits.
const QUANTIZED: f64 = 18.0 / 32.0;

/// The plan of a training.
///
/// # Errors
/// A size of zero.
pub fn plan(shape: &Shape, setting: &Setting) -> Result<Plan, Error> {
    let Setting { tuned, rank, length, batch, devices, thrift, .. } = *setting;
    let Thrift { recompute, at_once, state_in_files } = thrift;
    if length == 0 || batch == 0 || devices == 0 || (tuned != Tuned::Full && rank == 0) {
        return Err(Error::Request(
            "a plan needs a length, a batch, devices and a rank of at least 1".into(),
        ));
    }
    let full = tuned == Tuned::Full;
    let (layers, width) = (shape.layers as f64, shape.width as f64);
    let Optimized { trained, state, largest } = optimized(shape, setting);
    let numbers = shape.parameters() as f64;
    let frozen = match tuned {
        Tuned::Full => 4.0 * numbers,
        Tuned::Lora => setting.frozen_bytes.map_or(2.0 * numbers, |bytes| bytes as f64),
        Tuned::Qlora => setting.frozen_bytes.map_or(QUANTIZED * numbers, |bytes| bytes as f64),
    };
    let low_rank = if full { 0.0 } else { 4.0 * trained as f64 };
    let (weights, gradients) = (frozen + low_rank, 4.0 * trained as f64);
    let tokens = (length * batch.div_ceil(devices)) as f64;
    let attention = 2.0 * shape.queries as f64 + 2.0 * shape.keys as f64;
    let channel = (shape.hidden * shape.active) as f64;
    let streams = STREAMS[usize::from(!full)];
    let block = 4.0 * tokens * (streams * width + attention + 3.0 * channel);
    let work = 4.0 * tokens * (3.0 * channel + 2.0 * width);
    let inputs = 4.0 * tokens * width * (layers + 1.0);
    // The head's gradient comes first; a tied embedding's second part last.
    let embedding = 4.0 * shape.embedding() as f64;
    let head = if full { embedding } else { 0.0 };
    let second = if full && shape.tied { embedding } else { 0.0 };
    let share = devices as f64;
    // With more than one device the block at work is gathered whole.
    let gathered = if devices > 1 { weights / layers } else { 0.0 };
    let held = BASE + (weights + if state_in_files { 0.0 } else { state as f64 }) / share + gathered;
    // In files, the state of one parameter is here while it moves.
    let moving = if state_in_files { largest as f64 / share } else { 0.0 };
    let activations = if recompute { inputs + block + work } else { layers * block };
    let begin = held + (head / share) + activations;
    // At once, only a tied embedding's gradient stays from the beginning to the end, beside those of a block.
    let of_block = 4.0 * shape.block().0 as f64;
    let end = match at_once && full {
        true => held + (2.0 * second + of_block) / share + block + work,
        false => held + (gradients + second) / share + block + work,
    };
    // Freed memory stays with the process: both parts of a tied embedding's gradient count.
    let moved = if at_once && full { embedding } else { gradients };
    let apply = held + moving + (moved + second) / share;
    let operations = {
        let (head, again) = (shape.embedding() as f64, if recompute { 2.0 } else { 0.0 });
        let blocks = shape.active_parameters() as f64 - head;
        // A frozen matrix has no gradient of its own; the backward pass of attention is whole either way.
        let passes = if full { 6.0 } else { 4.0 };
        let scores = (6.0 + again) * layers * length as f64 * shape.queries as f64;
        // The norm that clipping needs takes a whole pass before.
        let times = if at_once && setting.optimizer.clip_norm.is_some() { 2.0 } else { 1.0 };
        (passes * head + (passes + again) * blocks + scores) * tokens * times
    };
    Ok(Plan {
        trained,
        weights: (weights / share) as u64,
        state: (state as f64 / share) as u64,
        gradients: (gradients / share) as u64,
        activations: activations as u64,
        peak: begin.max(end).max(apply) as u64,
        operations,
    })
}

/// Numbers trained, bytes of the optimizer's state, and of one parameter's at most.
#[derive(Debug, Default, PartialEq)]
struct Optimized {
    trained: u64,
    state: u64,
    largest: u64,
}

fn optimized(shape: &Shape, setting: &Setting) -> Optimized {
    let Setting { tuned, optimizer, rank, .. } = setting;
    let mut sum = Optimized::default();
    let mut count = |name: &str, shape: &[usize], times: u64| {
        let numbers = shape.iter().product::<usize>() as u64;
        let average = if optimizer.average > 0.0 { 4 * numbers } else { 0 };
        let state = State::bytes(optimizer, name, shape) + average;
        sum.trained += times * numbers;
        sum.state += times * state;
        sum.largest = sum.largest.max(state);
    };
    for (name, rows, columns, all, _) in shape.matrices() {
        let times = (shape.layers * all) as u64;
        match tuned {
            Tuned::Full => count(name, &[rows, columns], times),
            Tuned::Lora | Tuned::Qlora => {
                count(&format!("{name}.low_rank_a"), &[*rank, columns], times);
                count(&format!("{name}.low_rank_b"), &[rows, *rank], times);
            }
        }
    }
    if *tuned == Tuned::Full {
        count("norm", &[shape.width], 2 * shape.layers as u64 + 1);
        count("embed", &[shape.vocabulary, shape.width], 1);
        if !shape.tied {
            count("head", &[shape.vocabulary, shape.width], 1);
        }
    }
    sum
}

/// The ways to train that a plan compares.
pub fn ways() -> Vec<(Tuned, Method, Thrift)> {
    let none = Thrift::default();
    let recompute = Thrift { recompute: true, ..none };
    let files = Thrift { state_in_files: true, ..recompute };
    let mut ways = vec![(Tuned::Full, Method::Adamw, none), (Tuned::Full, Method::Adamw, recompute)];
    ways.push((Tuned::Full, Method::Adamw, files));
    ways.push((Tuned::Full, Method::Adamw, Thrift { at_once: true, ..files }));
    ways.extend(
        [Method::Muon, Method::Adamw8bit, Method::Apollo].map(|method| (Tuned::Full, method, recompute)),
    );
    for tuned in [Tuned::Lora, Tuned::Qlora] {
        ways.extend([none, recompute].map(|thrift| (tuned, Method::Adamw, thrift)));
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::is_hidden_matrix;

    fn setting(tuned: Tuned, method: Method, length: usize, batch: usize, recompute: bool) -> Setting {
        let optimizer = OptimizerConfig { method, ..OptimizerConfig::default() };
        let thrift = Thrift { recompute, ..Thrift::default() };
        Setting { tuned, optimizer, rank: 16, frozen_bytes: None, length, batch, thrift, devices: 1 }
    }

    #[test]
    fn published_shapes_have_their_published_sizes() {
        // Biases (Qwen2.5) and norms of queries and keys (Qwen3) are left out: far below a thousandth.
        let published: [(&str, f64); 7] = [
            ("smollm2-135m", 134_515_008.0),
            ("smollm2-360m", 361_821_120.0),
            ("smollm2-1.7b", 1_711_376_384.0),
            ("qwen2.5-7b", 7_615_616_512.0),
            ("qwen3-32b", 32_762_123_264.0),
            ("qwen2.5-72b", 72_706_203_648.0),
            ("qwen3-235b-a22b", 235_093_634_560.0),
        ];
        for (name, count) in published {
            let ours = Shape::named(name).unwrap().parameters() as f64;
            assert!((ours / count - 1.0).abs() < 1e-3, "{name}: {ours} for {count}");
        }
        let moe = Shape::named("qwen3-235b-a22b").unwrap().active_parameters();
        assert!((21.0e9..22.5e9).contains(&(moe as f64)), "{moe}");
        assert!(Shape::named("gpt-9").unwrap_err().to_string().contains("qwen2.5-7b"));
    }

    #[test]
    fn counts_are_those_of_real_parameters() {
        for setup in &SETUPS {
            let parameters = setup.parameters(0).unwrap();
            let shape = Shape::named(setup.name).unwrap();
            assert_eq!(shape.parameters(), parameters.count() as u64);
            for about in &crate::METHODS {
                let setting = setting(Tuned::Full, about.method, 64, 1, false);
                let expected: u64 = parameters
                    .trainable()
                    .map(|(name, shape)| State::bytes(&setting.optimizer, name, shape))
                    .sum();
                let ours = optimized(&shape, &setting);
                assert_eq!((ours.trained, ours.state), (parameters.count() as u64, expected));
            }
            let matrices = parameters.trainable().filter(|(name, shape)| is_hidden_matrix(name, shape));
            assert_eq!(matrices.count(), 7 * setup.layers);
        }
    }

    #[test]
    fn peaks_are_near_what_was_measured() {
        // `gewu bench train --steps 1`, peak resident bytes in 10⁶.
        let file = Some(98_362_432);
        let (adamw, full, lora) = (Method::Adamw, Tuned::Full, Tuned::Qlora);
        let measured = [
            ("tiny", full, adamw, 64, 32, false, 41.1),
            ("gpt-5m", full, adamw, 256, 2, false, 132.5),
            ("gpt-5m", full, adamw, 256, 16, false, 510.1),
            ("gpt-5m", full, adamw, 32_768, 1, false, 3554.2),
            ("gpt-5m", full, adamw, 256, 32, true, 360.1),
            ("gpt-5m", full, Method::Muon, 256, 8, false, 275.7),
            ("gpt-30m", full, adamw, 512, 8, false, 1544.1),
            ("gpt-30m", full, adamw, 512, 8, true, 723.4),
            ("gpt-30m", full, Method::Apollo, 512, 2, false, 472.4),
            ("smollm2-135m", full, adamw, 256, 1, false, 2310.2),
            ("smollm2-135m", full, adamw, 512, 4, true, 2396.5),
            ("smollm2-135m", full, Method::Adamw8bit, 512, 4, true, 1593.1),
            ("smollm2-135m", full, Method::Apollo, 512, 4, true, 1546.9),
            ("smollm2-135m", lora, adamw, 512, 4, false, 2323.5),
            ("smollm2-135m", lora, adamw, 512, 4, true, 430.5),
        ];
        for (name, tuned, method, length, batch, recompute, megabytes) in measured {
            let shape = Shape::named(name).unwrap();
            let setting = Setting { frozen_bytes: file, ..setting(tuned, method, length, batch, recompute) };
            let ratio = plan(&shape, &setting).unwrap().peak as f64 / 1e6 / megabytes;
            assert!((0.93..1.07).contains(&ratio), "{name} {method} {recompute}: {ratio}");
        }
        for (at_once, state_in_files, megabytes) in
            [(false, false, 2313.1), (false, true, 1461.2), (true, false, 1893.5), (true, true, 1044.8)]
        {
            let shape = Shape::named("smollm2-135m").unwrap();
            let thrift = Thrift { recompute: true, at_once, state_in_files };
            let setting = Setting { thrift, ..setting(full, adamw, 256, 1, true) };
            let ratio = plan(&shape, &setting).unwrap().peak as f64 / 1e6 / megabytes;
            assert!((0.93..1.07).contains(&ratio), "{thrift:?}: {ratio}");
        }
    }

    #[test]
    fn more_devices_hold_less_each() {
        let shape = Shape::named("qwen2.5-72b").unwrap();
        let one = setting(Tuned::Full, Method::Adamw, 4096, 8, true);
        let eight = Setting { devices: 8, ..one.clone() };
        let (one, eight) = (plan(&shape, &one).unwrap(), plan(&shape, &eight).unwrap());
        assert!(eight.peak < one.peak / 5 && eight.operations == one.operations / 8.0);
        assert!(one.peak > 72_000_000_000 * 16);
        let none = setting(Tuned::Lora, Method::Adamw, 0, 1, false);
        assert!(plan(&shape, &none).is_err());
    }
}
