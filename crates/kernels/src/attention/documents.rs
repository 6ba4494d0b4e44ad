//! Causal grouped-query attention over whole documents laid end to end, forward and backward, by matrix
//! products over blocks of queries. The backward pass computes the softmax again, so nothing but the
//! inputs is kept (Dao et al. 2022 keep as little).

use crate::cpu::{self, Level};
use crate::expect_len;
use crate::gemm::{Left, Precision, Right, Shape as Product, multiply};
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};
use crate::softmax::softmax_row;
use std::cell::Cell;
use std::ops::Range;

/// Shape and rules of attention over packed documents. Queries and outputs are tokens × heads ×
/// head_dim, keys and values tokens × kv_heads × head_dim.
#[derive(Debug, Clone, Copy)]
pub struct Documents<'a> {
    /// Tokens of all documents.
    pub tokens: usize,
    /// First token of each document, ascending from 0; a query sees only its own document.
    pub starts: &'a [usize],
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Factor of the scores, usually 1/√head_dim.
    pub scale: f32,
    /// A query sees at most this many positions, its own included.
    pub window: Option<usize>,
    /// Scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
    /// How the matrix products are taken.
    pub precision: Precision,
}

impl<'a> Documents<'a> {
    /// Plain causal attention in f32 with scale 1/√head_dim.
    pub fn causal(
        tokens: usize,
        starts: &'a [usize],
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> Documents<'a> {
        Documents {
            tokens,
            starts,
            heads,
            kv_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            window: None,
            softcap: None,
            precision: Precision::F32,
        }
    }

    fn check(&self) {
        let Documents { heads, kv_heads, .. } = *self;
        assert!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "attention: {heads} query heads over {kv_heads} key-value heads"
        );
        check_starts("attention", self.starts, self.tokens);
        assert!(self.window != Some(0), "attention: a window of 0 positions");
    }

    fn query_len(&self) -> usize {
        self.tokens * self.heads * self.head_dim
    }

    fn key_len(&self) -> usize {
        self.tokens * self.kv_heads * self.head_dim
    }

    /// First key that the query at `position` of its document sees.
    fn first_key(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// Panics unless `starts` ascend from 0 and stay below `tokens`.
#[track_caller]
pub(crate) fn check_starts(what: &str, starts: &[usize], tokens: usize) {
    let ascending = starts.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = starts.last().is_none_or(|&last| last < tokens);
    let begins = starts.first() == (tokens > 0).then_some(&0);
    assert!(
        ascending && inside && begins,
        "{what}: document starts must ascend from 0 below {tokens}: {starts:?}"
    );
}

/// Tokens of each document.
pub(crate) fn ranges(starts: &[usize], tokens: usize) -> impl Iterator<Item = Range<usize>> {
    let ends = starts.iter().copied().skip(1).chain([tokens]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end)
}

/// Queries in a block: enough to pay for packing the keys, few enough to waste little of the triangle.
const QUERIES: usize = 64;

/// Attention output (as the queries).
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
pub fn forward(shape: &Documents, queries: &[f32], keys: &[f32], values: &[f32], out: &mut [f32]) {
    forward_at(cpu::level(), shape, queries, keys, values, out);
}

pub(crate) fn forward_at(
    level: Level,
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    shape.check();
    expect_len("attention queries", queries.len(), shape.query_len());
    expect_len("attention keys", keys.len(), shape.key_len());
    expect_len("attention values", values.len(), shape.key_len());
    expect_len("attention output", out.len(), shape.query_len());
    let blocks = blocks(shape);
    let out = Outputs::new(out);
    pool::run(blocks.len() * shape.heads, &|part| {
        let (block, head) = (&blocks[part / shape.heads], part % shape.heads);
        let task = Task { level, shape, head, document: block.0.clone(), queries, keys, values };
        let mut space = SPACE.take();
        task.weights(&block.1, &mut space);
        let (keys, dim) = (block.1.end, shape.head_dim);
        space.rows.resize(block.1.len() * dim, 0.0);
        let weights = Left::rows(&space.weights, keys);
        let product = Product { m: block.1.len(), n: dim, k: keys };
        multiply(
            level,
            product,
            weights,
            &task.right(values, false),
            false,
            shape.precision,
            &mut space.rows,
            dim,
        );
        task.scatter(&block.1, &space.rows, &out);
        SPACE.set(space);
    });
}

/// (document, block of its queries), longest documents' last blocks at the end: they are taken first.
fn blocks(shape: &Documents) -> Vec<(Range<usize>, Range<usize>)> {
    let mut blocks: Vec<_> = ranges(shape.starts, shape.tokens)
        .flat_map(|document| {
            let length = document.len();
            (0..length).step_by(QUERIES).map(move |at| (document.clone(), at..(at + QUERIES).min(length)))
        })
        .collect();
    blocks.sort_by_key(|(document, block)| (block.end, document.start));
    blocks
}

/// Gradients of the inputs, given that of the output; all are overwritten.
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
#[allow(clippy::too_many_arguments)] // three inputs and four gradients
pub fn backward(
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    dy: &[f32],
    dqueries: &mut [f32],
    dkeys: &mut [f32],
    dvalues: &mut [f32],
) {
    backward_at(cpu::level(), shape, queries, keys, values, dy, dqueries, dkeys, dvalues);
}

#[allow(clippy::too_many_arguments)] // as backward
pub(crate) fn backward_at(
    level: Level,
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    dy: &[f32],
    dqueries: &mut [f32],
    dkeys: &mut [f32],
    dvalues: &mut [f32],
) {
    shape.check();
    expect_len("attention queries", queries.len(), shape.query_len());
    expect_len("attention keys", keys.len(), shape.key_len());
    expect_len("attention values", values.len(), shape.key_len());
    expect_len("attention output gradient", dy.len(), shape.query_len());
    expect_len("attention query gradient", dqueries.len(), shape.query_len());
    expect_len("attention key gradient", dkeys.len(), shape.key_len());
    expect_len("attention value gradient", dvalues.len(), shape.key_len());
    let mut documents: Vec<_> = ranges(shape.starts, shape.tokens).collect();
    documents.sort_by_key(|document| (document.len(), document.start));
    // A query head's share of the key and value gradients: [head][token][channel].
    let (dim, plane) = (shape.head_dim, shape.tokens * shape.head_dim);
    let (mut key_shares, mut value_shares) = (vec![0.0; shape.heads * plane], vec![0.0; shape.heads * plane]);
    let (dqueries, dks, dvs) =
        (Outputs::new(dqueries), Outputs::new(&mut key_shares), Outputs::new(&mut value_shares));
    pool::run(documents.len() * shape.heads, &|part| {
        let (document, head) = (&documents[part / shape.heads], part % shape.heads);
        let task = Task { level, shape, head, document: document.clone(), queries, keys, values };
        let at = head * plane + document.start * dim;
        // SAFETY: a (head, document) belongs to one part.
        let dkeys = unsafe { dks.range(at, document.len() * dim) };
        // SAFETY: as above.
        let dvalues = unsafe { dvs.range(at, document.len() * dim) };
        task.backward(dy, &dqueries, dkeys, dvalues);
    });
    gather(shape, &key_shares, dkeys);
    gather(shape, &value_shares, dvalues);
}

/// Sums the query heads' shares, in order.
fn gather(shape: &Documents, shares: &[f32], to: &mut [f32]) {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    let plane = shape.tokens * dim;
    if plane == 0 {
        return;
    }
    let to = Outputs::new(to);
    pool::run(shape.kv_heads, &|head| {
        for token in 0..shape.tokens {
            // SAFETY: a key-value head belongs to one part.
            let to = unsafe { to.range((token * shape.kv_heads + head) * dim, dim) };
            let share = |query: usize| &shares[(head * group + query) * plane + token * dim..][..dim];
            to.copy_from_slice(share(0));
            for query in 1..group {
                to.iter_mut().zip(share(query)).for_each(|(to, share)| *to += share);
            }
        }
    });
}

thread_local! {
    /// Space of a part, kept between calls.
    static SPACE: Cell<Space> = Cell::default();
}

#[derive(Default)]
struct Space {
    /// Attention weights of a block, queries × keys.
    weights: Vec<f32>,
    /// Their gradients.
    slopes: Vec<f32>,
    /// Derivatives of the soft cap.
    caps: Vec<f32>,
    /// Outputs or query gradients of a block.
    rows: Vec<f32>,
}

/// One query head of one document.
struct Task<'a> {
    level: Level,
    shape: &'a Documents<'a>,
    head: usize,
    document: Range<usize>,
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
}

impl<'a> Task<'a> {
    /// Rows of a block of the queries (or of what has their layout).
    fn left(&self, values: &'a [f32], block: &Range<usize>) -> Left<'a> {
        let stride = self.shape.heads * self.shape.head_dim;
        let at = (self.document.start + block.start) * stride + self.head * self.shape.head_dim;
        Left::rows(&values[at..], stride)
    }

    /// The same as a right factor.
    fn block(&self, values: &'a [f32], block: &Range<usize>) -> Right<'a> {
        let Left { values, stride, .. } = self.left(values, block);
        Right::Dense { values, stride, transposed: false }
    }

    /// Keys or values of the document, keys × channels, or transposed.
    fn right(&self, values: &'a [f32], transposed: bool) -> Right<'a> {
        let Documents { heads, kv_heads, head_dim, .. } = *self.shape;
        let stride = kv_heads * head_dim;
        let at = self.document.start * stride + self.head / (heads / kv_heads) * head_dim;
        Right::Dense { values: &values[at..], stride, transposed }
    }

    /// The softmax of a block's scores into `space.weights`: queries × keys up to the block's end.
    fn weights(&self, block: &Range<usize>, space: &mut Space) {
        let (m, n) = (block.len(), block.end);
        space.weights.resize(m * n, 0.0);
        let product = Product { m, n, k: self.shape.head_dim };
        let (queries, keys) = (self.left(self.queries, block), self.right(self.keys, true));
        multiply(self.level, product, queries, &keys, false, self.shape.precision, &mut space.weights, n);
        space.caps.resize(if self.shape.softcap.is_some() { m * n } else { 0 }, 0.0);
        dispatch(self.level, Softmax { shape: self.shape, block, space });
    }

    fn scatter(&self, block: &Range<usize>, rows: &[f32], out: &Outputs<f32>) {
        let (heads, dim) = (self.shape.heads, self.shape.head_dim);
        for (row, token) in rows.chunks_exact(dim.max(1)).zip(self.document.start + block.start..) {
            // SAFETY: a (head, token) belongs to one part.
            let out = unsafe { out.range((token * heads + self.head) * dim, dim) };
            out.copy_from_slice(row);
        }
    }

    fn backward(&self, dy: &'a [f32], dqueries: &Outputs<f32>, dkeys: &mut [f32], dvalues: &mut [f32]) {
        let Task { level, shape, .. } = *self;
        let (dim, precision) = (shape.head_dim, shape.precision);
        let mut space = SPACE.take();
        // From the last block on, so that the first writes of the shares cover the whole document.
        let length = self.document.len();
        for start in (0..length).step_by(QUERIES).rev() {
            let block = start..(start + QUERIES).min(length);
            let (m, n) = (block.len(), block.end);
            self.weights(&block, &mut space);
            space.slopes.resize(m * n, 0.0);
            let product = Product { m, n, k: dim };
            let values = self.right(self.values, true);
            multiply(level, product, self.left(dy, &block), &values, false, precision, &mut space.slopes, n);
            // dV += Pᵀ dY, before the weights are turned into slopes of the scores.
            let product = Product { m: n, n: dim, k: m };
            let add = block.end < length;
            let weights = Left { values: &space.weights, stride: n, transposed: true };
            multiply(level, product, weights, &self.block(dy, &block), add, precision, dvalues, dim);
            dispatch(level, Slopes { shape, block: &block, space: &mut space });
            let slopes = Left { values: &space.slopes, stride: n, transposed: true };
            multiply(level, product, slopes, &self.block(self.queries, &block), add, precision, dkeys, dim);
            space.rows.resize(m * dim, 0.0);
            let product = Product { m, n: dim, k: n };
            let (slopes, keys) = (Left::rows(&space.slopes, n), self.right(self.keys, false));
            multiply(level, product, slopes, &keys, false, precision, &mut space.rows, dim);
            self.scatter(&block, &space.rows, dqueries);
        }
        SPACE.set(space);
    }
}

/// Scaled, capped and normalized rows of scores; zeros where a query may not look.
struct Softmax<'a> {
    shape: &'a Documents<'a>,
    block: &'a Range<usize>,
    space: &'a mut Space,
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Softmax { shape, block, space } = self;
        let scale = simd.splat(shape.scale);
        for (i, row) in space.weights.chunks_exact_mut(block.end).enumerate() {
            let position = block.start + i;
            let seen = shape.first_key(position)..position + 1;
            for at in seen.clone().step_by(LANES) {
                let row = &mut row[..seen.end];
                let mut score = simd.mul(padded(simd, row, at, 0.0), scale);
                if let Some(cap) = shape.softcap {
                    // tanh(x) = 1 − 2 / (e^2x + 1)
                    let power = simd.exp(simd.mul(score, simd.splat(2.0 / cap)));
                    let below = simd.add(power, simd.splat(1.0));
                    let tanh = simd.sub(simd.splat(1.0), simd.div(simd.splat(2.0), below));
                    let slope = simd.sub(simd.splat(1.0), simd.mul(tanh, tanh));
                    store_padded(simd, slope, &mut space.caps[i * block.end..][..seen.end], at);
                    score = simd.mul(tanh, simd.splat(cap));
                }
                store_padded(simd, score, row, at);
            }
            softmax_row(simd, &mut row[seen.clone()], None);
            row[..seen.start].fill(0.0);
            row[seen.end..].fill(0.0);
        }
    }
}

/// Gradients of the unscaled scores in place of those of the weights: p · (dp − Σ p dp) · scale.
struct Slopes<'a> {
    shape: &'a Documents<'a>,
    block: &'a Range<usize>,
    space: &'a mut Space,
}

impl Kernel for Slopes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Slopes { shape, block, space } = self;
        let width = block.end;
        let rows = space.slopes.chunks_exact_mut(width).zip(space.weights.chunks_exact(width));
        for (i, (slopes, weights)) in rows.enumerate() {
            let seen = shape.first_key(block.start + i)..block.start + i + 1;
            let (slopes, weights) = (&mut slopes[..], &weights[..seen.end]);
            let mut sums = simd.splat(0.0);
            for at in seen.clone().step_by(LANES) {
                let weight = padded(simd, weights, at, 0.0);
                sums = simd.fma(weight, padded(simd, &slopes[..seen.end], at, 0.0), sums);
            }
            let mean = simd.splat(simd.sum(sums));
            for at in seen.clone().step_by(LANES) {
                let slope = simd.sub(padded(simd, &slopes[..seen.end], at, 0.0), mean);
                let mut slope =
                    simd.mul(simd.mul(padded(simd, weights, at, 0.0), slope), simd.splat(shape.scale));
                if shape.softcap.is_some() {
                    slope = simd.mul(slope, padded(simd, &space.caps[i * width..][..seen.end], at, 0.0));
                }
                store_padded(simd, slope, &mut slopes[..seen.end], at);
            }
            slopes[..seen.start].fill(0.0);
            slopes[seen.end..].fill(0.0);
        }
    }
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
