//! Causal grouped-query attention over whole documents laid end to end, forward and backward, by matrix
//! products over blocks of queries. The backward pass computes the softmax again, so nothing but the
//! inputs is kept (Dao et al. 2022 keep as little).

mod rows;

use crate::cpu::{self, Level};
use crate::expect_len;
use crate::gemm::{Left, Precision, Prepared, Right, Shape as Product, multiply};
use crate::memory::unwritten;
use crate::pool::{self, Outputs};
use crate::simd::dispatch;
use rows::{Slopes, Softmax, width};
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
    /// How the matrix products are taken, except that of the scores: softmax would blow up what rounding does there.
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

    /// Where [`prepare`] puts the keys or values of a document that a query head reads.
    fn prepared(&self, document: usize, head: usize) -> usize {
        document * self.kv_heads + head / (self.heads / self.kv_heads)
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
    let documents: Vec<_> = ranges(shape.starts, shape.tokens).collect();
    let blocks = blocks(&documents);
    let keys_turned = prepare(level, shape, keys, true, Precision::F32);
    let values = prepare(level, shape, values, false, shape.precision);
    let out = Outputs::new(out);
    pool::run(blocks.len() * shape.heads, &|part| {
        let ((document, block), head) = (&blocks[part / shape.heads], part % shape.heads);
        let range = documents[*document].clone();
        let at = shape.prepared(*document, head);
        let task = Task { level, shape, head, document: range, queries, keys: &keys_turned[at] };
        let mut space = SPACE.take();
        task.weights(block, &mut space);
        let (keys, dim) = (block.end, shape.head_dim);
        space.rows.resize(block.len() * dim, 0.0);
        let weights = Left::rows(&space.weights, width(block));
        let product = Product { m: block.len(), n: dim, k: keys };
        let values = Right::Prepared(&values[at]);
        multiply(level, product, weights, &values, false, shape.precision, &mut space.rows, dim);
        task.scatter(block, &space.rows, &out);
        SPACE.set(space);
    });
}

/// Keys or values packed as right factors, keys × channels or transposed: \[document\]\[key-value head\].
fn prepare(
    level: Level,
    shape: &Documents,
    values: &[f32],
    transposed: bool,
    precision: Precision,
) -> Vec<Prepared> {
    let Documents { kv_heads, head_dim, .. } = *shape;
    let documents: Vec<_> = ranges(shape.starts, shape.tokens).collect();
    let mut all: Vec<Prepared> = (0..documents.len() * kv_heads).map(|_| Prepared::default()).collect();
    let outputs = Outputs::new(&mut all);
    pool::run(documents.len() * kv_heads, &|part| {
        let (document, head, stride) = (&documents[part / kv_heads], part % kv_heads, kv_heads * head_dim);
        let values = &values[document.start * stride + head * head_dim..];
        let (n, k) = match transposed {
            true => (document.len(), head_dim),
            false => (head_dim, document.len()),
        };
        let right = Right::Dense { values, stride, transposed };
        // SAFETY: a (document, head) belongs to one part.
        let to = unsafe { outputs.range(part, 1) };
        to[0].prepare(level, &right, Product { m: 0, n, k }, precision);
    });
    all
}

/// (document, block of its queries), longest documents' last blocks at the end: they are taken first.
fn blocks(documents: &[Range<usize>]) -> Vec<(usize, Range<usize>)> {
    let mut blocks: Vec<_> = documents
        .iter()
        .enumerate()
        .flat_map(|(document, range)| {
            let length = range.len();
            (0..length).step_by(QUERIES).map(move |at| (document, at..(at + QUERIES).min(length)))
        })
        .collect();
    blocks.sort_by_key(|(document, block)| (block.end, *document));
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
    let mut documents: Vec<_> = ranges(shape.starts, shape.tokens).enumerate().collect();
    documents.sort_by_key(|(_, document)| (document.len(), document.start));
    let [keys, keys_turned] = [false, true].map(|transposed| {
        prepare(level, shape, keys, transposed, if transposed { Precision::F32 } else { shape.precision })
    });
    let values = prepare(level, shape, values, true, shape.precision);
    // A query head's share of the key and value gradients: [head][token][channel].
    let (dim, plane) = (shape.head_dim, shape.tokens * shape.head_dim);
    let (mut key_shares, mut value_shares) = (unwritten(shape.heads * plane), unwritten(shape.heads * plane));
    let (dqueries, dks, dvs) =
        (Outputs::new(dqueries), Outputs::new(&mut key_shares), Outputs::new(&mut value_shares));
    pool::run(documents.len() * shape.heads, &|part| {
        let ((index, document), head) = (&documents[part / shape.heads], part % shape.heads);
        let prepared = shape.prepared(*index, head);
        let keys_turned = &keys_turned[prepared];
        let task = Task { level, shape, head, document: document.clone(), queries, keys: keys_turned };
        let at = head * plane + document.start * dim;
        // SAFETY: a (head, document) belongs to one part.
        let dkeys = unsafe { dks.range(at, document.len() * dim) };
        // SAFETY: as above.
        let dvalues = unsafe { dvs.range(at, document.len() * dim) };
        task.backward(dy, [&keys[prepared], &values[prepared]], &dqueries, dkeys, dvalues);
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
    /// Channels × keys of the document.
    keys: &'a Prepared,
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

    /// The softmax of a block's scores into `space.weights`: queries × keys up to the block's end, in rows of
    /// [`width`], zeros where a query may not look.
    fn weights(&self, block: &Range<usize>, space: &mut Space) {
        let (m, n) = (block.len(), width(block));
        space.weights.resize(m * n, 0.0);
        let product = Product { m, n, k: self.shape.head_dim };
        let (queries, keys) = (self.left(self.queries, block), Right::Prepared(self.keys));
        multiply(self.level, product, queries, &keys, false, Precision::F32, &mut space.weights, n);
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

    /// `keys` are keys × channels, `values` channels × keys.
    fn backward(
        &self,
        dy: &'a [f32],
        [keys, values]: [&Prepared; 2],
        dqueries: &Outputs<f32>,
        dkeys: &mut [f32],
        dvalues: &mut [f32],
    ) {
        let Task { level, shape, .. } = *self;
        let (dim, precision) = (shape.head_dim, shape.precision);
        let mut space = SPACE.take();
        // From the last block on, so that the first writes of the shares cover the whole document.
        let length = self.document.len();
        for start in (0..length).step_by(QUERIES).rev() {
            let block = start..(start + QUERIES).min(length);
            let (m, n, wide) = (block.len(), block.end, width(&block));
            self.weights(&block, &mut space);
            space.slopes.resize(m * wide, 0.0);
            let product = Product { m, n: wide, k: dim };
            let (dy_rows, values) = (self.left(dy, &block), Right::Prepared(values));
            multiply(level, product, dy_rows, &values, false, precision, &mut space.slopes, wide);
            // dV += Pᵀ dY, before the weights are turned into slopes of the scores.
            let product = Product { m: n, n: dim, k: m };
            let add = block.end < length;
            let weights = Left { values: &space.weights, stride: wide, transposed: true };
            multiply(level, product, weights, &self.block(dy, &block), add, precision, dvalues, dim);
            dispatch(level, Slopes { shape, block: &block, space: &mut space });
            let slopes = Left { values: &space.slopes, stride: wide, transposed: true };
            multiply(level, product, slopes, &self.block(self.queries, &block), add, precision, dkeys, dim);
            space.rows.resize(m * dim, 0.0);
            let product = Product { m, n: dim, k: n };
            let (slopes, keys) = (Left::rows(&space.slopes, wide), Right::Prepared(keys));
            multiply(level, product, slopes, &keys, false, precision, &mut space.rows, dim);
            self.scatter(&block, &space.rows, dqueries);
        }
        SPACE.set(space);
    }
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
