//! The output of some queries of a document, tile by tile of keys: what came before is rescaled when a larger score
//! appears (Milakov & Gimelshein 2018; Dao et al. 2022).

use super::group::{Group, KEYS, NONE_YET, Piece, UNSEEN};
use super::head::{Head, scatter};
use super::tile::{self, Row, VECTORS, WIDTH, from_vector, product, rows_mut};
use super::{SPACE, Space};
use crate::gemm::pack::{self, Layout, Strided};
use crate::pool::Outputs;
use crate::simd::{Kernel, LANES, Simd};
use std::f32::consts::LOG2_E;
use std::ops::Range;

/// Some queries, from a multiple of [`WIDTH`] on, of one head of a document.
pub(super) struct Forward<'a> {
    pub(super) head: Head<'a>,
    pub(super) layout: Layout,
    /// Positions in the document.
    pub(super) chunk: Range<usize>,
    pub(super) out: &'a Outputs<'a, f32>,
    pub(super) rescaling: &'a Outputs<'a, f32>,
}

/// The running softmax of a group: the largest score, in powers of two, and the sum relative to it.
struct Running {
    tops: Row,
    sums: Row,
    /// Whether any key has been seen.
    begun: bool,
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Forward { head, layout, chunk, out, rescaling } = &self;
        let (shape, dim) = (head.shape, head.shape.head_dim);
        let wide = dim.next_multiple_of(LANES);
        let mut space = SPACE.take();
        head.gather_keys(chunk.end, &mut space.key_rows);
        head.by_channels(simd, *layout, head.values, chunk.end, &mut space.values);
        let groups = Group::all(chunk.clone());
        let mut running: Vec<(Group, Running)> = groups
            .map(|group| {
                (
                    group,
                    Running {
                        tops: [[NONE_YET; LANES]; VECTORS],
                        sums: [[0.0; LANES]; VECTORS],
                        begun: false,
                    },
                )
            })
            .collect();
        let (turned, sums) = (dim * WIDTH, wide * WIDTH);
        space.queries_turned.room(running.len() * turned);
        space.rows_turned.room(running.len() * sums);
        space.scores.room(WIDTH * WIDTH);
        for ((group, _), to) in running.iter().zip(space.queries_turned.chunks_exact_mut(turned)) {
            for v in group.from..VECTORS {
                let (from, stride) = (&head.queries[head.at(group, v, 0)..], shape.heads * dim);
                let from = Strided::new(from, stride, false, 0, group.count(v));
                pack::vector(simd, Layout::Plain, from, 0..dim, &mut to[v * LANES..], WIDTH);
            }
        }
        let first = running.first().map_or(chunk.end, |(group, _)| group.first(shape));
        for start in (first..chunk.end).step_by(KEYS) {
            // Every group in turn, while the keys and values are near.
            for (i, (group, running)) in running.iter_mut().enumerate() {
                if let Some(keys) = group.tile(shape, start) {
                    self.tile(simd, i, group, &keys, running, &mut space);
                }
            }
        }
        for (i, (group, running)) in running.iter_mut().enumerate() {
            for vector in group.from..VECTORS {
                let inverse = simd.div(simd.splat(1.0), simd.load(&running.sums[vector]));
                simd.store(inverse, &mut running.sums[vector]);
            }
            head.keep_rescaling(group, [&running.tops, &running.sums], rescaling);
            let rows = &space.rows_turned[i * sums..];
            scatter(simd, head, group, rows, &running.sums, false, out);
        }
        SPACE.set(space);
    }
}

impl Forward<'_> {
    /// One tile of keys for the group `i`.
    #[inline(always)]
    fn tile<S: Simd>(
        &self,
        simd: S,
        i: usize,
        group: &Group,
        keys: &Range<usize>,
        running: &mut Running,
        space: &mut Space,
    ) {
        let Forward { head, layout, chunk, .. } = self;
        let (dim, depth) = (head.shape.head_dim, layout.depth(chunk.end));
        let wide = dim.next_multiple_of(LANES);
        let queries = &space.queries_turned[i * dim * WIDTH..];
        let scores = &mut space.scores;
        let scale = head.scores(simd, group, keys, &space.key_rows, queries, scores);
        let old = running.tops;
        for piece in group.pieces(keys) {
            let rows = &rows_mut(scores)[piece.first..][..piece.rows];
            from_vector!(piece.from, rise::<S>(simd, scale, rows, &mut running.tops));
        }
        let sums = &mut space.rows_turned[i * wide * WIDTH..][..wide * WIDTH];
        if running.begun && old != running.tops {
            rescale(simd, group, &old, running, sums);
        }
        for piece in group.pieces(keys) {
            from_vector!(piece.from, weigh::<S>(simd, scale, piece, rows_mut(scores), running));
            let (first, rows) = (layout.depth(piece.first), layout.depth(piece.rows));
            let weights = &scores[first * WIDTH..];
            for channel in (0..dim).step_by(LANES) {
                let at = channel * depth + (layout.depth(keys.start) + first) * LANES;
                let values = tile::Left::Turned(&space.values[at..]);
                let at = channel * WIDTH + piece.from * LANES;
                let to = tile::To { values: &mut sums[at..], stride: WIDTH, add: running.begun };
                product::<S, true>(simd, LANES, rows, piece.from, values, weights, to);
            }
            running.begun = true;
        }
    }
}

/// The largest scores so far, of the vectors from `J` on.
#[inline(always)]
fn rise<S: Simd, const J: usize>(simd: S, scale: f32, rows: &[Row], tops: &mut Row) {
    let mut highest = [simd.splat(UNSEEN); VECTORS];
    for row in rows {
        for v in J..VECTORS {
            highest[v] = simd.max(highest[v], simd.load(&row[v]));
        }
    }
    for v in J..VECTORS {
        let highest = simd.mul(highest[v], simd.splat(scale * LOG2_E));
        simd.store(simd.max(simd.load(&tops[v]), highest), &mut tops[v]);
    }
}

/// Brings the sums so far to new largest scores.
#[inline(always)]
fn rescale<S: Simd>(simd: S, group: &Group, old: &Row, running: &mut Running, sums: &mut [f32]) {
    for v in group.from..VECTORS {
        let factor = simd.exp2(simd.sub(simd.load(&old[v]), simd.load(&running.tops[v])));
        simd.store(simd.mul(simd.load(&running.sums[v]), factor), &mut running.sums[v]);
        for row in rows_mut(sums) {
            simd.store(simd.mul(simd.load(&row[v]), factor), &mut row[v]);
        }
    }
}

/// Scores of the vectors from `J` on to weights, relative to the largest score, as the right factor of the product
/// with the values: in pairs of keys where that is in bf16.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // vectors of several rows
fn weigh<S: Simd, const J: usize>(
    simd: S,
    scale: f32,
    piece: Piece,
    rows: &mut [Row],
    running: &mut Running,
) {
    let scale = simd.splat(scale * LOG2_E);
    let (mut tops, mut sums) = ([simd.splat(0.0); VECTORS], [simd.splat(0.0); VECTORS]);
    for v in J..VECTORS {
        tops[v] = simd.sub(simd.splat(0.0), simd.load(&running.tops[v]));
        sums[v] = simd.load(&running.sums[v]);
    }
    let end = piece.first + piece.rows;
    for key in (piece.first..end).step_by(2) {
        for v in J..VECTORS {
            let mut even = simd.exp2(simd.fma(simd.load(&rows[key][v]), scale, tops[v]));
            let mut odd = simd.splat(0.0);
            if key + 1 < end {
                odd = simd.exp2(simd.fma(simd.load(&rows[key + 1][v]), scale, tops[v]));
            }
            if S::PAIRS {
                let pairs = simd.pairs(even, odd);
                simd.store(pairs, &mut rows[key / 2][v]);
                // What is added up are the weights that the product takes, so that they are one together.
                [even, odd] = simd.unpaired(pairs);
            } else {
                simd.store(even, &mut rows[key][v]);
                if key + 1 < end {
                    simd.store(odd, &mut rows[key + 1][v]);
                }
            }
            sums[v] = simd.add(sums[v], simd.add(even, odd));
        }
    }
    for v in J..VECTORS {
        simd.store(sums[v], &mut running.sums[v]);
    }
}
