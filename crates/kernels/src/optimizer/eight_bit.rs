//! AdamW whose moments take one byte each (Dettmers et al. 2022, arXiv:2110.02861): blocks of [`BLOCK`] numbers
//! share a scale, and a byte names a value of a map that is fine near the scale and reaches seven decades below it.
//!
//! Two things differ from the paper. The second moment is kept as its root and a root above zero never becomes
//! zero: a zero below the fraction would throw the parameter away (Li et al. 2023, arXiv:2309.01507). And rounding
//! is stochastic, decided by place and step alone: a mean that moves by a few percent a step would otherwise stand
//! still between two values.

use std::io;
use std::path::Path;
use std::sync::LazyLock;

use super::{AdamW, Step};
use crate::cpu::{self, Level};
use crate::expect_len;
use crate::memory::Stored;
use crate::pool::{self, Outputs};
use crate::simd::dispatch;

/// Numbers that share a scale.
pub const BLOCK: usize = 256;

/// Blocks a thread takes at a time.
const BLOCKS: usize = 64;

/// The moments of `count` numbers: a byte for each of the two, and two scales for every block.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Bytes of the first moment.
    pub first: Stored<u8>,
    /// Largest size in every block of the first moment.
    pub first_scales: Stored<f32>,
    /// Bytes of the root of the second moment.
    pub root: Stored<u8>,
    /// Largest in every block of the roots.
    pub root_scales: Stored<f32>,
}

impl Moments {
    /// All zero, on the heap or in files of `folder`.
    ///
    /// # Errors
    /// As [`Stored::zeros_in`].
    pub fn zeros_in(folder: Option<&Path>, count: usize) -> io::Result<Self> {
        let blocks = count.div_ceil(BLOCK);
        Ok(Self {
            first: Stored::zeros_in(folder, count)?,
            first_scales: Stored::zeros_in(folder, blocks)?,
            root: Stored::zeros_in(folder, count)?,
            root_scales: Stored::zeros_in(folder, blocks)?,
        })
    }
}

/// Values a byte stands for, ascending, and for every half-precision pattern of [0, 1] the last value not above it.
struct Map {
    values: Vec<f32>,
    below: Vec<u8>,
}

impl Map {
    /// Zero and, decade by decade from 10⁻⁷, twice as many values as in the one below, `least` in the first.
    fn dynamic(least: usize) -> Self {
        let mut values = vec![0.0f32];
        for decade in 0..7 {
            let count = least << decade;
            let unit = 10f64.powi(decade - 6);
            let means = (0..count).map(|i| 0.1 + 0.9 * (i as f64 + 0.5) / count as f64);
            values.extend(means.map(|mean| (unit * mean) as f32));
        }
        // Patterns of bf16 from 0 to 1.
        let patterns = (1f32.to_bits() >> 16) + 1;
        let at = |pattern: u32| values.partition_point(|value| *value <= f32::from_bits(pattern << 16)) - 1;
        let below = (0..patterns).map(|pattern| at(pattern) as u8).collect();
        Self { values, below }
    }

    fn signed() -> &'static Self {
        static MAP: LazyLock<Map> = LazyLock::new(|| Map::dynamic(1));
        &MAP
    }

    fn unsigned() -> &'static Self {
        static MAP: LazyLock<Map> = LazyLock::new(|| Map::dynamic(2));
        &MAP
    }

    /// The place of a value beside `x` in [0, 1]: the one above with the probability that keeps the mean.
    #[inline]
    fn round(&self, x: f32, dice: f32) -> u8 {
        let mut place = self.below[(x.to_bits() >> 16) as usize] as usize;
        // The table knows x to eight bits; at most one value lies between.
        while place + 1 < self.values.len() && self.values[place + 1] <= x {
            place += 1;
        }
        let Some(&above) = self.values.get(place + 1) else { return place as u8 };
        let below = self.values[place];
        (place + usize::from(x - below > dice * (above - below))) as u8
    }
}

/// A number in [0, 1) that depends on both.
#[inline]
fn dice(place: u32, step: u32) -> f32 {
    let mut x = place.wrapping_mul(0x9E37_79B9) ^ step.wrapping_mul(0x85EB_CA6B);
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    (x >> 8) as f32 / (1 << 24) as f32
}

/// [`adamw`](super::adamw) on moments of a byte each.
///
/// # Panics
/// When the lengths differ or the step is 0.
pub fn adamw_8bit(parameters: &mut [f32], gradients: &[f32], moments: &mut Moments, numbers: AdamW) {
    adamw_8bit_at(cpu::level(), parameters, gradients, moments, numbers);
}

pub(super) fn adamw_8bit_at(
    level: Level,
    parameters: &mut [f32],
    gradients: &[f32],
    moments: &mut Moments,
    numbers: AdamW,
) {
    let (factors, step) = (numbers.factors(), numbers.step as u32);
    let (count, blocks) = (parameters.len(), parameters.len().div_ceil(BLOCK));
    expect_len("adamw gradients", gradients.len(), count);
    expect_len("adamw first moments", moments.first.len(), count);
    expect_len("adamw second moments", moments.root.len(), count);
    expect_len("adamw scales of first moments", moments.first_scales.len(), blocks);
    expect_len("adamw scales of second moments", moments.root_scales.len(), blocks);
    let parameters = Outputs::new(parameters);
    let (first, root) = (Outputs::new(&mut moments.first), Outputs::new(&mut moments.root));
    let first_scales = Outputs::new(&mut moments.first_scales);
    let root_scales = Outputs::new(&mut moments.root_scales);
    pool::run(blocks.div_ceil(BLOCKS), &|part| {
        for block in part * BLOCKS..((part + 1) * BLOCKS).min(blocks) {
            let (at, len) = (block * BLOCK, BLOCK.min(count - block * BLOCK));
            // SAFETY: blocks are disjoint ranges, and every block belongs to one part.
            let parameters = unsafe { parameters.range(at, len) };
            // SAFETY: as above.
            let first = unsafe { first.range(at, len) };
            // SAFETY: as above.
            let root = unsafe { root.range(at, len) };
            // SAFETY: every block has its own scale.
            let first_scale = unsafe { first_scales.range(block, 1) };
            // SAFETY: as above.
            let root_scale = unsafe { root_scales.range(block, 1) };
            let (mut m, mut v) = ([0f32; BLOCK], [0f32; BLOCK]);
            read(first, root, first_scale[0], root_scale[0], &mut m, &mut v);
            let (m, v) = (&mut m[..len], &mut v[..len]);
            dispatch(level, Step { factors, parameters, gradients: &gradients[at..at + len], m, v });
            (first_scale[0], root_scale[0]) = write(m, v, first, root, at as u32, step);
        }
    });
}

/// The moments of a block in f32.
fn read(first: &[u8], root: &[u8], first_scale: f32, root_scale: f32, m: &mut [f32], v: &mut [f32]) {
    let (signed, unsigned) = (Map::signed(), Map::unsigned());
    for (m, &byte) in m.iter_mut().zip(first) {
        let size = signed.values[usize::from(byte & 0x7f)] * first_scale;
        *m = if byte & 0x80 == 0 { size } else { -size };
    }
    for (v, &byte) in v.iter_mut().zip(root) {
        let root = unsigned.values[usize::from(byte)] * root_scale;
        *v = root * root;
    }
}

/// Writes the moments of a block that begins at `at` and returns their scales.
fn write(m: &[f32], v: &[f32], first: &mut [u8], root: &mut [u8], at: u32, step: u32) -> (f32, f32) {
    let (signed, unsigned) = (Map::signed(), Map::unsigned());
    // Values not above the largest of the map, so that the largest number of a block is kept as it is.
    let top = |map: &Map| map.values.last().copied().unwrap_or(1.0);
    let scale = m.iter().fold(0f32, |most, m| most.max(m.abs())) / top(signed);
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (place, (m, byte)) in (at..).zip(m.iter().zip(first)) {
        let size = signed.round((m.abs() * inverse).min(1.0), dice(place, step));
        *byte = size | (u8::from(m.is_sign_negative()) << 7);
    }
    let root_scale = v.iter().fold(0f32, |most, v| most.max(*v)).sqrt() / top(unsigned);
    let inverse = if root_scale > 0.0 { 1.0 / root_scale } else { 0.0 };
    for (place, (v, byte)) in (at..).zip(v.iter().zip(root)) {
        let size = unsigned.round((v.sqrt() * inverse).min(1.0), dice(!place, step));
        *byte = size.max(u8::from(*v > 0.0));
    }
    (scale, root_scale)
}

#[cfg(test)]
mod tests {
    use super::super::adamw_at;
    use super::*;

    #[test]
    fn maps_have_their_values_in_order() {
        for (map, count) in [(Map::signed(), 128), (Map::unsigned(), 255)] {
            assert_eq!(map.values.len(), count);
            assert!(map.values.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(map.values[1] < 1e-6 && map.values[count - 1] > 0.99);
        }
    }

    #[test]
    fn rounding_takes_a_neighbour_and_keeps_the_mean() {
        let map = Map::unsigned();
        for x in [0.0f32, 3e-8, 1e-5, 0.013, 0.1, 0.4321, 0.99] {
            let place = map.values.partition_point(|value| *value <= x) - 1;
            let mut sum = 0.0;
            for step in 0..20_000 {
                let got = usize::from(map.round(x, dice(7, step)));
                assert!(got == place || got == place + 1, "{x}: {got}, {place}");
                sum += f64::from(map.values[got]);
            }
            assert!((sum / 20_000.0 - f64::from(x)).abs() <= 0.01 * f64::from(x).max(1e-7), "{x}");
        }
    }

    fn numbers(step: u64) -> AdamW {
        AdamW { step, rate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, scale: 1.0 }
    }

    /// Runs both on the same gradients; returns the two parameters.
    fn both(level: Level, count: usize, steps: u64) -> (Vec<f32>, Vec<f32>, Moments) {
        let start: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
        let (mut exact, mut m, mut v) = (start.clone(), vec![0.0; count], vec![0.0; count]);
        let (mut coarse, mut moments) = (start, Moments::zeros_in(None, count).unwrap());
        for step in 1..=steps {
            let wave = |i: usize| ((i as f32 + step as f32 * 3.3) * 0.7).cos() + 0.5;
            let gradient: Vec<f32> = (0..count).map(|i| wave(i) * 10f32.powi(i as i32 % 4 - 5)).collect();
            let numbers = numbers(step);
            adamw_at(level, &mut exact, &gradient, &mut m, &mut v, numbers.factors());
            adamw_8bit_at(level, &mut coarse, &gradient, &mut moments, numbers);
        }
        (exact, coarse, moments)
    }

    #[test]
    fn it_follows_adamw() {
        for level in Level::available() {
            for count in [1, 255, 256, 40_001] {
                let (exact, coarse, _) = both(level, count, 200);
                let moved: f32 = 200.0 * 1e-3;
                let error = exact.iter().zip(&coarse).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
                let error = (error / count as f32).sqrt();
                assert!(error < 0.03 * moved, "{level:?} {count}: {error} of {moved}");
            }
        }
    }

    #[test]
    fn threads_do_not_matter() {
        let reference = both(cpu::level(), 40_001, 5);
        for threads in [1, 3] {
            pool::set_threads(threads);
            assert_eq!(both(cpu::level(), 40_001, 5), reference);
        }
        pool::set_threads(0);
    }

    #[test]
    fn a_small_second_moment_never_becomes_zero() {
        let (mut p, mut moments) = (vec![0.0f32; 2], Moments::zeros_in(None, 2).unwrap());
        // Ten decades apart: the smaller one's step must not exceed the rate by much.
        for step in [1, 2] {
            let numbers = AdamW { epsilon: 1e-30, weight_decay: 0.0, ..numbers(step) };
            adamw_8bit(&mut p, &[1.0, 1e-10], &mut moments, numbers);
        }
        assert!(p.iter().all(|p| p.abs() < 4e-3), "{p:?}");
        assert!(moments.root.iter().all(|byte| *byte > 0));
    }
}
