//! Training on examples: packing, schedule, held-out loss, checkpoints, exact resume.

mod anchor;
mod batch;
mod feed;
mod summary;

use std::path::{Path, PathBuf};
use std::thread;

use ledger::short_hash;
use model::Parameters;
use serde::{Deserialize, Serialize};

pub use anchor::Anchor;
pub use batch::{Batch, Sequence, next_tokens};
pub use summary::Summary;

use anchor::Held;
use feed::{Feed, Steps, Supply};

use crate::packing::{Packing, Position, windows};
use crate::{Error, Example, Learner, Schedule, Source};

/// How long a training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// So many optimizer steps.
    Steps(usize),
    /// So many times through the examples.
    Epochs(usize),
}

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitOptions {
    /// When it ends.
    pub extent: Extent,
    /// Most tokens of one packed run (one micro-batch); longer examples are cut into windows.
    pub run_tokens: usize,
    /// Packed runs per optimizer step.
    pub micro_batches: usize,
    /// Peak learning rate.
    pub rate: f32,
    /// The rate over the steps.
    pub schedule: Schedule,
    /// Every block is run again in the backward pass, so that the activations of one block are held at a time: a
    /// fraction of the memory, a third more time. Not with anchored text.
    pub recompute: bool,
    /// With `recompute`: every weight moves as soon as its gradient is there, so that the gradients of one block are
    /// held at a time; see [`Learner::step_at_once`] for what clipping costs. One micro-batch only.
    #[serde(default)]
    pub at_once: bool,
    /// Decides the order of the examples.
    pub seed: u64,
    /// Steps between two measurements of the held-out loss; 0 measures only at the end.
    pub evaluate_every: usize,
    /// A step whose gradient norm is more than so many times the median of the last fifty is left out; 0 leaves
    /// none out. One bad batch can undo hours, one left out costs nothing.
    #[serde(default)]
    pub spike: f32,
    /// The weights with the lowest held-out loss are those that remain; needs `checkpoint`.
    #[serde(default)]
    pub keep_best: bool,
    /// Where to keep the state, so that a killed training continues exactly.
    pub checkpoint: Option<PathBuf>,
    /// Steps between two saved states.
    pub checkpoint_every: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            extent: Extent::Epochs(1),
            run_tokens: 512,
            micro_batches: 1,
            rate: 1e-3,
            recompute: false,
            at_once: false,
            schedule: Schedule::default(),
            seed: 0,
            evaluate_every: 0,
            spike: 0.0,
            keep_best: false,
            checkpoint: None,
            checkpoint_every: 100,
        }
    }
}

/// Where a training is, after each step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean loss of the step's scored tokens, in nats.
    pub loss: f32,
    /// Learning rate of the step.
    pub rate: f32,
    /// Global norm of its gradients before clipping.
    pub gradient_norm: f32,
    /// The step was left out because something was not finite or its gradient too large.
    pub skipped: bool,
    /// Tokens read since the training began.
    pub tokens: u64,
    /// Mean held-out loss in nats, in the steps that measure it.
    pub held_out: Option<f32>,
}

/// The file of the best weights in the checkpoint's folder.
const BEST: &str = "best.safetensors";

/// What is saved beside the learner.
#[derive(Serialize, Deserialize)]
struct Resume {
    /// Of the options and examples: a state continues only the training it belongs to.
    fingerprint: String,
    position: Position,
    summary: Summary,
}

/// Trains on `examples`, which may be ready or documents still to tokenize. `control` sees every step and ends the training by returning `false`; the state is saved
/// then, too. If the checkpoint folder holds a state of this very training, it continues there, and ends with the
/// same bits as one that was never interrupted.
///
/// # Errors
/// Options or examples that make no training, a state of another training in the folder, the model's errors.
pub fn fit<'a>(
    learner: &mut Learner,
    examples: impl Into<Source<'a>>,
    options: &FitOptions,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Summary, Error> {
    fit_measured(learner, examples, &[], options, control)
}

/// As [`fit_measured`], while the texts of `anchor` keep their log-probabilities.
///
/// # Errors
/// As [`fit`].
pub fn fit_anchored<'a>(
    learner: &mut Learner,
    examples: impl Into<Source<'a>>,
    held_out: &[Example],
    anchor: &Anchor<'_>,
    options: &FitOptions,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Summary, Error> {
    fit_all(learner, &examples.into(), held_out, Some(anchor), options, control)
}

/// As [`fit`], measuring the loss of `held_out` every `evaluate_every` steps and at the end.
///
/// # Errors
/// As [`fit`].
pub fn fit_measured<'a>(
    learner: &mut Learner,
    examples: impl Into<Source<'a>>,
    held_out: &[Example],
    options: &FitOptions,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Summary, Error> {
    fit_all(learner, &examples.into(), held_out, None, options, control)
}

fn fit_all(
    learner: &mut Learner,
    source: &Source<'_>,
    held_out: &[Example],
    anchor: Option<&Anchor<'_>>,
    options: &FitOptions,
    control: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Summary, Error> {
    options.validate()?;
    if options.keep_best && held_out.is_empty() {
        return Err(Error::Request("training options: keep_best needs held-out examples".into()));
    }
    let mut fingerprint = fingerprint(learner, source, held_out, options)?;
    if let Some(Anchor { examples, weight, per_step }) = anchor {
        let texts = format!("{:?}", examples.iter().map(|example| &example.tokens).collect::<Vec<_>>());
        fingerprint = short_hash(&[&fingerprint, &texts, &weight.to_string(), &per_step.to_string()]);
    }
    // Before any saved state is taken up: the text is held where the training began.
    let held = Held::new(anchor, learner.parameters(), learner.activation())?;
    if options.recompute && held.is_some() {
        return Err(Error::Request("training options: recompute does not go with anchored text".into()));
    }
    let mut summary = Summary::default();
    let mut position = Position::default();
    if let Some(folder) = &options.checkpoint
        && let Some(extra) = learner.load(folder)?
    {
        (position, summary) = resume(folder, extra, &fingerprint)?;
        summary.recovered.extend(learner.recovered().map(str::to_string));
    }
    let packing = Packing::new(source, options.run_tokens, options.seed, position)?;
    let steps = options.steps(&packing);
    if let Steps::Known(steps) = steps {
        summary.finished = summary.steps >= steps;
    }
    thread::scope(|scope| {
        let feed = Feed::start(scope, packing, options.micro_batches, summary.steps, steps);
        while !summary.finished {
            let step = summary.steps;
            let Supply { runs, position, epochs, steps } = feed.next()?;
            let rate = options.rate * options.schedule.share(step, steps);
            let scored: usize = runs.iter().map(Batch::scored).sum();
            // The learner averages over micro-batches; this makes it the mean over tokens, whatever their lengths.
            let parts = options.micro_batches + usize::from(held.is_some());
            let share = parts as f32 / scored.max(1) as f32;
            learner.skip_above(summary.norm_limit(options.spike));
            let report = match options.recompute {
                true if options.at_once => learner.step_at_once(rate, &runs[0], share)?,
                true => learner.step_by_block(rate, &runs, share)?,
                false => {
                    learner.step(rate, parts, &mut |transformer, part| match (runs.get(part), &held) {
                        (Some(run), _) => Ok(run.losses(transformer)?.sum() * share),
                        (None, Some(held)) => Ok(held.penalty(transformer, step)? * parts as f32),
                        (None, None) => {
                            Err(Error::Request("a step has as many parts as it was given".into()))
                        }
                    })?
                }
            };
            summary.steps += 1;
            summary.finished = summary.steps == steps;
            summary.tokens += runs.iter().map(|run| run.len() as u64).sum::<u64>();
            summary.scored += scored as u64;
            summary.epochs = epochs as f32;
            summary.skipped += usize::from(report.skipped);
            summary.losses.push(report.loss);
            summary.gradient_norms.push(report.gradient_norm);
            let due = summary.finished || due(options.evaluate_every, summary.steps);
            let measured = if due && !held_out.is_empty() {
                let loss = evaluate(learner, held_out, options.run_tokens)?.mean() as f32;
                summary.held_out.push((summary.steps, loss));
                if let (Some(folder), true) = (&options.checkpoint, options.keep_best)
                    && summary.best() == Some((summary.steps, loss))
                {
                    std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
                    learner.parameters().save(&folder.join(BEST))?;
                }
                Some(loss)
            } else {
                None
            };
            let goes_on = control(&Progress {
                step: summary.steps,
                steps,
                loss: report.loss,
                rate,
                gradient_norm: report.gradient_norm,
                skipped: report.skipped,
                tokens: summary.tokens,
                held_out: measured,
            });
            let stops = summary.finished || !goes_on;
            if let Some(folder) = &options.checkpoint
                && (stops || due_checkpoint(options, summary.steps))
            {
                let resume = Resume { fingerprint: fingerprint.clone(), position, summary: summary.clone() };
                learner.save(folder, &serde_json::to_value(resume).map_err(Error::state(folder))?)?;
            }
            if stops {
                break;
            }
        }
        Ok::<(), Error>(())
    })?;
    if let (Some(folder), true, true) = (&options.checkpoint, options.keep_best, summary.finished)
        && summary.best().is_some_and(|(step, _)| step < summary.steps)
    {
        learner.load_weights(&folder.join(BEST))?;
    }
    Ok(summary)
}

fn due(every: usize, step: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
}

fn due_checkpoint(options: &FitOptions, step: usize) -> bool {
    due(options.checkpoint_every, step)
}

impl FitOptions {
    /// Checks that the settings make a training.
    ///
    /// # Errors
    /// [`Error::Request`] naming the first that does not fit.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = [
            (self.run_tokens < 2, "run_tokens must be at least 2"),
            (self.micro_batches == 0, "micro_batches must be at least 1"),
            (self.at_once && !self.recompute, "at_once needs recompute"),
            (self.at_once && self.micro_batches > 1, "at_once takes one micro-batch per step"),
            (
                !(self.spike == 0.0 || self.spike.is_finite() && self.spike > 1.0),
                "spike must be 0 or above 1",
            ),
            (self.keep_best && self.evaluate_every == 0, "keep_best needs evaluate_every"),
            (self.keep_best && self.checkpoint.is_none(), "keep_best needs a checkpoint folder"),
            (!(self.rate.is_finite() && self.rate >= 0.0), "rate must be a number of at least 0"),
        ];
        match wrong.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, reason)) => Err(Error::Request(format!("training options: {reason}"))),
            None => Ok(()),
        }
    }

    fn steps(&self, packing: &Packing<'_>) -> Steps {
        match self.extent {
            Extent::Steps(steps) => Steps::Known(steps),
            Extent::Epochs(0) => Steps::Known(0),
            Extent::Epochs(epochs) => match packing.runs_in(epochs as u64) {
                Some(runs) => Steps::Known(runs.div_ceil(self.micro_batches)),
                None => Steps::Epochs(epochs),
            },
        }
    }
}

/// A hash of everything the result depends on except frozen weights; where and how often states are saved is
/// no part of it.
fn fingerprint(
    learner: &Learner,
    source: &Source<'_>,
    held_out: &[Example],
    options: &FitOptions,
) -> Result<String, Error> {
    let options = FitOptions { checkpoint: None, checkpoint_every: 0, ..options.clone() };
    let json = |value: Result<String, serde_json::Error>| value.map_err(|e| Error::Request(e.to_string()));
    let options = json(serde_json::to_string(&options))?;
    let config = json(serde_json::to_string(learner.parameters().config()))?;
    let activation = format!("{:?}", learner.activation());
    let parameters = learner.parameters();
    let mut weights = String::new();
    for (name, _) in parameters.trainable() {
        let values = parameters.values(name).unwrap_or_default();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        weights += &ledger::hash_bytes(bytes);
    }
    Ok(short_hash(&[&options, &config, &activation, &weights, &source.identity(), &Example::hash(held_out)]))
}

fn resume(folder: &Path, extra: serde_json::Value, fingerprint: &str) -> Result<(Position, Summary), Error> {
    let resume: Resume = serde_json::from_value(extra).map_err(Error::state(folder))?;
    if resume.fingerprint != fingerprint {
        return Err(Error::state(folder)(
            "it belongs to a training with other examples or options; remove the folder or choose another",
        ));
    }
    Ok((resume.position, resume.summary))
}

/// The loss of examples a model does not learn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Sum of −ln p over the scored tokens.
    pub sum: f64,
    /// Number of them.
    pub tokens: u64,
}

impl Evaluation {
    /// Mean loss in nats; 0 without tokens.
    pub fn mean(&self) -> f64 {
        self.sum / self.tokens.max(1) as f64
    }
}

/// The loss of `examples` under the learner's weights as they are, packed in order into runs of `run_tokens`.
///
/// # Errors
/// The model's.
pub fn evaluate(learner: &Learner, examples: &[Example], run_tokens: usize) -> Result<Evaluation, Error> {
    evaluate_parameters(learner.parameters(), learner.activation(), examples, run_tokens)
}

/// As [`evaluate`], for parameters that nobody trains.
///
/// # Errors
/// The model's.
pub fn evaluate_parameters(
    parameters: &Parameters,
    activation: model::Activation,
    examples: &[Example],
    run_tokens: usize,
) -> Result<Evaluation, Error> {
    let transformer = parameters.freeze(activation)?;
    let examples = windows(examples, run_tokens);
    let mut evaluation = Evaluation { sum: 0.0, tokens: 0 };
    let mut rest = examples.as_slice();
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|example| {
            tokens += example.tokens.len();
            tokens <= run_tokens
        });
        let (run, after) = rest.split_at(fits.count().max(1));
        rest = after;
        let losses = Batch::new(run).losses(&transformer)?;
        let values = losses.into_data().convert::<f32>();
        let values = values.as_slice::<f32>().map_err(|error| Error::Request(format!("{error:?}")))?;
        evaluation.sum += values.iter().map(|value| f64::from(*value)).sum::<f64>();
        evaluation.tokens += values.len() as u64;
    }
    Ok(evaluation)
}

#[cfg(test)]
mod tests;
