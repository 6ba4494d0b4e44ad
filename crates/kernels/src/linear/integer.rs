//! Quantized weights times 8-bit activations: integer dots per block of 32 columns, f32 between blocks.
//! The sum of a token's row runs over the blocks in order, one addition each, in every tile size.

use super::activations::{Buffers, NOTES, tile};
use super::pack::{Codes, Extra, Scales};
use crate::pool::Outputs;
use crate::simd::{LANES, Simd, lanes, part, store_padded};
use std::ops::Range;

/// How codes are stored.
trait Width {
    type Ready<S: Simd>;
    const BYTES: usize;
    fn ready<S: Simd>(simd: S, packed: &[u8], at: usize) -> Self::Ready<S>;
    fn dot<S: Simd>(simd: S, codes: &Self::Ready<S>, x: &[i8; 32], from: usize, to: usize) -> S::V;
}

struct Four;
struct Eight;

impl Width for Four {
    type Ready<S: Simd> = S::Nibbles;
    const BYTES: usize = 256;
    #[inline(always)]
    fn ready<S: Simd>(simd: S, packed: &[u8], at: usize) -> S::Nibbles {
        simd.nibbles(part(packed, at))
    }
    #[inline(always)]
    fn dot<S: Simd>(simd: S, codes: &S::Nibbles, x: &[i8; 32], from: usize, to: usize) -> S::V {
        simd.dot_nibbles(codes, x, from, to)
    }
}

impl Width for Eight {
    type Ready<S: Simd> = S::Bytes;
    const BYTES: usize = 512;
    #[inline(always)]
    fn ready<S: Simd>(simd: S, packed: &[u8], at: usize) -> S::Bytes {
        simd.bytes(part(packed, at))
    }
    #[inline(always)]
    fn dot<S: Simd>(simd: S, codes: &S::Bytes, x: &[i8; 32], from: usize, to: usize) -> S::V {
        simd.dot_bytes(codes, x, from, to)
    }
}

/// Panels `panels` of `weight` for all `tokens`; `y` has `rows` elements per token.
#[inline(always)]
pub(super) fn panels<S: Simd>(
    simd: S,
    weight: &Codes,
    panels: Range<usize>,
    buffers: &Buffers,
    tokens: usize,
    rows: usize,
    y: &Outputs<f32>,
) {
    let job = Job { simd, weight, panels, buffers, tokens, rows, y };
    match (weight.bits, weight.extra) {
        (4, Extra::Nothing) => job.run::<Four, 0>(),
        (4, _) => job.run::<Four, 1>(),
        (_, Extra::Nothing) => job.run::<Eight, 0>(),
        (_, Extra::Offsets) => job.run::<Eight, 1>(),
        (_, Extra::UpperScales) => job.run::<Eight, 2>(),
    }
}

struct Job<'a, S> {
    simd: S,
    weight: &'a Codes,
    panels: Range<usize>,
    buffers: &'a Buffers,
    tokens: usize,
    rows: usize,
    y: &'a Outputs<'a, f32>,
}

impl<S: Simd> Job<'_, S> {
    /// `EXTRA`: 0 nothing, 1 offsets, 2 upper scales.
    #[inline(always)]
    fn run<W: Width, const EXTRA: usize>(&self) {
        for panel in self.panels.clone() {
            let mut start = 0;
            while start < self.tokens {
                let size = tile(self.tokens - start, S::TOKENS);
                if S::TOKENS >= 16 && size == 16 {
                    self.tile::<W, EXTRA, 16>(panel, start);
                } else if S::TOKENS >= 8 && size == 8 {
                    self.tile::<W, EXTRA, 8>(panel, start);
                } else if size == 4 {
                    self.tile::<W, EXTRA, 4>(panel, start);
                } else if size == 2 {
                    self.tile::<W, EXTRA, 2>(panel, start);
                } else {
                    self.tile::<W, EXTRA, 1>(panel, start);
                }
                start += size;
            }
        }
    }

    #[inline(always)]
    fn scales(&self, at: usize) -> S::V {
        match &self.weight.scales {
            Scales::Half(scales) => self.simd.load_f16(lanes(scales, at)),
            Scales::Single(scales) => self.simd.load(lanes(scales, at)),
        }
    }

    /// One panel × `T` tokens from `start`.
    #[inline(always)]
    fn tile<W: Width, const EXTRA: usize, const T: usize>(&self, panel: usize, start: usize) {
        let (simd, weight) = (self.simd, self.weight);
        let blocks = weight.blocks;
        let packed = weight.code_bytes();
        let codes = &self.buffers.codes[start * blocks * 32..][..T * blocks * 32];
        let notes = &self.buffers.notes[start * blocks * NOTES..][..T * blocks * NOTES];
        let unbias = simd.splat(-weight.bias);
        let stride = if EXTRA == 0 { LANES } else { 2 * LANES };
        let mut sums = [simd.splat(0.0); T];
        for block in 0..blocks {
            let index = panel * blocks + block;
            if T <= 2 {
                let line = packed.as_ptr().wrapping_add(index * W::BYTES + 4096);
                (0..W::BYTES / 64).for_each(|i| simd.prefetch(line.wrapping_add(i * 64)));
            }
            let ready = W::ready(simd, packed, index * W::BYTES);
            let scale = self.scales(index * stride);
            let second = if EXTRA == 0 { scale } else { self.scales(index * stride + LANES) };
            for (t, sum) in sums.iter_mut().enumerate() {
                let x: &[i8; 32] = part(codes, (block * T + t) * 32);
                let note: &[f32; NOTES] = part(notes, (block * T + t) * NOTES);
                let step = simd.splat(note[0]);
                let scaled = simd.mul(scale, step);
                // The integer sums stay below 2^24, so these f32 steps are exact.
                *sum = match EXTRA {
                    0 => {
                        let dot = W::dot(simd, &ready, x, 0, 8);
                        simd.fma(scaled, simd.fma(unbias, simd.splat(note[2]), dot), *sum)
                    }
                    1 => {
                        let dot = W::dot(simd, &ready, x, 0, 8);
                        simd.fma(second, simd.splat(note[3]), simd.fma(scaled, dot, *sum))
                    }
                    _ => {
                        let low = W::dot(simd, &ready, x, 0, 4);
                        let low = simd.fma(unbias, simd.splat(note[1]), low);
                        let high = W::dot(simd, &ready, x, 4, 8);
                        let high = simd.fma(unbias, simd.splat(note[2] - note[1]), high);
                        simd.fma(simd.mul(second, step), high, simd.fma(scaled, low, *sum))
                    }
                };
            }
        }
        let rows = LANES.min(self.rows - panel * LANES);
        for (t, &sum) in sums.iter().enumerate() {
            // SAFETY: each panel belongs to one part, and its rows of a token to this tile alone.
            let y = unsafe { self.y.range((start + t) * self.rows + panel * LANES, rows) };
            store_padded(simd, sum, y, 0);
        }
    }
}
