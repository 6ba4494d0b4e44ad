//! The portable level: arrays the compiler vectorizes as far as the target allows.

use super::{LANES, Simd};
use half::{bf16, f16};
use std::array::from_fn;

#[derive(Clone, Copy)]
pub(super) struct Scalar;

#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` is a library call, a hundred times the price.
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn dot(codes: &[[u8; 64]; 8], activations: &[i8; 32], from: usize, to: usize) -> [f32; LANES] {
    let mut sums = [0i32; LANES];
    for group in from..to {
        for (row, sum) in sums.iter_mut().enumerate() {
            for j in 0..4 {
                *sum += i32::from(codes[group][row * 4 + j]) * i32::from(activations[group * 4 + j]);
            }
        }
    }
    sums.map(|sum| sum as f32)
}

impl Simd for Scalar {
    type V = [f32; LANES];
    type Nibbles = [[u8; 64]; 8];
    type Bytes = [[u8; 64]; 8];
    const TOKENS: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        *from
    }
    #[inline(always)]
    fn store(self, value: Self::V, to: &mut [f32; LANES]) {
        *to = value;
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::V {
        from.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> Self::V {
        from.map(|bits| bf16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // As the vector instructions: the second operand when either is NaN.
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        from_fn(|i| fused(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // Adding 1.5 · 2^23 leaves no fraction bits; exact for |a| < 2^22, all this crate rounds.
        a.map(|v| (v + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    fn scale2(self, value: Self::V, power: Self::V) -> Self::V {
        from_fn(|i| value[i] * f32::from_bits((((power[i] as i32) + 127) as u32) << 23))
    }
    #[inline(always)]
    fn zero_below(self, value: Self::V, x: Self::V, bound: f32) -> Self::V {
        from_fn(|i| if x[i] < bound { 0.0 } else { value[i] })
    }
    #[inline(always)]
    fn field(self, words: &[u8; 64], shift: u32, mask: i32) -> Self::V {
        from_fn(|i| {
            let word = u32::from_le_bytes(from_fn(|j| words[i * 4 + j]));
            ((word >> shift) as i32 & mask) as f32
        })
    }
    #[inline(always)]
    fn nibbles(self, packed: &[u8; 256]) -> Self::Nibbles {
        from_fn(|group| {
            from_fn(|i| {
                let pair = packed[(group % 4) * 64 + i];
                if group < 4 { pair & 15 } else { pair >> 4 }
            })
        })
    }
    #[inline(always)]
    fn bytes(self, packed: &[u8; 512]) -> Self::Bytes {
        from_fn(|group| from_fn(|i| packed[group * 64 + i]))
    }
    #[inline(always)]
    fn dot_nibbles(self, codes: &Self::Nibbles, activations: &[i8; 32], from: usize, to: usize) -> Self::V {
        dot(codes, activations, from, to)
    }
    #[inline(always)]
    fn dot_bytes(self, codes: &Self::Bytes, activations: &[i8; 32], from: usize, to: usize) -> Self::V {
        dot(codes, activations, from, to)
    }
    #[inline(always)]
    fn pairs(self, even: Self::V, odd: Self::V) -> Self::V {
        let bits = |v: f32| u32::from(bf16::from_f32(v).to_bits());
        from_fn(|i| f32::from_bits(bits(even[i]) | bits(odd[i]) << 16))
    }
    #[inline(always)]
    fn unpaired(self, pairs: Self::V) -> [Self::V; 2] {
        [
            pairs.map(|v| f32::from_bits(v.to_bits() << 16)),
            pairs.map(|v| f32::from_bits(v.to_bits() & 0xffff_0000)),
        ]
    }
    #[inline(always)]
    fn dot_pairs(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let ([a, odd_a], [b, odd_b]) = (self.unpaired(a), self.unpaired(b));
        from_fn(|i| fused(odd_a[i], odd_b[i], fused(a[i], b[i], c[i])))
    }
    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}
}
