//! What happens to the rows of scores of a block of queries: softmax, and its backward.

use super::{Documents, Space};
use crate::simd::{Kernel, LANES, Simd, padded};
use std::ops::Range;

/// Keys up to the end of a block, rounded up to whole vectors.
pub(super) fn width(block: &Range<usize>) -> usize {
    block.end.next_multiple_of(LANES)
}

/// Bounds that leave the first sixteen numbers as they are and turn the others into −∞, or the other way round.
const UNTIL: [f32; 2 * LANES] = bounds(false);
const FROM: [f32; 2 * LANES] = bounds(true);

const fn bounds(from: bool) -> [f32; 2 * LANES] {
    let mut bounds = [f32::INFINITY; 2 * LANES];
    let mut i = 0;
    while i < LANES {
        bounds[if from { i } else { LANES + i }] = f32::NEG_INFINITY;
        i += 1;
    }
    bounds
}

/// The keys that the query at `position` sees, and the vectors that hold them.
fn seen(shape: &Documents, position: usize) -> (Range<usize>, Range<usize>) {
    let seen = shape.first_key(position)..position + 1;
    let whole = seen.start / LANES..seen.end.div_ceil(LANES);
    (seen, whole)
}

/// The vectors `whole` of a row; the others become zeros.
#[inline(always)]
fn inside<'r>(row: &'r mut [f32], whole: &Range<usize>) -> &'r mut [[f32; LANES]] {
    let (row, _) = row.as_chunks_mut::<LANES>();
    row[..whole.start].as_flattened_mut().fill(0.0);
    row[whole.end..].as_flattened_mut().fill(0.0);
    &mut row[whole.clone()]
}

/// Scaled, capped and normalized rows of scores; zeros where a query may not look.
pub(super) struct Softmax<'a> {
    pub(super) shape: &'a Documents<'a>,
    pub(super) block: &'a Range<usize>,
    pub(super) space: &'a mut Space,
}

impl Kernel for Softmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Softmax { shape, block, space } = self;
        let width = width(block);
        for (i, row) in space.weights.chunks_exact_mut(width).enumerate() {
            let (seen, whole) = seen(shape, block.start + i);
            let row = inside(row, &whole);
            // The scale of scores that are still unscaled.
            let scale = match shape.softcap {
                None => shape.scale,
                Some(cap) => {
                    let caps = &mut space.caps[i * width + whole.start * LANES..][..row.len() * LANES];
                    capped(simd, shape.scale, cap, row, caps.as_chunks_mut().0);
                    1.0
                }
            };
            mask(simd, &mut row[0], &FROM[LANES - seen.start % LANES..]);
            let last = row.len() - 1;
            mask(simd, &mut row[last], &UNTIL[(LANES - seen.end % LANES) % LANES..]);
            normalize(simd, scale, row);
        }
    }
}

/// −∞ where the bound is.
#[inline(always)]
fn mask<S: Simd>(simd: S, scores: &mut [f32; LANES], bounds: &[f32]) {
    simd.store(simd.min(simd.load(scores), padded(simd, bounds, 0, 0.0)), scores);
}

/// cap · tanh(scale · score / cap), and its derivative by the scaled score.
#[inline(always)]
fn capped<S: Simd>(simd: S, scale: f32, cap: f32, row: &mut [[f32; LANES]], slopes: &mut [[f32; LANES]]) {
    for (score, slope) in row.iter_mut().zip(slopes) {
        // tanh(x) = 1 − 2 / (e^2x + 1)
        let power = simd.exp(simd.mul(simd.mul(simd.load(score), simd.splat(scale)), simd.splat(2.0 / cap)));
        let below = simd.add(power, simd.splat(1.0));
        let tanh = simd.sub(simd.splat(1.0), simd.div(simd.splat(2.0), below));
        simd.store(simd.sub(simd.splat(1.0), simd.mul(tanh, tanh)), slope);
        simd.store(simd.mul(tanh, simd.splat(cap)), score);
    }
}

/// Softmax of scale · scores, which hold at least one number above −∞ or NaN.
#[inline(always)]
fn normalize<S: Simd>(simd: S, scale: f32, row: &mut [[f32; LANES]]) {
    let mut top = simd.splat(f32::NEG_INFINITY);
    for scores in row.iter() {
        top = simd.max(top, simd.load(scores));
    }
    let (scale, top) = (simd.splat(scale), simd.splat(simd.top(top)));
    let mut sums = simd.splat(0.0);
    for scores in row.iter_mut() {
        let value = simd.exp(simd.mul(simd.sub(simd.load(scores), top), scale));
        sums = simd.add(sums, value);
        simd.store(value, scores);
    }
    let inverse = simd.splat(1.0 / simd.sum(sums));
    for scores in row.iter_mut() {
        simd.store(simd.mul(simd.load(scores), inverse), scores);
    }
}

/// Gradients of the unscaled scores in place of those of the weights: p · (dp − Σ p dp) · scale.
pub(super) struct Slopes<'a> {
    pub(super) shape: &'a Documents<'a>,
    pub(super) block: &'a Range<usize>,
    pub(super) space: &'a mut Space,
}

impl Kernel for Slopes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Slopes { shape, block, space } = self;
        let width = width(block);
        let rows = space.slopes.chunks_exact_mut(width).zip(space.weights.chunks_exact(width));
        for (i, (slopes, weights)) in rows.enumerate() {
            let (_, whole) = seen(shape, block.start + i);
            let weights = &weights.as_chunks::<LANES>().0[whole.clone()];
            let slopes = inside(slopes, &whole);
            // Weights are zero where the query may not look, and so are the slopes.
            let mut sums = simd.splat(0.0);
            for (slope, weight) in slopes.iter().zip(weights) {
                sums = simd.fma(simd.load(weight), simd.load(slope), sums);
            }
            let (mean, scale) = (simd.splat(simd.sum(sums)), simd.splat(shape.scale));
            for (slope, weight) in slopes.iter_mut().zip(weights) {
                let value = simd.mul(simd.load(weight), simd.sub(simd.load(slope), mean));
                simd.store(simd.mul(value, scale), slope);
            }
            if shape.softcap.is_some() {
                let caps = &space.caps[i * width + whole.start * LANES..][..slopes.len() * LANES];
                for (slope, cap) in slopes.iter_mut().zip(caps.as_chunks::<LANES>().0) {
                    simd.store(simd.mul(simd.load(slope), simd.load(cap)), slope);
                }
            }
        }
    }
}
