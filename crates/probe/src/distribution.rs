//! Distributions over tokens: log-softmax, rank, divergence, entropy. Logarithms are natural, sums in f64.

/// The natural-log probabilities of a row of logits.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().fold(f64::NEG_INFINITY, |most, logit| most.max(f64::from(*logit)));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - most).exp()).sum();
    let shift = most + sum.ln();
    logits.iter().map(|logit| f64::from(*logit) - shift).collect()
}

/// The Kullback–Leibler divergence of `q` from `p`, Σ p ln(p / q), in nats; both as log-probabilities.
pub fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let terms = p.iter().zip(q).map(|(p, q)| if *p > -700.0 { p.exp() * (p - q) } else { 0.0 });
    // The exact value is not negative; rounding may leave -1e-17.
    terms.sum::<f64>().max(0.0)
}

/// The entropy of a distribution given as log-probabilities, in nats.
pub fn entropy(p: &[f64]) -> f64 {
    -p.iter().map(|p| if *p > -700.0 { p.exp() * p } else { 0.0 }).sum::<f64>()
}

/// How many entries are greater than entry `index` (0: it is the greatest).
pub fn rank(values: &[f64], index: usize) -> usize {
    values.iter().filter(|value| **value > values[index]).count()
}

/// The `count` greatest entries, greatest first; equal ones in order of their index.
pub fn greatest(values: &[f64], count: usize) -> Vec<(usize, f64)> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    order.into_iter().take(count).map(|index| (index, values[index])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distributions() {
        let p = log_softmax(&[0.0, 2.0_f32.ln(), 1.0_f32.ln()]);
        assert!((p[1].exp() - 0.5).abs() < 1e-7 && (p[0].exp() - 0.25).abs() < 1e-7);
        let uniform = log_softmax(&[3.0; 4]);
        assert!((entropy(&uniform) - 4.0_f64.ln()).abs() < 1e-12);
        let half = [0.5_f64.ln(), 0.5_f64.ln(), f64::NEG_INFINITY, f64::NEG_INFINITY];
        assert!((divergence(&half, &uniform) - 2.0_f64.ln()).abs() < 1e-12);
        assert_eq!(divergence(&p, &p), 0.0);
        assert_eq!(divergence(&uniform, &half), f64::INFINITY);
        assert_eq!((rank(&p, 1), rank(&p, 0)), (0, 1));
        assert_eq!(greatest(&[1.0, 3.0, 3.0, 2.0], 3), [(1, 3.0), (2, 3.0), (3, 2.0)]);
    }
}
