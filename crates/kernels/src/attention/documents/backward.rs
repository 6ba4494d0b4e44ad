//! The gradients of one head of a document, tile by tile: weights are computed again from what the forward pass kept
//! of each softmax (Dao et al. 2022).

use super::group::{Group, KEYS, Piece};
use super::head::{Head, scatter};
use super::tile::{self, Row, VECTORS, WIDTH, from_vector, product, rows_mut};
use super::{SPACE, Space};
use crate::gemm::pack::{self, Layout, Strided};
use crate::pool::Outputs;
use crate::simd::{Kernel, LANES, Simd, lanes_mut, padded};
use std::f32::consts::LOG2_E;
use std::ops::Range;

/// Keys whose gradients stay in the second-level cache while the queries pass by.
const BLOCK: usize = 16 * KEYS;

/// One query head of a document.
pub(super) struct Backward<'a> {
    pub(super) head: Head<'a>,
    pub(super) layout: Layout,
    /// The forward pass's output and softmaxes, and the output's gradient.
    pub(super) out: &'a [f32],
    pub(super) rescaling: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) dqueries: &'a Outputs<'a, f32>,
    /// This head's share of the gradients of the document's keys and values, in rows of whole vectors.
    pub(super) shares: [&'a mut [f32]; 2],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut space = SPACE.take();
        let (shape, dim) = (self.head.shape, self.head.shape.head_dim);
        let (wide, length) = (dim.next_multiple_of(LANES), self.head.document.len());
        self.shares.iter_mut().for_each(|share| share.fill(0.0));
        self.pack_memory(simd, &mut space);
        let scale = [[shape.scale; LANES]; VECTORS];
        space.scores.room(WIDTH * WIDTH);
        space.slopes.room(WIDTH * WIDTH);
        space.rows_turned.room(wide * WIDTH);
        for block in (0..length).step_by(BLOCK) {
            for group in Group::all(block..length) {
                let first = group.first(shape);
                // A group is packed when the block has keys that it sees.
                let (mut add, mut seen) = (false, None);
                for start in (block..block + BLOCK).step_by(KEYS) {
                    let Some(keys) = group.tile(shape, start) else { continue };
                    let known = match seen.take() {
                        Some(known) => known,
                        None => self.pack_group(simd, &group, &mut space),
                    };
                    self.tile(simd, &group, &keys, &known, add, &mut space);
                    seen = Some(known);
                    add = true;
                }
                if add {
                    let later = first < block;
                    scatter(simd, &self.head, &group, &space.rows_turned, &scale, later, self.dqueries);
                }
            }
        }
        SPACE.set(space);
    }
}

/// What the softmax of each query of a group was, and the mean of its slopes.
struct Seen {
    /// Minus the largest score, in powers of two.
    tops: Row,
    means: Row,
}

impl Backward<'_> {
    /// Keys by rows and by channels; values by rows where products are in pairs.
    #[inline(always)]
    fn pack_memory<S: Simd>(&self, simd: S, space: &mut Space) {
        let (dim, length) = (self.head.shape.head_dim, self.head.document.len());
        self.head.gather_keys(length, &mut space.key_rows);
        self.head.by_channels(simd, self.layout, self.head.keys, length, &mut space.keys);
        if S::PAIRS {
            let pairs = self.layout.depth(dim);
            let (values, stride) = self.head.memory(self.head.values);
            let to = &mut space.values.room(length * pairs)[..length * pairs];
            for (key, to) in to.chunks_exact_mut(pairs).enumerate() {
                pack::row(simd, &values[key * stride..][..dim], to);
            }
        }
    }

    /// Queries and the output's gradient over the sums of the softmax: by channels and by rows.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // vectors of several rows
    fn pack_group<S: Simd>(&self, simd: S, group: &Group, space: &mut Space) -> Seen {
        let (head, layout) = (&self.head, self.layout);
        let dim = head.shape.head_dim;
        let wide = dim.next_multiple_of(LANES);
        let room = WIDTH * wide;
        let [queries, dys] = [&mut space.queries, &mut space.dy].map(|to| &mut to.room(room)[..room]);
        let [tops, inverses] = head.kept_rescaling(group, self.rescaling);
        let mut seen = Seen { tops, means: [[0.0; LANES]; VECTORS] };
        for v in group.from..VECTORS {
            let mut products = [simd.splat(0.0); LANES];
            for lane in 0..LANES {
                let to = (v * LANES + lane) * wide..(v * LANES + lane + 1) * wide;
                let (query_to, dy_to) = (&mut queries[to.clone()], &mut dys[to]);
                if lane >= group.count(v) {
                    query_to.fill(0.0);
                    dy_to.fill(0.0);
                    continue;
                }
                let [query, dy, out] =
                    [head.queries, self.dy, self.out].map(|rows| head.row(rows, group, v, lane));
                let inverse = simd.splat(inverses[v][lane]);
                for at in (0..wide).step_by(LANES) {
                    let mut dy = simd.mul(padded(simd, dy, at, 0.0), inverse);
                    if S::PAIRS {
                        // Rounded as the products take it: the mean has to be that of their slopes.
                        dy = simd.pairs(simd.splat(0.0), dy);
                    }
                    products[lane] = simd.fma(dy, padded(simd, out, at, 0.0), products[lane]);
                    simd.store(dy, lanes_mut(dy_to, at));
                    simd.store(padded(simd, query, at, 0.0), lanes_mut(query_to, at));
                }
            }
            let mut mean = simd.splat(0.0);
            for products in simd.turn(products) {
                mean = simd.add(mean, products);
            }
            simd.store(mean, &mut seen.means[v]);
        }
        let turned =
            [(&mut space.queries_turned, &*queries, Layout::Plain), (&mut space.dy_turned, &*dys, layout)];
        for (to, rows, layout) in turned {
            let to = to.room(dim * WIDTH);
            for v in group.from..VECTORS {
                let from = Strided::new(rows, wide, false, v * LANES, LANES);
                pack::vector(simd, layout, from, 0..dim, &mut to[v * LANES..], WIDTH);
            }
        }
        let depth = layout.depth(WIDTH);
        let slots = group.from * LANES..WIDTH;
        for (to, rows) in [(&mut space.query_pairs, &*queries), (&mut space.dy_pairs, &*dys)] {
            let to = to.room(wide.next_multiple_of(WIDTH) * depth);
            for channel in (0..wide).step_by(LANES) {
                let from = Strided::new(rows, wide, true, channel, LANES);
                let (panel, vector) = panel(wide, channel);
                let at = panel * depth * WIDTH + layout.depth(slots.start) * WIDTH + vector * LANES;
                pack::vector(simd, layout, from, slots.clone(), &mut to[at..], WIDTH);
            }
        }
        seen
    }

    /// One tile of keys: adds its share to all gradients, or begins those of the queries.
    #[inline(always)]
    fn tile<S: Simd>(
        &mut self,
        simd: S,
        group: &Group,
        keys: &Range<usize>,
        seen: &Seen,
        mut add: bool,
        space: &mut Space,
    ) {
        let (layout, shape) = (self.layout, self.head.shape);
        let dim = shape.head_dim;
        let (wide, length) = (dim.next_multiple_of(LANES), self.head.document.len());
        let depth = layout.depth(length);
        let scale =
            self.head.scores(simd, group, keys, &space.key_rows, &space.queries_turned, &mut space.scores);
        for piece in group.pieces(keys) {
            let first = keys.start + piece.first;
            let values = if S::PAIRS {
                let stride = layout.depth(dim);
                tile::Left::Lines { values: &space.values[first * stride..], stride }
            } else {
                let (values, stride) = self.head.memory(self.head.values);
                tile::Left::Lines { values: &values[first * stride..], stride }
            };
            let at = piece.first * WIDTH + piece.from * LANES;
            let to = tile::To { values: &mut space.slopes[at..], stride: WIDTH, add: false };
            product::<S, true>(simd, piece.rows, layout.depth(dim), piece.from, values, &space.dy_turned, to);
            let (scores, slopes) = (rows_mut(&mut space.scores), rows_mut(&mut space.slopes));
            let scale = scale * LOG2_E;
            from_vector!(piece.from, slope::<S>(simd, scale, shape.softcap, piece, seen, scores, slopes));
            // Weights and slopes by keys: in pairs both lie in the rows of the slopes.
            let skip = layout.depth(piece.from * LANES);
            let (at, inner) = (piece.first * WIDTH + skip, layout.depth(WIDTH) - skip);
            let (weights, slopes) = match S::PAIRS {
                true => (&space.slopes[at..], &space.slopes[at + WIDTH / 2..]),
                false => (&space.scores[at..], &space.slopes[at..]),
            };
            let [dkeys, dvalues] = &mut self.shares;
            for (share, left, right) in
                [(dvalues, weights, &space.dy_pairs), (dkeys, slopes, &space.query_pairs)]
            {
                let left = tile::Left::Lines { values: left, stride: WIDTH };
                for channel in (0..wide).step_by(WIDTH) {
                    let from = VECTORS - ((wide - channel) / LANES).min(VECTORS);
                    let right = &right[channel / WIDTH * layout.depth(WIDTH) * WIDTH + skip * WIDTH..];
                    let to =
                        tile::To { values: &mut share[first * wide + channel..], stride: wide, add: true };
                    product::<S, true>(simd, piece.rows, inner, from, left, right, to);
                }
            }
            // dQ, turned.
            let right = match S::PAIRS {
                true => &space.scores[piece.first / 2 * WIDTH..],
                false => &space.slopes[piece.first * WIDTH..],
            };
            for channel in (0..dim).step_by(LANES) {
                let at = channel * depth + layout.depth(first) * LANES;
                let left = tile::Left::Turned(&space.keys[at..]);
                let at = channel * WIDTH + piece.from * LANES;
                let to = tile::To { values: &mut space.rows_turned[at..], stride: WIDTH, add };
                product::<S, true>(simd, LANES, layout.depth(piece.rows), piece.from, left, right, to);
            }
            add = true;
        }
    }
}

/// Panel and vector of a right factor in which sixteen channels lie: the last panel fills its last vectors.
fn panel(wide: usize, channel: usize) -> (usize, usize) {
    let (panel, vector) = (channel / WIDTH, channel % WIDTH / LANES);
    let vectors = ((wide - panel * WIDTH) / LANES).min(VECTORS);
    (panel, VECTORS - vectors + vector)
}

/// Weights and slopes of the scores of a piece's vectors from `J` on, from scores and the gradients of the weights.
/// In f32 each takes the place of the other. In pairs, the slopes by pairs of keys take that of the scores, and in
/// a row of the gradients come the weights by pairs of queries, then the slopes.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // two tiles and what is known of them
#[allow(clippy::needless_range_loop)] // vectors of several rows
fn slope<S: Simd, const J: usize>(
    simd: S,
    scale: f32,
    softcap: Option<f32>,
    piece: Piece,
    seen: &Seen,
    scores: &mut [Row],
    slopes: &mut [Row],
) {
    let scale = simd.splat(scale);
    let (mut tops, mut means) = ([simd.splat(0.0); VECTORS], [simd.splat(0.0); VECTORS]);
    for v in J..VECTORS {
        (tops[v], means[v]) = (simd.load(&seen.tops[v]), simd.load(&seen.means[v]));
    }
    let end = piece.first + piece.rows;
    for key in (piece.first..end).step_by(2) {
        let mut weights = [[simd.splat(0.0); VECTORS]; 2];
        for (key, weights) in (key..end.min(key + 2)).zip(&mut weights) {
            for v in J..VECTORS {
                weights[v] = simd.exp2(simd.fma(simd.load(&scores[key][v]), scale, tops[v]));
            }
        }
        if S::PAIRS {
            // As the forward pass took them: the slopes of a query have to cancel.
            for v in J..VECTORS {
                [weights[0][v], weights[1][v]] = simd.unpaired(simd.pairs(weights[0][v], weights[1][v]));
            }
        }
        let mut both = [[simd.splat(0.0); VECTORS]; 2];
        for ((key, to), weights) in (key..end.min(key + 2)).zip(&mut both).zip(&weights) {
            for v in J..VECTORS {
                to[v] = simd.mul(weights[v], simd.sub(simd.load(&slopes[key][v]), means[v]));
                if let Some(cap) = softcap {
                    let tanh = simd.mul(simd.load(&scores[key][v]), simd.splat(1.0 / cap));
                    let slope = simd.sub(simd.splat(1.0), simd.mul(tanh, tanh));
                    // Where nothing is seen the score is no number that a cap could have.
                    to[v] = simd.mul(to[v], simd.max(simd.splat(0.0), slope));
                }
            }
            if S::PAIRS {
                let row = &mut slopes[key];
                for v in J / 2..VECTORS / 2 {
                    simd.store(simd.neighbors(weights[2 * v], weights[2 * v + 1]), &mut row[v]);
                    let to = simd.neighbors(to[2 * v], to[2 * v + 1]);
                    simd.store(to, &mut row[VECTORS / 2 + v]);
                }
                continue;
            }
            for v in J..VECTORS {
                simd.store(weights[v], &mut scores[key][v]);
                simd.store(to[v], &mut slopes[key][v]);
            }
        }
        if S::PAIRS {
            for v in J..VECTORS {
                simd.store(simd.pairs(both[0][v], both[1][v]), &mut scores[key / 2][v]);
            }
        }
    }
}
