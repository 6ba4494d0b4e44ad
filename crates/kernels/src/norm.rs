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

/// Gradients of [`rms_norm`]: with s = 1 / √(mean(x²) + ε), dx = s·w·dy − x · s³ · mean(w·dy·x) and
/// dw = Σ over rows of dy·x·s. Both are overwritten.
///
/// # Panics
/// When a length contradicts the shape.
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
) {
    rms_norm_backward_at(cpu::level(), x, weight, epsilon, dy, dx, dweight);
}

/// Rows whose shares of the weight's gradient are added first: fixed, so that the sum has one order.
const ROWS: usize = 64;

pub(crate) fn rms_norm_backward_at(
    level: Level,
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
) {
    let width = weight.len();
    assert!(width > 0 && x.len().is_multiple_of(width), "rms_norm: {} elements in rows of {width}", x.len());
    expect_len("rms_norm output gradient", dy.len(), x.len());
    expect_len("rms_norm input gradient", dx.len(), x.len());
    expect_len("rms_norm weight gradient", dweight.len(), width);
    let parts = (x.len() / width).div_ceil(ROWS);
    let mut shares = vec![0.0; parts * width];
    let (dx, outputs) = (Outputs::new(dx), Outputs::new(&mut shares));
    pool::run(parts, &|i| {
        let (from, to) = (i * ROWS * width, ((i + 1) * ROWS * width).min(x.len()));
        // SAFETY: parts are disjoint ranges of rows.
        let dx = unsafe { dx.range(from, to - from) };
        // SAFETY: each part has its own share.
        let share = unsafe { outputs.range(i * width, width) };
        dispatch(level, Gradient { x: &x[from..to], weight, epsilon, dy: &dy[from..to], dx, dweight: share });
    });
    dweight.fill(0.0);
    for share in shares.chunks_exact(width) {
        dweight.iter_mut().zip(share).for_each(|(sum, share)| *sum += share);
    }
}

struct Gradient<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    dy: &'a [f32],
    dx: &'a mut [f32],
    /// Starts as zeros.
    dweight: &'a mut [f32],
}

impl Kernel for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Gradient { x, weight, epsilon, dy, dx, dweight } = self;
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
        for ((x, dy), dx) in rows {
            let (mut squares, mut products) = (simd.splat(0.0), simd.splat(0.0));
            for at in (0..width).step_by(LANES) {
                let x = padded(simd, x, at, 0.0);
                let slope = simd.mul(padded(simd, weight, at, 0.0), padded(simd, dy, at, 0.0));
                squares = simd.fma(x, x, squares);
                products = simd.fma(slope, x, products);
            }
            let scale = 1.0 / (simd.sum(squares) / width as f32 + epsilon).sqrt();
            let back = simd.splat(-(scale * scale * (simd.sum(products) / width as f32)));
            let scale = simd.splat(scale);
            for at in (0..width).step_by(LANES) {
                let (x, dy) = (padded(simd, x, at, 0.0), padded(simd, dy, at, 0.0));
                let slope = simd.mul(padded(simd, weight, at, 0.0), dy);
                store_padded(simd, simd.mul(simd.fma(x, back, slope), scale), dx, at);
                let sum = padded(simd, dweight, at, 0.0);
                store_padded(simd, simd.fma(dy, simd.mul(x, scale), sum), dweight, at);
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

    /// See [`super::rms_norm_backward`]: the gradients of input and weight.
    pub fn rms_norm_backward(x: &[f32], weight: &[f32], epsilon: f32, dy: &[f32]) -> [Vec<f32>; 2] {
        let width = weight.len();
        let (mut dx, mut dw) = (Vec::with_capacity(x.len()), vec![0f64; width]);
        for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
            let mean = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / width as f64;
            let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
            let slope = |i: usize| f64::from(weight[i]) * f64::from(dy[i]);
            let along = (0..width).map(|i| slope(i) * f64::from(x[i])).sum::<f64>() / width as f64;
            for i in 0..width {
                let x = f64::from(x[i]);
                dx.push((scale * slope(i) - x * scale.powi(3) * along) as f32);
                dw[i] += f64::from(dy[i]) * x * scale;
            }
        }
        [dx, dw.into_iter().map(|v| v as f32).collect()]
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

    fn case(rows: usize, width: usize) -> [Vec<f32>; 3] {
        let x = (0..rows * width).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let weight = (0..width).map(|i| 1.0 + (i as f32).cos()).collect();
        [x, weight, (0..rows * width).map(|i| (i as f32 * 0.3).cos()).collect()]
    }

    #[test]
    fn gradients_match_the_twin_with_any_threads() {
        for (rows, width) in [(0, 3), (1, 1), (3, 17), (70, 64), (200, 30)] {
            let [x, weight, dy] = case(rows, width);
            let [dx, dw] = naive::rms_norm_backward(&x, &weight, 1e-3, &dy);
            for level in Level::available() {
                let run = || {
                    let (mut a, mut b) = (vec![f32::NAN; x.len()], vec![f32::NAN; width]);
                    rms_norm_backward_at(level, &x, &weight, 1e-3, &dy, &mut a, &mut b);
                    (a, b)
                };
                let got = run();
                let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5);
                assert!(near(&got.0, &dx) && near(&got.1, &dw), "{level:?} {rows} × {width}");
                for threads in [1, 3] {
                    pool::set_threads(threads);
                    assert_eq!(run(), got, "{threads} threads");
                }
                pool::set_threads(0);
            }
        }
    }

    #[test]
    fn the_twin_is_the_difference_of_losses() {
        let (x, weight, dy) =
            ([0.5, -1.0, 2.0, 0.1, 0.2, -0.3], [1.0, 2.0, -0.5], [1.0, 0.5, -1.0, 0.3, 2.0, 1.0]);
        let [dx, dw] = naive::rms_norm_backward(&x, &weight, 0.1, &dy);
        let loss = |x: &[f32], weight: &[f32]| -> f64 {
            let mut y = [0.0; 6];
            naive::rms_norm(x, weight, 0.1, &mut y);
            y.iter().zip(&dy).map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum()
        };
        let step = 1.0 / 128.0;
        for i in 0..6 {
            let (mut above, mut below) = (x, x);
            (above[i], below[i]) = (x[i] + step, x[i] - step);
            let slope = (loss(&above, &weight) - loss(&below, &weight)) / f64::from(above[i] - below[i]);
            assert!((slope - f64::from(dx[i])).abs() < 1e-3, "{i}: {slope} {}", dx[i]);
        }
        for i in 0..3 {
            let (mut above, mut below) = (weight, weight);
            (above[i], below[i]) = (weight[i] + step, weight[i] - step);
            let slope = (loss(&x, &above) - loss(&x, &below)) / f64::from(above[i] - below[i]);
            assert!((slope - f64::from(dw[i])).abs() < 1e-3, "{i}: {slope} {}", dw[i]);
        }
    }
}
