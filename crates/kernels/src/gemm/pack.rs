//! Sixteen rows (or columns) of a factor as [inner][16] vectors, rounded or paired for bf16.

use crate::cpu::{self, Level};
use crate::gemm::Precision;
use crate::simd::{LANES, Simd, lanes_mut, padded, store_padded};
use std::ops::Range;

/// What a packed vector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// f32.
    Plain,
    /// f32 rounded to bf16 values.
    Rounded,
    /// Two bf16 per lane, of neighboring inner indices; the last of an odd number has a zero beside it.
    Paired,
}

impl Layout {
    pub(super) fn of(level: Level, precision: Precision) -> Layout {
        match precision {
            Precision::F32 => Layout::Plain,
            Precision::BF16 if level.name() == "avx512" && cpu::has_bf16() => Layout::Paired,
            Precision::BF16 => Layout::Rounded,
        }
    }

    /// Vectors for `inner` elements per lane.
    pub(super) fn depth(self, inner: usize) -> usize {
        if self == Layout::Paired { inner.div_ceil(2) } else { inner }
    }
}

/// Up to sixteen lanes of a dense matrix.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    values: &'a [f32],
    stride: usize,
    /// Lanes lie side by side, steps of the inner index `stride` apart; otherwise the other way round.
    along: bool,
    lane: usize,
    count: usize,
}

impl<'a> Strided<'a> {
    pub(super) fn new(values: &'a [f32], stride: usize, along: bool, lane: usize, count: usize) -> Self {
        Strided { values, stride, along, lane, count }
    }
}

/// Packs the inner range `inner`; consecutive vectors lie `step` floats apart in `to`.
#[inline(always)]
pub(super) fn vector<S: Simd>(
    simd: S,
    layout: Layout,
    from: Strided,
    inner: Range<usize>,
    to: &mut [f32],
    step: usize,
) {
    let Strided { values, stride, along, lane, count } = from;
    if along {
        let row = |k: usize| padded(simd, &values[k * stride + lane..][..count], 0, 0.0);
        let zero = simd.splat(0.0);
        let mut at = 0;
        let mut k = inner.start;
        while k < inner.end {
            let (value, steps) = match layout {
                Layout::Plain => (row(k), 1),
                Layout::Rounded => (simd.round_bf16(row(k)), 1),
                Layout::Paired => (simd.pairs(row(k), if k + 1 < inner.end { row(k + 1) } else { zero }), 2),
            };
            simd.store(value, lanes_mut(to, at));
            at += step;
            k += steps;
        }
        return;
    }
    let mut at = 0;
    if layout == Layout::Paired {
        for k in inner.clone().step_by(2 * LANES) {
            let steps = (2 * LANES).min(inner.end - k);
            let mut rows = [simd.splat(0.0); LANES];
            for (i, row) in rows.iter_mut().enumerate().take(count) {
                let values = &values[(lane + i) * stride + k..][..steps];
                let high = if steps > LANES { padded(simd, values, LANES, 0.0) } else { simd.splat(0.0) };
                *row = simd.neighbors(padded(simd, values, 0, 0.0), high);
            }
            for &pairs in &simd.turn(rows)[..steps.div_ceil(2)] {
                simd.store(pairs, lanes_mut(to, at));
                at += step;
            }
        }
        return;
    }
    for k in inner.clone().step_by(LANES) {
        let steps = LANES.min(inner.end - k);
        let mut rows = [simd.splat(0.0); LANES];
        for (i, row) in rows.iter_mut().enumerate().take(count) {
            *row = padded(simd, &values[(lane + i) * stride + k..][..steps], 0, 0.0);
        }
        for &value in &simd.turn(rows)[..steps] {
            let value = if layout == Layout::Rounded { simd.round_bf16(value) } else { value };
            simd.store(value, lanes_mut(to, at));
            at += step;
        }
    }
}

/// Packs one row of A for itself.
#[inline(always)]
pub(super) fn row<S: Simd>(simd: S, layout: Layout, from: &[f32], to: &mut [f32]) {
    match layout {
        Layout::Plain => to.copy_from_slice(from),
        Layout::Rounded => {
            for at in (0..from.len()).step_by(LANES) {
                store_padded(simd, simd.round_bf16(padded(simd, from, at, 0.0)), to, at);
            }
        }
        Layout::Paired => {
            for at in (0..from.len()).step_by(2 * LANES) {
                let rest = &from[at..];
                let high = if rest.len() > LANES { padded(simd, rest, LANES, 0.0) } else { simd.splat(0.0) };
                store_padded(simd, simd.neighbors(padded(simd, rest, 0, 0.0), high), to, at / 2);
            }
        }
    }
}
