//! The AVX2 level: two 256-bit registers are sixteen lanes; 8-bit products by `vpmaddubsw`.

use super::{Kernel, LANES, Simd, part};
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

/// `value` for I = 0 … 7. Intrinsics must stand in the method itself: a closure that is handed to a function of the
/// standard library is compiled without these instructions and calls every one of them.
macro_rules! eight {
    ($i:ident => $value:expr) => {
        [
            eight!($i = 0 => $value), eight!($i = 1 => $value), eight!($i = 2 => $value), eight!($i = 3 => $value),
            eight!($i = 4 => $value), eight!($i = 5 => $value), eight!($i = 6 => $value), eight!($i = 7 => $value),
        ]
    };
    ($i:ident = $at:literal => $value:expr) => {{
        const $i: usize = $at;
        $value
    }};
}

type Two = [__m256; 2];

/// Nibbles of a block: register 2g + h holds group g, rows 8h..8h + 8.
type Registers = [__m256i; 16];

impl Pair {
    #[inline(always)]
    fn four(self, activations: &[i8; 32], group: usize) -> __m256i {
        let [a, b, c, d] = *part(activations, group * 4);
        wide!(_mm256_set1_epi32(i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8])))
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

    /// `even` rounded in the low halves, `odd` in the high ones.
    #[inline(always)]
    fn pair(self, even: __m256, odd: __m256) -> __m256 {
        let (even, odd) = (self.rounded(even), self.rounded(odd));
        wide!(_mm256_or_ps(_mm256_castsi256_ps(_mm256_srli_epi32::<16>(_mm256_castps_si256(even))), odd))
    }

    /// `value · 2^power`.
    #[inline(always)]
    fn scale(self, value: __m256, power: __m256) -> __m256 {
        wide!({
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127));
            _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        })
    }

    /// Transposes eight rows of eight.
    #[inline(always)]
    fn turn_eight(self, r: [__m256; 8]) -> [__m256; 8] {
        wide!({
            // Pairs of rows, then fours, within 128-bit halves; last the halves change places.
            let pairs = eight!(I => match I % 2 {
                0 => _mm256_unpacklo_ps(r[I / 2 * 2], r[I / 2 * 2 + 1]),
                _ => _mm256_unpackhi_ps(r[I / 2 * 2], r[I / 2 * 2 + 1]),
            });
            let fours = eight!(I => match I % 2 {
                0 => _mm256_shuffle_ps::<0x44>(pairs[I / 4 * 4 + I % 4 / 2], pairs[I / 4 * 4 + 2 + I % 4 / 2]),
                _ => _mm256_shuffle_ps::<0xee>(pairs[I / 4 * 4 + I % 4 / 2], pairs[I / 4 * 4 + 2 + I % 4 / 2]),
            });
            eight!(I => match I / 4 {
                0 => _mm256_permute2f128_ps::<0x20>(fours[I % 4], fours[I % 4 + 4]),
                _ => _mm256_permute2f128_ps::<0x31>(fours[I % 4], fours[I % 4 + 4]),
            })
        })
    }

    /// The halves of eight lanes, combined.
    #[inline(always)]
    fn halves(self, a: __m256, f: impl Fn(__m128, __m128) -> __m128) -> __m128 {
        wide!(f(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a)))
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
    const ROWS: usize = 6;

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
        wide!({
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().add(8).cast()));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        })
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
        // Each half written out: closures of several instructions are not always inlined.
        [self.scale(value[0], power[0]), self.scale(value[1], power[1])]
    }
    #[inline(always)]
    fn zero_below(self, value: Two, x: Two, bound: f32) -> Two {
        wide!({
            let bound = _mm256_set1_ps(bound);
            [
                _mm256_and_ps(value[0], _mm256_cmp_ps::<_CMP_NLT_UQ>(x[0], bound)),
                _mm256_and_ps(value[1], _mm256_cmp_ps::<_CMP_NLT_UQ>(x[1], bound)),
            ]
        })
    }
    #[inline(always)]
    fn turn(self, rows: [Two; LANES]) -> [Two; LANES] {
        let mut turned = rows;
        for half in 0..2 {
            let upper = self.turn_eight(eight!(I => rows[I][half]));
            let lower = self.turn_eight(eight!(I => rows[I + 8][half]));
            for i in 0..8 {
                turned[half * 8 + i] = [upper[i], lower[i]];
            }
        }
        turned
    }
    #[inline(always)]
    fn sum(self, a: Two) -> f32 {
        wide!({
            let four = self.halves(_mm256_add_ps(a[0], a[1]), |low, high| _mm_add_ps(low, high));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }
    #[inline(always)]
    fn top(self, a: Two) -> f32 {
        wide!({
            let four = self.halves(_mm256_max_ps(a[0], a[1]), |low, high| _mm_max_ps(low, high));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        })
    }
    #[inline(always)]
    fn store_codes(self, value: Two, to: &mut [i8; LANES]) {
        wide!({
            let (low, high) = (_mm256_cvtps_epi32(value[0]), _mm256_cvtps_epi32(value[1]));
            // Packing works within 128-bit halves; the permutation puts the quarters in order.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let codes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), codes);
        })
    }
    #[inline(always)]
    fn field(self, words: &[u8; 64], shift: u32, mask: i32) -> Two {
        wide!({
            let (shift, mask) = (_mm_cvtsi32_si128(shift as i32), _mm256_set1_epi32(mask));
            let low = _mm256_srl_epi32(_mm256_loadu_si256(words.as_ptr().cast()), shift);
            let high = _mm256_srl_epi32(_mm256_loadu_si256(words.as_ptr().add(32).cast()), shift);
            [
                _mm256_cvtepi32_ps(_mm256_and_si256(low, mask)),
                _mm256_cvtepi32_ps(_mm256_and_si256(high, mask)),
            ]
        })
    }
    #[inline(always)]
    fn nibbles(self, packed: &[u8; 256]) -> Registers {
        wide!({
            let low = _mm256_set1_epi8(15);
            let pairs = eight!(I => _mm256_loadu_si256(packed.as_ptr().add(I * 32).cast()));
            let mut codes = [low; 16];
            for i in 0..8 {
                codes[i] = _mm256_and_si256(pairs[i], low);
                codes[8 + i] = _mm256_and_si256(_mm256_srli_epi16::<4>(pairs[i]), low);
            }
            codes
        })
    }
    #[inline(always)]
    fn bytes(self, packed: &[u8; 512]) -> [Registers; 2] {
        wide!({
            let low = _mm256_set1_epi8(15);
            let mut codes = [[low; 16]; 2];
            let [lower, upper] = &mut codes;
            for (i, (lower, upper)) in lower.iter_mut().zip(upper).enumerate() {
                let both = _mm256_loadu_si256(packed.as_ptr().add(i * 32).cast());
                *lower = _mm256_and_si256(both, low);
                *upper = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low);
            }
            codes
        })
    }
    #[inline(always)]
    fn dot_nibbles(self, codes: &Registers, activations: &[i8; 32], from: usize, to: usize) -> Two {
        let sums = self.pairs(codes, activations, from, to);
        wide!([
            _mm256_cvtepi32_ps(_mm256_madd_epi16(sums[0], _mm256_set1_epi16(1))),
            _mm256_cvtepi32_ps(_mm256_madd_epi16(sums[1], _mm256_set1_epi16(1))),
        ])
    }
    #[inline(always)]
    fn dot_bytes(self, codes: &[Registers; 2], activations: &[i8; 32], from: usize, to: usize) -> Two {
        let low = self.pairs(&codes[0], activations, from, to);
        let high = self.pairs(&codes[1], activations, from, to);
        wide!({
            let (one, sixteen) = (_mm256_set1_epi16(1), _mm256_set1_epi16(16));
            let first = _mm256_add_epi32(_mm256_madd_epi16(low[0], one), _mm256_madd_epi16(high[0], sixteen));
            let second =
                _mm256_add_epi32(_mm256_madd_epi16(low[1], one), _mm256_madd_epi16(high[1], sixteen));
            [_mm256_cvtepi32_ps(first), _mm256_cvtepi32_ps(second)]
        })
    }
    #[inline(always)]
    fn pairs(self, even: Two, odd: Two) -> Two {
        [self.pair(even[0], odd[0]), self.pair(even[1], odd[1])]
    }
    #[inline(always)]
    fn unpaired(self, pairs: Two) -> [Two; 2] {
        let [low, high] = pairs;
        wide!({
            let upper = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000u32 as i32));
            let even = [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(low))),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(high))),
            ];
            [even, [_mm256_and_ps(low, upper), _mm256_and_ps(high, upper)]]
        })
    }
    #[inline(always)]
    fn dot_pairs(self, a: Two, b: Two, c: Two) -> Two {
        let ([a, odd_a], [b, odd_b]) = (self.unpaired(a), self.unpaired(b));
        self.fma(odd_a, odd_b, self.fma(a, b, c))
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        wide!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }
}
