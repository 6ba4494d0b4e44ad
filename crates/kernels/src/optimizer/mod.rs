//! AdamW in place, on moments of four bytes or one, the orthogonal step of Muon, and the norm of a gradient. Nothing
//! here depends on the number of threads.

mod eight_bit;
mod orthogonal;

pub use eight_bit::{BLOCK, Moments as Moments8bit, adamw_8bit};
pub use orthogonal::{blend, orthogonalize};

use crate::activation::PARALLEL;
use crate::cpu::{self, Level};
use crate::expect_len;
use crate::gemm::{Operand, Precision, gemm};
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};

/// The numbers of one step of AdamW.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Number of the step, from 1.
    pub step: u64,
    /// Learning rate.
    pub rate: f32,
    /// Decay of the mean of the gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The share of a parameter that a step at rate 1 takes away.
    pub weight_decay: f32,
    /// Every gradient is first multiplied by this (clipping, averaging).
    pub scale: f32,
}

/// One step of AdamW with decoupled weight decay and bias correction (Loshchilov & Hutter 2019): p is
/// first shrunk by 1 − rate · decay; m and v are the running means of the gradient and its square, and
/// p −= rate · m̂ / (√v̂ + ε).
///
/// # Panics
/// When the lengths differ or the step is 0.
pub fn adamw(parameters: &mut [f32], gradients: &[f32], m: &mut [f32], v: &mut [f32], numbers: AdamW) {
    adamw_at(cpu::level(), parameters, gradients, m, v, numbers.factors());
}

/// What a step makes of its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factors {
    keep: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// rate / (1 − beta1^step)
    rate: f32,
    /// 1 / √(1 − beta2^step)
    unbias: f32,
    scale: f32,
}

impl AdamW {
    fn factors(self) -> Factors {
        let Self { step, rate, beta1, beta2, epsilon, weight_decay, scale } = self;
        assert!(step > 0, "adamw: steps count from 1");
        let bias = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        Factors {
            keep: (1.0 - f64::from(rate) * f64::from(weight_decay)) as f32,
            beta1,
            beta2,
            epsilon,
            rate: (f64::from(rate) / bias(beta1)) as f32,
            unbias: (1.0 / bias(beta2).sqrt()) as f32,
            scale,
        }
    }
}

pub(crate) fn adamw_at(
    level: Level,
    parameters: &mut [f32],
    gradients: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    factors: Factors,
) {
    let count = parameters.len();
    expect_len("adamw gradients", gradients.len(), count);
    expect_len("adamw first moments", m.len(), count);
    expect_len("adamw second moments", v.len(), count);
    let parts = count.div_ceil(PARALLEL);
    let (parameters, m, v) = (Outputs::new(parameters), Outputs::new(m), Outputs::new(v));
    pool::run(parts, &|part| {
        let (at, len) = (part * PARALLEL, PARALLEL.min(count - part * PARALLEL));
        // SAFETY: parts are disjoint ranges.
        let parameters = unsafe { parameters.range(at, len) };
        // SAFETY: as above.
        let m = unsafe { m.range(at, len) };
        // SAFETY: as above.
        let v = unsafe { v.range(at, len) };
        dispatch(level, Step { factors, parameters, gradients: &gradients[at..at + len], m, v });
    });
}

struct Step<'a> {
    factors: Factors,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Step { factors, parameters, gradients, m, v } = self;
        let Factors { keep, beta1, beta2, epsilon, rate, unbias, scale } = factors;
        for at in (0..parameters.len()).step_by(LANES) {
            let gradient = simd.mul(padded(simd, gradients, at, 0.0), simd.splat(scale));
            let first = padded(simd, m, at, 0.0);
            // m + (1 − β)(g − m), as torch's lerp.
            let first = simd.fma(simd.splat(1.0 - beta1), simd.sub(gradient, first), first);
            let square = simd.mul(simd.mul(gradient, gradient), simd.splat(1.0 - beta2));
            let second = simd.fma(padded(simd, v, at, 0.0), simd.splat(beta2), square);
            let below = simd.fma(simd.sqrt(second), simd.splat(unbias), simd.splat(epsilon));
            let change = simd.div(simd.mul(first, simd.splat(-rate)), below);
            let parameter = simd.fma(padded(simd, parameters, at, 0.0), simd.splat(keep), change);
            store_padded(simd, first, m, at);
            store_padded(simd, second, v, at);
            store_padded(simd, parameter, parameters, at);
        }
    }
}

/// Σ x², in fixed chunks and order; infinite or NaN when an element is.
pub fn square_sum(x: &[f32]) -> f64 {
    square_sum_at(cpu::level(), x)
}

pub(crate) fn square_sum_at(level: Level, x: &[f32]) -> f64 {
    let mut sums = vec![0f64; x.len().div_ceil(PARALLEL)];
    let outputs = Outputs::new(&mut sums);
    pool::run(x.len().div_ceil(PARALLEL), &|part| {
        let x = &x[part * PARALLEL..((part + 1) * PARALLEL).min(x.len())];
        // SAFETY: each part has its own sum.
        let sum = unsafe { outputs.range(part, 1) };
        sum[0] = dispatch(level, Squares(x));
    });
    sums.into_iter().sum()
}

/// √(Σ x²) over several tensors, in their order.
pub fn global_norm<'a>(gradients: impl IntoIterator<Item = &'a [f32]>) -> f64 {
    gradients.into_iter().map(square_sum).sum::<f64>().sqrt()
}

/// x · factor, in place.
pub fn scale(x: &mut [f32], factor: f32) {
    let count = x.len();
    let x = Outputs::new(x);
    pool::run(count.div_ceil(PARALLEL), &|part| {
        // SAFETY: parts are disjoint ranges.
        let x = unsafe { x.range(part * PARALLEL, PARALLEL.min(count - part * PARALLEL)) };
        x.iter_mut().for_each(|x| *x *= factor);
    });
}

/// A matrix (`rows × columns`) seen from `rank` directions of its shorter side: P·G, or P·Gᵀ if it has more rows than
/// columns; P is `rank × min(rows, columns)`, the product `rank × max(rows, columns)`.
///
/// # Panics
/// When a length contradicts the shape.
pub fn project(projection: &[f32], rank: usize, matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let (least, most) = (rows.min(columns), rows.max(columns));
    let mut product = vec![0.0; rank * most];
    let right = if rows > columns { Operand::transposed(matrix) } else { Operand::plain(matrix) };
    let left = Operand::plain(projection);
    gemm(rank, most, least, left, right, false, Precision::F32, &mut product);
    product
}

/// Sum of squares of a chunk: short chains of f32, their sums in f64.
struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let mut total = 0f64;
        for chunk in self.0.chunks(64 * LANES) {
            let mut sums = simd.splat(0.0);
            for at in (0..chunk.len()).step_by(LANES) {
                let x = padded(simd, chunk, at, 0.0);
                sums = simd.fma(x, x, sums);
            }
            total += f64::from(simd.sum(sums));
        }
        total
    }
}

/// The same in double precision, one number after another.
pub mod naive {
    use super::AdamW;

    /// See [`super::adamw`].
    pub fn adamw(parameters: &mut [f32], gradients: &[f32], m: &mut [f32], v: &mut [f32], numbers: AdamW) {
        let AdamW { step, rate, beta1, beta2, epsilon, weight_decay, scale } = numbers;
        let [rate, beta1, beta2, epsilon, decay, scale] =
            [rate, beta1, beta2, epsilon, weight_decay, scale].map(f64::from);
        for (((p, &g), m), v) in parameters.iter_mut().zip(gradients).zip(m).zip(v) {
            let g = f64::from(g) * scale;
            let first = beta1 * f64::from(*m) + (1.0 - beta1) * g;
            let second = beta2 * f64::from(*v) + (1.0 - beta2) * g * g;
            let mean = first / (1.0 - beta1.powf(step as f64));
            let size = (second / (1.0 - beta2.powf(step as f64))).sqrt();
            *p = (f64::from(*p) * (1.0 - rate * decay) - rate * mean / (size + epsilon)) as f32;
            (*m, *v) = (first as f32, second as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(step: u64, rate: f32) -> AdamW {
        AdamW { step, rate, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1, scale: 1.0 }
    }

    #[test]
    fn every_level_matches_the_twin_over_many_steps() {
        for count in [0, 1, 17, 40_001] {
            let start: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
            let gradient = |step: u64| -> Vec<f32> {
                (0..count).map(|i| ((i as f32 + step as f32 * 3.3) * 0.7).cos() * 0.01).collect()
            };
            let zeros = || vec![0.0; count];
            let (mut p, mut m, mut v) = (start.clone(), zeros(), zeros());
            for step in 1..=20 {
                naive::adamw(&mut p, &gradient(step), &mut m, &mut v, numbers(step, 1e-2));
            }
            for level in Level::available() {
                let (mut a, mut b, mut c) = (start.clone(), zeros(), zeros());
                for step in 1..=20 {
                    let factors = numbers(step, 1e-2).factors();
                    adamw_at(level, &mut a, &gradient(step), &mut b, &mut c, factors);
                }
                for (got, expected) in [(&a, &p), (&b, &m), (&c, &v)] {
                    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-5 * b.abs().max(1e-3);
                    assert!(got.iter().zip(expected).all(close), "{level:?} {count}");
                }
            }
        }
    }

    #[test]
    fn the_first_step_moves_by_the_rate_against_the_sign() {
        let (mut p, mut m, mut v) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
        let numbers = AdamW { beta2: 0.999, epsilon: 0.0, weight_decay: 0.2, scale: 7.0, ..numbers(1, 0.5) };
        adamw(&mut p, &[3.0, -1e-3], &mut m, &mut v, numbers);
        // 1 · (1 − 0.5 · 0.2) ∓ 0.5
        assert!((p[0] - 0.4).abs() < 1e-6 && (p[1] - 1.4).abs() < 1e-6, "{p:?}");
    }

    #[test]
    fn norms_are_exact_enough_and_show_what_is_not_finite() {
        let x: Vec<f32> = (0..100_003).map(|i| (i as f32 * 0.1).sin()).collect();
        let exact: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        for level in Level::available() {
            assert!((square_sum_at(level, &x) / exact - 1.0).abs() < 1e-6, "{level:?}");
        }
        assert_eq!(global_norm([&[3.0f32][..], &[], &[4.0f32][..]]), 5.0);
        let whole = square_sum(&x);
        for threads in [1, 3] {
            pool::set_threads(threads);
            assert_eq!(square_sum(&x), whole);
        }
        pool::set_threads(0);
        assert!(square_sum(&[1.0, f32::NAN]).is_nan() && square_sum(&[f32::INFINITY]).is_infinite());
        let mut x = x;
        scale(&mut x, 0.5);
        assert_eq!(square_sum(&x), whole / 4.0);
    }
}
