//! Root-mean-square normalization: y = x / √(mean(x²) + ε) · w (Zhang & Sennrich 2019).

use crate::activation::PARALLEL;
use crate::cpu::{self, Level};
use crate::expect_len;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};

/// Normalizes each row of `x` (tokens × width) into `y`; `weight` has `width` elements.
///
/// # Panics
/// When a length contradicts the shape.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
    expect_len("rms_norm output", y.len(), x.len());
    rms_norm_at(cpu::level(), x, weight, epsilon, y);
}

pub(crate) fn rms_norm_at(level: Level, x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) {
    let width = weight.len();
    assert!(width > 0 && x.len().is_multiple_of(width), "rms_norm: {} elements in rows of {width}", x.len());
    let rows = x.len() / width;
    let parts = if x.len() < PARALLEL { 1 } else { pool::threads().min(rows) };
    let y = Outputs::new(y);
    pool::run(parts, &|i| {
        let (from, to) = (rows * i / parts * width, rows * (i + 1) / parts * width);
        // SAFETY: parts are disjoint ranges of rows.
        let y = unsafe { y.range(from, to - from) };
        dispatch(level, Norm { x: &x[from..to], weight, epsilon, y });
    });
}

struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    y: &'a mut [f32],
}

impl Kernel for Norm<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for (x, y) in self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width)) {
            let mut squares = simd.splat(0.0);
            for at in (0..width).step_by(LANES) {
                let x = padded(simd, x, at, 0.0);
                squares = simd.fma(x, x, squares);
            }
            let scale = simd.splat(1.0 / (simd.sum(squares) / width as f32 + self.epsilon).sqrt());
            for at in (0..width).step_by(LANES) {
                let scaled = simd.mul(padded(simd, x, at, 0.0), scale);
                store_padded(simd, simd.mul(scaled, padded(simd, self.weight, at, 0.0)), y, at);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_matches_the_twin_and_the_fused_form_its_parts() {
        for (rows, width) in [(1, 1), (3, 17), (2, 64), (70, 576)] {
            let x: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
            let delta: Vec<f32> = x.iter().map(|v| v.cos()).collect();
            let weight: Vec<f32> = (0..width).map(|i| 1.0 + (i as f32).cos()).collect();
            let (mut y, mut expected) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            naive::rms_norm(&x, &weight, 1e-5, &mut expected);
            for level in Level::available() {
                rms_norm_at(level, &x, &weight, 1e-5, &mut y);
                assert!(
                    y.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 2e-6 * b.abs().max(1e-3)),
                    "{level:?}"
                );
            }
            let (mut sum, mut fused) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            residual_rms_norm(&x, &delta, &weight, 1e-5, &mut sum, &mut fused);
            rms_norm(&sum, &weight, 1e-5, &mut y);
            assert_eq!(fused, y);
        }
    }
}
