//! What tuning changed, layer by layer: the weights' spectrum and the activations on a fixed prompt set. An
//! instrument for instruction tuning: where the change sits, how many directions it uses, when an answer settles.

mod activations;
mod weights;

pub use activations::{ActivationAccount, LayerChange, activation_changes};
pub use weights::{
    MatrixChange, Spectrum, WeightGroup, checkpoint_changes, dense_change, groups, low_rank_change,
    parameter_changes,
};

use serde::{Deserialize, Serialize};

/// Everything about a tuning, ready for a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// One line per matrix that changed or could have.
    pub matrices: Vec<MatrixChange>,
    /// The same by block and by kind of matrix.
    pub groups: Vec<WeightGroup>,
    /// The change of activations.
    pub activations: ActivationAccount,
}
