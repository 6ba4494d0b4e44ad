//! How fast a training step is, on configurations that other systems can run too.

use std::time::Instant;

use model::config::Layers;
use model::{Config, Init, Parameters, timing};
use serde::Serialize;
use tasks::Random;

use crate::{Batch, Error, Learner, Sequence, next_tokens};

/// A model from scratch and the shape of its batches.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What it is called.
    pub name: &'static str,
    /// Number of token ids.
    pub vocabulary: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Heads, which share the width.
    pub heads: usize,
    /// Features of SwiGLU.
    pub hidden: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences per step.
    pub batch: usize,
}

/// The known setups.
#[rustfmt::skip]
pub const SETUPS: [Setup; 3] = [
    Setup { name: "tiny", vocabulary: 256, width: 64, layers: 2, heads: 4, hidden: 192, length: 64, batch: 32 },
    Setup { name: "gpt-5m", vocabulary: 1024, width: 256, layers: 6, heads: 8, hidden: 640, length: 256, batch: 8 },
    Setup { name: "gpt-30m", vocabulary: 4096, width: 512, layers: 8, heads: 8, hidden: 1344, length: 512, batch: 8 },
];

impl Setup {
    /// Its configuration: rotary positions, an own head, no other extras.
    pub fn config(&self) -> Config {
        let layers = Layers::parse(&format!("{} x [attention]", self.layers));
        let layers = layers.expect("the grammar is fixed");
        let mut config = Config::new(self.vocabulary, self.width, self.length, layers);
        config.norm_epsilon = 1e-5;
        config.tied_embeddings = false;
        config.attention.heads = self.heads;
        config.attention.kv_heads = self.heads;
        config.attention.head_dim = self.width / self.heads;
        config.attention.qk_norm = false;
        config.channel.hidden = self.hidden;
        config
    }

    /// Its parameters as others begin: every matrix normal with deviation 0.02, norms at one.
    ///
    /// # Errors
    /// The configuration is not valid.
    pub fn parameters(&self, seed: u64) -> Result<Parameters, Error> {
        let mut parameters = Parameters::random(&self.config(), seed)?;
        let matrices = parameters.trainable().filter(|(_, shape)| shape.len() == 2);
        let matrices: Vec<String> = matrices.map(|(name, _)| name.to_string()).collect();
        for name in matrices {
            parameters.update(&name, |values| {
                values.copy_from_slice(&Init::Normal(0.02).draw(seed, &name, values.len()));
            })?;
        }
        Ok(parameters)
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// Numbers trained.
    pub parameters: usize,
    /// Tokens read per second, of the median step.
    pub tokens_per_s: f64,
    /// Floating-point operations per second in 10⁹: six per parameter in a product and token, and attention's.
    pub gflops: f64,
    /// Loss of the last step, in nats.
    pub loss: f32,
    /// Seconds of the median step.
    pub step_seconds: f64,
    /// Seconds of the fastest step: on a shared machine, what the step itself needs.
    pub fastest_seconds: f64,
    /// Steps measured.
    pub steps: usize,
    /// Operation, calls and seconds in a step, if asked for.
    pub operations: Vec<(&'static str, f64, f64)>,
}

/// Steps before the clock counts.
const WARM_UP: usize = 3;

/// x[t+1] = (5 x[t] + 3) mod V, a tenth of the tokens replaced at random: learnable, so that a missing gradient
/// shows in the loss.
fn stream(random: &mut Random, vocabulary: usize, length: usize, batch: usize) -> Vec<Sequence> {
    let document = |_| {
        let mut tokens = vec![random.below(vocabulary)];
        (0..length).for_each(|at| tokens.push((5 * tokens[at] + 3) % vocabulary));
        for token in &mut tokens {
            if random.below(10) == 0 {
                *token = random.below(vocabulary);
            }
        }
        let tokens: Vec<u32> = tokens.into_iter().map(|token| token as u32).collect();
        next_tokens(&tokens)
    };
    (0..batch).map(document).collect()
}

/// How [`measure`] trains.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences per step.
    pub batch: usize,
    /// Learning rate.
    pub rate: f32,
    /// Steps measured.
    pub steps: usize,
    /// Decides the stream.
    pub seed: u64,
    /// Every block is run again in the backward pass.
    pub recompute: bool,
    /// See [`Learner::step_at_once`]; only with `recompute`.
    pub at_once: bool,
    /// Operations are timed, too.
    pub timings: bool,
}

/// Floating-point operations of a training step per token, in sequences of `length`: two per number of a product and
/// pass (a frozen one has no gradient of its own: two passes instead of three), and attention's, half of them masked.
pub fn operations(parameters: &Parameters, length: usize) -> f64 {
    let (config, count) = (parameters.config(), parameters.count());
    let embedding = if config.tied_embeddings { 0 } else { config.vocabulary * config.width };
    let trained = parameters.trainable_count().saturating_sub(embedding).min(count);
    let features = config.attention.heads * config.attention.head_dim;
    (4 * (count - embedding) + 2 * trained + 6 * config.layers.len() * length * features) as f64
}

/// Trains on the stream for `steps` steps after a warm-up, and takes the time of each; if it is to be,
/// also of the operations.
///
/// # Errors
/// The model's.
pub fn measure(mut learner: Learner, course: Course) -> Result<Speed, Error> {
    let Course { length, batch, rate, steps, seed, recompute, at_once, timings } = course;
    let config = learner.parameters().config().clone();
    let (cost, trained) = (operations(learner.parameters(), length), learner.parameters().trainable_count());
    let mut random = Random::new(seed, "train/speed");
    let (mut seconds, mut loss) = (Vec::new(), 0.0);
    for step in 0..steps + WARM_UP {
        if step == WARM_UP && timings {
            timing::record(true);
        }
        let batch = Batch::of_queries(&stream(&mut random, config.vocabulary, length, batch));
        let started = Instant::now();
        let share = 1.0 / batch.scored() as f32;
        let report = match recompute {
            true if at_once => learner.step_at_once(rate, &batch, share),
            true => learner.step_by_block(rate, std::slice::from_ref(&batch), share),
            false => {
                learner.step(rate, 1, &mut |transformer, _| Ok(batch.losses(transformer)?.sum() * share))
            }
        };
        loss = report?.loss;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let share = 1.0 / steps as f64;
    let operations = timing::measured();
    let operations =
        operations.into_iter().map(|(name, calls, time)| (name, calls as f64 * share, time * share));
    let operations = operations.collect();
    timing::record(false);
    let mut measured = seconds.split_off(WARM_UP);
    measured.sort_by(f64::total_cmp);
    let step_seconds = measured.get(measured.len() / 2).copied().unwrap_or(f64::NAN);
    let tokens = (batch * length) as f64;
    Ok(Speed {
        parameters: trained,
        tokens_per_s: tokens / step_seconds,
        gflops: cost * tokens / step_seconds / 1e9,
        loss,
        step_seconds,
        fastest_seconds: measured.first().copied().unwrap_or(f64::NAN),
        steps,
        operations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptimizerConfig;

    #[test]
    fn setups_have_as_many_parameters_as_the_peer() {
        // What the PyTorch script prints for the same three.
        let counts = SETUPS.map(|setup| setup.parameters(0).unwrap().count());
        assert_eq!(counts, [139_584, 5_049_600, 29_106_688]);
    }

    #[test]
    fn the_stream_follows_its_rule_nine_times_of_ten() {
        let documents = stream(&mut Random::new(1, "test"), 1024, 500, 4);
        let (mut right, mut all) = (0, 0);
        for (tokens, targets) in &documents {
            for &(row, target) in targets {
                all += 1;
                right += usize::from((5 * tokens[row] + 3) % 1024 == target);
            }
        }
        let share = f64::from(right as u32) / f64::from(all as u32);
        // Both the token and its successor must have stayed.
        assert!((0.78..0.85).contains(&share), "{share}");
    }

    #[test]
    fn it_learns_while_it_is_measured() {
        let learner = Learner::new(SETUPS[0].parameters(0).unwrap(), &OptimizerConfig::default());
        let (length, batch, rate, steps) = (32, 4, 3e-3, 30);
        let course =
            Course { length, batch, rate, steps, seed: 0, recompute: false, at_once: false, timings: true };
        let speed = measure(learner, course).unwrap();
        assert!(speed.operations.iter().any(|(name, calls, _)| *name == "attention" && *calls >= 2.0));
        assert!(speed.loss < 5.2 && speed.tokens_per_s > 0.0, "{speed:?}");
    }
}
