//! One seed of the study: training, the curves, the ablations, the control.

use burn::tensor::{Tensor, TensorData};
use model::{Activation, Config, Hooks, Packed, Parameters, Transformer};
use serde::{Deserialize, Serialize};
use tasks::Random;
use train::{AdamWConfig, Learner};

use super::measure::{Measured, Sequence, mean_ablation, measure, sequences, tripled};
use super::{ChangePoint, InductionOptions, InductionProgress, change_point};
use crate::Error;
use crate::error::require;
use crate::intervene::{Change, With};

/// One measurement during training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps done.
    pub step: usize,
    /// Loss of the copied rows, in nats.
    pub copied: f64,
    /// In-context gain: loss of the rows before the second occurrence minus that of the copied ones.
    pub gain: f64,
    /// Prefix matching of every head of the last block.
    pub prefix_matching: Vec<f64>,
    /// Weight of every head of the first block on the previous token.
    pub previous_token: Vec<f64>,
}

/// What ablating one head did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadAblation {
    /// The head of the second block.
    pub head: usize,
    /// Its prefix matching.
    pub prefix_matching: f64,
    /// Share of the in-context gain that is lost with zeros in its place.
    pub zero: f64,
    /// The same with its mean in its place.
    pub mean: f64,
}

/// One seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// The two-block model over training.
    pub curve: Vec<Point>,
    /// Final loss of the copied rows over ln(vocabulary).
    pub copied_loss: f64,
    /// Final in-context gain in nats.
    pub gain: f64,
    /// Final prefix matching of the top head.
    pub prefix_matching: f64,
    /// Where the loss of the copied rows changes (index into the curve).
    pub loss_change: Option<ChangePoint>,
    /// Where the top head's prefix matching changes.
    pub score_change: Option<ChangePoint>,
    /// How far apart both are, as a share of the training.
    pub apart: Option<f64>,
    /// Every head of the second block.
    pub ablations: Vec<HeadAblation>,
    /// Share of the gain lost without the head of the highest prefix matching (zeros in its place).
    pub top_loses: f64,
    /// Mean share lost without one of the other heads.
    pub others_lose: f64,
    /// The first block's head with the highest weight on the previous token, and that weight.
    pub previous_head: (usize, f64),
    /// The top head's prefix matching with the previous-token head zeroed.
    pub prefix_without_previous: f64,
    /// Loss of a segment's second and third time in a row, over ln(vocabulary).
    pub tripled_loss: f64,
    /// The control's final loss of the copied rows over ln(vocabulary).
    pub control_loss: f64,
    /// The control's best prefix matching.
    pub control_prefix_matching: f64,
}

/// Trains both models of a seed and measures them; also returns their numbers of parameters.
pub(super) fn run(
    options: &InductionOptions,
    index: usize,
    progress: &mut dyn FnMut(InductionProgress) -> bool,
) -> Result<(SeedResult, (usize, usize)), Error> {
    let seed = options.first_seed + index as u64;
    let watched = sequences(options, options.measured, &mut Random::new(seed, "probe.induction.watched"));
    let held_out =
        sequences(options, 4 * options.measured, &mut Random::new(seed, "probe.induction.held_out"));
    let repeated = tripled(options, options.measured, &mut Random::new(seed, "probe.induction.tripled"));
    let scale = (options.vocabulary as f64).ln();

    let mut report = |control, step, loss| progress(InductionProgress { seed: index, control, step, loss });
    let mut curve = Vec::new();
    let config = options.config(2, options.heads);
    let (transformer, parameters) = train(options, &config, seed, &mut |step, loss, view| {
        require(report(false, step, loss), || "the study was stopped".into())?;
        if let Some(view) = view {
            curve.push(point(step, &measure(view, &watched, &[])?));
        }
        Ok(())
    })?;
    let control_config = options.config(1, 2 * options.heads);
    let (control, control_parameters) = train(options, &control_config, seed, &mut |step, loss, _| {
        require(report(true, step, loss), || "the study was stopped".into())
    })?;

    let causal = causal(&transformer, &held_out, &watched)?;
    let (clean, top) = (causal.clean, causal.top);
    let control = measure(&control, &held_out, &[])?;
    let loss_change = change_point(&curve.iter().map(|point| point.copied).collect::<Vec<_>>());
    let scores: Vec<f64> = curve.iter().map(|point| point.prefix_matching[top]).collect();
    let score_change = change_point(&scores);
    let apart = loss_change.zip(score_change).map(|(loss, score)| {
        let step = |change: ChangePoint| curve[change.index].step as f64;
        (step(loss) - step(score)).abs() / options.steps as f64
    });
    let result = SeedResult {
        seed,
        copied_loss: clean.copied / scale,
        gain: clean.gain(),
        prefix_matching: clean.prefix[1][top],
        loss_change,
        score_change,
        apart,
        top_loses: causal.ablations[top].zero,
        others_lose: causal.others_lose,
        ablations: causal.ablations,
        previous_head: causal.previous_head,
        prefix_without_previous: causal.prefix_without_previous,
        tripled_loss: measure(&transformer, &repeated, &[])?.copied / scale,
        control_loss: control.copied / scale,
        control_prefix_matching: control.prefix[0].iter().copied().fold(0.0, f64::max),
        curve,
    };
    Ok((result, (parameters, control_parameters)))
}

/// The causal part: what each head of the second block, and the previous-token head of the first, is for.
struct Causal {
    clean: Measured,
    /// The second block's head of the highest prefix matching.
    top: usize,
    ablations: Vec<HeadAblation>,
    others_lose: f64,
    previous_head: (usize, f64),
    prefix_without_previous: f64,
}

fn causal(transformer: &Transformer, held_out: &[Sequence], watched: &[Sequence]) -> Result<Causal, Error> {
    let clean = measure(transformer, held_out, &[])?;
    let ablations = ablations(transformer, held_out, watched, &clean)?;
    let top = best(&clean.prefix[1]);
    let others: Vec<f64> = ablations.iter().filter(|head| head.head != top).map(|head| head.zero).collect();
    let previous = best(&clean.previous[0]);
    let without = Change::head(transformer, 0, previous, With::Zero)?;
    let without = measure(transformer, held_out, &[without])?;
    Ok(Causal {
        top,
        ablations,
        others_lose: statistics::mean(&others),
        previous_head: (previous, clean.previous[0][previous]),
        prefix_without_previous: without.prefix[1][top],
        clean,
    })
}

fn best(scores: &[f64]) -> usize {
    (0..scores.len()).fold(0, |best, head| if scores[head] > scores[best] { head } else { best })
}

fn point(step: usize, measured: &Measured) -> Point {
    Point {
        step,
        copied: measured.copied,
        gain: measured.gain(),
        prefix_matching: measured.prefix.last().cloned().unwrap_or_default(),
        previous_token: measured.previous.first().cloned().unwrap_or_default(),
    }
}

fn ablations(
    transformer: &Transformer,
    held_out: &[Sequence],
    watched: &[Sequence],
    clean: &Measured,
) -> Result<Vec<HeadAblation>, Error> {
    let lost = |change: Change| -> Result<f64, Error> {
        let gain = measure(transformer, held_out, &[change])?.gain();
        // A model that learned nothing has no gain to lose.
        Ok(if clean.gain() > 1e-6 { (clean.gain() - gain) / clean.gain() } else { 0.0 })
    };
    let heads = clean.prefix[1].iter().enumerate();
    heads
        .map(|(head, prefix_matching)| {
            Ok(HeadAblation {
                head,
                prefix_matching: *prefix_matching,
                zero: lost(Change::head(transformer, 1, head, With::Zero)?)?,
                mean: lost(mean_ablation(transformer, watched, 1, head)?)?,
            })
        })
        .collect()
}

/// What follows a training: the step, its loss, and a view of the model every `measure_every` steps.
type Watch<'w> = &'w mut dyn FnMut(usize, f32, Option<&Transformer>) -> Result<(), Error>;

/// Trains a model from scratch; returns it and its number of parameters.
fn train(
    options: &InductionOptions,
    config: &Config,
    seed: u64,
    watch: Watch<'_>,
) -> Result<(Transformer, usize), Error> {
    let parameters = Parameters::random(config, seed)?;
    let count = parameters.count();
    let optimizer = AdamWConfig { beta2: 0.98, weight_decay: options.weight_decay, ..AdamWConfig::default() };
    let mut learner = Learner::new(parameters, &optimizer);
    let mut random = Random::new(seed, "probe.induction.train");
    for step in 1..=options.steps {
        let drawn = sequences(options, options.batch, &mut random);
        let parts: Vec<&[Sequence]> = drawn.chunks(PACKED).collect();
        let report = learner.step(rate(options, step), parts.len(), &mut |transformer, part| {
            Ok(loss(transformer, parts[part], options.copied_share)?)
        })?;
        let measured = step % options.measure_every == 0 || step == options.steps;
        let view = if measured { Some(learner.parameters().freeze(Activation::F32)?) } else { None };
        watch(step, report.loss, view.as_ref())?;
    }
    Ok((learner.parameters().freeze(Activation::F32)?, count))
}

/// Sequences that run as one pack of documents; more only cost memory.
const PACKED: usize = 4;

/// The mean loss of the copied rows times `share`, plus that of all others times the rest.
fn loss(transformer: &Transformer, part: &[Sequence], share: f32) -> Result<Tensor<1>, model::Error> {
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
    let hidden = transformer.hidden(&packed, &mut Hooks::new())?;
    let losses = transformer.losses(hidden, &rows, &targets)?;
    let weights = Tensor::from_data(TensorData::new(weights, [rows.len()]), &losses.device());
    Ok((losses * weights).sum())
}

/// Warm-up, a constant, then a straight line to zero.
fn rate(options: &InductionOptions, step: usize) -> f32 {
    let done = step as f32 / options.steps as f32;
    options.rate * (done * 20.0).min(1.0).min((1.0 - done) * 3.0 + 0.01)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: usize = 12;
    const W: usize = 64;
    const D: usize = 16;

    /// A trained model's place taken by weights set by hand: head 0.2 looks at the previous token, head 1.1 does
    /// induction, the others have no weights.
    fn planted(options: &InductionOptions) -> Transformer {
        let mut config = options.config(2, 4);
        config.attention.rope.dimensions = Some(2);
        config.norm_epsilon = 1e-9;
        let mut parameters = Parameters::random(&config, 1).unwrap();
        let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
        for name in names.iter().filter(|name| !name.contains("norm")) {
            parameters.update(name, |values| values.fill(0.0)).unwrap();
        }
        let mut set = |name: &str, cells: Vec<(usize, f32)>| {
            parameters
                .update(name, |values| cells.iter().for_each(|(at, value)| values[*at] = *value))
                .unwrap();
        };
        // The stream: the token, the token before, the token to come, a constant.
        let constant = 3 * V;
        set("embed", (0..V).flat_map(|t| [(t * W + t, 1.0), (t * W + constant, 1.0)]).collect());
        set("head", (0..V).map(|t| (t * W + 2 * V + t, 1.0)).collect());
        for (block, head, parts) in [(0, 2, 2.0_f32), (1, 1, 3.0)] {
            let name = |part: &str| format!("blocks.{block}.mixer.{part}");
            let row = |feature: usize| (head * D + feature) * W;
            let norm = (parts / W as f32).sqrt();
            set(&format!("blocks.{block}.mixer_norm"), (0..W).map(|i| (i, norm)).collect());
            set(&name("value"), (0..V).map(|t| (row(2 + t) + t, 1.0)).collect());
            let written = if block == 0 { (V, 1.0) } else { (2 * V, 3.0) };
            let output = |t: usize| ((written.0 + t) * 4 * D + head * D + 2 + t, written.1);
            set(&name("output"), (0..V).map(output).collect());
            if block == 0 {
                // In phase with the key of the position before, once rotated.
                let query =
                    [(row(0) + constant, 100.0 * 1.0_f32.cos()), (row(1) + constant, -100.0 * 1.0_f32.sin())];
                set(&name("query"), query.to_vec());
                set(&name("key"), vec![(row(0) + constant, 100.0)]);
            } else {
                set(&name("query"), (0..V).map(|t| (row(2 + t) + t, 20.0)).collect());
                set(&name("key"), (0..V).map(|t| (row(2 + t) + V + t, 20.0)).collect());
            }
        }
        parameters.freeze(Activation::F32).unwrap()
    }

    #[test]
    fn the_planted_heads_are_found_and_carry_the_whole_gain() {
        let options =
            InductionOptions { vocabulary: V, length: 28, segment: (5, 9), ..InductionOptions::default() };
        let held_out = sequences(&options, 40, &mut Random::new(1, "a"));
        let watched = sequences(&options, 10, &mut Random::new(1, "b"));
        let found = causal(&planted(&options), &held_out, &watched).unwrap();
        assert_eq!((found.top, found.previous_head.0), (1, 2));
        assert!(found.clean.gain() > 0.5 && found.clean.prefix[1][1] > 0.85, "{:?}", found.clean);
        assert!(found.previous_head.1 > 0.99);
        for head in &found.ablations {
            match head.head {
                1 => assert!((head.zero - 1.0).abs() < 0.05 && head.mean > 0.8, "{head:?}"),
                _ => assert!(head.zero.abs() < 1e-9 && head.mean.abs() < 1e-9, "{head:?}"),
            }
        }
        assert!(found.others_lose.abs() < 1e-9);
        // Without the previous token the second block's keys are empty: the weights spread over all positions.
        assert!(found.prefix_without_previous < 0.25, "{}", found.prefix_without_previous);
        // Three times the same segment: the second and third are copied.
        let repeated = tripled(&options, 10, &mut Random::new(1, "c"));
        let measured = measure(&planted(&options), &repeated, &[]).unwrap();
        assert!(measured.gain() > 0.5);
    }
}
