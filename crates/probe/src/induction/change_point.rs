//! Where a curve changes: the best split into two levels.

use serde::{Deserialize, Serialize};

/// The split of a curve into two constant levels that leaves the least squared error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// Index of the first value of the second level.
    pub index: usize,
    /// Mean of the values before.
    pub before: f64,
    /// Mean of the values from there on.
    pub after: f64,
    /// Share of the variance that the split explains: near 1 for a step, 3/4 for a straight line.
    pub explained: f64,
}

/// Splits `values`; `None` for fewer than two values, or if all are equal.
pub fn change_point(values: &[f64]) -> Option<ChangePoint> {
    let n = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| (value - sum / n).powi(2)).sum();
    if values.len() < 2 || squares <= f64::EPSILON {
        return None;
    }
    let mut best: Option<ChangePoint> = None;
    let mut left = 0.0;
    for index in 1..values.len() {
        left += values[index - 1];
        let (a, b) = (index as f64, n - index as f64);
        let (before, after) = (left / a, (sum - left) / b);
        let explained = a * b / n * (before - after).powi(2) / squares;
        if best.is_none_or(|best| explained > best.explained) {
            best = Some(ChangePoint { index, before, after, explained });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_step_is_found() {
        for at in [1, 7, 19] {
            let values: Vec<f64> = (0..20).map(|i| if i < at { 4.0 } else { 1.0 }).collect();
            let found = change_point(&values).unwrap();
            assert_eq!((found.index, found.before, found.after), (at, 4.0, 1.0));
            assert!((found.explained - 1.0).abs() < 1e-9);
        }
        // A smooth step splits in its middle, noise or not.
        let smooth = |i: usize| 1.0 / (1.0 + (-(i as f64 - 29.5) / 2.0).exp());
        let mut stream = ledger::Stream::new(1, "noise");
        let noisy: Vec<f64> = (0..60).map(|i| smooth(i) + 0.1 * (stream.uniform() - 0.5)).collect();
        let found = change_point(&noisy).unwrap();
        assert!((28..=32).contains(&found.index) && found.explained > 0.9, "{found:?}");
    }

    #[test]
    fn a_line_explains_three_quarters_and_a_constant_nothing() {
        let line: Vec<f64> = (0..1000).map(f64::from).collect();
        let found = change_point(&line).unwrap();
        assert!(found.index == 500 && (found.explained - 0.75).abs() < 1e-3);
        assert_eq!(change_point(&[2.0; 9]), None);
        assert_eq!(change_point(&[2.0]), None);
    }
}
