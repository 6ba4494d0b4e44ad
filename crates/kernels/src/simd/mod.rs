//! Sixteen f32 lanes at every level: one text per kernel, instantiated inside a function compiled for
//! the level's instructions. A kernel is a value implementing [`Kernel`]; [`dispatch`] runs it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::cpu::Level;

/// Lanes of a vector at every level.
pub(crate) const LANES: usize = 16;

/// What a kernel may do with sixteen lanes. Implementors are zero-sized proofs of a level; every
/// method is inlined into a function that enables the level's instructions.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Sixteen f32.
    type V: Copy;
    /// 4-bit codes of a block of 16 rows × 32 columns, ready for [`Simd::dot_nibbles`].
    type Nibbles;
    /// 8-bit codes of such a block.
    type Bytes;
    /// Tokens a register tile holds without spilling.
    const TOKENS: usize;
    /// Rows of a register tile of a matrix product, at most sixteen, with [`Simd::COLUMNS`] vectors of columns.
    const ROWS: usize = 4;
    /// Vectors of columns of such a tile.
    const COLUMNS: usize = 1;

    fn splat(self, value: f32) -> Self::V;
    fn load(self, from: &[f32; LANES]) -> Self::V;
    fn store(self, value: Self::V, to: &mut [f32; LANES]);
    fn load_f16(self, from: &[u16; LANES]) -> Self::V;
    fn load_bf16(self, from: &[u16; LANES]) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, rounded once where the machine can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `value · 2^power` for integral powers in −126..=127.
    fn scale2(self, value: Self::V, power: Self::V) -> Self::V;
    /// `value` where `x >= bound`, else 0.
    fn zero_below(self, value: Self::V, x: Self::V, bound: f32) -> Self::V;

    /// `(word >> shift) & mask` of each little-endian 32-bit word, as f32.
    fn field(self, words: &[u8; 64], shift: u32, mask: i32) -> Self::V;
    fn nibbles(self, packed: &[u8; 256]) -> Self::Nibbles;
    fn bytes(self, packed: &[u8; 512]) -> Self::Bytes;
    /// Per row: integer dot of the codes with the activations, over column groups `from..to` of 4.
    fn dot_nibbles(self, codes: &Self::Nibbles, activations: &[i8; 32], from: usize, to: usize) -> Self::V;
    fn dot_bytes(self, codes: &Self::Bytes, activations: &[i8; 32], from: usize, to: usize) -> Self::V;
    /// Whether [`Simd::dot_pairs`] is an instruction here. Where it is not, nobody calls it or
    /// [`Simd::pairs`].
    const PAIRS: bool = false;
    /// Pairs of bf16 in 32-bit lanes: `even` rounded in the low half, `odd` in the high half.
    fn pairs(self, even: Self::V, odd: Self::V) -> Self::V;
    /// Pairs of neighboring numbers of 32 in order, `low` being the first sixteen, as [`Simd::pairs`] rounds them.
    #[inline(always)]
    fn neighbors(self, low: Self::V, high: Self::V) -> Self::V {
        neighbors(self, low, high)
    }
    /// The even and the odd numbers of pairs, as f32.
    fn unpaired(self, pairs: Self::V) -> [Self::V; 2];
    /// `c` plus both products of each lane's pair, without subnormal numbers.
    fn dot_pairs(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Hints that the line at `address` will be read.
    fn prefetch(self, address: *const u8);

    /// Lane i of vector j becomes lane j of vector i.
    #[inline(always)]
    fn turn(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        let mut values = [[0.0; LANES]; LANES];
        for (row, values) in rows.into_iter().zip(&mut values) {
            self.store(row, values);
        }
        std::array::from_fn(|i| self.load(&std::array::from_fn(|j| values[j][i])))
    }

    /// The nearest integers (ties to even) of values within ±127.
    #[inline(always)]
    fn store_codes(self, value: Self::V, to: &mut [i8; LANES]) {
        let mut shifted = [0.0; LANES];
        // Adding 1.5 · 2^23 rounds to an integer and leaves it in the low bits.
        self.store(self.add(value, self.splat(12_582_912.0)), &mut shifted);
        for (code, value) in to.iter_mut().zip(shifted) {
            *code = value.to_bits() as i8;
        }
    }

    /// Sum of the lanes: i with i + 8, then i + 4, i + 2, i + 1.
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(a, &mut lanes);
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// Largest lane.
    #[inline(always)]
    fn top(self, a: Self::V) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(a, &mut lanes);
        lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// e^x: 2^n · p(r) with x = n·ln 2 + r and the Taylor polynomial of degree 7, below 1e-7
    /// relative; 0 under −87.3, capped above 88.3; NaN stays NaN.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        // Of two operands the second is taken when either is NaN.
        let bounded = self.min(self.splat(88.3), self.max(self.splat(-87.3), x));
        let n = self.round(self.mul(bounded, self.splat(std::f32::consts::LOG2_E)));
        let r = self.fma(n, self.splat(-0.693_359_4), bounded);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.0 / 5040.0);
        for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = self.fma(p, r, self.splat(factor));
        }
        self.zero_below(self.scale2(p, n), x, -87.3)
    }

    /// 2^x for finite x below 127: the Taylor polynomial of degree 6 around the nearest integer, 2e-7 relative; under
    /// −126 it is 0 or subnormal. NaN stays NaN.
    #[inline(always)]
    fn exp2(self, x: Self::V) -> Self::V {
        // Of two operands the second is taken when either is NaN.
        let bounded = self.min(self.splat(127.0), self.max(self.splat(-126.0), x));
        let n = self.round(bounded);
        self.zero_below(self.scale2(exp2_near_zero(self, self.sub(bounded, n)), n), x, -126.0)
    }
}

/// 2^x for x within ±1/2.
#[inline(always)]
fn exp2_near_zero<S: Simd>(simd: S, x: S::V) -> S::V {
    // ln(2)^k / k!
    let mut p = simd.splat(1.540_353e-4);
    for factor in [1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
        p = simd.fma(p, x, simd.splat(factor));
    }
    p
}

/// A computation written once for every level.
pub(crate) trait Kernel {
    type Output;
    /// Must be `#[inline(always)]` in every implementation, or it runs without the level's registers.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs `kernel` at `level`.
pub(crate) fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(proof) => avx2::enter(proof, kernel),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(proof) => avx512::enter(proof, kernel),
        _ => kernel.run(scalar::Scalar),
    }
}

/// As [`dispatch`], with the bf16 dot product where the level is AVX-512 and the processor has it.
pub(crate) fn dispatch_bf16<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(proof) => avx512::enter_bf16(proof, kernel),
        _ => dispatch(level, kernel),
    }
}

/// The first sixteen elements of `slice` from `at`.
#[inline(always)]
pub(crate) fn lanes<T>(slice: &[T], at: usize) -> &[T; LANES] {
    part(slice, at)
}

/// `N` elements of `slice` from `at`.
#[inline(always)]
pub(crate) fn part<T, const N: usize>(slice: &[T], at: usize) -> &[T; N] {
    match slice[at..at + N].try_into() {
        Ok(array) => array,
        Err(_) => unreachable!(),
    }
}

/// As [`lanes`], to write.
#[inline(always)]
pub(crate) fn lanes_mut<T>(slice: &mut [T], at: usize) -> &mut [T; LANES] {
    match (&mut slice[at..at + LANES]).try_into() {
        Ok(array) => array,
        Err(_) => unreachable!(),
    }
}

/// Sixteen elements of `slice` from `at`, the missing ones `fill`.
#[inline(always)]
pub(crate) fn padded<S: Simd>(simd: S, slice: &[f32], at: usize, fill: f32) -> S::V {
    if at + LANES <= slice.len() {
        return simd.load(lanes(slice, at));
    }
    let mut all = [fill; LANES];
    all[..slice.len() - at].copy_from_slice(&slice[at..]);
    simd.load(&all)
}

/// [`Simd::neighbors`] where there is no instruction for it.
#[inline(always)]
fn neighbors<S: Simd>(simd: S, low: S::V, high: S::V) -> S::V {
    let mut all = [[0.0; LANES]; 2];
    simd.store(low, &mut all[0]);
    simd.store(high, &mut all[1]);
    let all = all.as_flattened();
    let [even, odd] = [0, 1].map(|first| std::array::from_fn(|i| all[2 * i + first]));
    simd.pairs(simd.load(&even), simd.load(&odd))
}

/// Stores lanes into `slice` from `at`, as many as there is room for.
#[inline(always)]
pub(crate) fn store_padded<S: Simd>(simd: S, value: S::V, slice: &mut [f32], at: usize) {
    if at + LANES <= slice.len() {
        return simd.store(value, lanes_mut(slice, at));
    }
    let mut all = [0.0; LANES];
    simd.store(value, &mut all);
    let room = slice.len() - at;
    slice[at..].copy_from_slice(&all[..room]);
}

#[cfg(test)]
mod tests;
