//! Training a model of the study: until it copies, then with a penalty on its heads.

use std::cell::RefCell;

use burn::tensor::{Tensor, TensorData};
use model::{Activation, Config, Hooks, Packed, Parameters, Transformer};
use tasks::Random;
use train::{Learner, OptimizerConfig};

use super::InductionOptions;
use super::measure::{Sequence, sequences};
use crate::Error;

/// How long the first phase is, and what the second does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phases {
    /// Until the watcher says that the model has learned, then a second phase with the penalty on heads.
    UntilLearned,
    /// So many steps in all, without a penalty.
    Steps(usize),
}

/// A trained model.
pub(super) struct Trained {
    pub(super) transformer: Transformer,
    pub(super) parameters: usize,
    /// All steps.
    pub(super) steps: usize,
    /// Those of the first phase.
    pub(super) first: usize,
}

/// What follows a training: the step, its loss, and every `measure_every` steps a view of the model; once the model has
/// learned, returns the second block's head that is to keep the job.
pub(super) type Watch<'w> =
    &'w mut dyn FnMut(usize, f32, Option<&Transformer>) -> Result<Option<usize>, Error>;

/// Trains a model from scratch.
pub(super) fn train(
    options: &InductionOptions,
    config: &Config,
    seed: u64,
    phases: Phases,
    watch: Watch<'_>,
) -> Result<Trained, Error> {
    let parameters = Parameters::random(config, seed)?;
    let count = parameters.count();
    let optimizer =
        OptimizerConfig { beta2: 0.98, weight_decay: options.weight_decay, ..OptimizerConfig::default() };
    let mut learner = Learner::new(parameters, &optimizer);
    let mut random = Random::new(seed, "probe.induction.train");
    let (mut first, mut last) = match phases {
        Phases::UntilLearned => (None, options.steps + options.penalty_steps),
        Phases::Steps(steps) => (Some(steps.saturating_sub(options.penalty_steps)), steps),
    };
    let (mut step, mut kept) = (0, None);
    while step < last {
        step += 1;
        let warm = step as f32 / options.warmup.max(1) as f32;
        // Rate and penalty fall over the second half of the second phase, whose end is known by then.
        let fall = match first {
            Some(_) => (last - step) as f32 / (options.penalty_steps as f32 / 2.0).max(1.0) + 0.01,
            None => 1.0,
        };
        let rate = options.rate * warm.min(fall).min(1.0);
        let concentrates = matches!(phases, Phases::UntilLearned) && first.is_some();
        let penalty = if concentrates { options.head_penalty * fall.min(1.0) } else { 0.0 };
        let drawn = sequences(options, options.batch, &mut random);
        let parts: Vec<&[Sequence]> = drawn.chunks(PACKED).collect();
        let report = learner.step(rate, parts.len(), &mut |transformer, part| {
            Ok(loss(transformer, parts[part], options.copied_share, penalty, kept)?)
        })?;
        let measured = step % options.measure_every == 0 || step == options.steps || step == last;
        let view = if measured { Some(learner.parameters().freeze(Activation::F32)?) } else { None };
        let head = watch(step, report.loss, view.as_ref())?;
        if first.is_none() && (head.is_some() || step == options.steps) {
            (first, kept) = (Some(step), head);
            last = step + options.penalty_steps;
        }
    }
    let transformer = learner.parameters().freeze(Activation::F32)?;
    Ok(Trained { transformer, parameters: count, steps: step, first: first.unwrap_or(step) })
}

/// Sequences that run as one pack of documents; more only cost memory.
const PACKED: usize = 4;

/// The mean loss of the copied rows times `share`, plus that of all others times the rest, plus the penalty on all
/// heads but the second block's `kept`.
fn loss(
    transformer: &Transformer,
    part: &[Sequence],
    share: f32,
    penalty: f32,
    kept: Option<usize>,
) -> Result<Tensor<1>, model::Error> {
    let documents: Vec<Vec<u32>> = part.iter().map(|sequence| sequence.tokens.clone()).collect();
    let packed = Packed::new(&documents);
    let (mut rows, mut targets, mut copied) = (Vec::new(), Vec::new(), Vec::new());
    for (range, sequence) in packed.ranges().zip(part) {
        for row in 0..sequence.tokens.len() - 1 {
            rows.push(range.start + row);
            targets.push(sequence.tokens[row + 1]);
            copied.push(sequence.copied.contains(&row));
        }
    }
    let count = copied.iter().filter(|copied| **copied).count() as f32;
    let others = (copied.len() as f32 - count).max(1.0);
    let weight = |copied: bool| if copied { share / count.max(1.0) } else { (1.0 - share) / others };
    let weights: Vec<f32> = copied.into_iter().map(weight).collect();
    let sizes = RefCell::new(Vec::new());
    let mut hooks = Hooks::new();
    let config = transformer.config();
    for block in (0..config.layers.len()).filter(|_| penalty > 0.0) {
        let (sizes, heads) = (&sizes, config.attention.heads);
        hooks.read(&format!("blocks.{block}.attention.mix"), move |mix| {
            sizes.borrow_mut().push(head_sizes(mix, heads, kept.filter(|_| block == 1)));
        });
    }
    let hidden = transformer.hidden(&packed, &mut hooks)?;
    drop(hooks);
    let losses = transformer.losses(hidden, &rows, &targets)?;
    let weights = Tensor::from_data(TensorData::new(weights, [rows.len()]), &losses.device());
    let loss = (losses * weights).sum();
    Ok(sizes.into_inner().into_iter().fold(loss, |loss, size| loss + size * penalty))
}

/// The sum over heads but `kept` of their mean squared length to the power 1/8, `[1]`: so concave that one head doing
/// a job costs less than several sharing it.
fn head_sizes(mix: Tensor<2>, heads: usize, kept: Option<usize>) -> Tensor<1> {
    let features = mix.dims()[1];
    let squares = mix.powi_scalar(2).mean_dim(0).reshape([heads, features / heads]).sum_dim(1);
    let sizes = (squares + 1e-4).powf_scalar(0.125).reshape([heads]);
    match kept {
        Some(head) => sizes.clone().sum() - sizes.slice(head..head + 1),
        None => sizes.sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_that_keeps_the_job_is_free_of_the_penalty() {
        // Two heads of two features over two tokens: mean squared lengths 5 and 100.
        let mix =
            || Tensor::<2>::from_data([[1.0, 2.0, 6.0, 8.0], [2.0, 1.0, 8.0, 6.0]], &Default::default());
        let size = |kept| head_sizes(mix(), 2, kept).into_scalar::<f32>();
        let [first, second] = [5.0_f32, 100.0].map(|square| square.powf(0.125));
        for (kept, expected) in [(None, first + second), (Some(0), second), (Some(1), first)] {
            assert!((size(kept) - expected).abs() < 1e-4, "{kept:?}: {} not {expected}", size(kept));
        }
    }
}
