//! Correction for many comparisons.

/// Holm's step-down adjustment (Holm 1979): reject where the adjusted p is at most the level, and the chance of
/// any false rejection stays below it. Same order as the input.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let order = ascending(p_values);
    let mut adjusted = vec![0.0; p_values.len()];
    let mut running = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        running = running.max((p_values.len() - rank) as f64 * p_values[index]).min(1.0);
        adjusted[index] = running;
    }
    adjusted
}

/// The step-up adjustment of Benjamini and Hochberg (1995): reject where the adjusted p is at most the level,
/// and the expected share of false rejections stays below it. Same order as the input.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let order = ascending(p_values);
    let mut adjusted = vec![0.0; p_values.len()];
    let mut running = 1.0_f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        running = running.min(p_values.len() as f64 / (rank + 1) as f64 * p_values[index]);
        adjusted[index] = running;
    }
    adjusted
}

fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&left, &right| values[left].total_cmp(&values[right]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], wanted: &[f64]) {
        assert!(
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12),
            "{found:?}, wanted {wanted:?}"
        );
    }

    #[test]
    fn adjusted_values_equal_hand_computed_ones() {
        let p_values = [0.01, 0.04, 0.03, 0.005];
        close(&holm(&p_values), &[0.03, 0.06, 0.06, 0.02]);
        close(&benjamini_hochberg(&p_values), &[0.02, 0.04, 0.04, 0.02]);
        close(&holm(&[0.9, 0.8]), &[1.0, 1.0]);
        close(&holm(&[]), &[]);
    }
}
