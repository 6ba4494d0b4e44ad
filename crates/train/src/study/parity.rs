//! Parity (Hahn 2020; Grazzi et al. 2024, arXiv:2411.12537): is the number of ones so far odd? Trained on short
//! sequences, tested on ones several times as long: a state must flip its sign with every one, forever.

use model::{Config, Parameters};
use serde::{Deserialize, Serialize};
use tasks::Random;

use super::curriculum::{Curriculum, learn};
use super::{Training, Variant, grade, matched, state_bytes};
use crate::{Error, Progress, Sequence};

/// The task and the models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParityOptions {
    /// The longest sequence of training.
    pub length: usize,
    /// The longest sequences of the stages before, shortest first.
    pub shorter: Vec<usize>,
    /// How many times longer the sequences of the test are.
    pub factor: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// Parameters of every model, reached through the width of its channels.
    pub parameters: usize,
    /// Sequences in the test.
    pub tests: usize,
    /// How it is trained.
    pub training: Training,
}

impl Default for ParityOptions {
    fn default() -> Self {
        Self {
            length: 64,
            shorter: vec![4, 8, 16, 32],
            factor: 4,
            width: 64,
            head_dim: 32,
            parameters: 60_000,
            tests: 64,
            training: Training {
                rate: 3e-3,
                weight_decay: 0.01,
                step_tokens: 2048,
                curriculum: Curriculum {
                    learned_below: 0.005,
                    stage_steps: 150,
                    last_steps: 300,
                    cooldown: 300,
                    warmup: 20,
                },
                bf16: false,
            },
        }
    }
}

/// The delta rule with negative eigenvalues, and attention.
pub fn variants() -> [Variant; 2] {
    [Variant::new("delta", "2 x [delta]"), Variant::new("attention", "2 x [attention]")]
}

/// How one model fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParityResult {
    /// The variant.
    pub variant: Variant,
    /// The seed of weights and sequences.
    pub seed: u64,
    /// Parameters.
    pub parameters: usize,
    /// Bytes the model remembers after one sequence of the test.
    pub state_bytes: usize,
    /// The longest sequence of training.
    pub trained_length: usize,
    /// Length of the sequences of the test.
    pub tested_length: usize,
    /// Share of right answers in the rows within the training length.
    pub accuracy_within: f64,
    /// Share of right answers in the rows beyond it.
    pub accuracy_beyond: f64,
    /// Share of right answers in the last quarter of the rows.
    pub accuracy_last_quarter: f64,
    /// Accuracy of a guess.
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

/// Trains one model and tests it beyond its training length.
///
/// # Errors
/// Options that make no task or no model.
pub fn parity(
    variant: &Variant,
    options: &ParityOptions,
    seed: u64,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<ParityResult, Error> {
    let ParityOptions { length, shorter, factor, .. } = options;
    let training = &options.training.of(variant);
    if shorter.iter().chain([length]).any(|length| *length < 2) || *factor == 0 {
        return Err(Error::Request(format!(
            "parity: lengths {shorter:?} and {length} must be at least 2, and the factor ({factor}) at least 1"
        )));
    }
    let tested_length = length * factor;
    let config = options.config(variant, tested_length)?;
    let (config, parameters) = matched(config, options.parameters)?;
    let mut learner = training.learner(Parameters::random(&config, seed)?);
    let mut random = Random::new(seed, "parity, training");
    let stages: Vec<usize> = shorter.iter().chain([length]).copied().collect();
    let mut draw = |stage: usize| draw_up_to(stages[stage], training.step_tokens, &mut random);
    let learned = learn(&mut learner, training, stages.len(), &mut draw, control)?;
    let mut random = Random::new(seed, "parity, test");
    let tests: Vec<Sequence> =
        (0..options.tests).map(|_| tasks::parity::sequence(tested_length, &mut random)).collect();
    let transformer = learner.parameters().freeze(model::Activation::F32)?;
    // Rows and right answers: within the training length, beyond it, in the last quarter.
    let mut counts = [(0usize, 0usize); 3];
    grade(&transformer, &tests, training.step_tokens, &mut |_, row, is_right| {
        let places = [row < *length, row >= *length, 4 * row >= 3 * tested_length];
        for (count, counts_here) in counts.iter_mut().zip(places) {
            if counts_here {
                count.0 += 1;
                count.1 += usize::from(is_right);
            }
        }
    })?;
    let [within, beyond, last] = counts.map(|(rows, right)| right as f64 / rows.max(1) as f64);
    let state_bytes = match tests.first() {
        Some((tokens, _)) => state_bytes(&transformer, tokens)?,
        None => 0,
    };
    Ok(ParityResult {
        variant: variant.clone(),
        seed,
        parameters,
        state_bytes,
        trained_length: *length,
        tested_length,
        accuracy_within: within,
        accuracy_beyond: beyond,
        accuracy_last_quarter: last,
        chance: 0.5,
        steps: learned.steps,
        stages: learned.stages,
        tokens: learned.tokens,
        loss: learned.loss,
        finished: learned.finished,
    })
}

/// Sequences of random lengths up to `longest`, `tokens` of them in all or slightly more.
fn draw_up_to(longest: usize, tokens: usize, random: &mut Random) -> Vec<Sequence> {
    let mut sequences = Vec::new();
    let mut drawn = 0;
    while drawn < tokens {
        // Half of them are as long as the stage allows: the far rows are the hard ones.
        let length = if random.below(2) == 0 { longest } else { 1 + random.below(longest) };
        drawn += length;
        sequences.push(tasks::parity::sequence(length, random));
    }
    sequences
}

impl ParityOptions {
    fn config(&self, variant: &Variant, context: usize) -> Result<Config, Error> {
        let vocabulary = tasks::parity::VOCABULARY as usize;
        let mut config = Config::new(vocabulary, self.width, context, variant.layers()?);
        let heads = (self.width / self.head_dim).max(1);
        config.attention.heads = heads;
        config.attention.kv_heads = heads;
        config.attention.head_dim = self.head_dim;
        if let Some(delta) = &mut config.delta {
            (delta.heads, delta.key_dim, delta.value_dim) = (heads, self.head_dim, self.head_dim);
            delta.negative_eigenvalues = true;
        }
        Ok(config)
    }
}
