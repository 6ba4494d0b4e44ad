//! Register tiles: some rows of A times one to three vectors of columns of B.

use super::pack::Layout;
use super::right::panel as panel_of;
use super::{INNER, Right, Run, Shape};
use crate::memory::Lines;
use crate::simd::{Kernel, LANES, Simd, padded, part, store_padded};
use std::cell::Cell;
use std::ops::Range;

/// Panels of B packed together: they stay in the second-level cache while the rows of A pass by.
pub(super) const PANELS: usize = 8;

/// Rows of A that stay in the second-level cache while the panels pass by.
pub(super) const ROWS: usize = 256;

thread_local! {
    /// Packed panels of B, kept between calls.
    static PACKED_B: Cell<Lines> = const { Cell::new(Lines::new()) };
}

/// Some rows (of the chunk) and columns of a product.
pub(super) struct Part<'a> {
    pub(super) run: &'a Run<'a>,
    /// A from row `origin` on, unless it is read as it stands.
    pub(super) packed: &'a [f32],
    pub(super) origin: usize,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    /// All of B; otherwise the part packs its own columns.
    pub(super) right: Option<&'a [f32]>,
}

/// Columns whose panels are packed together, at a level.
#[inline(always)]
fn group<S: Simd>() -> usize {
    PANELS * S::COLUMNS * LANES
}

/// Inner indices worked on at a time: a panel of B of so many rows stays in the first-level cache.
#[inline(always)]
pub(super) fn block<S: Simd>(layout: Layout) -> usize {
    let inner = if S::COLUMNS == 1 { 2 * INNER } else { INNER };
    if layout == Layout::Paired { 2 * inner } else { inner }
}

/// Where in all of packed B the block of the inner dimension from `start` lies, for the group of columns from
/// `first` with so many columns (a multiple of sixteen).
#[inline(always)]
fn place(layout: Layout, k: usize, first: usize, columns: usize, start: usize) -> usize {
    layout.depth(k) * first + layout.depth(start) * columns
}

/// Packs groups of columns of B, numbered `groups`, into their places.
pub(super) struct PackRight<'a> {
    pub(super) shape: Shape,
    pub(super) layout: Layout,
    pub(super) right: &'a Right<'a>,
    pub(super) groups: Range<usize>,
    /// The places of these groups.
    pub(super) to: &'a mut [f32],
}

impl Kernel for PackRight<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let PackRight { shape, layout, right, groups, to } = self;
        let Shape { n, k, .. } = shape;
        let begin = groups.start * group::<S>();
        for at in groups {
            let columns = at * group::<S>()..((at + 1) * group::<S>()).min(n);
            let wide = columns.len().next_multiple_of(LANES);
            for start in (0..k).step_by(block::<S>(layout)) {
                let inner = start..(start + block::<S>(layout)).min(k);
                let to = &mut to[place(layout, k, columns.start - begin, wide, start)..];
                right.pack(simd, layout, columns.clone(), inner, S::COLUMNS, to);
            }
        }
    }
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Part { run, packed, origin, rows, columns, right: shared } = self;
        let Shape { k, .. } = run.shape;
        let layout = run.layout;
        let block = block::<S>(layout);
        let mut own = PACKED_B.take();
        let room = layout.depth(block.min(k)) * group::<S>().min(columns.len().next_multiple_of(LANES));
        if shared.is_none() {
            own.room(room);
        }
        let size = layout.depth(k) * LANES;
        for first in columns.clone().step_by(group::<S>()) {
            let columns = first..(first + group::<S>()).min(columns.end);
            let all = columns.len().div_ceil(LANES);
            for start in (0..k).step_by(block) {
                let inner = start..(start + block).min(k);
                let depth = layout.depth(inner.len());
                let right = match shared {
                    Some(values) => &values[place(layout, k, first, all * LANES, start)..],
                    None => {
                        run.right.pack(simd, layout, columns.clone(), inner, S::COLUMNS, &mut own);
                        &own[..]
                    }
                };
                let add = run.accumulate || start > 0;
                for top in rows.clone().step_by(ROWS) {
                    let bottom = (top + ROWS).min(rows.end);
                    let mut vector = 0;
                    while vector < all {
                        let (_, width) = panel_of(all, vector, S::COLUMNS);
                        let b = &right[vector * LANES * depth..][..depth * width * LANES];
                        let column = columns.start + vector * LANES;
                        let columns = (columns.end - column).min(width * LANES);
                        vector += width;
                        for row in (top..bottom).step_by(LANES) {
                            let rows = LANES.min(rows.end - row);
                            let at = (row - origin) / LANES * size;
                            let row = run.rows.start + row;
                            let (values, step) = match (run.as_it_stands(), run.left.transposed) {
                                (true, _) => {
                                    (&run.left.values[row * run.left.stride + start..], run.left.stride)
                                }
                                (_, false) => (&packed[at + layout.depth(start)..], layout.depth(k)),
                                (_, true) => (&packed[at + layout.depth(start) * LANES..], 0),
                            };
                            let left = Panel { values, step, rows, depth };
                            panel(simd, run, left, b, Place { row, column, columns, width, add });
                        }
                    }
                }
            }
        }
        PACKED_B.set(own);
    }
}

/// Up to sixteen rows of a block of the inner dimension of A.
#[derive(Clone, Copy)]
struct Panel<'a> {
    values: &'a [f32],
    /// From row to row; 0 in a panel of [inner][16].
    step: usize,
    /// Rows there are; a tile may take more, whose sums nobody uses.
    rows: usize,
    depth: usize,
}

/// Where a tile of C lies.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    columns: usize,
    /// Vectors of the panel of B.
    width: usize,
    add: bool,
}

/// Up to sixteen rows × one panel.
#[inline(always)]
fn panel<S: Simd>(simd: S, run: &Run, a: Panel, b: &[f32], place: Place) {
    match (place.width, a.step > 0) {
        (3, false) if S::COLUMNS == 3 => rows::<S, 3, false>(simd, run, a, b, place),
        (2, false) if S::COLUMNS == 3 => rows::<S, 2, false>(simd, run, a, b, place),
        (_, false) => rows::<S, 1, false>(simd, run, a, b, place),
        (3, true) if S::COLUMNS == 3 => rows::<S, 3, true>(simd, run, a, b, place),
        (2, true) if S::COLUMNS == 3 => rows::<S, 2, true>(simd, run, a, b, place),
        (_, true) => rows::<S, 1, true>(simd, run, a, b, place),
    }
}

#[inline(always)]
fn rows<S: Simd, const V: usize, const BY_ROWS: bool>(simd: S, run: &Run, a: Panel, b: &[f32], place: Place) {
    let mut row = 0;
    while row < a.rows {
        let left = a.rows - row;
        if S::ROWS == 8 && left > 4 {
            tile::<S, 8, V, BY_ROWS>(simd, run, a, b, row, place);
            row += 8;
        } else if S::ROWS == 6 && left > 4 {
            tile::<S, 6, V, BY_ROWS>(simd, run, a, b, row, place);
            row += 6;
        } else if left > 1 {
            tile::<S, 4, V, BY_ROWS>(simd, run, a, b, row, place);
            row += 4;
        } else {
            tile::<S, 1, V, BY_ROWS>(simd, run, a, b, row, place);
            row += 1;
        }
    }
}

/// One largest tile over `depth` inner indices, whose sums go nowhere but into one number.
#[inline(always)]
pub(super) fn alone<S: Simd>(simd: S, a: &[f32], b: &[f32], depth: usize) -> f32 {
    let a = Panel { values: a, step: depth, rows: S::ROWS, depth };
    match S::ROWS {
        8 => total(simd, sums::<S, 8, 3, true>(simd, a, b, 0)),
        6 => total(simd, sums::<S, 6, 1, true>(simd, a, b, 0)),
        _ => total(simd, sums::<S, 4, 1, true>(simd, a, b, 0)),
    }
}

#[inline(always)]
fn total<S: Simd, const R: usize, const V: usize>(simd: S, sums: [[S::V; V]; R]) -> f32 {
    let mut all = simd.splat(0.0);
    for &sum in sums.as_flattened() {
        all = simd.add(all, sum);
    }
    simd.sum(all)
}

#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize, const BY_ROWS: bool>(
    simd: S,
    run: &Run,
    a: Panel,
    b: &[f32],
    first: usize,
    place: Place,
) {
    let sums = sums::<S, R, V, BY_ROWS>(simd, a, b, first);
    for (i, sums) in sums.iter().enumerate().take(a.rows - first) {
        let at = (place.row + first + i) * run.stride + place.column;
        // SAFETY: parts own disjoint rows and columns of C, and write one tile at a time.
        let c = unsafe { run.c.range(at, place.columns) };
        for (v, &sum) in sums.iter().enumerate().take(place.columns.div_ceil(LANES)) {
            let sum = if place.add { simd.add(padded(simd, c, v * LANES, 0.0), sum) } else { sum };
            store_padded(simd, sum, c, v * LANES);
        }
    }
}

/// Inner indices of rows of A that are taken together.
const STEPS: usize = 4;

/// The products of rows `first..first + R` of A with a panel of B.
#[inline(always)]
fn sums<S: Simd, const R: usize, const V: usize, const BY_ROWS: bool>(
    simd: S,
    a: Panel,
    b: &[f32],
    first: usize,
) -> [[S::V; V]; R] {
    let (b, _) = b[..a.depth * V * LANES].as_chunks::<LANES>();
    let mut sums = [[simd.splat(0.0); V]; R];
    if BY_ROWS {
        let mut lines = [&a.values[..0]; R];
        for (i, line) in lines.iter_mut().enumerate() {
            *line = &a.values[(first + i).min(a.rows - 1) * a.step..][..a.depth];
        }
        // Several inner indices at a time, so that the ends of the lines are not looked for at each.
        for (c, b) in b.chunks_exact(V * STEPS).enumerate() {
            let mut pieces = [&[0.0; STEPS]; R];
            for (piece, line) in pieces.iter_mut().zip(&lines) {
                *piece = part(line, c * STEPS);
            }
            for (k, b) in b.chunks_exact(V).enumerate() {
                add(simd, |i| pieces[i][k], b, &mut sums);
            }
        }
        for (k, b) in b.chunks_exact(V).enumerate().skip(a.depth / STEPS * STEPS) {
            add(simd, |i| lines[i][k], b, &mut sums);
        }
    } else {
        let (a, _) = a.values[..a.depth * LANES].as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b.chunks_exact(V)) {
            // Sixteen rows of A lie together; `first + R` is at most sixteen.
            let a: &[f32; R] = match a[first..first + R].try_into() {
                Ok(a) => a,
                Err(_) => unreachable!(),
            };
            add(simd, |i| a[i], b, &mut sums);
        }
    }
    sums
}

/// One inner index of a tile.
#[inline(always)]
fn add<S: Simd, const R: usize, const V: usize>(
    simd: S,
    a: impl Fn(usize) -> f32,
    b: &[[f32; LANES]],
    sums: &mut [[S::V; V]; R],
) {
    let mut columns = [simd.splat(0.0); V];
    for (column, b) in columns.iter_mut().zip(b) {
        *column = simd.load(b);
    }
    for (i, sums) in sums.iter_mut().enumerate() {
        let a = simd.splat(a(i));
        for (sum, &b) in sums.iter_mut().zip(&columns) {
            *sum = if S::PAIRS { simd.dot_pairs(a, b, *sum) } else { simd.fma(a, b, *sum) };
        }
    }
}
