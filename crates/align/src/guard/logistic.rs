//! Logistic regression with an L2 penalty, by accelerated gradient descent on all examples at once.

use serde::{Deserialize, Serialize};

/// A linear score: above 0 means positive. In f32, so that it survives being written as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// One weight per feature.
    pub weights: Vec<f32>,
    /// Added to the weighted sum.
    pub bias: f32,
}

/// Rows of a design matrix; sparse or dense.
pub(super) trait Row {
    /// Calls `each` with every feature that is not 0.
    fn each(&self, each: &mut dyn FnMut(usize, f64));
}

impl Row for Vec<f64> {
    fn each(&self, each: &mut dyn FnMut(usize, f64)) {
        self.iter().enumerate().for_each(|(index, value)| each(index, *value));
    }
}

impl Row for Vec<(usize, f64)> {
    fn each(&self, each: &mut dyn FnMut(usize, f64)) {
        self.iter().for_each(|(index, value)| each(*index, *value));
    }
}

/// Passes over the examples; the penalized problems here are solved to three digits long before.
const PASSES: usize = 400;

impl Logistic {
    /// The score of a row.
    pub(super) fn score(&self, row: &impl Row) -> f64 {
        let mut score = f64::from(self.bias);
        row.each(&mut |index, value| score += f64::from(self.weights[index]) * value);
        score
    }

    /// Minimizes the mean logistic loss plus `penalty / 2 · |weights|²`; both classes weigh the same however many
    /// examples they have. Nesterov's method with the step 1 / L, L bounded by the largest squared row.
    pub(super) fn fit<R: Row>(rows: &[R], positive: &[bool], features: usize, penalty: f64) -> Self {
        let positives = positive.iter().filter(|is| **is).count().max(1) as f64;
        let negatives = (positive.len() as f64 - positives).max(1.0);
        let importance = |is: bool| 0.5 / if is { positives } else { negatives };
        // The Hessian is at most a quarter of the weighted mean of row · rowᵀ.
        let bound: f64 = rows
            .iter()
            .zip(positive)
            .map(|(row, is)| {
                let mut square = 1.0;
                row.each(&mut |_, value| square += value * value);
                importance(*is) * square
            })
            .sum();
        let step = 1.0 / (0.25 * bound + penalty);
        // The bias stands behind the weights and takes no penalty.
        let mut current = vec![0.0; features + 1];
        let (mut ahead, mut momentum) = (current.clone(), 1.0_f64);
        for _ in 0..PASSES {
            let mut slope: Vec<f64> = ahead.iter().map(|weight| penalty * weight).collect();
            slope[features] = 0.0;
            for (row, &is) in rows.iter().zip(positive) {
                let target = f64::from(u8::from(is));
                let mut score = ahead[features];
                row.each(&mut |index, value| score += ahead[index] * value);
                let off = importance(is) * (1.0 / (1.0 + (-score).exp()) - target);
                row.each(&mut |index, value| slope[index] += off * value);
                slope[features] += off;
            }
            let next: Vec<f64> = ahead.iter().zip(&slope).map(|(w, s)| w - step * s).collect();
            let next_momentum = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
            let keep = (momentum - 1.0) / next_momentum;
            ahead = next.iter().zip(&current).map(|(new, old)| new + keep * (new - old)).collect();
            (current, momentum) = (next, next_momentum);
        }
        let mut weights: Vec<f32> = current.iter().map(|weight| *weight as f32).collect();
        let bias = weights.pop().unwrap_or(0.0);
        Self { weights, bias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_has_no_slope() {
        // One feature, two rows each side, no exact separation.
        let rows = vec![vec![1.0], vec![2.0], vec![-1.0], vec![1.5]];
        let positive = [true, true, false, false];
        let fit = Logistic::fit(&rows, &positive, 1, 0.1);
        let sigmoid = |row: &Vec<f64>| 1.0 / (1.0 + (-fit.score(row)).exp());
        let slope: f64 = rows
            .iter()
            .zip(positive)
            .map(|(row, is)| 0.25 * (sigmoid(row) - f64::from(u8::from(is))) * row[0])
            .sum::<f64>()
            + 0.1 * f64::from(fit.weights[0]);
        assert!(slope.abs() < 1e-6 && fit.weights[0] > 0.1, "{slope} {fit:?}");
    }

    #[test]
    fn sparse_and_dense_rows_agree_and_classes_weigh_the_same() {
        let dense = vec![vec![1.0, 0.0], vec![0.0, 2.0], vec![0.0, 1.0]];
        let sparse = vec![vec![(0, 1.0)], vec![(1, 2.0)], vec![(1, 1.0)]];
        let positive = [true, false, false];
        let (a, b) = (Logistic::fit(&dense, &positive, 2, 0.01), Logistic::fit(&sparse, &positive, 2, 0.01));
        assert_eq!(a, b);
        let many = (0..10).flat_map(|_| [dense[1].clone(), dense[2].clone()]).chain([dense[0].clone()]);
        let many = many.collect::<Vec<_>>();
        let labels: Vec<bool> = (0..21).map(|index| index == 20).collect();
        let c = Logistic::fit(&many, &labels, 2, 0.01);
        assert!(a.weights.iter().zip(&c.weights).all(|(a, c)| (a - c).abs() < 1e-3), "{a:?} {c:?}");
    }
}
