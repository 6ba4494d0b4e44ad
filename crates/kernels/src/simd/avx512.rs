//! The AVX-512 level: one 512-bit register is sixteen lanes; `vpdpbusd` for 8-bit products.

use super::{Kernel, LANES, Simd};
use crate::cpu::Avx512;
use std::arch::x86_64::*;

/// Holds the proof that the instructions exist; every `unsafe` below rests on it.
#[derive(Clone, Copy)]
pub(super) struct Wide(#[allow(dead_code)] Avx512);

pub(super) fn enter<K: Kernel>(proof: Avx512, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn inside<K: Kernel>(simd: Wide, kernel: K) -> K::Output {
        kernel.run(simd)
    }
    // SAFETY: `proof` exists only where detection found these features.
    unsafe { inside(Wide(proof), kernel) }
}

/// A value-only intrinsic, or a load or store through a reference to an array of the operand's size.
macro_rules! wide {
    ($body:expr) => {{
        // SAFETY: `self` holds the proof that the instructions exist; memory operands are references
        // to arrays of exactly the width read or written, and the unaligned forms are used.
        #[allow(clippy::macro_metavars_in_unsafe)]
        unsafe {
            $body
        }
    }};
}

impl Wide {
    #[inline(always)]
    fn dot(self, codes: &[__m512i; 8], activations: &[i8; 32], from: usize, to: usize) -> __m512 {
        let four =
            |group: usize| i32::from_le_bytes(std::array::from_fn(|j| activations[group * 4 + j] as u8));
        wide!({
            let mut sums = _mm512_setzero_si512();
            #[allow(clippy::needless_range_loop)] // iterator adaptors keep the codes out of registers
            for group in from..to {
                sums = _mm512_dpbusd_epi32(sums, codes[group], _mm512_set1_epi32(four(group)));
            }
            _mm512_cvtepi32_ps(sums)
        })
    }
}

impl Simd for Wide {
    type V = __m512;
    type Nibbles = [__m512i; 8];
    type Bytes = [__m512i; 8];
    const TOKENS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        wide!(_mm512_set1_ps(value))
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        wide!(_mm512_loadu_ps(from.as_ptr()))
    }
    #[inline(always)]
    fn store(self, value: __m512, to: &mut [f32; LANES]) {
        wide!(_mm512_storeu_ps(to.as_mut_ptr(), value))
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> __m512 {
        wide!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> __m512 {
        wide!({
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        })
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        wide!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        wide!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        wide!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        wide!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        wide!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        wide!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        wide!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        wide!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn scale2(self, value: __m512, power: __m512) -> __m512 {
        wide!(_mm512_scalef_ps(value, power))
    }
    #[inline(always)]
    fn zero_below(self, value: __m512, x: __m512, bound: f32) -> __m512 {
        wide!(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(bound)), value))
    }
    #[inline(always)]
    fn sums(self, v: [__m512; LANES]) -> __m512 {
        wide!({
            // Four vectors to [A, B, C, D] partial sums in each 128-bit part.
            let four = |a: __m512, b: __m512, c: __m512, d: __m512| {
                let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
                _mm512_add_ps(
                    _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
                )
            };
            let two = |a: __m512, b: __m512| {
                _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
            };
            two(
                two(four(v[0], v[1], v[2], v[3]), four(v[4], v[5], v[6], v[7])),
                two(four(v[8], v[9], v[10], v[11]), four(v[12], v[13], v[14], v[15])),
            )
        })
    }

    #[inline(always)]
    fn field(self, words: &[u8; 64], shift: u32, mask: i32) -> __m512 {
        wide!({
            let words = _mm512_loadu_si512(words.as_ptr().cast());
            let words = _mm512_srl_epi32(words, _mm_cvtsi32_si128(shift as i32));
            _mm512_cvtepi32_ps(_mm512_and_si512(words, _mm512_set1_epi32(mask)))
        })
    }
    #[inline(always)]
    fn nibbles(self, packed: &[u8; 256]) -> [__m512i; 8] {
        wide!({
            let low = _mm512_set1_epi8(15);
            std::array::from_fn(|group| {
                let pairs = _mm512_loadu_si512(packed.as_ptr().add(group % 4 * 64).cast());
                let pairs = if group < 4 { pairs } else { _mm512_srli_epi16::<4>(pairs) };
                _mm512_and_si512(pairs, low)
            })
        })
    }
    #[inline(always)]
    fn bytes(self, packed: &[u8; 512]) -> [__m512i; 8] {
        wide!(std::array::from_fn(|group| _mm512_loadu_si512(packed.as_ptr().add(group * 64).cast())))
    }
    #[inline(always)]
    fn dot_nibbles(self, codes: &Self::Nibbles, activations: &[i8; 32], from: usize, to: usize) -> __m512 {
        self.dot(codes, activations, from, to)
    }
    #[inline(always)]
    fn dot_bytes(self, codes: &Self::Bytes, activations: &[i8; 32], from: usize, to: usize) -> __m512 {
        self.dot(codes, activations, from, to)
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        wide!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}
