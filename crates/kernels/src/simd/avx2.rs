//! The AVX2 level: two 256-bit registers are sixteen lanes; 8-bit products by `vpmaddubsw`.

use super::{Kernel, LANES, Simd};
use crate::cpu::Avx2;
use std::arch::x86_64::*;

/// Holds the proof that the instructions exist; every `unsafe` below rests on it.
#[derive(Clone, Copy)]
pub(super) struct Pair(#[allow(dead_code)] Avx2);

pub(super) fn enter<K: Kernel>(proof: Avx2, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn inside<K: Kernel>(simd: Pair, kernel: K) -> K::Output {
        kernel.run(simd)
    }
    // SAFETY: `proof` exists only where detection found these features.
    unsafe { inside(Pair(proof), kernel) }
}

/// A value-only intrinsic, or a load or store through a reference to an array of the operand's size.
macro_rules! wide {
    ($body:expr) => {{
        // SAFETY: `self` holds the proof that the instructions exist; memory operands are references
        // to arrays of at least the width read or written, and the unaligned forms are used.
        #[allow(clippy::macro_metavars_in_unsafe)]
        unsafe {
            $body
        }
    }};
}

type Two = [__m256; 2];

/// Nibbles of a block: register 2g + h holds group g, rows 8h..8h + 8.
type Registers = [__m256i; 16];

impl Pair {
    #[inline(always)]
    fn four(self, activations: &[i8; 32], group: usize) -> __m256i {
        let bytes = std::array::from_fn(|j| activations[group * 4 + j] as u8);
        wide!(_mm256_set1_epi32(i32::from_le_bytes(bytes)))
    }

    /// Sums of pairs of products as i16; 8 groups × 2 × 15 × 127 = 30480 never saturates.
    #[inline(always)]
    fn pairs(self, codes: &Registers, activations: &[i8; 32], from: usize, to: usize) -> [__m256i; 2] {
        wide!({
            let mut sums = [_mm256_setzero_si256(); 2];
            for group in from..to {
                let four = self.four(activations, group);
                for (half, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(codes[group * 2 + half], four));
                }
            }
            sums
        })
    }

    /// The nearest bf16 value: adds half a unit (less one bit when the unit is even) and cuts.
    #[inline(always)]
    fn rounded(self, a: __m256) -> __m256 {
        wide!({
            let bits = _mm256_castps_si256(a);
            let even = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, a));
            let bits = _mm256_blendv_epi8(up, quiet, nan);
            _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(0xffff_0000u32 as i32)))
        })
    }

    #[inline(always)]
    fn map(self, a: Two, f: impl Fn(__m256) -> __m256) -> Two {
        [f(a[0]), f(a[1])]
    }

    #[inline(always)]
    fn zip(self, a: Two, b: Two, f: impl Fn(__m256, __m256) -> __m256) -> Two {
        [f(a[0], b[0]), f(a[1], b[1])]
    }
}

impl Simd for Pair {
    type V = Two;
    type Nibbles = Registers;
    type Bytes = [Registers; 2];
    const TOKENS: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> Two {
        wide!([_mm256_set1_ps(value); 2])
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Two {
        wide!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))])
    }
    #[inline(always)]
    fn store(self, value: Two, to: &mut [f32; LANES]) {
        wide!({
            _mm256_storeu_ps(to.as_mut_ptr(), value[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), value[1]);
        })
    }
    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Two {
        wide!([
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(8).cast())),
        ])
    }
    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> Two {
        wide!([0, 8].map(|at| {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().add(at).cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }))
    }
    #[inline(always)]
    fn add(self, a: Two, b: Two) -> Two {
        self.zip(a, b, |a, b| wide!(_mm256_add_ps(a, b)))
    }
    #[inline(always)]
    fn sub(self, a: Two, b: Two) -> Two {
        self.zip(a, b, |a, b| wide!(_mm256_sub_ps(a, b)))
    }
    #[inline(always)]
    fn mul(self, a: Two, b: Two) -> Two {
        self.zip(a, b, |a, b| wide!(_mm256_mul_ps(a, b)))
    }
    #[inline(always)]
    fn div(self, a: Two, b: Two) -> Two {
        self.zip(a, b, |a, b| wide!(_mm256_div_ps(a, b)))
    }
    #[inline(always)]
    fn sqrt(self, a: Two) -> Two {
        self.map(a, |a| wide!(_mm256_sqrt_ps(a)))
    }
    #[inline(always)]
    fn max(self, a: Two, b: Two) -> Two {
        self.zip(a, b, |a, b| wide!(_mm256_max_ps(a, b)))
    }
    #[inline(always)]
    fn min(self, a: Two, b: Two) -> Two {
        self.zip(a, b, |a, b| wide!(_mm256_min_ps(a, b)))
    }
    #[inline(always)]
    fn fma(self, a: Two, b: Two, c: Two) -> Two {
        wide!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }
    #[inline(always)]
    fn round(self, a: Two) -> Two {
        self.map(a, |a| wide!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)))
    }
    #[inline(always)]
    fn scale2(self, value: Two, power: Two) -> Two {
        self.zip(value, power, |value, power| {
            wide!({
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127));
                _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
            })
        })
    }
    #[inline(always)]
    fn zero_below(self, value: Two, x: Two, bound: f32) -> Two {
        self.zip(value, x, |value, x| {
            wide!(_mm256_and_ps(value, _mm256_cmp_ps::<_CMP_NLT_UQ>(x, _mm256_set1_ps(bound))))
        })
    }
    #[inline(always)]
    fn field(self, words: &[u8; 64], shift: u32, mask: i32) -> Two {
        wide!([0, 32].map(|at| {
            let words = _mm256_loadu_si256(words.as_ptr().add(at).cast());
            let words = _mm256_srl_epi32(words, _mm_cvtsi32_si128(shift as i32));
            _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(mask)))
        }))
    }
    #[inline(always)]
    fn nibbles(self, packed: &[u8; 256]) -> Registers {
        wide!({
            let low = _mm256_set1_epi8(15);
            std::array::from_fn(|i| {
                let pairs = _mm256_loadu_si256(packed.as_ptr().add(i % 8 * 32).cast());
                let pairs = if i < 8 { pairs } else { _mm256_srli_epi16::<4>(pairs) };
                _mm256_and_si256(pairs, low)
            })
        })
    }
    #[inline(always)]
    fn bytes(self, packed: &[u8; 512]) -> [Registers; 2] {
        wide!({
            let low = _mm256_set1_epi8(15);
            let codes: Registers =
                std::array::from_fn(|i| _mm256_loadu_si256(packed.as_ptr().add(i * 32).cast()));
            [
                codes.map(|code| _mm256_and_si256(code, low)),
                codes.map(|code| _mm256_and_si256(_mm256_srli_epi16::<4>(code), low)),
            ]
        })
    }
    #[inline(always)]
    fn dot_nibbles(self, codes: &Registers, activations: &[i8; 32], from: usize, to: usize) -> Two {
        let sums = self.pairs(codes, activations, from, to);
        wide!(sums.map(|sum| _mm256_cvtepi32_ps(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)))))
    }
    #[inline(always)]
    fn dot_bytes(self, codes: &[Registers; 2], activations: &[i8; 32], from: usize, to: usize) -> Two {
        let low = self.pairs(&codes[0], activations, from, to);
        let high = self.pairs(&codes[1], activations, from, to);
        wide!(std::array::from_fn(|half| {
            let low = _mm256_madd_epi16(low[half], _mm256_set1_epi16(1));
            let high = _mm256_madd_epi16(high[half], _mm256_set1_epi16(16));
            _mm256_cvtepi32_ps(_mm256_add_epi32(low, high))
        }))
    }
    #[inline(always)]
    fn round_bf16(self, a: Two) -> Two {
        self.map(a, |a| self.rounded(a))
    }
    #[inline(always)]
    fn pairs(self, even: Two, odd: Two) -> Two {
        self.zip(even, odd, |even, odd| {
            let (even, odd) = (self.rounded(even), self.rounded(odd));
            wide!({
                let low = _mm256_srli_epi32::<16>(_mm256_castps_si256(even));
                _mm256_or_ps(_mm256_castsi256_ps(low), odd)
            })
        })
    }
    #[inline(always)]
    fn dot_pairs(self, a: Two, b: Two, c: Two) -> Two {
        wide!(std::array::from_fn(|i| {
            let low = |v: __m256| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(v)));
            let upper = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000u32 as i32));
            let high = |v: __m256| _mm256_and_ps(v, upper);
            let sum = _mm256_fmadd_ps(low(a[i]), low(b[i]), c[i]);
            _mm256_fmadd_ps(high(a[i]), high(b[i]), sum)
        }))
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        wide!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}
