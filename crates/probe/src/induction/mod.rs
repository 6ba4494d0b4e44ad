//! The induction study: two attention-only blocks learn to copy in context, one block cannot.
//!
//! Olsson et al. 2022, "In-context learning and induction heads" (arXiv:2209.11895), made small enough for a CPU:
//! a random segment comes back after a random gap, so no fixed distance solves it. Recorded over training: the
//! in-context gain and the prefix-matching scores, and where both change. Then the causal part: each head of the
//! second block is ablated, and the previous-token head of the first. The control is one block with as many
//! parameters (twice the heads).
//!
//! Left to themselves, two to four heads of the second block come to do the same job, and the loss of one is made
//! up by the others: no single ablation shows anything. So the last part of the training adds a concave penalty on
//! the size of every head but the one whose ablation loses most by then, and the job moves into it; the ablations
//! before ([`SeedResult::shared`]) and after are both in the result. The control gets as many steps without a penalty.

mod change_point;
mod measure;
mod seed;
mod training;

pub use change_point::{ChangePoint, change_point};
pub use seed::{HeadAblation, Point, SeedResult};

use model::Config;
use model::config::{ChannelConfig, ChannelKind, Layers};
use model::mixers::MixerKind;
use serde::{Deserialize, Serialize};
use statistics::{Estimate, Interval, mean_t, wilson};

use crate::Error;
use crate::error::require;

/// The settings of the study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InductionOptions {
    /// Number of seeds.
    pub seeds: usize,
    /// The first seed; the others follow it.
    pub first_seed: u64,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Shortest and longest repeated segment, in tokens.
    pub segment: (usize, usize),
    /// Features of the stream.
    pub width: usize,
    /// Heads of each of the two blocks; the control's one block has twice as many.
    pub heads: usize,
    /// Most optimizer steps until the copied rows are learned.
    pub steps: usize,
    /// They are when their loss is at most this share of ln(vocabulary).
    pub learned: f64,
    /// Steps after that, with a penalty on heads; it and the learning rate fall to zero over their second half.
    pub penalty_steps: usize,
    /// Strength of that penalty; 0 leaves the heads as they come. The second block's head whose ablation loses most
    /// when it begins is free of it.
    pub head_penalty: f32,
    /// Sequences per step.
    pub batch: usize,
    /// Highest learning rate.
    pub rate: f32,
    /// Share of the loss that comes from the rows that can be copied; as they come it would be about a quarter.
    pub copied_share: f32,
    /// Weight decay of the matrices.
    pub weight_decay: f32,
    /// Steps over which the learning rate rises.
    pub warmup: usize,
    /// Steps between two measurements.
    pub measure_every: usize,
    /// Sequences per measurement during training; four times as many at the end.
    pub measured: usize,
}

impl Default for InductionOptions {
    fn default() -> Self {
        Self {
            seeds: 5,
            first_seed: 11,
            vocabulary: 64,
            length: 64,
            segment: (8, 24),
            width: 64,
            heads: 4,
            steps: 1500,
            learned: 0.25,
            penalty_steps: 600,
            head_penalty: 1.0,
            batch: 32,
            rate: 3e-3,
            copied_share: 0.5,
            weight_decay: 0.1,
            warmup: 50,
            measure_every: 25,
            measured: 32,
        }
    }
}

impl InductionOptions {
    fn check(&self) -> Result<(), Error> {
        let (low, high) = self.segment;
        require(low >= 2 && low <= high && 2 * high <= self.length, || {
            format!(
                "segment = {:?} must be at least 2 long and fit twice into length = {}",
                self.segment, self.length
            )
        })?;
        require(self.heads > 0 && self.width.is_multiple_of(2 * self.heads), || {
            format!("width = {} must be a multiple of twice heads = {}", self.width, self.heads)
        })?;
        require((0.0..=1.0).contains(&self.copied_share), || {
            format!("copied_share = {} must lie between 0 and 1", self.copied_share)
        })?;
        let counts = [self.seeds, self.steps, self.batch, self.measure_every, self.measured, self.vocabulary];
        require(counts.iter().all(|count| *count > 0) && self.steps >= 2 * self.measure_every, || {
            "seeds, steps, batch, measure_every, measured and vocabulary must be at least 1, and the steps hold \
             two measurements"
                .into()
        })
    }

    /// The model of the study with so many blocks of so many heads.
    fn config(&self, blocks: usize, heads: usize) -> Config {
        let layers = Layers::uniform(blocks, MixerKind::Attention);
        let mut config = Config::new(self.vocabulary, self.width, self.length, layers);
        config.tied_embeddings = false;
        config.channel = ChannelConfig { kind: ChannelKind::None, hidden: 0 };
        let attention = &mut config.attention;
        (attention.heads, attention.kv_heads, attention.head_dim) = (heads, heads, self.width / self.heads);
        attention.qk_norm = false;
        config
    }
}

/// What the study claims, with its thresholds, and whether it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Seeds in which the top head's ablation loses at least half of the in-context gain and the mean other head
    /// of the second block at most a tenth.
    pub causal_seeds: usize,
    /// Seeds in which the copied rows are learned: loss at most 0.15 ln(vocabulary), best score at least 0.7.
    pub learned_seeds: usize,
    /// Seeds in which loss and score change within a tenth of the training of each other.
    pub together_seeds: usize,
    /// Seeds in which the one-block control stays above 0.6 ln(vocabulary).
    pub control_seeds: usize,
    /// Interval of the share of causal seeds (Wilson, 95 %).
    pub causal_interval: Interval,
    /// Share of the gain that the top head's ablation loses, over seeds (Student's t, 95 %).
    pub top: Option<Estimate>,
    /// The same of the mean other head of the second block.
    pub others: Option<Estimate>,
    /// Loss of the control on copied rows over ln(vocabulary), over seeds.
    pub control: Option<Estimate>,
    /// Whether the causal claim holds in at least four fifths of the seeds and the control in all.
    pub holds: bool,
}

/// The study's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InductionStudy {
    /// What was run.
    pub options: InductionOptions,
    /// Parameters of the two-block model.
    pub parameters: usize,
    /// Parameters of the one-block control.
    pub control_parameters: usize,
    /// Every seed, failed ones included.
    pub seeds: Vec<SeedResult>,
    /// What follows.
    pub verdict: Verdict,
}

/// Progress of the study.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InductionProgress {
    /// Number of the seed, from 0.
    pub seed: usize,
    /// Whether the control is training.
    pub control: bool,
    /// Steps done.
    pub step: usize,
    /// Loss of the last step.
    pub loss: f32,
}

/// Runs every seed, two blocks and the control. `progress` returns `false` to stop, which is an error: a verdict
/// needs every seed.
///
/// # Errors
/// [`Error::Request`] for settings that make no study or a stop; [`Error::Model`] and [`Error::Train`] otherwise.
pub fn induction(
    options: &InductionOptions,
    progress: &mut dyn FnMut(InductionProgress) -> bool,
) -> Result<InductionStudy, Error> {
    options.check()?;
    let mut seeds = Vec::new();
    let mut counts = (0, 0);
    for index in 0..options.seeds {
        let (result, parameters) = seed::run(options, index, progress)?;
        counts = parameters;
        seeds.push(result);
    }
    let verdict = verdict(&seeds)?;
    let (parameters, control_parameters) = counts;
    Ok(InductionStudy { options: options.clone(), parameters, control_parameters, seeds, verdict })
}

/// Judges the seeds against the thresholds.
///
/// # Errors
/// [`Error::Statistics`] without seeds.
pub fn verdict(seeds: &[SeedResult]) -> Result<Verdict, Error> {
    let count = |holds: &dyn Fn(&SeedResult) -> bool| seeds.iter().filter(|seed| holds(seed)).count();
    let over = |value: &dyn Fn(&SeedResult) -> f64| -> Option<Estimate> {
        let values: Vec<f64> = seeds.iter().map(value).collect();
        // One seed has no interval.
        mean_t(&values, 0.95).ok()
    };
    let causal_seeds = count(&|seed| seed.top_loses >= 0.5 && seed.others_lose <= 0.1);
    let control_seeds = count(&|seed| seed.control_loss >= 0.6);
    Ok(Verdict {
        causal_seeds,
        learned_seeds: count(&|seed| seed.copied_loss <= 0.15 && seed.prefix_matching >= 0.7),
        together_seeds: count(&|seed| seed.apart.is_some_and(|apart| apart <= 0.1)),
        control_seeds,
        causal_interval: wilson(causal_seeds, seeds.len(), 0.95)?,
        top: over(&|seed| seed.top_loses),
        others: over(&|seed| seed.others_lose),
        control: over(&|seed| seed.control_loss),
        holds: 5 * causal_seeds >= 4 * seeds.len() && control_seeds == seeds.len(),
    })
}
