//! Multi-query associative recall (Arora et al. 2023, "Zoology", arXiv:2312.04927): which value stood after this
//! key? Loss and accuracy count the answers only; the models of one study have the same number of parameters.

use model::{Config, Parameters};
use serde::{Deserialize, Serialize};
use tasks::Random;

use super::curriculum::{Curriculum, learn};
use super::{Training, Variant, grade, matched, state_bytes};
use crate::{Error, Progress, Sequence};

/// The task and the models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecallOptions {
    /// Pairs of key and value, each asked for once; a sequence has four tokens per pair.
    pub pairs: usize,
    /// Pairs of the stages before, fewest first.
    pub easier: Vec<usize>,
    /// Different keys.
    pub keys: u32,
    /// Different values.
    pub values: u32,
    /// Features of the residual stream.
    pub width: usize,
    /// Features of a head, of attention and of the delta rule's keys and values alike.
    pub head_dim: usize,
    /// Parameters of every model, reached through the width of its channels.
    pub parameters: usize,
    /// Sequences in the test.
    pub tests: usize,
    /// How it is trained.
    pub training: Training,
}

impl Default for RecallOptions {
    fn default() -> Self {
        Self {
            pairs: 64,
            easier: vec![4, 8, 16, 32],
            keys: 128,
            values: 128,
            width: 128,
            head_dim: 64,
            parameters: 450_000,
            tests: 64,
            training: Training {
                rate: 1e-3,
                weight_decay: 0.01,
                step_tokens: 2048,
                curriculum: Curriculum {
                    learned_below: 0.1,
                    stage_steps: 400,
                    last_steps: 800,
                    cooldown: 150,
                    warmup: 20,
                },
                bf16: false,
            },
        }
    }
}

/// Attention, the delta rule, and three delta mixers to one attention; attention learns at the lowest rate only.
pub fn variants() -> [Variant; 3] {
    [
        Variant::new("attention", "2 x [attention]"),
        Variant::new("delta", "2 x [delta]").at_rate(3e-3),
        Variant::new("hybrid 3:1", "1 x [delta, delta, delta, attention]"),
    ]
}

/// How one model fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecallResult {
    /// The variant.
    pub variant: Variant,
    /// The seed of weights and sequences.
    pub seed: u64,
    /// Parameters.
    pub parameters: usize,
    /// Bytes the model remembers after one sequence.
    pub state_bytes: usize,
    /// Pairs per sequence.
    pub pairs: usize,
    /// Queries of the test.
    pub queries: usize,
    /// Share of them whose likeliest next token was the value.
    pub accuracy: f64,
    /// Accuracy of a guess among the values.
    pub chance: f64,
    /// Steps trained.
    pub steps: usize,
    /// Steps of each stage, the cool-down last.
    pub stages: Vec<usize>,
    /// Tokens trained on.
    pub tokens: u64,
    /// Mean loss of the last steps in nats.
    pub loss: f32,
    /// Whether training ended by itself.
    pub finished: bool,
}

/// Trains one model and tests it on sequences it never saw.
///
/// # Errors
/// Options that make no task or no model.
pub fn recall(
    variant: &Variant,
    options: &RecallOptions,
    seed: u64,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<RecallResult, Error> {
    let RecallOptions { pairs, easier, keys, values, .. } = options;
    let training = &options.training.of(variant);
    if easier.iter().chain([pairs]).any(|pairs| *pairs == 0 || *pairs > *keys as usize) || *values == 0 {
        return Err(Error::Request(format!(
            "recall: {pairs} pairs (before: {easier:?}) need at least as many keys ({keys}) and some values ({values})"
        )));
    }
    let config = options.config(variant)?;
    let (config, parameters) = matched(config, options.parameters)?;
    let mut learner = training.learner(Parameters::random(&config, seed)?);
    let mut random = Random::new(seed, "recall, training");
    let stages: Vec<usize> = easier.iter().chain([pairs]).copied().collect();
    let learned = learn(
        &mut learner,
        training,
        stages.len(),
        &mut |stage| {
            options.draw(stages[stage], training.step_tokens.div_ceil(4 * stages[stage]), &mut random)
        },
        control,
    )?;
    let tests = options.draw(*pairs, options.tests, &mut Random::new(seed, "recall, test"));
    let transformer = learner.parameters().freeze(model::Activation::F32)?;
    let (mut queries, mut right) = (0, 0);
    grade(&transformer, &tests, training.step_tokens, &mut |_, _, is_right| {
        queries += 1;
        right += usize::from(is_right);
    })?;
    let state_bytes = match tests.first() {
        Some((tokens, _)) => state_bytes(&transformer, tokens)?,
        None => 0,
    };
    Ok(RecallResult {
        variant: variant.clone(),
        seed,
        parameters,
        state_bytes,
        pairs: *pairs,
        queries,
        accuracy: right as f64 / queries.max(1) as f64,
        chance: 1.0 / f64::from(*values),
        steps: learned.steps,
        stages: learned.stages,
        tokens: learned.tokens,
        loss: learned.loss,
        finished: learned.finished,
    })
}

impl RecallOptions {
    fn config(&self, variant: &Variant) -> Result<Config, Error> {
        let vocabulary = (self.keys + self.values) as usize;
        let mut config = Config::new(vocabulary, self.width, 4 * self.pairs, variant.layers()?);
        let heads = (self.width / self.head_dim).max(1);
        config.attention.heads = heads;
        config.attention.kv_heads = heads;
        config.attention.head_dim = self.head_dim;
        if let Some(delta) = &mut config.delta {
            (delta.heads, delta.key_dim, delta.value_dim) = (heads, self.head_dim, self.head_dim);
        }
        Ok(config)
    }

    fn draw(&self, pairs: usize, count: usize, random: &mut Random) -> Vec<Sequence> {
        (0..count)
            .map(|_| tasks::recall::sequence(pairs, 4 * pairs, self.keys, self.values, random))
            .collect()
    }
}
