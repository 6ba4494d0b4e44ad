//! The most the register tile can do: both factors stay in the first-level cache, nothing is packed.

use super::pack::Layout;
use super::{enter, tile};
use crate::cpu;
use crate::gemm::Precision;
use crate::memory::Lines;
use crate::pool;
use crate::simd::{Kernel, LANES, Simd};
use std::hint::black_box;
use std::time::Instant;

/// Tiles between two looks at the clock.
const TILES: usize = 10_000;

/// Floating-point operations per second of all threads together, the best of a few rounds.
pub fn peak(precision: Precision) -> f64 {
    let level = cpu::level();
    let layout = Layout::of(level, precision);
    let threads = pool::threads();
    // The first round also warms the processor up.
    let operations = enter(level, layout, Tiles);
    let best = (0..5).fold(f64::INFINITY, |best, _| {
        let start = Instant::now();
        pool::run(threads, &|_| {
            black_box(enter(level, layout, Tiles));
        });
        best.min(start.elapsed().as_secs_f64())
    });
    operations * threads as f64 / best
}

struct Tiles;

impl Kernel for Tiles {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        // Vectors; in pairs they hold twice as many inner indices.
        let depth = tile::block::<S>(Layout::Plain);
        let (mut a, mut b) = (Lines::new(), Lines::new());
        a.room(depth * S::ROWS).fill(1.0);
        b.room(depth * LANES * S::COLUMNS).fill(1.0);
        let mut sum = 0.0;
        for _ in 0..TILES {
            sum += tile::alone(simd, black_box(&a), black_box(&b), depth);
        }
        black_box(sum);
        let pairs = if S::PAIRS { 2 } else { 1 };
        (2 * TILES * depth * pairs * S::ROWS * S::COLUMNS * LANES) as f64
    }
}
