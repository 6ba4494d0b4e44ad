//! Causal grouped-query attention over whole documents laid end to end, forward and backward, tile by tile: queries
//! side by side in the lanes, keys one below the other, so that the softmax of a query never leaves its lane. The
//! backward pass computes the weights again, from two numbers that the forward pass keeps of each softmax
//! (Dao et al. 2022, arXiv:2205.14135).

mod backward;
mod forward;
mod group;
mod head;
mod tile;

use crate::cpu::{self, Level};
use crate::expect_len;
use crate::gemm::pack::Layout;
use crate::gemm::{Precision, enter};
use crate::memory::{Lines, unwritten};
use crate::pool::{self, Outputs};
use crate::simd::LANES;
use backward::Backward;
use forward::Forward;
use head::Head;
use std::cell::Cell;
use std::ops::Range;
use tile::WIDTH;

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
    /// Factor of the scores, above 0, usually 1/√head_dim.
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

    /// Panics unless the rules make sense and the lengths fit them.
    #[track_caller]
    fn check(&self, [queries, out]: [&[f32]; 2], [keys, values]: [&[f32]; 2], rescaling: &[f32]) {
        let Documents { heads, kv_heads, head_dim, scale, .. } = *self;
        assert!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "attention: {heads} query heads over {kv_heads} key-value heads"
        );
        assert!(heads > 0 && head_dim > 0, "attention: {heads} heads of {head_dim} channels");
        assert!(scale > 0.0, "attention: scores cannot be scaled by {scale}");
        check_starts("attention", self.starts, self.tokens);
        assert!(self.window != Some(0), "attention: a window of 0 positions");
        expect_len("attention queries", queries.len(), self.query_len());
        expect_len("attention keys", keys.len(), self.key_len());
        expect_len("attention values", values.len(), self.key_len());
        expect_len("attention output", out.len(), self.query_len());
        expect_len("attention rescaling", rescaling.len(), rescaling_len(self));
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

/// Queries that a part works on: whole groups of them.
const CHUNK: usize = 4 * WIDTH;

/// Elements of what [`forward`] keeps of each query head's softmax: the largest score in powers of two and the inverse
/// of the sum of weights relative to it, each heads × tokens.
pub fn rescaling_len(shape: &Documents) -> usize {
    2 * shape.heads * shape.tokens
}

/// Attention output (as the queries), and what [`backward`] needs of each softmax ([`rescaling_len`]).
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
pub fn forward(
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
    rescaling: &mut [f32],
) {
    forward_at(cpu::level(), shape, queries, keys, values, out, rescaling);
}

pub(crate) fn forward_at(
    level: Level,
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
    rescaling: &mut [f32],
) {
    shape.check([queries, out], [keys, values], rescaling);
    let chunks = chunks(shape);
    let layout = Layout::of(level, shape.precision);
    let (out, rescaling) = (Outputs::new(out), Outputs::new(rescaling));
    pool::run(chunks.len() * shape.heads, &|part| {
        let ((document, chunk), head) = (&chunks[part / shape.heads], part % shape.heads);
        let head = Head { shape, head, document: document.clone(), queries, keys, values };
        let chunk = chunk.clone();
        enter(level, layout, Forward { head, layout, chunk, out: &out, rescaling: &rescaling });
    });
}

/// (document, some of its queries), longest documents' last ones at the end: they are taken first.
fn chunks(shape: &Documents) -> Vec<(Range<usize>, Range<usize>)> {
    let mut chunks: Vec<_> = ranges(shape.starts, shape.tokens)
        .flat_map(|document| {
            let length = document.len();
            (0..length).step_by(CHUNK).map(move |at| (document.clone(), at..(at + CHUNK).min(length)))
        })
        .collect();
    chunks.sort_by_key(|(document, chunk)| (chunk.end, document.start));
    chunks
}

/// Gradients of the inputs, given that of the output; all are overwritten. `out` and `rescaling` are what [`forward`]
/// made of the same inputs.
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
#[allow(clippy::too_many_arguments)] // three inputs, two outputs, four gradients
pub fn backward(
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &[f32],
    rescaling: &[f32],
    dy: &[f32],
    dqueries: &mut [f32],
    dkeys: &mut [f32],
    dvalues: &mut [f32],
) {
    let level = cpu::level();
    backward_at(level, shape, queries, keys, values, out, rescaling, dy, dqueries, dkeys, dvalues);
}

#[allow(clippy::too_many_arguments)] // as backward
pub(crate) fn backward_at(
    level: Level,
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &[f32],
    rescaling: &[f32],
    dy: &[f32],
    dqueries: &mut [f32],
    dkeys: &mut [f32],
    dvalues: &mut [f32],
) {
    shape.check([queries, out], [keys, values], rescaling);
    expect_len("attention output gradient", dy.len(), shape.query_len());
    expect_len("attention query gradient", dqueries.len(), shape.query_len());
    expect_len("attention key gradient", dkeys.len(), shape.key_len());
    expect_len("attention value gradient", dvalues.len(), shape.key_len());
    let mut documents: Vec<_> = ranges(shape.starts, shape.tokens).collect();
    documents.sort_by_key(|document| (document.len(), document.start));
    let Documents { heads, kv_heads, head_dim, .. } = *shape;
    let (group, wide) = (heads / kv_heads, head_dim.next_multiple_of(LANES));
    let layout = Layout::of(level, shape.precision);
    let (dqueries, dkeys, dvalues) = (Outputs::new(dqueries), Outputs::new(dkeys), Outputs::new(dvalues));
    let head = |document: &Range<usize>, head: usize, shares: [&mut [f32]; 2]| {
        let head = Head { shape, head, document: document.clone(), queries, keys, values };
        enter(level, layout, Backward { head, layout, out, rescaling, dy, dqueries: &dqueries, shares });
    };
    // Shares of a key-value head's query heads are added in order; so are they whoever computed them.
    let add = |document: &Range<usize>, kv_head: usize, shares: [&[f32]; 2], begins: bool| {
        for ((to, share), scale) in [&dkeys, &dvalues].iter().zip(shares).zip([shape.scale, 1.0]) {
            for (token, share) in document.clone().zip(share.chunks_exact(wide)) {
                // SAFETY: a document's key-value head belongs to one part.
                let to = unsafe { to.range((token * kv_heads + kv_head) * head_dim, head_dim) };
                for (to, share) in to.iter_mut().zip(share) {
                    *to = if begins { share * scale } else { *to + share * scale };
                }
            }
        }
    };
    if group == 1 || documents.len() * kv_heads >= 4 * pool::threads() {
        return pool::run(documents.len() * kv_heads, &|part| {
            let (document, kv_head) = (&documents[part / kv_heads], part % kv_heads);
            let (mut shares, room) = (SHARES.take(), document.len() * wide);
            shares.iter_mut().for_each(|share| {
                share.room(room);
            });
            for query in 0..group {
                let [dkeys, dvalues] = &mut shares;
                head(document, kv_head * group + query, [&mut dkeys[..room], &mut dvalues[..room]]);
                add(document, kv_head, [&dkeys[..room], &dvalues[..room]], query == 0);
            }
            SHARES.set(shares);
        });
    }
    // Too few key-value heads for the threads: every query head by itself.
    let plane = shape.tokens * wide;
    let [mut dkeys, mut dvalues] = [(); 2].map(|()| unwritten(heads * plane));
    let [dks, dvs] = [Outputs::new(&mut dkeys), Outputs::new(&mut dvalues)];
    pool::run(documents.len() * heads, &|part| {
        let (document, query) = (&documents[part / heads], part % heads);
        let (at, room) = (query * plane + document.start * wide, document.len() * wide);
        // SAFETY: a (head, document) belongs to one part.
        let dkeys = unsafe { dks.range(at, room) };
        // SAFETY: as above.
        let dvalues = unsafe { dvs.range(at, room) };
        head(document, query, [dkeys, dvalues]);
    });
    pool::run(documents.len() * kv_heads, &|part| {
        let (document, kv_head) = (&documents[part / kv_heads], part % kv_heads);
        for query in 0..group {
            let at = (kv_head * group + query) * plane + document.start * wide;
            let share = at..at + document.len() * wide;
            add(document, kv_head, [&dkeys[share.clone()], &dvalues[share]], query == 0);
        }
    });
}

thread_local! {
    /// Space of a part, kept between calls.
    static SPACE: Cell<Space> = Cell::default();
    /// A head's share of the gradients of keys and values.
    static SHARES: Cell<[Lines; 2]> = const { Cell::new([Lines::new(), Lines::new()]) };
}

#[derive(Default)]
struct Space {
    /// Of a document: keys by rows (in f32) and by channels, values by channels or by rows.
    key_rows: Lines,
    keys: Lines,
    values: Lines,
    /// Of a group: queries by rows, by channels (in f32) and in pairs of queries.
    queries: Lines,
    queries_turned: Lines,
    query_pairs: Lines,
    /// The same of the output's gradient.
    dy: Lines,
    dy_turned: Lines,
    dy_pairs: Lines,
    /// Of a tile, keys × queries: scores, and gradients of the weights.
    scores: Lines,
    slopes: Lines,
    /// Outputs or query gradients of a group, by channels.
    rows_turned: Lines,
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
