//! The right factor: a dense matrix, or a packed weight that is dequantized panel by panel.

use super::pack::{self, Layout, Strided, vector};
use crate::gemm::Operand;
use crate::linear::{BLOCK, PackedWeight};
use crate::simd::{LANES, Simd};
use std::cell::Cell;
use std::ops::Range;

/// A k × n matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a> {
    /// Element (inner, column) is `values[inner · stride + column]`, or `values[column · stride + inner]`
    /// when transposed.
    Dense { values: &'a [f32], stride: usize, transposed: bool },
    /// Columns are the weight's rows from `first` (a multiple of 16) on: x · Wᵀ.
    Forward { weight: &'a PackedWeight, first: usize },
    /// The inner index runs over the weight's rows from `first` (a multiple of 16) on: dy · W.
    Backward { weight: &'a PackedWeight, first: usize },
}

thread_local! {
    /// Dequantized panels, kept between calls.
    static EXPANDED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// First vector and width of the panel in which `vector` of `all` lies; panels hold `most` vectors, but
/// where one would be left over at the end, the last four make two pairs.
#[inline(always)]
pub(super) fn panel(all: usize, vector: usize, most: usize) -> (usize, usize) {
    let even = if most == 3 && all > 1 && all % 3 == 1 { all - 4 } else { all };
    if vector < even {
        let first = vector / most * most;
        return (first, most.min(even - first));
    }
    (even + (vector - even) / 2 * 2, 2)
}

impl<'a> Right<'a> {
    pub(super) fn operand(operand: Operand<'a>, k: usize, n: usize) -> Self {
        let Operand { values, transposed } = operand;
        Right::Dense { values, stride: if transposed { k } else { n }, transposed }
    }

    /// Packs `columns` × `inner` (which begins at a multiple of 32) into panels of `vectors` vectors,
    /// (see [`panel`]); each is [inner][vectors][16].
    #[inline(always)]
    pub(super) fn pack<S: Simd>(
        &self,
        simd: S,
        layout: Layout,
        columns: Range<usize>,
        inner: Range<usize>,
        vectors: usize,
        to: &mut [f32],
    ) {
        let depth = layout.depth(inner.len());
        let mut expanded = EXPANDED.take();
        // (where in `to`, step) of the vector of sixteen columns from `column`.
        let place = |column: usize| {
            let vector = (column - columns.start) / LANES;
            let (first, width) = panel(columns.len().div_ceil(LANES), vector, vectors);
            (first * depth * LANES + (vector - first) * LANES, width * LANES)
        };
        match *self {
            Right::Dense { values, stride, transposed: false } => {
                pack::rows_along(simd, layout, values, stride, columns.clone(), inner, place, to);
            }
            Right::Dense { values, stride, transposed: true } => {
                for column in columns.clone().step_by(LANES) {
                    let (at, step) = place(column);
                    let count = LANES.min(columns.end - column);
                    let from = Strided::new(values, stride, false, column, count);
                    vector(simd, layout, from, inner.clone(), &mut to[at..], step);
                }
            }
            Right::Forward { weight, first } => {
                for column in columns.clone().step_by(LANES) {
                    let (at, step) = place(column);
                    // Rows missing from the last panel are zeros there.
                    let panel = (first + column) / LANES;
                    weight.expand(simd, panel, inner.clone(), &mut expanded);
                    let from = Strided::new(&expanded, LANES, true, 0, LANES);
                    vector(simd, layout, from, 0..inner.len(), &mut to[at..], step);
                }
            }
            Right::Backward { weight, first } => {
                let start = columns.start / BLOCK * BLOCK;
                for row in inner.clone().step_by(LANES) {
                    let panel = (first + row) / LANES;
                    weight.expand(simd, panel, start..columns.end, &mut expanded);
                    let rows = LANES.min(inner.end - row);
                    let skip = layout.depth(row - inner.start);
                    for column in columns.clone().step_by(LANES) {
                        let (at, step) = place(column);
                        let count = LANES.min(columns.end - column);
                        let from = Strided::new(&expanded, LANES, false, column - start, count);
                        vector(simd, layout, from, 0..rows, &mut to[at + skip * step..], step);
                    }
                }
            }
        }
        EXPANDED.set(expanded);
    }
}
