//! Element-wise operations: SwiGLU and addition.

use crate::cpu::{self, Level};
use crate::expect_len;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};
use std::ops::Range;

/// silu(gate) · up, element by element: g / (1 + e^(−g)) · u (Shazeer 2020).
///
/// # Panics
/// When the lengths differ.
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    expect_len("swiglu up", up.len(), gate.len());
    expect_len("swiglu output", out.len(), gate.len());
    swiglu_at(cpu::level(), gate, up, out);
}

/// Below this many elements a hand-off to another thread costs more than it saves.
pub(crate) const PARALLEL: usize = 16 * 1024;

pub(crate) fn swiglu_at(level: Level, gate: &[f32], up: &[f32], out: &mut [f32]) {
    split(
        gate.len(),
        |range, out| dispatch(level, Swiglu { gate: &gate[range.clone()], up: &up[range], out }),
        out,
    );
}

struct Swiglu<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Swiglu<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let one = simd.splat(1.0);
        for at in (0..self.gate.len()).step_by(LANES) {
            let g = padded(simd, self.gate, at, 0.0);
            let below = simd.add(one, simd.exp(simd.sub(simd.splat(0.0), g)));
            let value = simd.mul(simd.div(g, below), padded(simd, self.up, at, 0.0));
            store_padded(simd, value, self.out, at);
        }
    }
}

/// a + b, element by element.
///
/// # Panics
/// When the lengths differ.
pub fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
    expect_len("add right side", b.len(), a.len());
    expect_len("add output", out.len(), a.len());
    split(
        a.len(),
        |range, out| {
            for ((out, a), b) in out.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
                *out = a + b;
            }
        },
        out,
    );
}

/// Runs `part` over ranges of whole vectors, with the outputs of each.
fn split(len: usize, part: impl Fn(Range<usize>, &mut [f32]) + Sync, out: &mut [f32]) {
    let parts = if len < PARALLEL { 1 } else { pool::threads() };
    let groups = len.div_ceil(LANES);
    let end = |i: usize| (groups * i / parts * LANES).min(len);
    let out = Outputs::new(out);
    pool::run(parts, &|i| {
        let range = end(i)..end(i + 1);
        // SAFETY: parts are disjoint ranges.
        let out = unsafe { out.range(range.start, range.len()) };
        part(range, out);
    });
}

/// The same in double precision.
pub mod naive {
    /// See [`super::swiglu`].
    pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
            let g = f64::from(g);
            *out = (g / (1.0 + (-g).exp()) * f64::from(u)) as f32;
        }
    }

    /// See [`super::add`].
    pub fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
        (0..out.len()).for_each(|i| out[i] = (f64::from(a[i]) + f64::from(b[i])) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_matches_the_twin() {
        for count in [1, 15, 16, 33, 40_001] {
            let gate: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin() * 30.0).collect();
            let up: Vec<f32> = (0..count).map(|i| (i as f32 * 0.11).cos()).collect();
            let (mut out, mut expected) = (vec![0.0; count], vec![0.0; count]);
            naive::swiglu(&gate, &up, &mut expected);
            for level in Level::available() {
                swiglu_at(level, &gate, &up, &mut out);
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs() + 1e-12;
                assert!(out.iter().zip(&expected).all(close), "{level:?} {count}");
            }
        }
    }
    #[test]
    fn addition_matches_the_twin() {
        for count in [0, 1, 17, 40_001] {
            let a: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin() * 30.0).collect();
            let b: Vec<f32> = (0..count).map(|i| (i as f32 * 0.11).cos()).collect();
            let (mut out, mut expected) = (vec![f32::NAN; count], vec![0.0; count]);
            add(&a, &b, &mut out);
            naive::add(&a, &b, &mut expected);
            assert_eq!(out, expected); // one rounding either way
        }
    }
}
