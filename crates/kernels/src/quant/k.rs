//! The 256-weight super-blocks (Q4_K, Q5_K, Q6_K).

use half::f16;

pub(crate) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The 6-bit scale and minimum of sub-block `j` (0..8), packed in 12 bytes: the first four pairs sit
/// in the low six bits of bytes 0..8, the others in the nibbles of bytes 8..12 plus the spare top bits.
pub(crate) fn scale_min(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        ((packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4), (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4))
    }
}

/// Codes of a Q4_K block in weight order.
pub(crate) fn codes_q4_k(block: &[u8]) -> [u8; 256] {
    std::array::from_fn(|i| {
        let byte = block[16 + (i / 64) * 32 + i % 32];
        if i % 64 < 32 { byte & 15 } else { byte >> 4 }
    })
}

/// Codes of a Q5_K block in weight order.
pub(crate) fn codes_q5_k(block: &[u8]) -> [u8; 256] {
    std::array::from_fn(|i| {
        let byte = block[48 + (i / 64) * 32 + i % 32];
        let low = if i % 64 < 32 { byte & 15 } else { byte >> 4 };
        low | (((block[16 + i % 32] >> (i / 32)) & 1) << 4)
    })
}

/// Codes (0..64, centred on 32) of a Q6_K block in weight order.
pub(crate) fn codes_q6_k(block: &[u8]) -> [u8; 256] {
    std::array::from_fn(|i| {
        let (half, within) = (i / 128, i % 128);
        let byte = block[half * 64 + within % 64];
        let low = if within < 64 { byte & 15 } else { byte >> 4 };
        let high = (block[128 + half * 32 + within % 32] >> (2 * (within / 32))) & 3;
        low | (high << 4)
    })
}

fn decode_scaled(block: &[u8], codes: &[u8; 256], values: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (j, (values, codes)) in values.chunks_exact_mut(32).zip(codes.chunks_exact(32)).enumerate() {
        let (s, m) = scale_min(&block[4..16], j);
        let (s, m) = (scale * f32::from(s), minimum * f32::from(m));
        for (value, &code) in values.iter_mut().zip(codes) {
            *value = s * f32::from(code) - m;
        }
    }
}

pub(super) fn decode_q4_k(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(144).zip(out.chunks_exact_mut(256)) {
        decode_scaled(block, &codes_q4_k(block), values);
    }
}

pub(super) fn decode_q5_k(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(176).zip(out.chunks_exact_mut(256)) {
        decode_scaled(block, &codes_q5_k(block), values);
    }
}

pub(super) fn decode_q6_k(bytes: &[u8], out: &mut [f32]) {
    for (block, values) in bytes.chunks_exact(210).zip(out.chunks_exact_mut(256)) {
        let scale = half_at(block, 208);
        let codes = codes_q6_k(block);
        for (i, (value, &code)) in values.iter_mut().zip(&codes).enumerate() {
            *value = scale * f32::from(block[192 + i / 16] as i8) * (f32::from(code) - 32.0);
        }
    }
}
