//! The layout of a packed weight: panels of 16 output rows.
//!
//! Quantized: a block is 16 rows × 32 columns in groups of 4 columns; a group is 64 bytes, row by row
//! four codes. 4-bit codes share bytes: low nibbles hold groups 0–3, high nibbles groups 4–7. Codes are
//! unsigned; a weight is scale · (code − bias), or scale · code + offset. Scales lie apart, 16 per block
//! (one per row), followed by the 16 offsets, or by the 16 scales of the upper 16 columns (Q6_K).
//! Dense: column by column, 16 rows each. Missing rows of the last panel have zero scales and weights.

use crate::quant::{Format, k, legacy};
use crate::simd::LANES;
use half::f16;

/// Sixty-four bytes on a cache line of their own.
#[derive(Debug, Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub(super) struct Line([u8; 64]);

/// What follows the 16 scales of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    /// Nothing: the weight is scale · (code − bias).
    Nothing,
    /// Offsets: scale · code + offset.
    Offsets,
    /// Scales of columns 16..32: scale · (code − bias).
    UpperScales,
}

#[derive(Debug, Clone)]
pub(super) enum Scales {
    Half(Vec<u16>),
    Single(Vec<f32>),
}

#[derive(Debug, Clone)]
pub(super) struct Codes {
    /// 4 or 8.
    pub(super) bits: usize,
    pub(super) bias: f32,
    pub(super) extra: Extra,
    pub(super) codes: Vec<Line>,
    pub(super) scales: Scales,
    /// 32-column blocks in a row.
    pub(super) blocks: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    BF16,
}

#[derive(Debug, Clone)]
pub(super) enum Store {
    Codes(Codes),
    Dense { element: Element, lines: Vec<Line> },
}

impl Codes {
    /// Bytes of codes in a block of 16 × 32.
    pub(super) fn block_bytes(&self) -> usize {
        self.bits * 64
    }

    /// Numbers per block in `scales`.
    pub(super) fn scale_stride(&self) -> usize {
        if self.extra == Extra::Nothing { LANES } else { 2 * LANES }
    }

    pub(super) fn code_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.codes)
    }

    fn scale(&self, at: usize) -> f32 {
        match &self.scales {
            Scales::Half(scales) => f16::from_bits(scales[at]).to_f32(),
            Scales::Single(scales) => scales[at],
        }
    }

    fn row(&self, row: usize, out: &mut [f32]) {
        let (panel, lane) = (row / LANES, row % LANES);
        for (block, out) in out.chunks_exact_mut(32).enumerate() {
            let index = panel * self.blocks + block;
            let codes = &self.code_bytes()[index * self.block_bytes()..][..self.block_bytes()];
            let at = index * self.scale_stride() + lane;
            let first = self.scale(at);
            let second = if self.extra == Extra::Nothing { 0.0 } else { self.scale(at + LANES) };
            for (column, out) in out.iter_mut().enumerate() {
                let (group, j) = (column / 4, column % 4);
                let code = match self.bits {
                    4 => (codes[group % 4 * 64 + lane * 4 + j] >> (group / 4 * 4)) & 15,
                    _ => codes[group * 64 + lane * 4 + j],
                };
                let code = f32::from(code);
                *out = match self.extra {
                    Extra::Nothing => first * (code - self.bias),
                    Extra::Offsets => first * code + second,
                    Extra::UpperScales => (if column < 16 { first } else { second }) * (code - self.bias),
                };
            }
        }
    }
}

impl Store {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Store::Dense { lines, .. } => lines.len() * 64,
            Store::Codes(codes) => {
                let scales = match &codes.scales {
                    Scales::Half(scales) => scales.len() * 2,
                    Scales::Single(scales) => scales.len() * 4,
                };
                codes.codes.len() * 64 + scales
            }
        }
    }

    pub(super) fn row(&self, row: usize, columns: usize, out: &mut [f32]) {
        let at = |column: usize| (row / LANES * columns + column) * LANES + row % LANES;
        match self {
            Store::Codes(codes) => codes.row(row, out),
            Store::Dense { element: Element::F32, lines } => {
                let values: &[f32] = bytemuck::cast_slice(lines);
                out.iter_mut().enumerate().for_each(|(column, out)| *out = values[at(column)]);
            }
            Store::Dense { element, lines } => {
                let bits: &[u16] = bytemuck::cast_slice(lines);
                let value = |bits: u16| match element {
                    Element::F16 => f16::from_bits(bits).to_f32(),
                    _ => half::bf16::from_bits(bits).to_f32(),
                };
                out.iter_mut().enumerate().for_each(|(column, out)| *out = value(bits[at(column)]));
            }
        }
    }
}

/// 32 columns of one row: codes, scale, and offset or upper scale.
type Block = ([u8; 32], f32, f32);

/// How a quantized format maps onto [`Codes`].
struct Plan {
    bits: usize,
    bias: f32,
    extra: Extra,
    /// Scales are stored as f16 in the source, so f16 keeps them exact.
    half: bool,
    /// The 32-column blocks of one source block.
    read: fn(&[u8], &mut dyn FnMut(Block)),
}

fn plan(format: Format) -> Option<Plan> {
    let plan = |bits, bias, extra, half, read| Some(Plan { bits, bias, extra, half, read });
    match format {
        Format::F32 | Format::F16 | Format::BF16 => None,
        Format::Q8_0 => plan(8, 128.0, Extra::Nothing, true, |b, emit| {
            emit((std::array::from_fn(|i| b[2 + i] ^ 0x80), k::half_at(b, 0), 0.0));
        }),
        Format::Q4_0 => plan(4, 8.0, Extra::Nothing, true, |b, emit| {
            emit((legacy::four_bit_codes(b, 2), k::half_at(b, 0), 0.0));
        }),
        Format::Q4_1 => plan(4, 0.0, Extra::Offsets, true, |b, emit| {
            emit((legacy::four_bit_codes(b, 4), k::half_at(b, 0), k::half_at(b, 2)));
        }),
        Format::Q5_0 => plan(8, 16.0, Extra::Nothing, true, |b, emit| {
            emit((legacy::five_bit_codes(b, 2, 6), k::half_at(b, 0), 0.0));
        }),
        Format::Q5_1 => plan(8, 0.0, Extra::Offsets, true, |b, emit| {
            emit((legacy::five_bit_codes(b, 4, 8), k::half_at(b, 0), k::half_at(b, 2)));
        }),
        Format::Q4K => plan(4, 0.0, Extra::Offsets, false, |b, emit| scaled(b, &k::codes_q4_k(b), emit)),
        Format::Q5K => plan(8, 0.0, Extra::Offsets, false, |b, emit| scaled(b, &k::codes_q5_k(b), emit)),
        Format::Q6K => plan(8, 32.0, Extra::UpperScales, false, |b, emit| {
            let codes = k::codes_q6_k(b);
            let scale = |i: usize| k::half_at(b, 208) * f32::from(b[192 + i] as i8);
            for j in 0..8 {
                emit((std::array::from_fn(|i| codes[j * 32 + i]), scale(2 * j), scale(2 * j + 1)));
            }
        }),
    }
}

fn scaled(block: &[u8], codes: &[u8; 256], emit: &mut dyn FnMut(Block)) {
    for j in 0..8 {
        let (scale, minimum) = k::scale_min(&block[4..16], j);
        let offset = -(k::half_at(block, 2) * f32::from(minimum));
        emit((std::array::from_fn(|i| codes[j * 32 + i]), k::half_at(block, 0) * f32::from(scale), offset));
    }
}

/// Packs rows × columns of `format`; the length of `bytes` has been checked.
pub(super) fn pack(format: Format, bytes: &[u8], rows: usize, columns: usize) -> Store {
    let panels = rows.div_ceil(LANES);
    match plan(format) {
        None => dense(format, bytes, rows, columns),
        Some(plan) => {
            let blocks = columns / 32;
            let stride = if plan.extra == Extra::Nothing { LANES } else { 2 * LANES };
            let mut lines = vec![Line([0; 64]); panels * blocks * plan.bits];
            let mut scales = vec![0f32; panels * blocks * stride];
            let codes: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
            let per_row = columns / format.block_len() * format.block_bytes();
            for row in 0..rows {
                let (panel, lane) = (row / LANES, row % LANES);
                let mut index = panel * blocks;
                let mut emit = |(block, first, second): Block| {
                    let codes = &mut codes[index * plan.bits * 64..][..plan.bits * 64];
                    for (column, &code) in block.iter().enumerate() {
                        let (group, j) = (column / 4, column % 4);
                        match plan.bits {
                            4 => codes[group % 4 * 64 + lane * 4 + j] |= code << (group / 4 * 4),
                            _ => codes[group * 64 + lane * 4 + j] = code,
                        }
                    }
                    scales[index * stride + lane] = first;
                    if plan.extra != Extra::Nothing {
                        scales[index * stride + LANES + lane] = second;
                    }
                    index += 1;
                };
                for block in bytes[row * per_row..(row + 1) * per_row].chunks_exact(format.block_bytes()) {
                    (plan.read)(block, &mut emit);
                }
            }
            let scales = match plan.half {
                true => Scales::Half(scales.iter().map(|&s| f16::from_f32(s).to_bits()).collect()),
                false => Scales::Single(scales),
            };
            let Plan { bits, bias, extra, .. } = plan;
            Store::Codes(Codes { bits, bias, extra, codes: lines, scales, blocks })
        }
    }
}

fn dense(format: Format, bytes: &[u8], rows: usize, columns: usize) -> Store {
    let element = match format {
        Format::F16 => Element::F16,
        Format::BF16 => Element::BF16,
        _ => Element::F32,
    };
    let size = format.block_bytes();
    let panel_bytes = columns * LANES * size;
    let mut lines = vec![Line([0; 64]); (rows.div_ceil(LANES) * panel_bytes).div_ceil(64)];
    let packed: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
    for row in 0..rows {
        let source = &bytes[row * columns * size..(row + 1) * columns * size];
        let start = row / LANES * panel_bytes + row % LANES * size;
        for (column, value) in source.chunks_exact(size).enumerate() {
            packed[start + column * LANES * size..][..size].copy_from_slice(value);
        }
    }
    Store::Dense { element, lines }
}
