//! Matrix products `C (+)= A · B` in f32, or where the machine can with both factors rounded to bf16 and f32 sums.
//!
//! With many rows, B is packed (or dequantized) once, every thread takes blocks of rows, packs those of A
//! for itself and multiplies register tiles. With few rows, A is packed once, and every thread takes groups of
//! columns and packs that part of B block by block. Rows of A in f32 are not packed but read where they lie. An
//! element of C is the sum over blocks of the inner dimension of one chain each, in order, so its bits depend only on the inner
//! dimension, the level and its own row and column: not on threads, nor on the other rows and columns, nor
//! on which of the two ways was taken.

pub mod naive;
pub(crate) mod pack;
mod peak;
mod right;
mod tile;

use crate::cpu::{self, Level};
use crate::expect_len;
use crate::memory::Lines;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, dispatch_bf16};
use pack::Layout;
pub use peak::peak;
pub(crate) use right::Right;
use std::cell::Cell;
use std::ops::Range;

/// How the products of a matrix multiplication are taken; sums are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 products, fused into the sums where the machine can.
    #[default]
    F32,
    /// Both factors rounded to bf16 (nearest, ties to even), multiplied by AVX512-BF16's dot product, which adds
    /// two products per step and takes subnormal numbers as zero. Where the level has no such instruction this is
    /// [`Precision::F32`]: rounding by hand would cost time and gain nothing.
    BF16,
}

impl Precision {
    /// How products are taken at a level.
    pub fn at(self, level: Level) -> Precision {
        match self {
            Precision::BF16 if level.name() == "avx512" && cpu::has_bf16() => Precision::BF16,
            _ => Precision::F32,
        }
    }
}

/// A factor of a product: `rows × columns` row-major, or stored transposed (`columns × rows`).
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// Whether `values` holds the transposed matrix.
    pub transposed: bool,
}

impl<'a> Operand<'a> {
    /// The matrix as it stands.
    pub fn plain(values: &'a [f32]) -> Self {
        Operand { values, transposed: false }
    }

    /// The transpose of the stored matrix.
    pub fn transposed(values: &'a [f32]) -> Self {
        Operand { values, transposed: true }
    }
}

/// `C (+)= A · B`: A is m × k, B k × n, C m × n; without `accumulate` C is overwritten.
///
/// # Panics
/// When a length contradicts the shape.
#[allow(clippy::too_many_arguments)] // the shape, the factors, two switches and the product
pub fn gemm(
    m: usize,
    n: usize,
    k: usize,
    a: Operand,
    b: Operand,
    accumulate: bool,
    precision: Precision,
    c: &mut [f32],
) {
    expect_len("gemm A", a.values.len(), m * k);
    expect_len("gemm B", b.values.len(), k * n);
    expect_len("gemm C", c.len(), m * n);
    let left = Left::new(a, m, k);
    let right = Right::operand(b, k, n);
    multiply(cpu::level(), Shape { m, n, k }, left, &right, accumulate, precision, c, n);
}

/// Rows, columns and inner dimension of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

/// The left factor: element (row, inner) is `values[row · stride + inner]`, or
/// `values[inner · stride + row]` when transposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) transposed: bool,
}

impl<'a> Left<'a> {
    /// Rows of `stride` elements.
    pub(crate) fn rows(values: &'a [f32], stride: usize) -> Self {
        Left { values, stride, transposed: false }
    }

    fn new(operand: Operand<'a>, m: usize, k: usize) -> Self {
        let Operand { values, transposed } = operand;
        Left { values, stride: if transposed { m } else { k }, transposed }
    }
}

/// Vectors of a panel of B, of the widest tile, along the inner dimension that is worked on at a time: see
/// [`tile::block`].
const INNER: usize = 160;

/// Elements of A packed at a time.
const PACKED: usize = 4 << 20;

/// Multiply-accumulates worth a hand-off to another thread.
const PART: usize = 1 << 19;

thread_local! {
    /// Packed A, kept between calls.
    static PACKED_A: Cell<Lines> = const { Cell::new(Lines::new()) };
    /// All of B packed, kept between calls.
    static ALL_OF_B: Cell<Lines> = const { Cell::new(Lines::new()) };
}

/// [`gemm`] at a level, with strides: row r of C begins at `c[r · stride]`.
#[allow(clippy::too_many_arguments)] // as gemm
pub(crate) fn multiply(
    level: Level,
    shape: Shape,
    left: Left,
    right: &Right,
    accumulate: bool,
    precision: Precision,
    c: &mut [f32],
    stride: usize,
) {
    let Shape { m, n, k } = shape;
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            (0..m).for_each(|row| c[row * stride..row * stride + n].fill(0.0));
        }
        return;
    }
    assert!(c.len() >= (m - 1) * stride + n, "gemm C: {} elements for {m} rows of {stride}", c.len());
    let layout = Layout::of(level, precision);
    let c = Outputs::new(c);
    let run = Run { level, shape, rows: 0..m, left, right, accumulate, layout, c: &c, stride };
    let threads = pool::threads();
    if m >= 4 * LANES * threads && 2 * m >= n && layout.depth(k) * n.next_multiple_of(LANES) <= PACKED {
        let mut all = ALL_OF_B.take();
        run.pack_right(&mut all);
        run.rows_with(&all);
        return ALL_OF_B.set(all);
    }
    let mut packed = PACKED_A.take();
    let chunk = (PACKED / k / LANES).max(1) * LANES;
    for first in (0..m).step_by(chunk) {
        let run = Run { rows: first..(first + chunk).min(m), ..run.clone() };
        run.pack(&mut packed);
        run.columns(&packed);
    }
    PACKED_A.set(packed);
}

/// One chunk of rows of a product.
#[derive(Clone)]
struct Run<'a> {
    level: Level,
    shape: Shape,
    rows: Range<usize>,
    left: Left<'a>,
    right: &'a Right<'a>,
    accumulate: bool,
    layout: Layout,
    c: &'a Outputs<'a, f32>,
    stride: usize,
}

/// Runs a kernel at a level, with the bf16 dot product if the layout is for it.
pub(crate) fn enter<K: Kernel>(level: Level, layout: Layout, kernel: K) -> K::Output {
    if layout == Layout::Paired { dispatch_bf16(level, kernel) } else { dispatch(level, kernel) }
}

impl Run<'_> {
    /// Whether A is read where it lies: its rows need neither turning nor rounding.
    #[inline(always)]
    fn as_it_stands(&self) -> bool {
        self.layout == Layout::Plain && !self.left.transposed
    }

    /// All rows of A, packed.
    fn pack(&self, packed: &mut Lines) {
        if self.as_it_stands() {
            return;
        }
        let size = self.layout.depth(self.shape.k) * LANES;
        let panels = self.rows.len().div_ceil(LANES);
        let to = Outputs::new(packed.room(panels * size));
        let parts = (panels * LANES * self.shape.k / PART * 16).clamp(1, 4 * pool::threads()).min(panels);
        pool::run(parts, &|part| {
            let panels = panels * part / parts..panels * (part + 1) / parts;
            // SAFETY: parts are disjoint ranges of panels.
            let to = unsafe { to.range(panels.start * size, panels.len() * size) };
            enter(self.level, self.layout, PackLeft { run: self, panels, to });
        });
    }

    /// All of B, packed.
    fn pack_right(&self, packed: &mut Lines) {
        let Run { level, shape, layout, right, .. } = *self;
        let Shape { n, k, .. } = shape;
        let (size, group) = (layout.depth(k), tile::PANELS * tile_width(level));
        let (room, groups) = (size * n.next_multiple_of(LANES), n.div_ceil(group));
        let to = Outputs::new(packed.room(room));
        let parts = (n * k / PART * 16).clamp(1, 4 * pool::threads()).min(groups);
        pool::run(parts, &|part| {
            let groups = groups * part / parts..groups * (part + 1) / parts;
            let (begin, end) = (groups.start * group, (groups.end * group).min(n.next_multiple_of(LANES)));
            // SAFETY: parts are disjoint ranges of groups of columns.
            let to = unsafe { to.range(size * begin, size * (end - begin)) };
            enter(level, layout, tile::PackRight { shape, layout, right, groups, to });
        });
    }

    /// Shares the rows out; every part packs its own of A.
    fn rows_with(&self, all: &[f32]) {
        let Shape { m, n, k } = self.shape;
        let size = self.layout.depth(k) * LANES;
        let tall = m.div_ceil(LANES);
        // As many equal blocks for every thread, of rows that stay in its second-level cache.
        let parts = (m * n / PART * k).max(m * n * k / PART).clamp(1, 4 * pool::threads());
        let parts = parts.max(m.div_ceil(tile::ROWS)).min(tall / 2).max(1);
        pool::run(parts, &|part| {
            let panels = tall * part / parts..tall * (part + 1) / parts;
            let rows = panels.start * LANES..(panels.end * LANES).min(m);
            let mut packed = PACKED_A.take();
            if !self.as_it_stands() {
                let room = panels.len() * size;
                let to = &mut packed.room(room)[..room];
                enter(self.level, self.layout, PackLeft { run: self, panels, to });
            }
            let (origin, right) = (rows.start, Some(all));
            let part = tile::Part { run: self, packed: &packed, origin, rows, columns: 0..n, right };
            enter(self.level, self.layout, part);
            PACKED_A.set(packed);
        });
    }

    /// Shares the columns out; every part packs its own of B.
    fn columns(&self, packed: &[f32]) {
        let Shape { n, k, .. } = self.shape;
        let m = self.rows.len();
        let width = tile_width(self.level);
        let panels = n.div_ceil(width);
        let threads = pool::threads();
        let parts = (m * n / PART * k).max(m * n * k / PART).clamp(1, 4 * threads);
        let across = panels.min(parts);
        // Few columns: the rows are split as well, and every part packs its columns of B again.
        let down = (parts / across).min(m.div_ceil(2 * LANES)).max(1);
        let down = if across >= 2 * threads { 1 } else { down };
        pool::run(across * down, &|part| {
            let (row, column) = (part / across, part % across);
            let tall = m.div_ceil(LANES);
            let rows = tall * row / down * LANES..(tall * (row + 1) / down * LANES).min(m);
            let columns = panels * column / across * width..(panels * (column + 1) / across * width).min(n);
            let part = tile::Part { run: self, packed, origin: 0, rows, columns, right: None };
            enter(self.level, self.layout, part);
        });
    }
}

/// Packs rows of A by sixteens: each row by itself, in pairs, or (stored transposed) as panels of [inner][16].
struct PackLeft<'a> {
    run: &'a Run<'a>,
    panels: Range<usize>,
    to: &'a mut [f32],
}

impl Kernel for PackLeft<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let PackLeft { run, panels, to } = self;
        let Left { values, stride, transposed } = run.left;
        let k = run.shape.k;
        let depth = run.layout.depth(k);
        let row = |panel: usize| run.rows.start + panel * LANES;
        if transposed {
            let rows = row(panels.start)..row(panels.end).min(run.rows.end);
            let place = |at: usize| ((at - rows.start) * depth, LANES);
            return pack::rows_along(simd, run.layout, values, stride, rows.clone(), 0..k, place, to);
        }
        for (panel, to) in panels.zip(to.chunks_exact_mut(depth * LANES)) {
            let rows = row(panel)..row(panel + 1).min(run.rows.end);
            for (row, to) in rows.zip(to.chunks_exact_mut(depth)) {
                pack::row(simd, &values[row * stride..][..k], to);
            }
        }
    }
}

/// Columns of a register tile at a level.
fn tile_width(level: Level) -> usize {
    dispatch(level, TileVectors) * LANES
}

/// Vectors of a register tile at a level.
struct TileVectors;

impl Kernel for TileVectors {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        S::COLUMNS
    }
}

#[cfg(test)]
mod tests;
