//! One query at a time: its score row, the softmax, the weighted sum of values. The whole operation and
//! its three parts run the same code on the same rows, so they agree bit for bit; a row's bits depend
//! only on its position and on the cache.

use super::Shape;
use crate::cpu::Level;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, lanes, padded, store_padded};
use crate::softmax::softmax_row;
use std::cell::Cell;
use std::ops::Range;

/// Queries in a part: enough to pay for the hand-off, few enough to balance the triangle.
const QUERIES: usize = 8;

thread_local! {
    /// A score row, kept between calls.
    static ROW: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// What is computed for each (head, token).
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
    let out = Outputs::new(out);
    pool::run(shape.heads * tiles, &|part| {
        let (head, tile) = (part / tiles, part % tiles);
        let tokens = tile * QUERIES..((tile + 1) * QUERIES).min(shape.tokens);
        dispatch(level, Part { shape, work, head, tokens, out: &out });
    });
}

struct Part<'a> {
    shape: &'a Shape<'a>,
    work: Work<'a>,
    head: usize,
    tokens: Range<usize>,
    out: &'a Outputs<'a, f32>,
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Part { shape, work, head, tokens, out } = self;
        let (dim, keys) = (shape.head_dim, shape.keys());
        let cache = head / (shape.heads / shape.kv_heads) * shape.capacity * dim;
        let sink = shape.sinks.map(|sinks| sinks[head]);
        let query = |queries: &'_ [f32], token: usize| (token * shape.heads + head) * dim..queries.len();
        let mut buffer = ROW.take();
        for token in tokens {
            let position = shape.start + token;
            let row_at = (head * shape.tokens + token) * keys;
            let out_at = (token * shape.heads + head) * dim;
            // SAFETY: a (head, token) belongs to one part, and its ranges to it alone.
            let row = || unsafe { out.range(row_at, keys) };
            // SAFETY: as above.
            let output = || unsafe { out.range(out_at, dim) };
            match work {
                Work::Whole { queries, keys: k, values } => {
                    // From a whole vector on, so that the lanes are those of the full row.
                    let first = shape.window.map_or(0, |w| (position + 1).saturating_sub(w)) / LANES * LANES;
                    buffer.resize(position + 1 - first, 0.0);
                    let q = &queries[query(queries, token)][..dim];
                    score_row(simd, shape, position, q, &k[cache..], first, &mut buffer);
                    softmax_row(simd, &mut buffer, sink);
                    mix_row(simd, dim, &buffer, &values[cache + first * dim..], output());
                }
                Work::Scores { queries, keys: k } => {
                    let q = &queries[query(queries, token)][..dim];
                    score_row(simd, shape, position, q, &k[cache..], 0, row());
                }
                Work::Pattern => softmax_row(simd, row(), sink),
                Work::Mix { pattern, values } => {
                    mix_row(simd, dim, &pattern[row_at..row_at + keys], &values[cache..], output());
                }
            }
        }
        ROW.set(buffer);
    }
}

/// Scores of keys `first..first + row.len()`, −∞ where the query may not look.
#[inline(always)]
fn score_row<S: Simd>(
    simd: S,
    shape: &Shape,
    position: usize,
    query: &[f32],
    keys: &[f32],
    first: usize,
    row: &mut [f32],
) {
    let dim = shape.head_dim;
    let visible = (position + 1).saturating_sub(first).min(row.len());
    row[visible..].fill(f32::NEG_INFINITY);
    for at in (0..visible).step_by(LANES) {
        let count = LANES.min(visible - at);
        let mut sums = [simd.splat(0.0); LANES];
        for channel in (0..dim).step_by(LANES) {
            let q = padded(simd, query, channel, 0.0);
            for (i, sum) in sums.iter_mut().enumerate() {
                // Past the end the last key is read again; its score is not kept.
                let key = &keys[(first + at + i.min(count - 1)) * dim..][..dim];
                *sum = simd.fma(q, padded(simd, key, channel, 0.0), *sum);
            }
        }
        let mut scores = simd.mul(simd.sums(sums), simd.splat(shape.scale));
        if let Some(cap) = shape.softcap {
            // tanh(x) = 1 − 2 / (e^2x + 1)
            let power = simd.exp(simd.mul(scores, simd.splat(2.0 / cap)));
            let below = simd.add(power, simd.splat(1.0));
            let tanh = simd.sub(simd.splat(1.0), simd.div(simd.splat(2.0), below));
            scores = simd.mul(tanh, simd.splat(cap));
        }
        store_padded(simd, scores, &mut row[..visible], at);
    }
    if shape.window.is_some() || shape.segments.is_some() {
        for (i, score) in row[..visible].iter_mut().enumerate() {
            if !shape.sees(position, first + i) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// Σ weight · value over the keys in order, one chain per channel.
#[inline(always)]
fn mix_row<S: Simd>(simd: S, dim: usize, weights: &[f32], values: &[f32], out: &mut [f32]) {
    let mut channel = 0;
    while channel + 4 * LANES <= dim {
        let mut sums = [simd.splat(0.0); 4];
        for (key, &weight) in weights.iter().enumerate() {
            let value = &values[key * dim + channel..][..4 * LANES];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = simd.fma(simd.splat(weight), simd.load(lanes(value, i * LANES)), *sum);
            }
        }
        for (i, &sum) in sums.iter().enumerate() {
            store_padded(simd, sum, out, channel + i * LANES);
        }
        channel += 4 * LANES;
    }
    while channel < dim {
        let mut sum = simd.splat(0.0);
        for (key, &weight) in weights.iter().enumerate() {
            let value = padded(simd, &values[key * dim..][..dim], channel, 0.0);
            sum = simd.fma(simd.splat(weight), value, sum);
        }
        store_padded(simd, sum, out, channel);
        channel += LANES;
    }
}
