//! One query head of one document: where its rows lie, and its scores.

use super::Documents;
use super::group::{Group, UNSEEN};
use super::tile::{self, Row, VECTORS, WIDTH, product, rows_mut};
use crate::gemm::pack::{self, Layout, Strided};
use crate::memory::Lines;
use crate::pool::Outputs;
use crate::simd::{LANES, Simd, padded, store_padded};
use std::ops::Range;

/// One query head of one document.
pub(super) struct Head<'a> {
    pub(super) shape: &'a Documents<'a>,
    pub(super) head: usize,
    pub(super) document: Range<usize>,
    pub(super) queries: &'a [f32],
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
}

impl<'a> Head<'a> {
    /// This head's rows of the keys or values of the document, and their distance.
    pub(super) fn memory(&self, values: &'a [f32]) -> (&'a [f32], usize) {
        let Documents { heads, kv_heads, head_dim, .. } = *self.shape;
        let stride = kv_heads * head_dim;
        let at = self.document.start * stride + self.head / (heads / kv_heads) * head_dim;
        (&values[at..], stride)
    }

    /// Where this head's row of a query lies.
    pub(super) fn at(&self, group: &Group, vector: usize, lane: usize) -> usize {
        let token = self.document.start + group.queries.start + (vector - group.from) * LANES + lane;
        (token * self.shape.heads + self.head) * self.shape.head_dim
    }

    /// This head's row of a query, of the queries or what has their layout.
    pub(super) fn row(&self, values: &'a [f32], group: &Group, vector: usize, lane: usize) -> &'a [f32] {
        &values[self.at(group, vector, lane)..][..self.shape.head_dim]
    }

    /// The document's keys until `end`, one after the other: rows as far apart as those of all heads would evict each
    /// other from the cache.
    #[inline(always)]
    pub(super) fn gather_keys(&self, end: usize, to: &mut Lines) {
        let dim = self.shape.head_dim;
        let (keys, stride) = self.memory(self.keys);
        for (key, to) in to.room(end * dim).chunks_exact_mut(dim).take(end).enumerate() {
            to.copy_from_slice(&keys[key * stride..][..dim]);
        }
    }

    /// The document's keys or values until `end` as turned left factors: \[channels by sixteen\]\[key\]\[16\].
    #[inline(always)]
    pub(super) fn by_channels<S: Simd>(
        &self,
        simd: S,
        layout: Layout,
        values: &'a [f32],
        end: usize,
        to: &mut Lines,
    ) {
        let (dim, depth) = (self.shape.head_dim, layout.depth(end));
        let (values, stride) = self.memory(values);
        let to = to.room(dim.next_multiple_of(LANES) * depth);
        for channel in (0..dim).step_by(LANES) {
            let from = Strided::new(values, stride, true, channel, LANES.min(dim - channel));
            pack::vector(simd, layout, from, 0..end, &mut to[channel * depth..], LANES);
        }
    }

    /// Products of a tile's keys (gathered) with a group's queries (by channels), capped, and [`UNSEEN`] where a query may
    /// not look; the scale they still lack.
    #[inline(always)]
    pub(super) fn scores<S: Simd>(
        &self,
        simd: S,
        group: &Group,
        keys: &Range<usize>,
        gathered: &[f32],
        queries: &[f32],
        tile: &mut [f32],
    ) -> f32 {
        let Documents { head_dim: stride, scale, softcap, .. } = *self.shape;
        for piece in group.pieces(keys) {
            let left = tile::Left::Lines { values: &gathered[(keys.start + piece.first) * stride..], stride };
            let at = piece.first * WIDTH + piece.from * LANES;
            let to = tile::To { values: &mut tile[at..], stride: WIDTH, add: false };
            product::<S, false>(simd, piece.rows, stride, piece.from, left, queries, to);
            let rows = rows_mut(tile);
            if let Some(cap) = softcap {
                for row in &mut rows[piece.first..][..piece.rows] {
                    for scores in &mut row[piece.from..] {
                        capped(simd, scale, cap, scores);
                    }
                }
            }
            if piece.diagonal || self.shape.window.is_some() {
                group.mask(simd, self.shape, keys, piece, rows);
            }
        }
        if softcap.is_some() { 1.0 } else { scale }
    }

    /// Puts a group's softmaxes (largest scores, inverse sums) where [`super::rescaling_len`] says.
    pub(super) fn keep_rescaling(&self, group: &Group, kept: [&Row; 2], to: &Outputs<f32>) {
        let Documents { heads, tokens, .. } = *self.shape;
        for (half, kept) in kept.into_iter().enumerate() {
            let at = (half * heads + self.head) * tokens + self.document.start + group.queries.start;
            // SAFETY: a (head, token) belongs to one part.
            let to = unsafe { to.range(at, group.queries.len()) };
            to.copy_from_slice(&kept[group.from..].as_flattened()[..to.len()]);
        }
    }

    /// What [`Head::keep_rescaling`] put there: minus the largest scores, and inverse sums. Lanes without a query get
    /// no weight.
    pub(super) fn kept_rescaling(&self, group: &Group, from: &[f32]) -> [Row; 2] {
        let Documents { heads, tokens, .. } = *self.shape;
        let mut kept = [[[UNSEEN; LANES]; VECTORS], [[0.0; LANES]; VECTORS]];
        for (half, kept) in kept.iter_mut().enumerate() {
            let at = (half * heads + self.head) * tokens + self.document.start + group.queries.start;
            for (to, &from) in
                kept[group.from..].as_flattened_mut().iter_mut().zip(&from[at..][..group.queries.len()])
            {
                *to = if half == 0 { -from } else { from };
            }
        }
        kept
    }
}

/// cap · tanh(scale · score / cap).
#[inline(always)]
fn capped<S: Simd>(simd: S, scale: f32, cap: f32, scores: &mut [f32; LANES]) {
    // tanh(x) = 1 − 2 / (e^2x + 1)
    let power = simd.exp(simd.mul(simd.load(scores), simd.splat(2.0 * scale / cap)));
    let below = simd.add(power, simd.splat(1.0));
    let tanh = simd.sub(simd.splat(1.0), simd.div(simd.splat(2.0), below));
    simd.store(simd.mul(tanh, simd.splat(cap)), scores);
}

/// Rows by channels, times a factor for each query, to where this head's rows of a group lie, or added to them.
#[inline(always)]
pub(super) fn scatter<S: Simd>(
    simd: S,
    head: &Head,
    group: &Group,
    turned: &[f32],
    factors: &Row,
    add: bool,
    out: &Outputs<f32>,
) {
    let dim = head.shape.head_dim;
    for vector in group.from..VECTORS {
        let factors = simd.load(&factors[vector]);
        for channel in (0..dim).step_by(LANES) {
            let mut rows = [simd.splat(0.0); LANES];
            let channels = &tile::rows(turned)[channel..][..LANES];
            for (row, channel) in rows.iter_mut().zip(channels) {
                *row = simd.mul(simd.load(&channel[vector]), factors);
            }
            let width = LANES.min(dim - channel);
            for (lane, &row) in simd.turn(rows).iter().enumerate().take(group.count(vector)) {
                // SAFETY: a (head, token) belongs to one part.
                let to = unsafe { out.range(head.at(group, vector, lane) + channel, width) };
                let row = if add { simd.add(row, padded(simd, to, 0, 0.0)) } else { row };
                store_padded(simd, row, to, 0);
            }
        }
    }
}
