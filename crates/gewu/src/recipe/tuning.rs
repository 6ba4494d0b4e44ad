//! How weights are trained: settings that several stages share.

use std::path::Path;

use serde::{Deserialize, Serialize};
use train::{Extent, FitOptions, OptimizerConfig, Schedule, Shape};

/// How weights are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tuning {
    /// Rank of the low-rank update of every projection; 0 trains all weights.
    pub(crate) rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub(crate) alpha: f32,
    /// By `alpha / √rank` instead (rsLoRA).
    pub(crate) rank_stabilized: bool,
    /// Peak learning rate.
    pub(crate) rate: f32,
    /// Times through the examples.
    pub(crate) epochs: usize,
    /// Tokens of one packed run.
    pub(crate) run_tokens: usize,
    /// Packed runs per step.
    pub(crate) micro_batches: usize,
    /// Weight of holding general text in place, beside the loss of a token.
    pub(crate) anchor: f32,
    /// Whether matrix products run in bf16 (faster) instead of f32.
    pub(crate) bf16: bool,
    /// How weights move; low-rank changes never decay.
    pub(crate) optimizer: OptimizerConfig,
    /// The rate over the steps.
    pub(crate) schedule: Schedule,
    /// Every block is run again in the backward pass: a fraction of the memory, a third more time. Needs `anchor` 0.
    pub(crate) recompute: bool,
    /// With `recompute`: every weight moves as soon as its gradient is there, and the gradients of one block are held
    /// at a time. Clipping and `spike` need the norm first, which takes a pass more. Needs `micro_batches` 1.
    pub(crate) at_once: bool,
    /// What the optimizer remembers lies in files beside the run's, mapped into memory, instead of in memory.
    pub(crate) state_in_files: bool,
    /// Steps between two measurements of the held-out loss; 0 measures only at the end.
    pub(crate) evaluate_every: usize,
    /// A step whose gradient norm is so many times the median of the last ones is left out; 0 leaves none out.
    pub(crate) spike: f32,
    /// The weights with the lowest held-out loss are kept instead of the last.
    pub(crate) keep_best: bool,
}

impl Tuning {
    /// What a training with these settings does; its state is kept in `checkpoint`.
    pub(crate) fn fit_options(&self, seed: u64, checkpoint: &Path) -> FitOptions {
        FitOptions {
            extent: Extent::Epochs(self.epochs),
            run_tokens: self.run_tokens,
            micro_batches: self.micro_batches,
            rate: self.rate,
            schedule: self.schedule.clone(),
            recompute: self.recompute,
            at_once: self.at_once,
            seed,
            evaluate_every: self.evaluate_every,
            spike: self.spike,
            keep_best: self.keep_best,
            checkpoint: Some(checkpoint.to_owned()),
            checkpoint_every: 20,
        }
    }

    /// What cannot work, before anything is trained.
    pub(super) fn check(&self) -> Result<(), String> {
        let valid =
            self.optimizer.validate().and_then(|()| self.fit_options(0, Path::new("state")).validate());
        valid.map_err(|error| error.to_string())?;
        match self.keep_best && self.optimizer.average > 0.0 {
            true => {
                Err("keep_best and optimizer.average both choose the weights that remain; set one".into())
            }
            false => Ok(()),
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            rank_stabilized: false,
            rate: 1e-3,
            epochs: 2,
            run_tokens: 512,
            micro_batches: 1,
            anchor: 2.0,
            bf16: true,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule { warmup: 5, shape: Shape::Cosine { floor: 0.1 } },
            recompute: false,
            at_once: false,
            state_in_files: false,
            evaluate_every: 0,
            spike: 0.0,
            keep_best: false,
        }
    }
}
