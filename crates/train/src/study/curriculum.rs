//! Stages of growing difficulty: the next one begins when this one is learned, or its time is over.

use serde::{Deserialize, Serialize};

use super::Training;
use crate::{Batch, Error, Learner, Progress, Sequence};

/// When a stage ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// A stage is learned when the mean loss of its last [`WINDOW`] steps is below this, in nats.
    pub learned_below: f32,
    /// Most steps of every stage but the last.
    pub stage_steps: usize,
    /// Most steps of the last stage.
    pub last_steps: usize,
    /// Steps after that, in which the rate falls to 0 along a line.
    pub cooldown: usize,
    /// Steps at the beginning in which the rate rises.
    pub warmup: usize,
}

/// Steps over which a loss is averaged.
pub(super) const WINDOW: usize = 16;

/// What a training did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Learned {
    pub(super) steps: usize,
    pub(super) tokens: u64,
    /// Steps each stage took, the cool-down last.
    pub(super) stages: Vec<usize>,
    /// Mean loss of the last steps.
    pub(super) loss: f32,
    /// Whether the caller let it end.
    pub(super) finished: bool,
}

/// Trains through `stages` stages and a cool-down on sequences that `draw(stage)` makes anew for every step.
pub(super) fn learn(
    learner: &mut Learner,
    training: &Training,
    stages: usize,
    draw: &mut dyn FnMut(usize) -> Vec<Sequence>,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Learned, Error> {
    let curriculum = &training.curriculum;
    let most =
        curriculum.stage_steps * stages.saturating_sub(1) + curriculum.last_steps + curriculum.cooldown;
    let mut learned = Learned { finished: true, ..Learned::default() };
    for stage in 0..=stages {
        let cools = stage == stages;
        let limit = match stage {
            _ if cools => curriculum.cooldown,
            _ if stage + 1 == stages => curriculum.last_steps,
            _ => curriculum.stage_steps,
        };
        let mut losses: Vec<f32> = Vec::new();
        while losses.len() < limit {
            let fall = if cools { 1.0 - losses.len() as f32 / limit as f32 } else { 1.0 };
            let rise = ((learned.steps + 1) as f32 / curriculum.warmup.max(1) as f32).min(1.0);
            let rate = training.rate * fall.min(rise);
            let batch = Batch::of_queries(&draw(stage.min(stages - 1)));
            let report =
                learner.step(rate, 1, &mut |transformer, _| Ok(batch.losses(transformer)?.mean()))?;
            losses.push(report.loss);
            learned.steps += 1;
            learned.tokens += batch.len() as u64;
            let recent = &losses[losses.len().saturating_sub(WINDOW)..];
            learned.loss = recent.iter().sum::<f32>() / recent.len() as f32;
            let goes_on = control(&Progress {
                step: learned.steps,
                steps: most,
                loss: report.loss,
                rate,
                gradient_norm: report.gradient_norm,
                skipped: report.skipped,
                tokens: learned.tokens,
                held_out: None,
            });
            if !goes_on {
                learned.stages.push(losses.len());
                learned.finished = false;
                return Ok(learned);
            }
            if !cools && losses.len() >= WINDOW && learned.loss < curriculum.learned_below {
                break;
            }
        }
        learned.stages.push(losses.len());
    }
    Ok(learned)
}
