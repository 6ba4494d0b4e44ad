//! Element-wise operations: SwiGLU, squared ReLU and addition.

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

/// Gradients of [`swiglu`]; both are overwritten.
///
/// # Panics
/// When the lengths differ.
pub fn swiglu_backward(gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    swiglu_backward_at(cpu::level(), gate, up, dy, dgate, dup);
}

pub(crate) fn swiglu_backward_at(
    level: Level,
    gate: &[f32],
    up: &[f32],
    dy: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
) {
    expect_len("swiglu up", up.len(), gate.len());
    expect_len("swiglu output gradient", dy.len(), gate.len());
    expect_len("swiglu gate gradient", dgate.len(), gate.len());
    expect_len("swiglu up gradient", dup.len(), gate.len());
    let dgate = Outputs::new(dgate);
    let part = |range: Range<usize>, dup: &mut [f32]| {
        // SAFETY: `split` gives disjoint ranges.
        let dgate = unsafe { dgate.range(range.start, range.len()) };
        let (gate, up, dy) = (&gate[range.clone()], &up[range.clone()], &dy[range]);
        dispatch(level, SwigluGradient { gate, up, dy, dgate, dup });
    };
    split(gate.len(), part, dup);
}

struct SwigluGradient<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    dy: &'a [f32],
    dgate: &'a mut [f32],
    dup: &'a mut [f32],
}

impl Kernel for SwigluGradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let one = simd.splat(1.0);
        for at in (0..self.gate.len()).step_by(LANES) {
            let (g, dy) = (padded(simd, self.gate, at, 0.0), padded(simd, self.dy, at, 0.0));
            let below = simd.add(one, simd.exp(simd.sub(simd.splat(0.0), g)));
            let sigmoid = simd.div(one, below);
            let silu = simd.mul(g, sigmoid);
            store_padded(simd, simd.mul(silu, dy), self.dup, at);
            // (g σ)' = σ + g σ (1 − σ)
            let slope = simd.fma(silu, simd.sub(one, sigmoid), sigmoid);
            let dgate = simd.mul(simd.mul(dy, padded(simd, self.up, at, 0.0)), slope);
            store_padded(simd, dgate, self.dgate, at);
        }
    }
}

/// max(x, 0)², element by element (So et al. 2021).
///
/// # Panics
/// When the lengths differ.
pub fn relu2(x: &[f32], out: &mut [f32]) {
    expect_len("relu2 output", out.len(), x.len());
    let part = |range: Range<usize>, out: &mut [f32]| {
        for (out, &x) in out.iter_mut().zip(&x[range]) {
            // Not `max`, which would hide a NaN.
            *out = if x < 0.0 { 0.0 } else { x * x };
        }
    };
    split(x.len(), part, out);
}

/// The gradient of [`relu2`]: 2 max(x, 0) · dy, overwriting `dx`.
///
/// # Panics
/// When the lengths differ.
pub fn relu2_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    expect_len("relu2 output gradient", dy.len(), x.len());
    expect_len("relu2 input gradient", dx.len(), x.len());
    let part = |range: Range<usize>, dx: &mut [f32]| {
        for ((dx, &x), &dy) in dx.iter_mut().zip(&x[range.clone()]).zip(&dy[range]) {
            *dx = if x < 0.0 { 0.0 } else { 2.0 * x * dy };
        }
    };
    split(x.len(), part, dx);
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

    /// See [`super::swiglu_backward`]: the gradients of gate and up.
    pub fn swiglu_backward(gate: &[f32], up: &[f32], dy: &[f32]) -> [Vec<f32>; 2] {
        let mut gradients = [Vec::with_capacity(gate.len()), Vec::with_capacity(gate.len())];
        for ((&g, &u), &dy) in gate.iter().zip(up).zip(dy) {
            let (g, u, dy) = (f64::from(g), f64::from(u), f64::from(dy));
            let sigmoid = 1.0 / (1.0 + (-g).exp());
            gradients[0].push((dy * u * sigmoid * (1.0 + g * (1.0 - sigmoid))) as f32);
            gradients[1].push((dy * g * sigmoid) as f32);
        }
        gradients
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
    fn gradients_match_the_twin_and_the_twin_differences() {
        for count in [0, 1, 15, 33, 40_001] {
            let gate: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin() * 30.0).collect();
            let up: Vec<f32> = (0..count).map(|i| (i as f32 * 0.11).cos()).collect();
            let dy: Vec<f32> = (0..count).map(|i| (i as f32 * 0.23).cos() * 2.0).collect();
            let expected = naive::swiglu_backward(&gate, &up, &dy);
            for level in Level::available() {
                let (mut dgate, mut dup) = (vec![f32::NAN; count], vec![f32::NAN; count]);
                swiglu_backward_at(level, &gate, &up, &dy, &mut dgate, &mut dup);
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-6 * b.abs() + 1e-6;
                assert!(dgate.iter().zip(&expected[0]).all(close), "{level:?} {count} gate");
                assert!(dup.iter().zip(&expected[1]).all(close), "{level:?} {count} up");
            }
        }
        let swiglu = |g: f64, u: f64| g / (1.0 + (-g).exp()) * u;
        for (g, u) in [(0.0f32, 1.0f32), (-2.0, 0.5), (1.5, -1.0)] {
            let [dgate, dup] = naive::swiglu_backward(&[g], &[u], &[1.0]);
            let (g, u, step) = (f64::from(g), f64::from(u), 1e-5);
            let slope = (swiglu(g + step, u) - swiglu(g - step, u)) / (2.0 * step);
            assert!((slope - f64::from(dgate[0])).abs() < 1e-6);
            let slope = (swiglu(g, u + step) - swiglu(g, u - step)) / (2.0 * step);
            assert!((slope - f64::from(dup[0])).abs() < 1e-6);
        }
    }

    #[test]
    fn squared_relu_has_known_values() {
        let x: Vec<f32> = [-3.0, -0.0, 0.5, 2.0].into_iter().cycle().take(40_000).collect();
        let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        relu2(&x, &mut y);
        relu2_backward(&x, &vec![3.0; x.len()], &mut dx);
        for at in [0, 39_996] {
            assert_eq!(y[at..at + 4], [0.0, 0.0, 0.25, 4.0]);
            assert_eq!(dx[at..at + 4], [0.0, 0.0, 3.0, 12.0]);
        }
        relu2(&[f32::NAN], &mut y[..1]);
        assert!(y[0].is_nan());
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
