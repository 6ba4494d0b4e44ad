//! How the models of a merge relate to each other, gathered while their tensors pass by.

use serde::{Deserialize, Serialize};

/// What an [`Account`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Differences of the models from the base.
    TaskVectors,
    /// The weights themselves, as there is no base.
    Weights,
}

/// How the models relate to each other, over all merged tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// What is compared.
    pub compared: Compared,
    /// Euclidean norm per model.
    pub norms: Vec<f64>,
    /// Cosine of each pair of models, 0 where a norm is 0.
    pub cosines: Vec<Vec<f64>>,
    /// Entries in which at least two models are not 0.
    pub shared: u64,
    /// Those of them in which signs differ.
    pub sign_conflicts: u64,
}

/// Sums for an [`Account`].
pub(super) struct Accountant {
    compared: Compared,
    products: Vec<Vec<f64>>,
    shared: u64,
    conflicts: u64,
}

impl Accountant {
    pub(super) fn new(models: usize, has_base: bool) -> Self {
        let compared = if has_base { Compared::TaskVectors } else { Compared::Weights };
        Self { compared, products: vec![vec![0.0; models]; models], shared: 0, conflicts: 0 }
    }

    /// Takes one tensor of every model.
    pub(super) fn add(&mut self, inputs: &[Vec<f32>]) {
        for (row, first) in self.products.iter_mut().zip(inputs) {
            for (sum, second) in row.iter_mut().zip(inputs) {
                *sum += first.iter().zip(second).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
            }
        }
        for at in 0..inputs.first().map_or(0, Vec::len) {
            let positive = inputs.iter().filter(|input| input[at] > 0.0).count();
            let negative = inputs.iter().filter(|input| input[at] < 0.0).count();
            self.shared += u64::from(positive + negative > 1);
            self.conflicts += u64::from(positive > 0 && negative > 0);
        }
    }

    pub(super) fn finish(self) -> Account {
        let norms: Vec<f64> =
            self.products.iter().enumerate().map(|(index, row)| row[index].sqrt()).collect();
        let square = |index: usize| self.products[index][index];
        let cosine = |first: usize, second: usize| {
            let scale = (square(first) * square(second)).sqrt();
            if scale > 0.0 { self.products[first][second] / scale } else { 0.0 }
        };
        let models = norms.len();
        let cosines =
            (0..models).map(|first| (0..models).map(|second| cosine(first, second)).collect()).collect();
        Account {
            compared: self.compared,
            cosines,
            norms,
            shared: self.shared,
            sign_conflicts: self.conflicts,
        }
    }
}
