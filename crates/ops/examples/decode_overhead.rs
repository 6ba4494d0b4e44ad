//! Spike: a 30-layer decode of SmolLM2-135M's shapes through the operations, against the same kernels on slices.
//!
//! `cargo run --release -p ops --example decode_overhead -- [threads]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use kernels::attention::Shape;
use kernels::linear::{Activation, PackedWeight, forward_many};
use kernels::quant::{Format, quantize};
use ops::{Heads, KeyValues, RopeStyle, Rotation, Weight, tensor_from, values_of};

const LAYERS: usize = 30;
const WIDTH: usize = 576;
const NARROW: usize = 192;
const HIDDEN: usize = 1536;
const VOCABULARY: usize = 49152;
const HEADS: Heads = Heads { queries: 9, keys: 3, features: 64 };
const PAST: usize = 128;
const TOKENS: usize = 300;
const FORMAT: Format = Format::Q4_0;

struct Layer {
    bytes: [(usize, usize, Vec<u8>); 7],
}

fn random(length: usize, seed: usize) -> Vec<f32> {
    (0..length).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 * 0.1 - 0.05).collect()
}

fn main() {
    let shapes = [
        (WIDTH, WIDTH),
        (NARROW, WIDTH),
        (NARROW, WIDTH),
        (WIDTH, WIDTH),
        (HIDDEN, WIDTH),
        (HIDDEN, WIDTH),
        (WIDTH, HIDDEN),
    ];
    let layers: Vec<Layer> = (0..LAYERS)
        .map(|l| Layer {
            bytes: shapes
                .map(|(r, c)| (r, c, quantize(FORMAT, &random(r * c, l + r)).expect("whole blocks"))),
        })
        .collect();
    let head = quantize(FORMAT, &random(VOCABULARY * WIDTH, 99)).expect("whole blocks");
    let frequencies = ops::rope_frequencies(64, 1e5);
    let x = random(WIDTH, 5);
    let norm = vec![1.0; WIDTH];

    // Both paths read the same weights, so the memory they lie in makes no difference.
    let pack = |format, rows, columns, bytes: &[u8]| {
        Arc::new(PackedWeight::pack(format, bytes, rows, columns).expect("shape fits"))
    };
    let packed: Vec<[Arc<PackedWeight>; 7]> =
        layers.iter().map(|layer| layer.bytes.each_ref().map(|(r, c, b)| pack(FORMAT, *r, *c, b))).collect();
    let packed_head = pack(FORMAT, VOCABULARY, WIDTH, &head);
    let weights: Vec<[Weight; 7]> =
        packed.iter().map(|layer| layer.each_ref().map(|w| Weight::packed(Arc::clone(w)))).collect();
    let weight_head = Weight::packed(Arc::clone(&packed_head));
    let norm_tensor = tensor_from(norm.clone(), [WIDTH]);

    let capacity = PAST + 64;
    let mut memory_keys = vec![vec![0.01f32; HEADS.keys * capacity * 64]; LAYERS];
    let mut memory_values = memory_keys.clone();
    let mut memories: Vec<KeyValues> = (0..LAYERS)
        .map(|_| {
            let mut memory = KeyValues::new(HEADS);
            let rows = || tensor_from(vec![0.01f32; PAST * NARROW], [PAST, NARROW]);
            memory.append(rows(), rows()).expect("untracked");
            memory
        })
        .collect();

    // The kernels on slices, every buffer allocated beforehand.
    let mut buffers: Vec<Vec<f32>> =
        [WIDTH, WIDTH, NARROW, NARROW, WIDTH, WIDTH, WIDTH, HIDDEN, HIDDEN, HIDDEN, WIDTH, WIDTH, VOCABULARY]
            .map(|n| vec![0.0; n])
            .into();
    let mut on_slices = || {
        kernels::pool::forward(|| {
            let [n, q, k, v, mixed, out, sum, gate, up, act, down, stream, logits] = &mut buffers[..] else {
                unreachable!("thirteen buffers")
            };
            let (cos, sin) = kernels::rope::angles(&[PAST as u32], &frequencies);
            stream.copy_from_slice(&x);
            for (l, w) in packed.iter().enumerate() {
                kernels::norm::rms_norm(stream, &norm, 1e-5, n);
                forward_many(&[&w[0], &w[1], &w[2]], n, 1, &mut [q, k, v], Activation::Int8);
                kernels::rope::rope(q, 9, 64, 64, &cos, &sin, RopeStyle::HalfSplit);
                kernels::rope::rope(k, 3, 64, 64, &cos, &sin, RopeStyle::HalfSplit);
                for head in 0..3 {
                    let at = (head * capacity + PAST) * 64;
                    memory_keys[l][at..at + 64].copy_from_slice(&k[head * 64..][..64]);
                    memory_values[l][at..at + 64].copy_from_slice(&v[head * 64..][..64]);
                }
                let shape = Shape::causal(1, PAST, 9, 3, 64, capacity);
                kernels::attention::attention(&shape, q, &memory_keys[l], &memory_values[l], mixed);
                w[3].forward(mixed, 1, out, Activation::Int8);
                kernels::norm::residual_rms_norm(stream, out, &norm, 1e-5, sum, n);
                forward_many(&[&w[4], &w[5]], n, 1, &mut [gate, up], Activation::Int8);
                kernels::activation::swiglu(gate, up, act);
                w[6].forward(act, 1, down, Activation::Int8);
                kernels::activation::add(sum, down, stream);
            }
            kernels::norm::rms_norm(stream, &norm, 1e-5, n);
            packed_head.forward(n, 1, logits, Activation::Int8);
            logits.clone()
        })
    };

    // The same through the operations; every output is allocated.
    let mut through_operations = || {
        kernels::pool::forward(|| {
            let rotation = Rotation::new(&frequencies, PAST as u32..PAST as u32 + 1, RopeStyle::HalfSplit);
            let mut stream: Tensor<2> = tensor_from(x.clone(), [1, WIDTH]);
            for (w, memory) in weights.iter().zip(&mut memories) {
                let n = ops::rms_norm(stream.clone(), norm_tensor.clone(), 1e-5);
                let [q, k, v] = ops::linear_many(n, [&w[0], &w[1], &w[2]], Activation::Int8);
                let (q, k) = ops::rope_pair(q, k, 64, &rotation);
                memory.truncate(PAST);
                memory.append(k, v).expect("untracked");
                let out = ops::linear(ops::cached_attention(q, memory), &w[3], Activation::Int8);
                let (sum, n) = ops::add_rms_norm(stream, out, norm_tensor.clone(), 1e-5);
                let hidden = ops::swiglu_linear(n, &w[4], &w[5], Activation::Int8);
                let down = ops::linear(hidden, &w[6], Activation::Int8);
                stream = ops::add(sum, down);
            }
            let n = ops::rms_norm(stream, norm_tensor.clone(), 1e-5);
            values_of(ops::linear(n, &weight_head, Activation::Int8))
        })
    };

    assert!(on_slices() == through_operations(), "the two paths differ");
    if let Some(threads) = std::env::args().nth(1).and_then(|word| word.parse().ok()) {
        kernels::pool::set_threads(threads);
    }
    let (mut slices, mut operations) = (Vec::new(), Vec::new());
    for _ in 0..TOKENS {
        slices.push(time(|| drop(on_slices())));
        operations.push(time(|| drop(through_operations())));
    }
    let at = |times: &mut Vec<Duration>, rank: usize| {
        times.sort();
        times[rank].as_secs_f64() * 1e3
    };
    println!(
        "{LAYERS} layers, {} threads, {}; ms a token:",
        kernels::pool::threads(),
        kernels::cpu::level().name()
    );
    // On a busy machine the minimum is the steadier of the two.
    for (name, rank) in [("median", TOKENS / 2), ("minimum", 0)] {
        let (slices, operations) = (at(&mut slices, rank), at(&mut operations, rank));
        let overhead = operations - slices;
        println!("{name}: {slices:.3} on slices, {operations:.3} through operations, overhead {overhead:.3}");
    }
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
