//! Root-mean-square normalization: y = x / √(mean(x²) + ε) · w (Zhang & Sennrich 2019).

use crate::expect_len;

/// Normalizes each row of `x` (tokens × width) into `y`; `weight` has `width` elements.
///
/// # Panics
/// When a length contradicts the shape.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
    expect_len("rms_norm output", y.len(), x.len());
    naive::rms_norm(x, weight, epsilon, y);
}

/// `sum = x + delta`, then [`rms_norm`] of the sum into `y`; bit for bit what the two calls give.
///
/// # Panics
/// When a length contradicts the shape.
pub fn residual_rms_norm(
    x: &[f32],
    delta: &[f32],
    weight: &[f32],
    epsilon: f32,
    sum: &mut [f32],
    y: &mut [f32],
) {
    crate::activation::add(x, delta, sum);
    rms_norm(sum, weight, epsilon, y);
}

/// The same in plain loops with double-precision sums.
pub mod naive {
    /// See [`super::rms_norm`].
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
        let width = weight.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let mean = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / width as f64;
            let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
                *y = (f64::from(x) * scale) as f32 * w;
            }
        }
    }
}
