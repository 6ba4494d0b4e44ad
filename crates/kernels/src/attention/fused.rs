//! A tile of queries at a time, over all heads that share keys and values: their score rows, the softmax,
//! the weighted sums of values. Every score is one chain over the channels and every output one chain over
//! the keys, in order, in tiles of any size; the whole operation and its three parts run the same code. So
//! a row's bits depend only on its position and on the cache.

use super::Shape;
use crate::cpu::Level;
use crate::linear::activations::{tile, turn_tile};
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, lanes, lanes_mut, padded, part, store_padded};
use crate::softmax::softmax_row;
use std::cell::Cell;
use std::ops::Range;

/// Query tokens in a part: enough to pay for turning the keys, few enough to balance the triangle.
const QUERIES: usize = 16;

/// Rows whose weighted sums are in flight together.
const MIXED: usize = 4;

thread_local! {
    /// Space of a part, kept between calls.
    static SPACE: Cell<Space> = Cell::default();
}

#[derive(Default)]
struct Space {
    /// Queries of the tile, row by row, then turned: [channel][row].
    queries: Vec<f32>,
    turned: Vec<f32>,
    /// Sixteen keys: [channel][key].
    keys: Vec<f32>,
    /// Score rows.
    scores: Vec<f32>,
    /// Weighted sums.
    mixed: Vec<f32>,
}

/// What is computed for each row, a (head, token).
#[derive(Clone, Copy)]
enum Work<'a> {
    Whole { queries: &'a [f32], keys: &'a [f32], values: &'a [f32] },
    Scores { queries: &'a [f32], keys: &'a [f32] },
    Pattern,
    Mix { pattern: &'a [f32], values: &'a [f32] },
}

pub(super) fn attention(
    level: Level,
    shape: &Shape,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    run(level, shape, Work::Whole { queries, keys, values }, out);
}

pub(super) fn scores(level: Level, shape: &Shape, queries: &[f32], keys: &[f32], out: &mut [f32]) {
    run(level, shape, Work::Scores { queries, keys }, out);
}

pub(super) fn pattern(level: Level, shape: &Shape, scores: &mut [f32]) {
    run(level, shape, Work::Pattern, scores);
}

pub(super) fn mix(level: Level, shape: &Shape, pattern: &[f32], values: &[f32], out: &mut [f32]) {
    run(level, shape, Work::Mix { pattern, values }, out);
}

fn run(level: Level, shape: &Shape, work: Work, out: &mut [f32]) {
    let tiles = shape.tokens.div_ceil(QUERIES);
    let group = shape.heads / shape.kv_heads;
    // Heads that share keys stay together unless there would be too few parts.
    let span = if shape.kv_heads * tiles >= pool::threads() { group } else { 1 };
    let out = Outputs::new(out);
    pool::run(shape.heads / span * tiles, &|part| {
        // Late tiles see most keys; they are taken first (parts are handed out from the last).
        let (tile, head) = (part / (shape.heads / span), part % (shape.heads / span) * span);
        let tokens = tile * QUERIES..((tile + 1) * QUERIES).min(shape.tokens);
        dispatch(level, Part { shape, work, heads: head..head + span, tokens, out: &out });
    });
}

struct Part<'a> {
    shape: &'a Shape<'a>,
    work: Work<'a>,
    /// Query heads over the same keys and values.
    heads: Range<usize>,
    tokens: Range<usize>,
    out: &'a Outputs<'a, f32>,
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Shape { head_dim: dim, capacity, .. } = *self.shape;
        let cache = self.heads.start / (self.shape.heads / self.shape.kv_heads) * capacity * dim;
        let mut space = SPACE.take();
        match self.work {
            Work::Whole { queries, keys, values } => {
                let seen = self.seen();
                let stride = seen.len().next_multiple_of(LANES);
                self.scores(simd, queries, &keys[cache..], seen.clone(), stride, &mut space);
                for (row, scores) in space.scores.chunks_exact_mut(stride).enumerate() {
                    softmax_row(simd, scores, self.sink(row));
                }
                let Space { scores, mixed, .. } = &mut space;
                let weights = |row: usize| &scores[row * stride..][..seen.len()];
                self.mix(simd, weights, &values[cache + seen.start * dim..], mixed);
            }
            Work::Scores { queries, keys } => {
                let seen = 0..self.seen().end;
                let stride = seen.len().next_multiple_of(LANES);
                self.scores(simd, queries, &keys[cache..], seen.clone(), stride, &mut space);
                for row in 0..self.rows() {
                    let out = self.pattern_row(row);
                    out[..seen.len()].copy_from_slice(&space.scores[row * stride..][..seen.len()]);
                    out[seen.len()..].fill(f32::NEG_INFINITY);
                }
            }
            Work::Pattern => {
                for row in 0..self.rows() {
                    softmax_row(simd, self.pattern_row(row), self.sink(row));
                }
            }
            Work::Mix { pattern, values } => {
                // All keys: a pattern put in by a listener need not be causal.
                let keys = self.shape.keys();
                let weights = |row: usize| &pattern[self.pattern_at(row)..][..keys];
                self.mix(simd, weights, &values[cache..], &mut space.mixed);
            }
        }
        SPACE.set(space);
    }
}

impl Part<'_> {
    fn rows(&self) -> usize {
        self.heads.len() * self.tokens.len()
    }

    /// (head, token) of a row.
    #[inline(always)]
    fn place(&self, row: usize) -> (usize, usize) {
        (self.heads.start + row / self.tokens.len(), self.tokens.start + row % self.tokens.len())
    }

    /// Keys that some row sees, from a whole vector on, so that the lanes are those of the full row.
    fn seen(&self) -> Range<usize> {
        let first = self.shape.start + self.tokens.start + 1;
        let start = self.shape.window.map_or(0, |window| first.saturating_sub(window)) / LANES * LANES;
        start..self.shape.start + self.tokens.end
    }

    fn sink(&self, row: usize) -> Option<f32> {
        self.shape.sinks.map(|sinks| sinks[self.place(row).0])
    }

    /// Where a row begins in the scores or the pattern.
    fn pattern_at(&self, row: usize) -> usize {
        let (head, token) = self.place(row);
        (head * self.shape.tokens + token) * self.shape.keys()
    }

    #[allow(clippy::mut_from_ref)] // as Outputs::range
    fn pattern_row(&self, row: usize) -> &mut [f32] {
        // SAFETY: a (head, token) belongs to one part, which takes its row once at a time.
        unsafe { self.out.range(self.pattern_at(row), self.shape.keys()) }
    }

    /// Scores of the keys `seen` into `space.scores`, rows of `stride`; −∞ where a query may not look.
    #[inline(always)]
    fn scores<S: Simd>(
        &self,
        simd: S,
        queries: &[f32],
        keys: &[f32],
        seen: Range<usize>,
        stride: usize,
        space: &mut Space,
    ) {
        let (shape, dim, rows) = (self.shape, self.shape.head_dim, self.rows());
        space.queries.clear();
        for row in 0..rows {
            let (head, token) = self.place(row);
            space.queries.extend_from_slice(&queries[(token * shape.heads + head) * dim..][..dim]);
        }
        space.turned.resize(rows * dim, 0.0);
        let mut start = 0;
        while start < rows {
            let size = tile(rows - start, S::TOKENS);
            let range = start * dim..(start + size) * dim;
            turn_tile(simd, &space.queries[range.clone()], dim, &mut space.turned[range]);
            start += size;
        }
        space.keys.resize(dim.next_multiple_of(LANES) * LANES, 0.0);
        space.scores.resize(rows * stride, 0.0);
        for block in (0..stride).step_by(LANES) {
            turn_keys(simd, dim, &keys[(seen.start + block) * dim..], seen.len() - block, &mut space.keys);
            let mut start = 0;
            while start < rows {
                let size = tile(rows - start, S::TOKENS);
                let out = &mut space.scores[start * stride + block..];
                let (queries, keys) = (&space.turned[start * dim..][..size * dim], &space.keys);
                if S::TOKENS >= 16 && size == 16 {
                    score_tile::<S, 16>(simd, shape, queries, keys, out, stride);
                } else if S::TOKENS >= 8 && size == 8 {
                    score_tile::<S, 8>(simd, shape, queries, keys, out, stride);
                } else if size == 4 {
                    score_tile::<S, 4>(simd, shape, queries, keys, out, stride);
                } else if size == 2 {
                    score_tile::<S, 2>(simd, shape, queries, keys, out, stride);
                } else {
                    score_tile::<S, 1>(simd, shape, queries, keys, out, stride);
                }
                start += size;
            }
        }
        for (row, scores) in space.scores.chunks_exact_mut(stride).enumerate() {
            let position = shape.start + self.place(row).1;
            let visible = position + 1 - seen.start;
            scores[visible..].fill(f32::NEG_INFINITY);
            if shape.window.is_some() || shape.segments.is_some() {
                for (i, score) in scores[..visible].iter_mut().enumerate() {
                    if !shape.sees(position, seen.start + i) {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }

    /// Writes Σ weight · value, one chain over the keys per row and channel.
    #[inline(always)]
    fn mix<'w, S: Simd>(
        &self,
        simd: S,
        weights: impl Fn(usize) -> &'w [f32],
        values: &[f32],
        mixed: &mut Vec<f32>,
    ) {
        let (shape, dim, rows) = (self.shape, self.shape.head_dim, self.rows());
        mixed.resize(rows * dim, 0.0);
        let mut start = 0;
        while start < rows {
            let size = tile(rows - start, MIXED);
            let out = &mut mixed[start * dim..(start + size) * dim];
            if size == 4 {
                mix_tile::<S, 4>(simd, [0, 1, 2, 3].map(|i| weights(start + i)), values, dim, out);
            } else if size == 2 {
                mix_tile::<S, 2>(simd, [0, 1].map(|i| weights(start + i)), values, dim, out);
            } else {
                mix_tile::<S, 1>(simd, [weights(start)], values, dim, out);
            }
            start += size;
        }
        for (row, mixed) in mixed.chunks_exact(dim.max(1)).enumerate() {
            let (head, token) = self.place(row);
            // SAFETY: a (head, token) belongs to one part, and its channels to it alone.
            let out = unsafe { self.out.range((token * shape.heads + head) * dim, dim) };
            out.copy_from_slice(mixed);
        }
    }
}

/// Transposes the first sixteen of `count` keys; the last stands in for those missing.
#[inline(always)]
fn turn_keys<S: Simd>(simd: S, dim: usize, keys: &[f32], count: usize, to: &mut [f32]) {
    for channel in (0..dim).step_by(LANES) {
        let mut rows = [simd.splat(0.0); LANES];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = padded(simd, &keys[i.min(count - 1) * dim..][..dim], channel, 0.0);
        }
        for (i, column) in simd.turn(rows).into_iter().enumerate() {
            simd.store(column, lanes_mut(to, (channel + i) * LANES));
        }
    }
}

/// Scores of `R` queries and sixteen keys.
#[inline(always)]
fn score_tile<S: Simd, const R: usize>(
    simd: S,
    shape: &Shape,
    queries: &[f32],
    keys: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let mut sums = [simd.splat(0.0); R];
    for channel in 0..shape.head_dim {
        let key = simd.load(lanes(keys, channel * LANES));
        let queries: &[f32; R] = part(queries, channel * R);
        for (sum, &query) in sums.iter_mut().zip(queries) {
            *sum = simd.fma(key, simd.splat(query), *sum);
        }
    }
    for (i, &sum) in sums.iter().enumerate() {
        let mut scores = simd.mul(sum, simd.splat(shape.scale));
        if let Some(cap) = shape.softcap {
            // tanh(x) = 1 − 2 / (e^2x + 1)
            let power = simd.exp(simd.mul(scores, simd.splat(2.0 / cap)));
            let below = simd.add(power, simd.splat(1.0));
            let tanh = simd.sub(simd.splat(1.0), simd.div(simd.splat(2.0), below));
            scores = simd.mul(tanh, simd.splat(cap));
        }
        simd.store(scores, lanes_mut(out, i * stride));
    }
}

/// Weighted sums of `values` (keys × dim) for `R` rows of weights into `out` (R × dim).
#[inline(always)]
fn mix_tile<S: Simd, const R: usize>(
    simd: S,
    weights: [&[f32]; R],
    values: &[f32],
    dim: usize,
    out: &mut [f32],
) {
    let keys = weights[0].len();
    let weights = weights.map(|row| &row[..keys]);
    let mut channel = 0;
    while channel + 4 * LANES <= dim {
        let mut sums = [[simd.splat(0.0); 4]; R];
        for key in 0..keys {
            let value: &[f32; 4 * LANES] = part(values, key * dim + channel);
            for (sums, weights) in sums.iter_mut().zip(&weights) {
                let weight = simd.splat(weights[key]);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.fma(weight, simd.load(lanes(value, i * LANES)), *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (i, &sum) in sums.iter().enumerate() {
                simd.store(sum, lanes_mut(out, row * dim + channel + i * LANES));
            }
        }
        channel += 4 * LANES;
    }
    while channel < dim {
        let mut sums = [simd.splat(0.0); R];
        for key in 0..keys {
            let value = padded(simd, &values[key * dim..][..dim], channel, 0.0);
            for (sum, weights) in sums.iter_mut().zip(&weights) {
                *sum = simd.fma(simd.splat(weights[key]), value, *sum);
            }
        }
        for (row, &sum) in sums.iter().enumerate() {
            store_padded(simd, sum, &mut out[row * dim..(row + 1) * dim], channel);
        }
        channel += LANES;
    }
}
