//! Which queries and keys are worked on together, and which of them see each other.

use super::Documents;
use super::tile::{Row, VECTORS, WIDTH};
use crate::simd::{LANES, Simd, padded};
use std::ops::Range;

/// Keys of a tile.
pub(super) const KEYS: usize = WIDTH;

/// What a score becomes where a query may not look: far below every other, and finite, so that differences are numbers.
pub(super) const UNSEEN: f32 = -1e30;

/// The largest score so far, before any is known: below every score, and above what a scale makes of [`UNSEEN`], so
/// that keys which are not seen get no weight even where there is no other yet.
pub(super) const NONE_YET: f32 = -1e20;

/// At most [`WIDTH`] neighboring queries of a document, one per lane. They fill the last vectors of a row, so that those
/// which see a key are the last ones too.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Positions in the document; the first is a multiple of [`WIDTH`].
    pub(super) queries: Range<usize>,
    /// First vector in use.
    pub(super) from: usize,
}

/// Some rows of a tile of keys, and the first vector of queries that see any of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) from: usize,
    /// Whether queries of that vector come before some of the keys.
    pub(super) diagonal: bool,
}

impl Group {
    /// The groups of some queries of a document, which begin at a multiple of [`WIDTH`].
    pub(super) fn all(queries: Range<usize>) -> impl Iterator<Item = Group> {
        queries.clone().step_by(WIDTH).map(move |start| {
            let queries = start..(start + WIDTH).min(queries.end);
            let from = VECTORS - queries.len().div_ceil(LANES);
            Group { queries, from }
        })
    }

    /// The first tile of keys that any of these queries sees begins here.
    pub(super) fn first(&self, shape: &Documents) -> usize {
        shape.first_key(self.queries.start) / KEYS * KEYS
    }

    /// The keys of the tile from `start` (a multiple of [`KEYS`]) on, if any of these queries sees any.
    pub(super) fn tile(&self, shape: &Documents, start: usize) -> Option<Range<usize>> {
        (self.first(shape)..self.queries.end)
            .contains(&start)
            .then(|| start..(start + KEYS).min(self.queries.end))
    }

    /// The pieces of a tile, every vector of queries being in all that it sees.
    pub(super) fn pieces(&self, keys: &Range<usize>) -> impl Iterator<Item = Piece> + use<> {
        let diagonal = keys.start >= self.queries.start;
        let (length, from) = (keys.len(), self.from);
        let height = if diagonal { LANES } else { KEYS };
        (0..length).step_by(height).enumerate().map(move |(i, first)| Piece {
            first,
            rows: height.min(length - first),
            from: from + i,
            diagonal,
        })
    }

    /// Position of the first query of a vector.
    fn position(&self, vector: usize) -> usize {
        self.queries.start + (vector - self.from) * LANES
    }

    /// Queries of a vector.
    pub(super) fn count(&self, vector: usize) -> usize {
        LANES.min(self.queries.end - self.position(vector))
    }

    /// Makes [`UNSEEN`] what a piece's queries may not see.
    #[inline(always)]
    pub(super) fn mask<S: Simd>(
        &self,
        simd: S,
        shape: &Documents,
        keys: &Range<usize>,
        piece: Piece,
        tile: &mut [Row],
    ) {
        for (i, row) in tile[piece.first..][..piece.rows].iter_mut().enumerate() {
            if piece.diagonal {
                bound(simd, &mut row[piece.from], &FROM[LANES - i..]);
            }
            let Some(window) = shape.window else { continue };
            // The first query that is too far away.
            let end = window.saturating_add(keys.start + piece.first + i);
            for (vector, scores) in row.iter_mut().enumerate().skip(piece.from) {
                let seen = end.saturating_sub(self.position(vector)).min(LANES);
                bound(simd, scores, &UNTIL[LANES - seen..]);
            }
        }
    }
}

#[inline(always)]
fn bound<S: Simd>(simd: S, scores: &mut [f32; LANES], bounds: &[f32]) {
    simd.store(simd.min(simd.load(scores), padded(simd, bounds, 0, 0.0)), scores);
}

/// Bounds that leave the first sixteen numbers as they are and make the others [`UNSEEN`], or the other way round.
const UNTIL: [f32; 2 * LANES] = bounds(false);
const FROM: [f32; 2 * LANES] = bounds(true);

const fn bounds(from: bool) -> [f32; 2 * LANES] {
    let mut bounds = [f32::INFINITY; 2 * LANES];
    let mut i = 0;
    while i < LANES {
        bounds[if from { i } else { LANES + i }] = UNSEEN;
        i += 1;
    }
    bounds
}
