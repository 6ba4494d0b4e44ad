//! Sixteen rows (or columns) of a factor as [inner][16] vectors, in pairs for bf16.

use crate::cpu::Level;
use crate::gemm::Precision;
use crate::simd::{LANES, Simd, lanes_mut, padded, store_padded};
use std::ops::Range;

/// What a packed vector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// f32.
    Plain,
    /// Two bf16 per lane, of neighboring inner indices; the last of an odd number has a zero beside it.
    Paired,
}

impl Layout {
    pub(crate) fn of(level: Level, precision: Precision) -> Layout {
        match precision.at(level) {
            Precision::F32 => Layout::Plain,
            Precision::BF16 => Layout::Paired,
        }
    }

    /// Vectors for `inner` elements per lane.
    pub(crate) fn depth(self, inner: usize) -> usize {
        if self == Layout::Paired { inner.div_ceil(2) } else { inner }
    }
}

/// Up to sixteen lanes of a dense matrix.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    values: &'a [f32],
    stride: usize,
    /// Lanes lie side by side, steps of the inner index `stride` apart; otherwise the other way round.
    along: bool,
    lane: usize,
    count: usize,
}

impl<'a> Strided<'a> {
    pub(crate) fn new(values: &'a [f32], stride: usize, along: bool, lane: usize, count: usize) -> Self {
        Strided { values, stride, along, lane, count }
    }
}

/// Packs the inner range `inner`; consecutive vectors lie `step` floats apart in `to`.
#[inline(always)]
pub(crate) fn vector<S: Simd>(
    simd: S,
    layout: Layout,
    from: Strided,
    inner: Range<usize>,
    to: &mut [f32],
    step: usize,
) {
    let Strided { values, stride, along, lane, count } = from;
    if along {
        let steps = if layout == Layout::Paired { 2 } else { 1 };
        for (at, k) in inner.clone().step_by(steps).enumerate() {
            let mut value = padded(simd, &values[k * stride + lane..][..count], 0, 0.0);
            if layout == Layout::Paired {
                let mut odd = simd.splat(0.0);
                if k + 1 < inner.end {
                    odd = padded(simd, &values[(k + 1) * stride + lane..][..count], 0, 0.0);
                }
                value = simd.pairs(value, odd);
            }
            simd.store(value, lanes_mut(to, at * step));
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
            simd.store(value, lanes_mut(to, at));
            at += step;
        }
    }
}

/// Rows packed together by [`rows_along`].
const HEIGHT: usize = 16;

/// Packs `columns` of rows that lie along the lanes, some rows at a time, as they come from memory; sixteen columns go
/// where `place` says: the beginning, and the distance of consecutive vectors in `to`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // a matrix, its part, and where it goes
pub(super) fn rows_along<S: Simd>(
    simd: S,
    layout: Layout,
    values: &[f32],
    stride: usize,
    columns: Range<usize>,
    inner: Range<usize>,
    place: impl Fn(usize) -> (usize, usize),
    to: &mut [f32],
) {
    for first in inner.clone().step_by(HEIGHT) {
        let some = first..(first + HEIGHT).min(inner.end);
        for column in columns.clone().step_by(LANES) {
            for k in some.clone() {
                if let Some(value) = values.get((k + HEIGHT) * stride + column) {
                    simd.prefetch(std::ptr::from_ref(value).cast());
                }
            }
            let (at, step) = place(column);
            let from = Strided::new(values, stride, true, column, LANES.min(columns.end - column));
            vector(
                simd,
                layout,
                from,
                some.clone(),
                &mut to[at + layout.depth(first - inner.start) * step..],
                step,
            );
        }
    }
}

/// Packs one row of A in pairs, for itself.
#[inline(always)]
pub(crate) fn row<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    for at in (0..from.len()).step_by(2 * LANES) {
        let rest = &from[at..];
        let high = if rest.len() > LANES { padded(simd, rest, LANES, 0.0) } else { simd.splat(0.0) };
        store_padded(simd, simd.neighbors(padded(simd, rest, 0, 0.0), high), to, at / 2);
    }
}
