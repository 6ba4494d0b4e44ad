//! Softmax, log-softmax and argmax of rows.

use crate::cpu::{self, Level};
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};

/// Softmax of each row of `x` (rows × width), in place. A row of −∞ only becomes zeros.
///
/// # Panics
/// When `x` is not whole rows.
pub fn softmax(x: &mut [f32], width: usize) {
    assert!(width > 0 && x.len().is_multiple_of(width), "softmax: {} elements in rows of {width}", x.len());
    softmax_at(cpu::level(), x, width);
}

pub(crate) fn softmax_at(level: Level, x: &mut [f32], width: usize) {
    dispatch(level, Rows { x, width });
}

struct Rows<'a> {
    x: &'a mut [f32],
    width: usize,
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.x.chunks_exact_mut(self.width).for_each(|row| softmax_row(simd, row, None));
    }
}

/// Softmax of one row; `sink` is one more logit whose share is left out. Trailing and leading −∞ (in
/// whole vectors) change no bit of the rest.
#[inline(always)]
pub(crate) fn softmax_row<S: Simd>(simd: S, row: &mut [f32], sink: Option<f32>) {
    let mut top = simd.splat(f32::NEG_INFINITY);
    for at in (0..row.len()).step_by(LANES) {
        top = simd.max(top, padded(simd, row, at, f32::NEG_INFINITY));
    }
    let top = simd.top(top).max(sink.unwrap_or(f32::NEG_INFINITY));
    if top == f32::NEG_INFINITY {
        return row.fill(0.0);
    }
    let mut sums = simd.splat(0.0);
    for at in (0..row.len()).step_by(LANES) {
        let value = simd.exp(simd.sub(padded(simd, row, at, f32::NEG_INFINITY), simd.splat(top)));
        sums = simd.add(sums, value);
        store_padded(simd, value, row, at);
    }
    let sum = simd.sum(sums) + sink.map_or(0.0, |sink| (sink - top).exp());
    let inverse = simd.splat(1.0 / sum);
    for at in (0..row.len()).step_by(LANES) {
        store_padded(simd, simd.mul(padded(simd, row, at, 0.0), inverse), row, at);
    }
}

/// log(softmax) of each row of `x` (rows × width), in place; the sum is taken in double precision.
///
/// # Panics
/// When `x` is not whole rows.
pub fn log_softmax(x: &mut [f32], width: usize) {
    assert!(
        width > 0 && x.len().is_multiple_of(width),
        "log_softmax: {} elements in rows of {width}",
        x.len()
    );
    for row in x.chunks_exact_mut(width) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if top == f32::NEG_INFINITY {
            continue;
        }
        let sum: f64 = row.iter().map(|&v| f64::from(v - top).exp()).sum();
        let log = sum.ln();
        row.iter_mut().for_each(|v| *v = (f64::from(*v - top) - log) as f32);
    }
}

/// Index of the largest element, the first of equals; NaN is never chosen. `None` when nothing can be.
pub fn argmax(row: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (i, &v) in row.iter().enumerate() {
        if !v.is_nan() && best.is_none_or(|(_, top)| v > top) {
            best = Some((i, v));
        }
    }
    best.map(|(i, _)| i)
}

/// The same in double precision.
pub mod naive {
    /// See [`super::softmax`].
    pub fn softmax(x: &mut [f32], width: usize) {
        for row in x.chunks_exact_mut(width) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if top == f32::NEG_INFINITY {
                row.fill(0.0);
                continue;
            }
            let sum: f64 = row.iter().map(|&v| (f64::from(v) - f64::from(top)).exp()).sum();
            row.iter_mut().for_each(|v| *v = ((f64::from(*v) - f64::from(top)).exp() / sum) as f32);
        }
    }

    /// See [`super::log_softmax`]: ln(e^x / Σ e^x) as it stands, for logits that do not overflow e^x.
    pub fn log_softmax(x: &mut [f32], width: usize) {
        for row in x.chunks_exact_mut(width) {
            let sum: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
            row.iter_mut().for_each(|v| *v = (f64::from(*v) - sum.ln()) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_matches_the_twin() {
        for width in [1, 5, 16, 47, 300] {
            let mut x: Vec<f32> = (0..width * 3).map(|i| (i as f32 * 0.9).sin() * 20.0).collect();
            x[width - 1] = f32::NEG_INFINITY;
            x[width..2 * width].fill(f32::NEG_INFINITY);
            let mut expected = x.clone();
            naive::softmax(&mut expected, width);
            // The difference to the largest (up to 40) is rounded to f32; the twin's is not.
            for level in Level::available() {
                let mut y = x.clone();
                softmax_at(level, &mut y, width);
                assert!(
                    y.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 4e-6 * b + 1e-20),
                    "{level:?} {width}"
                );
            }
            let mut logs = x.clone();
            log_softmax(&mut logs, width);
            assert!(logs.iter().zip(&expected).all(|(l, p)| (l.exp() - p).abs() < 1e-6));
        }
    }

    #[test]
    fn argmax_takes_the_first_and_no_nan() {
        assert_eq!(argmax(&[1.0, f32::NAN, 3.0, 3.0]), Some(2));
        assert_eq!(argmax(&[f32::NAN]), None);
        assert_eq!(argmax(&[f32::NEG_INFINITY]), Some(0));
    }
    #[test]
    fn log_softmax_matches_the_twin() {
        for width in [1, 5, 300] {
            let x: Vec<f32> = (0..width * 3).map(|i| (i as f32 * 0.9).sin() * 50.0).collect();
            let (mut y, mut expected) = (x.clone(), x);
            log_softmax(&mut y, width);
            naive::log_softmax(&mut expected, width);
            assert!(y.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 2e-7 * b.abs().max(1.0)));
        }
        // Where e^x itself would overflow.
        let mut large = [3e4, 3e4];
        log_softmax(&mut large, 2);
        assert!(large.iter().all(|v| (v + std::f32::consts::LN_2).abs() < 1e-6), "{large:?}");
    }
}
