//! f32 activations times dense weights, or times quantized weights dequantized panel by panel: the
//! exact reference. A row's sum is one chain over the columns in order, in every tile size.

use super::activations::tile;
use super::pack::{Codes, Element, Extra, Scales, Store};
use crate::pool::Outputs;
use crate::simd::{LANES, Simd, lanes, lanes_mut, part, store_padded};
use std::cell::Cell;
use std::ops::Range;

/// Panels in flight for a single token, to hide the latency of the chains.
const ABREAST: usize = 4;

thread_local! {
    /// Dequantized panels, kept between calls.
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// What a call over some panels needs.
pub(super) struct Job<'a, S> {
    pub(super) simd: S,
    pub(super) store: &'a Store,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) tokens: usize,
    /// Activations as [`super::activations::turn`] leaves them.
    pub(super) turned: &'a [f32],
    pub(super) y: &'a Outputs<'a, f32>,
}

impl<S: Simd> Job<'_, S> {
    #[inline(always)]
    pub(super) fn run(&self, panels: Range<usize>) {
        let size = self.columns * LANES;
        match self.store {
            Store::Codes(codes) => {
                let mut scratch = SCRATCH.take();
                scratch.resize(ABREAST * size, 0.0);
                let mut first = panels.start;
                while first < panels.end {
                    let count = ABREAST.min(panels.end - first);
                    for (i, panel) in scratch.chunks_exact_mut(size.max(1)).take(count).enumerate() {
                        expand(self.simd, codes, first + i, panel);
                    }
                    self.group::<F32>(first, count, &scratch, 0);
                    first += count;
                }
                SCRATCH.set(scratch);
            }
            Store::Dense { element, lines } => {
                let mut first = panels.start;
                while first < panels.end {
                    let count = ABREAST.min(panels.end - first);
                    match element {
                        Element::F32 => {
                            self.group::<F32>(first, count, bytemuck::cast_slice(lines), first * size)
                        }
                        Element::F16 => {
                            self.group::<F16>(first, count, bytemuck::cast_slice(lines), first * size)
                        }
                        Element::BF16 => {
                            self.group::<BF16>(first, count, bytemuck::cast_slice(lines), first * size)
                        }
                    }
                    first += count;
                }
            }
        }
    }

    /// `count` panels from `first`, whose weights start at `at` in `weights`.
    #[inline(always)]
    fn group<D: Dense>(&self, first: usize, count: usize, weights: &[D::Stored], at: usize) {
        let size = self.columns * LANES;
        if self.tokens == 1 && count == ABREAST {
            return self.tile::<D, ABREAST, 1>(first, 0, weights, at);
        }
        for i in 0..count {
            let mut start = 0;
            while start < self.tokens {
                let tokens = tile(self.tokens - start, S::TOKENS);
                let at = at + i * size;
                if S::TOKENS >= 16 && tokens == 16 {
                    self.tile::<D, 1, 16>(first + i, start, weights, at);
                } else if S::TOKENS >= 8 && tokens == 8 {
                    self.tile::<D, 1, 8>(first + i, start, weights, at);
                } else if tokens == 4 {
                    self.tile::<D, 1, 4>(first + i, start, weights, at);
                } else if tokens == 2 {
                    self.tile::<D, 1, 2>(first + i, start, weights, at);
                } else {
                    self.tile::<D, 1, 1>(first + i, start, weights, at);
                }
                start += tokens;
            }
        }
    }

    #[inline(always)]
    fn tile<D: Dense, const P: usize, const T: usize>(
        &self,
        first: usize,
        start: usize,
        weights: &[D::Stored],
        at: usize,
    ) {
        let (simd, size) = (self.simd, self.columns * LANES);
        let x = &self.turned[start * self.columns..][..T * self.columns];
        let weights: [&[D::Stored]; P] = std::array::from_fn(|p| &weights[at + p * size..][..size]);
        let mut sums = [[simd.splat(0.0); T]; P];
        for column in 0..self.columns {
            let x: &[f32; T] = part(x, column * T);
            for (p, sums) in sums.iter_mut().enumerate() {
                let w = D::load(simd, lanes(weights[p], column * LANES));
                for (sum, &x) in sums.iter_mut().zip(x) {
                    *sum = simd.fma(w, simd.splat(x), *sum);
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            let row = (first + p) * LANES;
            let rows = LANES.min(self.rows - row);
            for (t, &sum) in sums.iter().enumerate() {
                // SAFETY: each panel belongs to one part, and its rows of a token to this tile alone.
                let y = unsafe { self.y.range((start + t) * self.rows + row, rows) };
                store_padded(simd, sum, y, 0);
            }
        }
    }
}

/// An element type of dense weights.
trait Dense {
    type Stored: Copy;
    fn load<S: Simd>(simd: S, from: &[Self::Stored; LANES]) -> S::V;
}
struct F32;
struct F16;
struct BF16;
impl Dense for F32 {
    type Stored = f32;
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[f32; LANES]) -> S::V {
        simd.load(from)
    }
}
impl Dense for F16 {
    type Stored = u16;
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[u16; LANES]) -> S::V {
        simd.load_f16(from)
    }
}
impl Dense for BF16 {
    type Stored = u16;
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[u16; LANES]) -> S::V {
        simd.load_bf16(from)
    }
}

/// Columns `columns` (from a multiple of 32 on) of one panel as [column][16].
#[inline(always)]
pub(super) fn expand_columns<S: Simd>(
    simd: S,
    store: &Store,
    width: usize,
    panel: usize,
    columns: Range<usize>,
    out: &mut Vec<f32>,
) {
    let room = columns.len().next_multiple_of(32) * LANES;
    if out.len() < room {
        out.resize(room, 0.0);
    }
    match store {
        Store::Codes(codes) => {
            for (block, out) in (columns.start / 32..columns.end.div_ceil(32)).zip(out.chunks_exact_mut(512))
            {
                expand_block(simd, codes, panel * codes.blocks + block, out);
            }
        }
        Store::Dense { element, lines } => {
            let range = (panel * width + columns.start) * LANES..(panel * width + columns.end) * LANES;
            match element {
                Element::F32 => {
                    let values: &[f32] = bytemuck::cast_slice(lines);
                    out[..range.len()].copy_from_slice(&values[range]);
                }
                Element::F16 => widen::<S, F16>(simd, &bytemuck::cast_slice(lines)[range], out),
                Element::BF16 => widen::<S, BF16>(simd, &bytemuck::cast_slice(lines)[range], out),
            }
        }
    }
}

#[inline(always)]
fn widen<S: Simd, D: Dense>(simd: S, from: &[D::Stored], out: &mut [f32]) {
    for at in (0..from.len()).step_by(LANES) {
        simd.store(D::load(simd, lanes(from, at)), lanes_mut(out, at));
    }
}

/// Dequantizes one panel into [column][16]; the values are those of [`Store::row`] bit for bit.
#[inline(always)]
fn expand<S: Simd>(simd: S, weight: &Codes, panel: usize, out: &mut [f32]) {
    for (block, out) in out.chunks_exact_mut(512).take(weight.blocks).enumerate() {
        expand_block(simd, weight, panel * weight.blocks + block, out);
    }
}

/// Dequantizes block `index` into [column][16].
#[inline(always)]
fn expand_block<S: Simd>(simd: S, weight: &Codes, index: usize, out: &mut [f32]) {
    let unbias = simd.splat(weight.bias);
    let codes = &weight.code_bytes()[index * weight.block_bytes()..][..weight.block_bytes()];
    let scales = |at: usize| match &weight.scales {
        Scales::Half(scales) => simd.load_f16(lanes(scales, at)),
        Scales::Single(scales) => simd.load(lanes(scales, at)),
    };
    let at = index * weight.scale_stride();
    let first = scales(at);
    let second = if weight.extra == Extra::Nothing { first } else { scales(at + LANES) };
    for column in 0..32 {
        let (group, j) = (column / 4, (column % 4) as u32);
        let code = match weight.bits {
            4 => simd.field(part(codes, group % 4 * 64), j * 8 + (group as u32 / 4) * 4, 15),
            _ => simd.field(part(codes, group * 64), j * 8, 255),
        };
        let value = match weight.extra {
            Extra::Nothing => simd.mul(first, simd.sub(code, unbias)),
            Extra::Offsets => simd.add(simd.mul(first, code), second),
            Extra::UpperScales => simd.mul(if column < 16 { first } else { second }, simd.sub(code, unbias)),
        };
        simd.store(value, lanes_mut(out, column * LANES));
    }
}
