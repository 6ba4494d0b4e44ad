//! Float formats and the 32-weight blocks (Q8_0, Q4_0, Q4_1, Q5_0, Q5_1).

use half::{bf16, f16};

use super::k::half_at;

pub(super) fn decode_f32(bytes: &[u8], out: &mut [f32]) {
    for (value, raw) in out.iter_mut().zip(bytes.chunks_exact(4)) {
        *value = f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
    }
}

pub(super) fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    for (value, raw) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *value = f16::from_le_bytes([raw[0], raw[1]]).to_f32();
    }
}

pub(super) fn decode_bf16(bytes: &[u8], out: &mut [f32]) {
    for (value, raw) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *value = bf16::from_le_bytes([raw[0], raw[1]]).to_f32();
    }
}

pub(super) fn decode_q8_0(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(34).zip(out.chunks_exact_mut(32)) {
        let scale = half_at(block, 0);
        for (value, &code) in values.iter_mut().zip(&block[2..]) {
            *value = f32::from(code as i8) * scale;
        }
    }
}

pub(super) fn decode_q4_0(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(18).zip(out.chunks_exact_mut(32)) {
        let scale = half_at(block, 0);
        for (i, &pair) in block[2..].iter().enumerate() {
            values[i] = (f32::from(pair & 15) - 8.0) * scale;
            values[i + 16] = (f32::from(pair >> 4) - 8.0) * scale;
        }
    }
}

pub(super) fn decode_q4_1(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(20).zip(out.chunks_exact_mut(32)) {
        let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
        for (i, &pair) in block[4..].iter().enumerate() {
            values[i] = f32::from(pair & 15) * scale + minimum;
            values[i + 16] = f32::from(pair >> 4) * scale + minimum;
        }
    }
}

/// The 4-bit codes of a block whose nibbles start at `nibbles`.
pub(crate) fn four_bit_codes(block: &[u8], nibbles: usize) -> [u8; 32] {
    std::array::from_fn(|i| {
        let pair = block[nibbles + i % 16];
        if i < 16 { pair & 15 } else { pair >> 4 }
    })
}

/// The 5-bit codes of a block: nibbles at `nibbles`, fifth bits as a little-endian word at `high`.
pub(crate) fn five_bit_codes(block: &[u8], high: usize, nibbles: usize) -> [u8; 32] {
    let fifth = u32::from_le_bytes([block[high], block[high + 1], block[high + 2], block[high + 3]]);
    std::array::from_fn(|i| {
        let pair = block[nibbles + i % 16];
        let low = if i < 16 { pair & 15 } else { pair >> 4 };
        low | (((fifth >> i) & 1) << 4) as u8
    })
}

pub(super) fn decode_q5_0(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(22).zip(out.chunks_exact_mut(32)) {
        let scale = half_at(block, 0);
        for (value, code) in values.iter_mut().zip(five_bit_codes(block, 2, 6)) {
            *value = (f32::from(code) - 16.0) * scale;
        }
    }
}

pub(super) fn decode_q5_1(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(24).zip(out.chunks_exact_mut(32)) {
        let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
        for (value, code) in values.iter_mut().zip(five_bit_codes(block, 4, 8)) {
            *value = f32::from(code) * scale + minimum;
        }
    }
}

pub(super) fn encode_f32(weights: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(weights.iter().flat_map(|w| w.to_le_bytes()));
}

pub(super) fn encode_f16(weights: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(weights.iter().flat_map(|&w| f16::from_f32(w).to_le_bytes()));
}

pub(super) fn encode_bf16(weights: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(weights.iter().flat_map(|&w| bf16::from_f32(w).to_le_bytes()));
}

/// ggml rule: scale = max |w| / 127 (stored as f16), code = round half away from zero of w / scale
/// with the unrounded scale.
pub(super) fn encode_q8_0(weights: &[f32], bytes: &mut Vec<u8>) {
    for block in weights.chunks_exact(32) {
        let peak = block.iter().fold(0.0f32, |peak, w| peak.max(w.abs()));
        let scale = peak / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        bytes.extend(f16::from_f32(scale).to_le_bytes());
        bytes.extend(block.iter().map(|w| (w * inverse).round() as i8 as u8));
    }
}

/// ggml rule: scale = (the weight of largest magnitude, with its sign) / −8, code = ⌊w / scale + 8.5⌋
/// at most 15.
pub(super) fn encode_q4_0(weights: &[f32], bytes: &mut Vec<u8>) {
    for block in weights.chunks_exact(32) {
        let peak = block.iter().fold(0.0f32, |peak, &w| if w.abs() > peak.abs() { w } else { peak });
        let scale = peak / -8.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        bytes.extend(f16::from_f32(scale).to_le_bytes());
        let code = |w: f32| ((w * inverse + 8.5) as i8).min(15) as u8;
        bytes.extend((0..16).map(|i| code(block[i]) | (code(block[i + 16]) << 4)));
    }
}
