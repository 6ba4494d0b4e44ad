//! Activations arranged for the kernels: tiles of up to 16 tokens, rounded to 8 bits or transposed.

use crate::cpu::Level;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, lanes, lanes_mut, part};

/// Numbers kept per 32 columns of a token: scale, sum of the first 16 codes, sum of all 32, and scale
/// times the latter.
pub(super) const NOTES: usize = 4;

/// Tokens of the next tile: the largest power of two that fits `most` and `left`.
#[inline(always)]
pub(crate) fn tile(left: usize, most: usize) -> usize {
    [16, 8, 4, 2].into_iter().find(|&t| t <= most && t <= left).unwrap_or(1)
}

/// (first token, tokens) of each tile.
fn tiles(tokens: usize, most: usize) -> Vec<(usize, usize)> {
    let mut tiles = Vec::with_capacity(tokens / most + 4);
    let mut start = 0;
    while start < tokens {
        let size = tile(tokens - start, most);
        tiles.push((start, size));
        start += size;
    }
    tiles
}

/// Reused between calls so that a decoded token allocates nothing.
#[derive(Default)]
pub(super) struct Buffers {
    /// Tile by tile: [block][token][32].
    pub(super) codes: Vec<i8>,
    /// Tile by tile: [block][token][NOTES].
    pub(super) notes: Vec<f32>,
    /// Tile by tile: [column][token].
    pub(super) turned: Vec<f32>,
}

/// Rounds `x` (tokens × columns, columns a multiple of 32) to 8 bits: per 32 columns scale = max |x| / 127,
/// code = x / scale to the nearest, ties to even.
pub(super) fn quantize(level: Level, most: usize, x: &[f32], columns: usize, buffers: &mut Buffers) {
    let tokens = x.len() / columns;
    let stride = columns / 32 * NOTES;
    buffers.codes.resize(tokens * columns, 0);
    buffers.notes.resize(tokens * stride, 0.0);
    let codes = Outputs::new(&mut buffers.codes);
    let notes = Outputs::new(&mut buffers.notes);
    let one = |(start, size): (usize, usize)| {
        // SAFETY: tiles are disjoint ranges of tokens.
        let codes = unsafe { codes.range(start * columns, size * columns) };
        // SAFETY: as above.
        let notes = unsafe { notes.range(start * stride, size * stride) };
        dispatch(level, Tile { x: &x[start * columns..(start + size) * columns], size, codes, notes });
    };
    let tiles = tiles(tokens, most);
    // A hand-off costs about as much as rounding a few thousand numbers.
    if x.len() < 8192 {
        tiles.into_iter().for_each(one);
    } else {
        pool::run(tiles.len(), &|i| one(tiles[i]));
    }
}

/// Rounding of one tile: `size` tokens.
struct Tile<'a> {
    x: &'a [f32],
    size: usize,
    codes: &'a mut [i8],
    notes: &'a mut [f32],
}

impl Kernel for Tile<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Tile { x, size, codes, notes } = self;
        let columns = x.len() / size;
        for (t, x) in x.chunks_exact(columns).enumerate() {
            for (block, x) in x.chunks_exact(32).enumerate() {
                let at = block * size + t;
                let codes = &mut codes[at * 32..at * 32 + 32];
                round_block(simd, part(x, 0), codes, &mut notes[at * NOTES..at * NOTES + NOTES]);
            }
        }
    }
}

#[inline(always)]
fn round_block<S: Simd>(simd: S, x: &[f32; 32], codes: &mut [i8], notes: &mut [f32]) {
    let halves = [simd.load(part(x, 0)), simd.load(part(x, LANES))];
    let magnitude = |v: S::V| simd.max(v, simd.sub(simd.splat(0.0), v));
    let peak = simd.top(simd.max(magnitude(halves[0]), magnitude(halves[1])));
    let inverse = simd.splat(if peak > 0.0 { 127.0 / peak } else { 0.0 });
    let mut sums = [0f32; 2];
    for (i, half) in halves.into_iter().enumerate() {
        let rounded = simd.round(simd.mul(half, inverse));
        simd.store_codes(rounded, lanes_mut(codes, i * LANES));
        // Integers below 2^24: exact in any order.
        sums[i] = simd.sum(rounded);
    }
    let scale = peak / 127.0;
    let total = sums[0] + sums[1];
    notes.copy_from_slice(&[scale, sums[0], total, scale * total]);
}

/// Transposes tiles of tokens so that a column's values lie together.
pub(super) fn turn(level: Level, x: &[f32], columns: usize, most: usize, turned: &mut Vec<f32>) {
    turned.resize(x.len(), 0.0);
    let tiles = tiles(x.len() / columns, most);
    let turned = Outputs::new(turned);
    pool::run(tiles.len(), &|i| {
        let (start, size) = tiles[i];
        let range = start * columns..(start + size) * columns;
        // SAFETY: tiles are disjoint ranges of tokens.
        let to = unsafe { turned.range(range.start, range.len()) };
        dispatch(level, Turn { x: &x[range], columns, to });
    });
}

/// Transposition of one tile.
struct Turn<'a> {
    x: &'a [f32],
    columns: usize,
    to: &'a mut [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        turn_tile(simd, self.x, self.columns, self.to);
    }
}

/// `x` (size × columns) as columns × size.
#[inline(always)]
pub(crate) fn turn_tile<S: Simd>(simd: S, x: &[f32], columns: usize, to: &mut [f32]) {
    let size = x.len() / columns;
    let whole = if size == LANES { columns / LANES * LANES } else { 0 };
    for at in (0..whole).step_by(LANES) {
        let mut rows = [simd.splat(0.0); LANES];
        for (t, row) in rows.iter_mut().enumerate() {
            *row = simd.load(lanes(x, t * columns + at));
        }
        for (i, row) in simd.turn(rows).into_iter().enumerate() {
            simd.store(row, lanes_mut(to, (at + i) * LANES));
        }
    }
    for (t, row) in x.chunks_exact(columns).enumerate() {
        for (column, &value) in row.iter().enumerate().skip(whole) {
            to[column * size + t] = value;
        }
    }
}
