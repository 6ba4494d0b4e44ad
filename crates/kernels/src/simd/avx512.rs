//! The AVX-512 level: one 512-bit register is sixteen lanes; `vpdpbusd` for 8-bit products.

use super::{Kernel, LANES, Simd};
use crate::cpu::Avx512;
use std::arch::x86_64::*;

/// Holds the proof that the instructions exist; every `unsafe` below rests on it. `BF16`: so does the bf16
/// dot product.
#[derive(Clone, Copy)]
pub(super) struct Wide<const BF16: bool>(#[allow(dead_code)] Avx512);

pub(super) fn enter<K: Kernel>(proof: Avx512, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn inside<K: Kernel>(simd: Wide<false>, kernel: K) -> K::Output {
        kernel.run(simd)
    }
    // SAFETY: `proof` exists only where detection found these features.
    unsafe { inside(Wide(proof), kernel) }
}

/// [`enter`] with the bf16 dot product where the processor has it.
pub(super) fn enter_bf16<K: Kernel>(proof: Avx512, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
    fn inside<K: Kernel>(simd: Wide<true>, kernel: K) -> K::Output {
        kernel.run(simd)
    }
    if !crate::cpu::has_bf16() {
        return enter(proof, kernel);
    }
    // SAFETY: `proof` exists only where detection found all features but the last, which was just found.
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

// Functions, not closures: a closure is compiled without the level's instructions unless it is inlined.
impl<const BF16: bool> Wide<BF16> {
    /// The nearest bf16 value: adds half a unit (less one bit when the unit is even) and cuts.
    #[inline(always)]
    fn rounded(self, a: __m512) -> __m512 {
        wide!({
            let bits = _mm512_castps_si512(a);
            let even = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            let bits = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x40_0000));
            let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(bits, upper))
        })
    }

    /// Transposes the 4 × 4 matrix in each 128-bit part.
    #[inline(always)]
    fn turn_within(self, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        wide!({
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (ef, gh) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let (ef, gh) = (_mm512_castps_pd(ef), _mm512_castps_pd(gh));
            [
                _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
                _mm512_castpd_ps(_mm512_unpacklo_pd(ef, gh)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(ef, gh)),
            ]
        })
    }

    /// Transposes the 4 × 4 matrix of 128-bit parts.
    #[inline(always)]
    fn turn_parts(self, [a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
        wide!({
            let (ab, cd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
            let (ef, gh) = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
            [
                _mm512_shuffle_f32x4::<0x88>(ab, cd),
                _mm512_shuffle_f32x4::<0x88>(ef, gh),
                _mm512_shuffle_f32x4::<0xdd>(ab, cd),
                _mm512_shuffle_f32x4::<0xdd>(ef, gh),
            ]
        })
    }

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

impl<const BF16: bool> Simd for Wide<BF16> {
    type V = __m512;
    type Nibbles = [__m512i; 8];
    type Bytes = [__m512i; 8];
    const TOKENS: usize = 16;
    const ROWS: usize = 8;
    const COLUMNS: usize = 3;
    const PAIRS: bool = BF16;

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
    fn sqrt(self, a: __m512) -> __m512 {
        wide!(_mm512_sqrt_ps(a))
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
    fn exp2(self, x: __m512) -> __m512 {
        // The instruction scales by any power: far below, what is left of the nearest integer is zero.
        let n = self.round(x);
        self.scale2(super::exp2_near_zero(self, self.sub(x, n)), n)
    }
    #[inline(always)]
    fn zero_below(self, value: __m512, x: __m512, bound: f32) -> __m512 {
        wide!(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(bound)), value))
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        wide!({
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }
    #[inline(always)]
    fn top(self, a: __m512) -> f32 {
        wide!({
            let eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        })
    }
    #[inline(always)]
    fn turn(self, rows: [__m512; LANES]) -> [__m512; LANES] {
        // 4 × 4 inside the 128-bit parts, then 4 × 4 of the parts.
        let [a0, a1, a2, a3] = self.turn_within([rows[0], rows[1], rows[2], rows[3]]);
        let [b0, b1, b2, b3] = self.turn_within([rows[4], rows[5], rows[6], rows[7]]);
        let [c0, c1, c2, c3] = self.turn_within([rows[8], rows[9], rows[10], rows[11]]);
        let [d0, d1, d2, d3] = self.turn_within([rows[12], rows[13], rows[14], rows[15]]);
        let [e0, e4, e8, e12] = self.turn_parts([a0, b0, c0, d0]);
        let [e1, e5, e9, e13] = self.turn_parts([a1, b1, c1, d1]);
        let [e2, e6, e10, e14] = self.turn_parts([a2, b2, c2, d2]);
        let [e3, e7, e11, e15] = self.turn_parts([a3, b3, c3, d3]);
        [e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, e15]
    }
    #[inline(always)]
    fn store_codes(self, value: __m512, to: &mut [i8; LANES]) {
        wide!(_mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value))))
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
    fn pairs(self, even: __m512, odd: __m512) -> __m512 {
        if BF16 {
            // The halves hold the even and the odd numbers; this brings each pair together.
            const ORDER: [u16; 32] = {
                let mut order = [0; 32];
                let mut i = 0;
                while i < 16 {
                    (order[2 * i], order[2 * i + 1]) = (i as u16, 16 + i as u16);
                    i += 1;
                }
                order
            };
            let both = self.neighbors(even, odd);
            return wide!({
                let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
                _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_castps_si512(both)))
            });
        }
        let (even, odd) = (self.rounded(even), self.rounded(odd));
        wide!({
            let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(even));
            _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_castps_si512(odd)))
        })
    }
    #[inline(always)]
    fn neighbors(self, low: __m512, high: __m512) -> __m512 {
        if BF16 {
            // SAFETY: `BF16` is true only inside `enter_bf16`, which has checked.
            return unsafe { std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low)) };
        }
        super::neighbors(self, low, high)
    }
    #[inline(always)]
    fn unpaired(self, pairs: __m512) -> [__m512; 2] {
        wide!({
            let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pairs)));
            let upper = _mm512_castsi512_ps(_mm512_set1_epi32(0xffff_0000u32 as i32));
            [even, _mm512_and_ps(pairs, upper)]
        })
    }
    #[inline(always)]
    fn dot_pairs(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if BF16 {
            // SAFETY: `BF16` is true only inside `enter_bf16`, which has checked; only lanes are read.
            return unsafe {
                let [a, b] = [a, b].map(|v| std::mem::transmute::<__m512, __m512bh>(v));
                _mm512_dpbf16_ps(c, a, b)
            };
        }
        let ([a, odd_a], [b, odd_b]) = (self.unpaired(a), self.unpaired(b));
        self.fma(odd_a, odd_b, self.fma(a, b, c))
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        wide!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}
