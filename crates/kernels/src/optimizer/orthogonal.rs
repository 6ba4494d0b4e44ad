//! The nearest semi-orthogonal matrix, roughly: what Muon makes of its momentum.

use crate::activation::PARALLEL;
use crate::gemm::{Operand, Precision, gemm};
use crate::pool::{self, Outputs};

use super::{scale, square_sum};

/// a, b, c of X ← aX + (bA + cA²)X with A = XXᵀ, from the last step back; before them the third repeats. Each is the
/// odd quintic nearest to 1 on what the step before leaves of the singular values (Amsel et al. 2025, arXiv:2505.16932),
/// chosen so that all end within 0.3 of 1. One, two, three, … steps reach down to 0.16, 0.043, 0.011, … of the norm;
/// the fixed quintic of Jordan et al. (2024) takes five to reach a hundredth. Quintics for still smaller values would
/// press some of the largest below what bf16 tells from 0.
const QUINTICS: [[f32; 3]; 3] = [
    [2.732_955, -2.035_483, 0.459_102],
    [3.684_092, -2.756_205, 0.540_445],
    [4.102_202, -3.052_535, 0.574_202],
];

/// The Frobenius norm to begin with: the largest that every step bears.
const NORM: f64 = 1.72;

/// The coefficients of the steps, in order.
fn quintics(steps: usize) -> impl Iterator<Item = [f32; 3]> {
    (0..steps).rev().map(|left| QUINTICS[left.min(QUINTICS.len() - 1)])
}

/// Replaces `x` (`rows × columns`, row-major) by an approximation of UVᵀ, where UΣVᵀ is its singular value
/// decomposition: `steps` of a quintic Newton–Schulz iteration, products in bf16. All zeros stay zeros.
///
/// # Panics
/// When the length contradicts the shape.
pub fn orthogonalize(x: &mut [f32], rows: usize, columns: usize, steps: usize) {
    orthogonalize_in(Precision::BF16, x, rows, columns, steps);
}

pub(super) fn orthogonalize_in(
    precision: Precision,
    x: &mut [f32],
    rows: usize,
    columns: usize,
    steps: usize,
) {
    crate::expect_len("orthogonalize", x.len(), rows * columns);
    let norm = square_sum(x).sqrt();
    if norm == 0.0 {
        return;
    }
    scale(x, (NORM / norm) as f32);
    // The products of the shorter side.
    let (side, wide) = (rows.min(columns), rows <= columns);
    let mut squares = vec![0.0; side * side];
    let mut fourths = vec![0.0; side * side];
    let mut next = vec![0.0; x.len()];
    for [a, b, c] in quintics(steps) {
        let (left, right) = match wide {
            true => (Operand::plain(x), Operand::transposed(x)),
            false => (Operand::transposed(x), Operand::plain(x)),
        };
        gemm(side, side, rows.max(columns), left, right, false, precision, &mut squares);
        let square = Operand::plain(&squares);
        gemm(side, side, side, square, square, false, precision, &mut fourths);
        blend(&mut fourths, c, &squares, b);
        let factor = Operand::plain(&fourths);
        match wide {
            true => gemm(rows, columns, side, factor, Operand::plain(x), false, precision, &mut next),
            false => gemm(rows, columns, side, Operand::plain(x), factor, false, precision, &mut next),
        }
        blend(x, a, &next, 1.0);
    }
}

/// x · a + y · b, in place of x.
///
/// # Panics
/// When the lengths differ.
pub fn blend(x: &mut [f32], a: f32, y: &[f32], b: f32) {
    let count = x.len();
    crate::expect_len("blend", y.len(), count);
    let x = Outputs::new(x);
    pool::run(count.div_ceil(PARALLEL), &|part| {
        let (at, len) = (part * PARALLEL, PARALLEL.min(count - part * PARALLEL));
        // SAFETY: parts are disjoint ranges.
        let x = unsafe { x.range(at, len) };
        x.iter_mut().zip(&y[at..at + len]).for_each(|(x, y)| *x = *x * a + y * b);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize) -> Vec<f32> {
        (1..=count).map(|i| ((i * i) as f32 * 0.37 + i as f32).sin()).collect()
    }

    /// The same iteration in double precision.
    fn naive(x: &[f32], rows: usize, columns: usize, steps: usize) -> Vec<f64> {
        let mut x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.iter_mut().for_each(|x| *x *= NORM / norm);
        let product = |a: &[f64], b: &[f64], m: usize, k: usize, n: usize| -> Vec<f64> {
            let at = |i: usize| (0..k).map(|t| a[i / n * k + t] * b[t * n + i % n]).sum();
            (0..m * n).map(at).collect()
        };
        for [a, b, c] in quintics(steps).map(|step| step.map(f64::from)) {
            let transposed: Vec<f64> = (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect();
            let square = product(&x, &transposed, rows, columns, rows);
            let fourth = product(&square, &square, rows, rows, rows);
            let factor: Vec<f64> = square.iter().zip(&fourth).map(|(s, f)| b * s + c * f).collect();
            let next = product(&factor, &x, rows, rows, columns);
            x.iter_mut().zip(next).for_each(|(x, next)| *x = a * *x + next);
        }
        x
    }

    #[test]
    fn both_shapes_match_the_twin() {
        for (rows, columns) in [(1, 1), (3, 17), (17, 3), (24, 24), (1, 40)] {
            let start = wave(rows * columns);
            let expected = naive(&start, rows, columns, 5);
            let mut got = start;
            orthogonalize_in(Precision::F32, &mut got, rows, columns, 5);
            for (got, expected) in got.iter().zip(&expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-3, "{rows}×{columns}: {got} {expected}");
            }
        }
    }

    #[test]
    fn singular_values_come_near_one() {
        let (rows, columns) = (48, 96);
        let mut x = wave(rows * columns);
        orthogonalize(&mut x, rows, columns, 3);
        // ‖XXᵀ v‖ of a few directions is the square of singular values between 0.7 and 1.3.
        for seed in 0..5 {
            let v: Vec<f32> = (0..rows).map(|i| ((i + seed) as f32 * 1.7).sin()).collect();
            let along: Vec<f32> =
                (0..columns).map(|j| (0..rows).map(|i| x[i * columns + j] * v[i]).sum()).collect();
            let ratio = square_sum(&along) / square_sum(&v);
            assert!((0.4..1.7).contains(&ratio), "{ratio}");
        }
        let mut zeros = vec![0.0; 12];
        orthogonalize(&mut zeros, 3, 4, 5);
        assert!(zeros.iter().all(|zero| *zero == 0.0));
    }
}
