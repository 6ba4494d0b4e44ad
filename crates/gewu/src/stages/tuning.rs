//! Training the weights of a checkpoint on examples, with exact continuation after an interruption.

use anyhow::Result;
use ledger::Stage;
use model::{Activation, Checkpoint, LowRank, Parameters, Train};
use serde_json::{Value, json};
use train::{Anchor, Example, Learner, Source, Summary};

use crate::progress;
use crate::recipe::Tuning;

/// General texts per step whose log-probabilities are held.
const ANCHORS: usize = 2;

/// What a training left.
pub(super) struct Tuned {
    pub(super) parameters: Parameters,
    trained: usize,
    summary: Summary,
    /// The share of the update that is kept.
    kept: f32,
}

/// Shares of an update that are tried, largest first.
const SHARES: [f32; 10] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];

impl Tuned {
    /// For the stage's result.
    pub(super) fn summary(&self) -> Value {
        json!({
            "trained_parameters": self.trained,
            "steps": self.summary.steps,
            "tokens": self.summary.tokens,
            "scored_tokens": self.summary.scored,
            "kept": self.kept,
            "skipped": self.summary.skipped,
            "losses": self.summary.losses,
            "gradient_norms": self.summary.gradient_norms,
            "best": self.summary.best(),
            "held_out": self.summary.held_out,
            "damaged_states": self.summary.recovered,
        })
    }
}

/// Trains on `examples`, while the texts of `general` keep their log-probabilities.
pub(super) fn tune<'a>(
    checkpoint: &Checkpoint,
    examples: impl Into<Source<'a>>,
    held_out: &[Example],
    general: &[Example],
    settings: &Tuning,
    stage: &Stage,
    seed: u64,
) -> Result<Tuned> {
    let train = match settings.rank {
        0 => Train::Everything,
        rank => {
            let Tuning { alpha, rank_stabilized, .. } = *settings;
            Train::LowRank(LowRank { rank, alpha, rank_stabilized, ..LowRank::default() })
        }
    };
    let parameters = Parameters::open(checkpoint, &train, seed)?;
    let trained = parameters.trainable_count();
    // A low-rank update is small by construction; decay would only pull it back.
    let mut optimizer = settings.optimizer.clone();
    if settings.rank > 0 {
        optimizer.weight_decay = 0.0;
        optimizer.groups.iter_mut().for_each(|group| group.weight_decay = None);
    }
    let activation = if settings.bf16 { Activation::Bf16 } else { Activation::F32 };
    let learner = match settings.state_in_files {
        true => Learner::new_in(parameters, &optimizer, stage.folder)?,
        false => Learner::new(parameters, &optimizer),
    };
    let mut learner = learner.with_activation(activation);
    let options = settings.fit_options(seed, stage.checkpoint);
    let cost = train::speed::operations(learner.parameters(), settings.run_tokens);
    let mut progress = progress::training("train", Some(cost));
    let anchor = Anchor { examples: general, weight: settings.anchor, per_step: ANCHORS };
    let mut summary =
        train::fit_anchored(&mut learner, examples, held_out, &anchor, &options, &mut progress)?;
    if settings.optimizer.average > 0.0 && summary.finished {
        learner.take_averages()?;
        // What was measured at the end were the last weights; this is what remains.
        if !held_out.is_empty() {
            let loss = train::evaluate(&learner, held_out, settings.run_tokens)?.mean() as f32;
            summary.held_out.push((summary.steps, loss));
        }
    }
    Ok(Tuned { parameters: learner.into_parameters(), trained, summary, kept: 1.0 })
}

impl Tuned {
    /// Keeps the largest share of a low-rank update whose cost on general text is at most `cost` (growth of its
    /// perplexity). Between a model and its tuned form most of what was learned comes early and most of what is
    /// forgotten late (Wortsman et al. 2022, arXiv:2109.01903).
    pub(super) fn temper(&mut self, general: &[Example], cost: f64, settings: &Tuning) -> Result<()> {
        let factors: Vec<(String, Vec<f32>)> = self
            .parameters
            .trainable()
            .filter(|(name, _)| name.ends_with(".low_rank_b"))
            .filter_map(|(name, _)| Some((name.to_owned(), self.parameters.values(name)?)))
            .collect();
        if factors.is_empty() || general.is_empty() {
            return Ok(());
        }
        let loss = |parameters: &mut Parameters, share: f32| -> Result<f64> {
            for (name, values) in &factors {
                parameters.update(name, |current| {
                    current.iter_mut().zip(values).for_each(|(current, value)| *current = share * value);
                })?;
            }
            Ok(train::evaluate_parameters(parameters, Activation::F32, general, settings.run_tokens)?.mean())
        };
        let limit = loss(&mut self.parameters, 0.0)? + (1.0 + cost).ln();
        for share in SHARES {
            self.kept = share;
            if loss(&mut self.parameters, share)? <= limit {
                break;
            }
        }
        Ok(())
    }
}
