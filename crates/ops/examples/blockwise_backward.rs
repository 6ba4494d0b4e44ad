//! Spike: one ordinary backward against a backward block by block, on a small stack: equality and peak memory.
//!
//! `cargo run --release -p ops --example blockwise_backward`

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use burn::tensor::{Device, Distribution, Tensor};
use ops::{Documents, Heads, RopeStyle, Rotation, attention, rms_norm, rope, swiglu};

/// Counts the bytes in use and their maximum.
struct Counting;
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call goes to the system allocator unchanged; the counters do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BLOCKS: usize = 8;
const TOKENS: usize = 256;
const WIDTH: usize = 128;
const HIDDEN: usize = 344;
const HEADS: Heads = Heads { queries: 4, keys: 2, features: 32 };

/// The weights of one block: norm, query, key, value, output, norm, gate, up, down.
#[derive(Clone)]
struct Block {
    norms: [Tensor<1>; 2],
    matrices: [Tensor<2>; 7],
}

impl Block {
    fn random(device: &Device) -> Self {
        let kv = HEADS.keys * HEADS.features;
        let shapes = [
            [WIDTH, WIDTH],
            [kv, WIDTH],
            [kv, WIDTH],
            [WIDTH, WIDTH],
            [HIDDEN, WIDTH],
            [HIDDEN, WIDTH],
            [WIDTH, HIDDEN],
        ];
        let normal = Distribution::Normal(0.0, 0.08);
        Self {
            norms: [Tensor::ones([WIDTH], device), Tensor::ones([WIDTH], device)],
            matrices: shapes.map(|shape| Tensor::random(shape, normal, device)),
        }
    }

    fn tracked(&self) -> Self {
        Self {
            norms: self.norms.clone().map(|t| t.autodiff().require_grad()),
            matrices: self.matrices.clone().map(|t| t.autodiff().require_grad()),
        }
    }

    fn forward(&self, x: Tensor<2>, rotation: &Rotation) -> Tensor<2> {
        let linear = |x: &Tensor<2>, i: usize| x.clone().matmul(self.matrices[i].clone().transpose());
        let n = rms_norm(x.clone(), self.norms[0].clone(), 1e-5);
        let (q, k) =
            (rope(linear(&n, 0), HEADS.features, rotation), rope(linear(&n, 1), HEADS.features, rotation));
        let x = x + linear(
            &attention(q, k, linear(&n, 2), HEADS, &Documents::single(TOKENS), ops::Activation::F32),
            3,
        );
        let n = rms_norm(x.clone(), self.norms[1].clone(), 1e-5);
        x + linear(&swiglu(linear(&n, 4), linear(&n, 5)), 6)
    }

    fn gradients(&self, gradients: &burn::tensor::Gradients) -> Vec<Vec<f32>> {
        let norms = self.norms.iter().map(|t| ops::values_of(t.grad(gradients).expect("tracked")));
        let matrices = self.matrices.iter().map(|t| ops::values_of(t.grad(gradients).expect("tracked")));
        norms.chain(matrices).collect()
    }
}

/// Peak bytes above what was in use before, and the result.
fn peak<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = run();
    (PEAK.load(Relaxed) - before, result)
}

fn main() {
    let device = Device::flex();
    device.seed(7);
    let blocks: Vec<Block> = (0..BLOCKS).map(|_| Block::random(&device)).collect();
    let x = Tensor::<2>::random([TOKENS, WIDTH], Distribution::Normal(0.0, 1.0), &device);
    let frequencies: Vec<f32> = (0..16).map(|i| 10_000f32.powf(-(i as f32) / 16.0)).collect();
    let rotation = Rotation::new(&frequencies, 0..TOKENS as u32, RopeStyle::HalfSplit);
    // The loss is the mean square of the output; its gradient is 2 y / n.
    let scale = 2.0 / (TOKENS * WIDTH) as f32;

    let start = std::time::Instant::now();
    let (ordinary_peak, (ordinary_dx, ordinary)) = peak(|| {
        let tracked: Vec<Block> = blocks.iter().map(Block::tracked).collect();
        let input = x.clone().autodiff().require_grad();
        let y = tracked.iter().fold(input.clone(), |x, block| block.forward(x, &rotation));
        let gradients = y.square().mean().backward();
        let dx = ops::values_of(input.grad(&gradients).expect("tracked"));
        (dx, tracked.iter().map(|block| block.gradients(&gradients)).collect::<Vec<_>>())
    });
    let ordinary_time = start.elapsed();

    let start = std::time::Instant::now();
    // One block's gradients are handed out (here: compared) and dropped before the next block runs.
    let (blockwise_peak, (worst, dx)) = peak(|| {
        let mut inputs = Vec::new();
        let y = blocks.iter().fold(x.clone(), |x, block| {
            inputs.push(x.clone());
            block.forward(x, &rotation)
        });
        let (mut dy, mut worst) = (y * scale, 0f32);
        for ((block, input), expected) in blocks.iter().zip(inputs).zip(&ordinary).rev() {
            let (block, input) = (block.tracked(), input.autodiff().require_grad());
            let y = block.forward(input.clone(), &rotation);
            let gradients = (y * dy.autodiff()).sum().backward();
            dy = input.grad(&gradients).expect("tracked").inner_or_same();
            for (got, want) in block.gradients(&gradients).iter().zip(expected) {
                worst = worst.max(relative(got, want));
            }
        }
        (worst, ops::values_of(dy))
    });
    let blockwise_time = start.elapsed();
    let worst = worst.max(relative(&dx, &ordinary_dx));
    println!(
        "{BLOCKS} blocks, {TOKENS} tokens, width {WIDTH}\n\
         ordinary backward:   peak {:6.1} MB, {ordinary_time:?}\n\
         block by block:      peak {:6.1} MB, {blockwise_time:?}\n\
         largest difference of a gradient, relative to its norm: {worst:.2e}",
        ordinary_peak as f64 / 1e6,
        blockwise_peak as f64 / 1e6,
    );
    assert!(worst < 1e-5, "the two backward passes disagree");
}

fn relative(got: &[f32], want: &[f32]) -> f32 {
    let norm = |it: &mut dyn Iterator<Item = f32>| it.map(|v| v * v).sum::<f32>().sqrt();
    norm(&mut got.iter().zip(want).map(|(a, b)| a - b)) / norm(&mut want.iter().copied()).max(1e-20)
}

/// A gradient as a plain tensor.
trait Inner {
    fn inner_or_same(self) -> Self;
}

impl Inner for Tensor<2> {
    fn inner_or_same(self) -> Self {
        if self.is_autodiff() { self.inner() } else { self }
    }
}
