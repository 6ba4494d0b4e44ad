//! Register tiles: some rows of A times one to three vectors of columns of B.

use super::pack::Layout;
use super::right::panel as panel_of;
use super::{INNER, Run, Shape};
use crate::simd::{Kernel, LANES, Simd, padded, store_padded};
use std::cell::Cell;
use std::ops::Range;

/// Panels of B packed together: they stay in the second-level cache while the rows of A pass by.
const PANELS: usize = 8;

/// Rows of A that stay in the second-level cache while the panels pass by.
const ROWS: usize = 256;

/// Vectors of a tile: 8 × 3 accumulators where there are 32 wide registers, else 4 × 1.
#[inline(always)]
pub(super) fn vectors<S: Simd>() -> usize {
    if S::TOKENS >= 16 { 3 } else { 1 }
}

thread_local! {
    /// Packed panels of B, kept between calls.
    static PACKED_B: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Some rows (of the chunk) and columns of a product.
pub(super) struct Part<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) packed: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Part { run, packed, rows, columns } = self;
        let Shape { k, .. } = run.shape;
        let layout = run.layout;
        let width = vectors::<S>() * LANES;
        let block = if layout == Layout::Paired { 2 * INNER } else { INNER };
        let mut right = PACKED_B.take();
        let room = layout.depth(block.min(k)) * (PANELS * width).min(columns.len().next_multiple_of(LANES));
        if right.len() < room {
            right.resize(room, 0.0);
        }
        let size = layout.depth(k) * LANES;
        for first in columns.clone().step_by(PANELS * width) {
            let columns = first..(first + PANELS * width).min(columns.end);
            for start in (0..k).step_by(block) {
                let inner = start..(start + block).min(k);
                let depth = layout.depth(inner.len());
                run.right.pack(simd, layout, columns.clone(), inner, vectors::<S>(), &mut right);
                let add = run.accumulate || start > 0;
                for top in rows.clone().step_by(ROWS) {
                    let bottom = (top + ROWS).min(rows.end);
                    let all = columns.len().div_ceil(LANES);
                    let mut vector = 0;
                    while vector < all {
                        let (_, width) = panel_of(all, vector, vectors::<S>());
                        let b = &right[vector * LANES * depth..];
                        let column = columns.start + vector * LANES;
                        let wide = (columns.end - column).min(width * LANES);
                        vector += width;
                        for row in (top..bottom).step_by(LANES) {
                            let a = &packed[row / LANES * size + layout.depth(start) * LANES..];
                            let a = &a[..depth * LANES];
                            let place = Place {
                                row: run.rows.start + row,
                                rows: LANES.min(rows.end - row),
                                column,
                                columns: wide,
                                add,
                            };
                            panel(simd, run, a, b, depth, place);
                        }
                    }
                }
            }
        }
        PACKED_B.set(right);
    }
}

/// Where a tile of C lies.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
    add: bool,
}

/// Up to sixteen rows × one panel.
#[inline(always)]
fn panel<S: Simd>(simd: S, run: &Run, a: &[f32], b: &[f32], depth: usize, place: Place) {
    match place.columns.div_ceil(LANES) {
        3 if S::TOKENS >= 16 => rows::<S, 3>(simd, run, a, b, depth, place),
        2 if S::TOKENS >= 16 => rows::<S, 2>(simd, run, a, b, depth, place),
        _ => rows::<S, 1>(simd, run, a, b, depth, place),
    }
}

#[inline(always)]
fn rows<S: Simd, const V: usize>(simd: S, run: &Run, a: &[f32], b: &[f32], depth: usize, place: Place) {
    let b = &b[..depth * V * LANES];
    let mut row = 0;
    while row < place.rows {
        let left = place.rows - row;
        if S::TOKENS >= 16 && left > 4 {
            tile::<S, 8, V>(simd, run, a, b, row, place);
            row += 8;
        } else if left > 1 {
            tile::<S, 4, V>(simd, run, a, b, row, place);
            row += 4;
        } else {
            tile::<S, 1, V>(simd, run, a, b, row, place);
            row += 1;
        }
    }
}

#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    run: &Run,
    a: &[f32],
    b: &[f32],
    first: usize,
    place: Place,
) {
    let (a, _) = a.as_chunks::<LANES>();
    let (b, _) = b.as_chunks::<LANES>();
    let mut sums = [[simd.splat(0.0); V]; R];
    for (a, b) in a.iter().zip(b.chunks_exact(V)) {
        // Sixteen rows of A lie together; `first + R` is at most sixteen.
        let a: &[f32; R] = match a[first..first + R].try_into() {
            Ok(a) => a,
            Err(_) => unreachable!(),
        };
        let mut columns = [simd.splat(0.0); V];
        for (column, b) in columns.iter_mut().zip(b) {
            *column = simd.load(b);
        }
        for (sums, &a) in sums.iter_mut().zip(a) {
            let a = simd.splat(a);
            for (sum, &b) in sums.iter_mut().zip(&columns) {
                *sum = if S::PAIRS { simd.dot_pairs(a, b, *sum) } else { simd.fma(a, b, *sum) };
            }
        }
    }
    for (i, sums) in sums.iter().enumerate().take(place.rows - first) {
        let at = (place.row + first + i) * run.stride + place.column;
        // SAFETY: parts own disjoint rows and columns of C, and write one tile at a time.
        let c = unsafe { run.c.range(at, place.columns) };
        for (v, &sum) in sums.iter().enumerate() {
            let sum = if place.add { simd.add(padded(simd, c, v * LANES, 0.0), sum) } else { sum };
            store_padded(simd, sum, c, v * LANES);
        }
    }
}
