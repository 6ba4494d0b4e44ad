//! Every format and shape at every level against the twin; invariance of the bits.
use super::*;
use crate::quant::{FORMATS, dequantize};
use proptest::prelude::*;

/// Reproducible bytes.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Block bytes with arbitrary codes and scales of moderate size.
pub(crate) fn blocks(format: Format, rows: usize, columns: usize, seed: u64) -> Vec<u8> {
    let mut next = noise(seed);
    let mut bytes: Vec<u8> =
        (0..format.bytes_of(rows, columns).unwrap()).map(|_| (next() >> 32) as u8).collect();
    let mut value = || ((next() >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.1;
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        let mut half = |at: usize| {
            let bits = half::f16::from_f32(value()).to_le_bytes();
            block[at..at + 2].copy_from_slice(&bits);
        };
        match format {
            Format::F16 => half(0),
            Format::BF16 => block.copy_from_slice(&half::bf16::from_f32(value()).to_le_bytes()),
            Format::F32 => block.copy_from_slice(&value().to_le_bytes()),
            Format::Q6K => half(208),
            Format::Q4_0 | Format::Q8_0 | Format::Q5_0 => half(0),
            _ => (half(0), half(2)).0,
        }
    }
    bytes
}

/// Reproducible numbers within ±1.
pub(crate) fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut next = noise(seed);
    (0..count).map(|_| (next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn run(level: Level, weight: &PackedWeight, x: &[f32], activation: Activation) -> Vec<f32> {
    let tokens = x.len() / weight.columns();
    let mut y = vec![f32::NAN; tokens * weight.rows()];
    forward_many_at(level, &[weight], x, tokens, &mut [&mut y], activation);
    y
}

/// What 8-bit activations stand for.
fn rounded(x: &[f32]) -> Vec<f32> {
    let block = |x: &[f32]| {
        let peak = x.iter().fold(0f32, |peak, v| peak.max(v.abs()));
        x.iter().map(|v| (v * (127.0 / peak)).round_ties_even() * (peak / 127.0)).collect::<Vec<_>>()
    };
    x.chunks(32).flat_map(block).collect()
}

#[test]
fn packing_keeps_every_weight() {
    for entry in &FORMATS {
        for (rows, blocks_per_row) in [(1, 1), (16, 2), (37, 3)] {
            let columns = blocks_per_row * entry.block_len;
            let bytes = blocks(entry.format, rows, columns, 7);
            let mut plain = vec![0.0; rows * columns];
            dequantize(entry.format, &bytes, &mut plain).unwrap();
            let packed = PackedWeight::pack(entry.format, &bytes, rows, columns).unwrap();
            assert_eq!(packed.dequantize(), plain, "{} {rows} × {columns}", entry.name);
        }
    }
}

#[test]
fn every_level_matches_the_twin() {
    for entry in &FORMATS {
        for (rows, columns, tokens) in [(1, 256, 1), (16, 256, 2), (37, 512, 5), (70, 256, 31), (129, 768, 1)]
        {
            let columns = if entry.block_len == 1 { columns - 5 } else { columns };
            let bytes = blocks(entry.format, rows, columns, 3);
            let weight = PackedWeight::pack(entry.format, &bytes, rows, columns).unwrap();
            let plain = weight.dequantize();
            let x = floats(tokens * columns, 11);
            for activation in [Activation::F32, Activation::Int8] {
                let exact = activation == Activation::F32 || entry.block_len == 1;
                let input = if exact { x.clone() } else { rounded(&x) };
                let mut expected = vec![0.0; tokens * rows];
                naive::forward(&plain, rows, columns, &input, &mut expected);
                let size = expected.iter().fold(1e-3f32, |size, v| size.max(v.abs()));
                for level in Level::available() {
                    let y = run(level, &weight, &x, activation);
                    for (i, (a, b)) in y.iter().zip(&expected).enumerate() {
                        let error = (a - b).abs() / size;
                        assert!(
                            error < 3e-6,
                            "{} {level:?} {activation:?} {rows}×{columns}×{tokens} at {i}: {a} not {b}",
                            entry.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_batch_threads_or_company() {
    for entry in &FORMATS {
        let (rows, columns, tokens) = (83, 512, 27);
        let weight =
            PackedWeight::pack(entry.format, &blocks(entry.format, rows, columns, 5), rows, columns).unwrap();
        let x = floats(tokens * columns, 13);
        for level in Level::available() {
            for activation in [Activation::F32, Activation::Int8] {
                let whole = run(level, &weight, &x, activation);
                let alone: Vec<f32> =
                    x.chunks(columns).flat_map(|x| run(level, &weight, x, activation)).collect();
                assert_eq!(whole, alone, "{} {level:?} {activation:?}: one by one", entry.name);
                let cut: Vec<f32> =
                    x.chunks(columns * 5).flat_map(|x| run(level, &weight, x, activation)).collect();
                assert_eq!(whole, cut, "{} {level:?} {activation:?}: in fives", entry.name);
                let inline = std::sync::Mutex::new(Vec::new());
                // Inside a part everything runs on one thread.
                pool::run(2, &|i| {
                    if i == 0 {
                        *inline.lock().unwrap() = run(level, &weight, &x, activation)
                    }
                });
                assert_eq!(whole, inline.into_inner().unwrap(), "{} {level:?}: one thread", entry.name);
                let (mut a, mut b) = (vec![0.0; tokens * rows], vec![0.0; tokens * rows]);
                forward_many_at(level, &[&weight, &weight], &x, tokens, &mut [&mut a, &mut b], activation);
                assert_eq!((&whole, &whole), (&a, &b), "{} {level:?}: together", entry.name);
            }
        }
    }
}

/// The loss Σ dy · y is linear in x, so a difference of losses gives its gradient without W's transpose.
#[test]
fn gradient_is_the_difference_of_losses() {
    for format in [Format::Q4_0, Format::Q8_0, Format::F16, Format::F32] {
        let (rows, columns, tokens) = (21, 64, 3);
        let bytes = blocks(format, rows, columns, 2);
        let weight = PackedWeight::pack(format, &bytes, rows, columns).unwrap();
        let (x, dy) = (floats(tokens * columns, 6), floats(tokens * rows, 4));
        let mut dx = vec![f32::NAN; tokens * columns];
        weight.input_gradient(&dy, tokens, Precision::F32, &mut dx);
        let loss = |x: &[f32]| -> f64 {
            let mut y = vec![0.0; tokens * rows];
            weight.forward(x, tokens, &mut y, Activation::F32);
            y.iter().zip(&dy).map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum()
        };
        for at in [0, 1, 40, 64, 100, 191] {
            let (mut above, mut below) = (x.clone(), x.clone());
            above[at] += 0.5;
            below[at] -= 0.5;
            let slope = (loss(&above) - loss(&below)) / f64::from(above[at] - below[at]);
            let error = (slope - f64::from(dx[at])).abs();
            assert!(error < 1e-5, "{} at {at}: {} not {slope}", format.name(), dx[at]);
        }
    }
}

#[test]
fn every_gradient_and_bf16_product_matches_the_twin() {
    for entry in &FORMATS {
        let columns = if entry.block_len == 1 { 85 } else { 2 * entry.block_len };
        let (rows, tokens) = (75, 13);
        let weight =
            PackedWeight::pack(entry.format, &blocks(entry.format, rows, columns, 8), rows, columns).unwrap();
        let plain = weight.dequantize();
        let (x, dy) = (floats(tokens * columns, 1), floats(tokens * rows, 2));
        for level in Level::available() {
            let round = |v: &[f32]| -> Vec<f32> {
                match Precision::BF16.at(level) {
                    Precision::F32 => v.to_vec(),
                    Precision::BF16 => v.iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect(),
                }
            };
            let close = |got: &[f32], expected: &[f32], what: &str| {
                let size = expected.iter().fold(1e-3f32, |size, v| size.max(v.abs()));
                let error = got.iter().zip(expected).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
                assert!(error < 3e-6 * size, "{} {level:?} {what}: off by {error} of {size}", entry.name);
            };
            let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
            let (mut expected_y, mut expected_dx) = (y.clone(), dx.clone());
            forward_many_at(level, &[&weight], &x, tokens, &mut [&mut y], Activation::Bf16);
            naive::forward(&round(&plain), rows, columns, &round(&x), &mut expected_y);
            close(&y, &expected_y, "bf16 forward");
            weight.input_gradient_at(level, &dy, tokens, Precision::F32, false, &mut dx);
            naive::input_gradient(&plain, rows, columns, &dy, &mut expected_dx);
            close(&dx, &expected_dx, "gradient");
            weight.input_gradient_at(level, &dy, tokens, Precision::F32, true, &mut dx);
            expected_dx.iter_mut().for_each(|v| *v *= 2.0);
            close(&dx, &expected_dx, "added gradient");
            weight.input_gradient_at(level, &dy, tokens, Precision::BF16, false, &mut dx);
            naive::input_gradient(&round(&plain), rows, columns, &round(&dy), &mut expected_dx);
            close(&dx, &expected_dx, "bf16 gradient");
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let error = PackedWeight::pack(Format::Q8_0, &[0; 33], 1, 32).unwrap_err();
    assert_eq!(error.to_string(), "Q8_0 weight of 1 × 32: 33 bytes where the shape needs 34");
    assert!(matches!(PackedWeight::pack(Format::Q4K, &[], 1, 100), Err(Error::Blocks { .. })));
    assert!(matches!(PackedWeight::pack(Format::F32, &[], usize::MAX, 8), Err(Error::TooLarge { .. })));
}

proptest! {
    #[test]
    fn any_shape_packs_and_unpacks(rows in 1usize..50, blocks_per_row in 1usize..4, pick in 0..FORMATS.len(), seed: u64) {
        let entry = &FORMATS[pick];
        let columns = blocks_per_row * entry.block_len;
        let bytes = blocks(entry.format, rows, columns, seed);
        let mut plain = vec![0.0; rows * columns];
        dequantize(entry.format, &bytes, &mut plain).unwrap();
        prop_assert_eq!(PackedWeight::pack(entry.format, &bytes, rows, columns).unwrap().dequantize(), plain);
    }
}
