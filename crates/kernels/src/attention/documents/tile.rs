//! Products of tiles that stay in the first-level cache.

use crate::simd::{LANES, Simd, part};

/// Vectors side by side in a tile.
pub(super) const VECTORS: usize = 4;

/// Numbers of a row of a tile.
pub(super) const WIDTH: usize = VECTORS * LANES;

/// A row of a tile.
pub(super) type Row = [[f32; LANES]; VECTORS];

/// A tile's rows.
#[inline(always)]
pub(super) fn rows(tile: &[f32]) -> &[Row] {
    tile.as_chunks::<LANES>().0.as_chunks::<VECTORS>().0
}

/// As [`rows`], to write.
#[inline(always)]
pub(super) fn rows_mut(tile: &mut [f32]) -> &mut [Row] {
    tile.as_chunks_mut::<LANES>().0.as_chunks_mut::<VECTORS>().0
}

/// A left factor of some rows.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Row r begins at `r · stride`.
    Lines { values: &'a [f32], stride: usize },
    /// Sixteen rows, side by side: \[inner\]\[16\].
    Turned(&'a [f32]),
}

/// Where a product goes: row r begins at `r · stride`.
pub(super) struct To<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) stride: usize,
    /// Whether it is added to what is there.
    pub(super) add: bool,
}

/// Runs a body that is compiled for every first vector of a tile's rows.
macro_rules! from_vector {
    ($from:expr, $body:ident::<$($kind:ty),+>($($argument:expr),* $(,)?)) => {
        match $from {
            0 => $body::<$($kind),+, 0>($($argument),*),
            1 => $body::<$($kind),+, 1>($($argument),*),
            2 => $body::<$($kind),+, 2>($($argument),*),
            _ => $body::<$($kind),+, 3>($($argument),*),
        }
    };
}
pub(super) use from_vector;

/// `C (+)= A · B` for `rows` rows of A and C, `depth` inner indices (or pairs of them: `PAIRED`, where the level
/// has the instruction) and the vectors of B from `from` on; B is \[inner\]\[[`VECTORS`]\]\[16\].
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the shape and the factors
pub(super) fn product<S: Simd, const PAIRED: bool>(
    simd: S,
    rows: usize,
    depth: usize,
    from: usize,
    a: Left,
    b: &[f32],
    mut to: To,
) {
    let (b, _) = b[..depth * WIDTH].as_chunks::<LANES>();
    let (b, _) = b.as_chunks::<VECTORS>();
    if S::COLUMNS > 1 {
        let all = Product { rows, a, b };
        return match from {
            0 => all.take::<S, PAIRED, 4, 0, 4>(simd, &mut to, 0),
            1 => all.take::<S, PAIRED, 4, 1, 3>(simd, &mut to, 0),
            2 => all.take::<S, PAIRED, 8, 2, 2>(simd, &mut to, 0),
            _ => all.take::<S, PAIRED, 8, 3, 1>(simd, &mut to, 0),
        };
    }
    for vector in from..VECTORS {
        let (all, at) = (Product { rows, a, b }, (vector - from) * LANES);
        match vector {
            0 => all.take::<S, PAIRED, 4, 0, 1>(simd, &mut to, at),
            1 => all.take::<S, PAIRED, 4, 1, 1>(simd, &mut to, at),
            2 => all.take::<S, PAIRED, 4, 2, 1>(simd, &mut to, at),
            _ => all.take::<S, PAIRED, 4, 3, 1>(simd, &mut to, at),
        }
    }
}

struct Product<'a> {
    rows: usize,
    a: Left<'a>,
    b: &'a [Row],
}

/// Inner indices of lines of A that are taken together.
const STEPS: usize = 4;

impl Product<'_> {
    /// Vectors `J..J + W` of B, `R` rows at a time, to the columns from `column` on.
    #[inline(always)]
    fn take<S: Simd, const PAIRED: bool, const R: usize, const J: usize, const W: usize>(
        &self,
        simd: S,
        to: &mut To,
        column: usize,
    ) {
        for first in (0..self.rows).step_by(R) {
            let count = R.min(self.rows - first);
            let mut sums = [[simd.splat(0.0); W]; R];
            if to.add {
                for (i, sums) in sums.iter_mut().enumerate().take(count) {
                    let (from, _) = to.values[(first + i) * to.stride + column..][..W * LANES].as_chunks();
                    for (sum, from) in sums.iter_mut().zip(from) {
                        *sum = simd.load(from);
                    }
                }
            }
            match self.a {
                Left::Lines { values, stride } => {
                    self.lines::<S, PAIRED, R, J, W>(simd, values, stride, first, &mut sums);
                }
                Left::Turned(values) => {
                    let (a, _) = values.as_chunks::<LANES>();
                    for (a, b) in a.iter().zip(self.b) {
                        let a: &[f32; R] = part(a, first);
                        step::<S, PAIRED, R, J, W>(simd, a, b, &mut sums);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate().take(count) {
                let (to, _) = to.values[(first + i) * to.stride + column..][..W * LANES].as_chunks_mut();
                for (to, &sum) in to.iter_mut().zip(sums) {
                    simd.store(sum, to);
                }
            }
        }
    }

    #[inline(always)]
    fn lines<S: Simd, const PAIRED: bool, const R: usize, const J: usize, const W: usize>(
        &self,
        simd: S,
        values: &[f32],
        stride: usize,
        first: usize,
        sums: &mut [[S::V; W]; R],
    ) {
        let mut lines = [&values[..0]; R];
        for (i, line) in lines.iter_mut().enumerate() {
            // Rows that are missing are taken for the last one.
            *line = &values[(first + i).min(self.rows - 1) * stride..][..self.b.len()];
        }
        // Several inner indices at a time, so that the ends of the lines are not looked for at each.
        let (whole, rest) = self.b.as_chunks::<STEPS>();
        for (c, b) in whole.iter().enumerate() {
            let mut pieces = [&[0.0; STEPS]; R];
            for (piece, line) in pieces.iter_mut().zip(&lines) {
                *piece = part(line, c * STEPS);
            }
            for (k, b) in b.iter().enumerate() {
                let mut a = [0.0; R];
                for (a, piece) in a.iter_mut().zip(&pieces) {
                    *a = piece[k];
                }
                step::<S, PAIRED, R, J, W>(simd, &a, b, sums);
            }
        }
        for (k, b) in rest.iter().enumerate() {
            let mut a = [0.0; R];
            for (a, line) in a.iter_mut().zip(&lines) {
                *a = line[whole.len() * STEPS + k];
            }
            step::<S, PAIRED, R, J, W>(simd, &a, b, sums);
        }
    }
}

/// One inner index.
#[inline(always)]
fn step<S: Simd, const PAIRED: bool, const R: usize, const J: usize, const W: usize>(
    simd: S,
    a: &[f32; R],
    b: &Row,
    sums: &mut [[S::V; W]; R],
) {
    let mut columns = [simd.splat(0.0); W];
    for (v, column) in columns.iter_mut().enumerate() {
        *column = simd.load(&b[J + v]);
    }
    for (sums, &a) in sums.iter_mut().zip(a) {
        let a = simd.splat(a);
        for (sum, &b) in sums.iter_mut().zip(&columns) {
            *sum = if PAIRED && S::PAIRS { simd.dot_pairs(a, b, *sum) } else { simd.fma(a, b, *sum) };
        }
    }
}
