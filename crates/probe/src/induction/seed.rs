//! One seed of the study: training, the curves, the ablations, the control.

use model::Transformer;
use serde::{Deserialize, Serialize};
use tasks::Random;

use super::measure::{Measured, Sequence, mean_ablation, measure, sequences, tripled};
use super::training::{Phases, train};
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
    /// Steps in all.
    pub steps: usize,
    /// Steps after which the copied rows were learned and the penalty on heads began; the most allowed if they
    /// never were.
    pub learned_at: usize,
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
    /// Every head of the second block before the penalty on heads begins: how they share the job by themselves.
    pub shared: Vec<HeadAblation>,
    /// Every head of the second block at the end.
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
    let (mut curve, mut shared) = (Vec::new(), Vec::<HeadAblation>::new());
    let config = options.config(2, options.heads);
    let trained = train(options, &config, seed, Phases::UntilLearned, &mut |step, loss, view| {
        require(report(false, step, loss), || "the study was stopped".into())?;
        let Some(view) = view else { return Ok(None) };
        let measured = measure(view, &watched, &[])?;
        curve.push(point(step, &measured));
        let learned = measured.copied <= options.learned * scale;
        if !shared.is_empty() || !(learned || step >= options.steps) {
            return Ok(None);
        }
        shared = ablations(view, &watched, &watched, &measured)?;
        let lost: Vec<f64> = shared.iter().map(|head| head.zero).collect();
        Ok(Some(best(&lost)))
    })?;
    let transformer = trained.transformer;
    // The control gets as many steps, and no penalty: nothing may keep it from learning.
    let control_config = options.config(1, 2 * options.heads);
    let control =
        train(options, &control_config, seed, Phases::Steps(trained.steps), &mut |step, loss, _| {
            require(report(true, step, loss), || "the study was stopped".into())?;
            Ok(None)
        })?;
    let parameters = (trained.parameters, control.parameters);
    let control = control.transformer;

    let causal = causal(&transformer, &held_out, &watched)?;
    let (clean, top) = (causal.clean, causal.top);
    let control = measure(&control, &held_out, &[])?;
    let loss_change = change_point(&curve.iter().map(|point| point.copied).collect::<Vec<_>>());
    let scores: Vec<f64> = curve.iter().map(|point| point.prefix_matching[top]).collect();
    let score_change = change_point(&scores);
    let apart = loss_change.zip(score_change).map(|(loss, score)| {
        let step = |change: ChangePoint| curve[change.index].step as f64;
        (step(loss) - step(score)).abs() / trained.steps as f64
    });
    let result = SeedResult {
        seed,
        steps: trained.steps,
        learned_at: trained.first,
        copied_loss: clean.copied / scale,
        gain: clean.gain(),
        prefix_matching: clean.prefix[1][top],
        loss_change,
        score_change,
        apart,
        top_loses: causal.ablations[top].zero,
        others_lose: causal.others_lose,
        shared,
        ablations: causal.ablations,
        previous_head: causal.previous_head,
        prefix_without_previous: causal.prefix_without_previous,
        tripled_loss: measure(&transformer, &repeated, &[])?.copied / scale,
        control_loss: control.copied / scale,
        control_prefix_matching: control.prefix[0].iter().copied().fold(0.0, f64::max),
        curve,
    };
    Ok((result, parameters))
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

#[cfg(test)]
mod tests {
    use model::{Activation, Parameters};

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
