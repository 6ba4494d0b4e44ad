//! Training the weights of a checkpoint on examples, with exact continuation after an interruption.

use anyhow::Result;
use ledger::Stage;
use model::{Activation, Checkpoint, LowRank, Parameters, Train};
use serde_json::{Value, json};
use train::{AdamWConfig, Example, Extent, FitOptions, Learner, Schedule, Shape, Summary};

use crate::progress;
use crate::recipe::Tuning;

/// Steps over which the rate rises.
const WARMUP: usize = 5;

/// What a training left.
pub(super) struct Tuned {
    pub(super) parameters: Parameters,
    trained: usize,
    summary: Summary,
}

impl Tuned {
    /// For the stage's result.
    pub(super) fn summary(&self) -> Value {
        json!({
            "trained_parameters": self.trained,
            "steps": self.summary.steps,
            "tokens": self.summary.tokens,
            "scored_tokens": self.summary.scored,
            "skipped": self.summary.skipped,
            "losses": self.summary.losses,
            "held_out": self.summary.held_out,
        })
    }
}

/// Trains, and leaves the trained tensors in the stage's folder.
pub(super) fn tune(
    checkpoint: &Checkpoint,
    examples: &[Example],
    held_out: &[Example],
    settings: &Tuning,
    stage: &Stage,
    seed: u64,
) -> Result<Tuned> {
    let train = match settings.rank {
        0 => Train::Everything,
        rank => Train::LowRank(LowRank { rank, alpha: settings.alpha, ..LowRank::default() }),
    };
    let parameters = Parameters::open(checkpoint, &train, seed)?;
    let trained = parameters.trainable_count();
    // A low-rank update is small by construction; decay would only pull it back.
    let weight_decay = if settings.rank == 0 { 0.1 } else { 0.0 };
    let optimizer = AdamWConfig { weight_decay, ..AdamWConfig::default() };
    let activation = if settings.bf16 { Activation::Bf16 } else { Activation::F32 };
    let mut learner = Learner::new(parameters, &optimizer).with_activation(activation);
    let options = FitOptions {
        extent: Extent::Epochs(settings.epochs),
        run_tokens: settings.run_tokens,
        micro_batches: settings.micro_batches,
        rate: settings.rate,
        schedule: Schedule { warmup: WARMUP, shape: Shape::Cosine { floor: 0.1 } },
        seed,
        checkpoint: Some(stage.checkpoint.to_owned()),
        checkpoint_every: 20,
        ..FitOptions::default()
    };
    let mut progress = progress::training("train");
    let summary = train::fit_measured(&mut learner, examples, held_out, &options, &mut progress)?;
    learner.parameters().save(&stage.folder.join("trained.safetensors"))?;
    Ok(Tuned { parameters: learner.into_parameters(), trained, summary })
}
