//! Odd shapes, every transposition and precision at every level against the twin; invariance of the bits.
use super::*;
use crate::linear::PackedWeight;
use crate::linear::tests::{blocks, floats};
use crate::quant::FORMATS;

/// (m, n, k) around the edges of tiles, panels, parts and blocks of the inner dimension.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 49, 7),
    (3, 16, 33),
    (5, 31, 160),
    (8, 48, 64),
    (16, 96, 161),
    (17, 50, 321),
    (21, 10, 700),
    (300, 9, 40),
    (64, 385, 96),
    (33, 790, 17),
    (270, 100, 35),
];

fn operands<'a>(a: &'a [f32], b: &'a [f32]) -> [(Operand<'a>, Operand<'a>); 4] {
    let both = |values| [Operand::plain(values), Operand::transposed(values)];
    let ([a, at], [b, bt]) = (both(a), both(b));
    [(a, b), (a, bt), (at, b), (at, bt)]
}

fn at_level(
    level: Level,
    (m, n, k): (usize, usize, usize),
    (a, b): (Operand, Operand),
    accumulate: bool,
    precision: Precision,
    c: &mut [f32],
) {
    let (left, right) = (Left::new(a, m, k), Right::operand(b, k, n));
    multiply(level, Shape { m, n, k }, left, &right, accumulate, precision, c, n);
}

#[test]
fn every_level_matches_the_twin() {
    for shape @ (m, n, k) in SHAPES {
        let (a, b) = (floats(m * k, 3), floats(k * n, 5));
        for (a, b) in operands(&a, &b) {
            for precision in [Precision::F32, Precision::BF16] {
                for accumulate in [false, true] {
                    let before = if accumulate { floats(m * n, 9) } else { vec![f32::NAN; m * n] };
                    for level in Level::available() {
                        let mut expected = before.clone();
                        naive::gemm(m, n, k, a, b, accumulate, precision.at(level), &mut expected);
                        let mut c = before.clone();
                        at_level(level, shape, (a, b), accumulate, precision, &mut c);
                        let worst = c.iter().zip(&expected).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
                        let bound = 1e-6 * (k as f32).sqrt() + 1e-6;
                        assert!(worst <= bound, "{level:?} {shape:?} {precision:?}: off by {worst}");
                    }
                }
            }
        }
    }
}

#[test]
fn bits_depend_on_neither_threads_nor_company() {
    for precision in [Precision::F32, Precision::BF16] {
        for level in Level::available() {
            for shape @ (m, n, k) in [(270, 400, 350), (500, 20, 170), (40, 1000, 64)] {
                let (a, b) = (floats(m * k, 3), floats(k * n, 5));
                let pair = (Operand::plain(&a[..]), Operand::plain(&b[..]));
                let mut whole = vec![0.0; m * n];
                at_level(level, shape, pair, false, precision, &mut whole);
                for threads in [1, 3] {
                    pool::set_threads(threads);
                    let mut c = vec![0.0; m * n];
                    at_level(level, shape, pair, false, precision, &mut c);
                    assert_eq!(whole, c, "{level:?} {precision:?} {threads} threads");
                }
                pool::set_threads(0);
                for row in [0, 7, m - 1] {
                    let mut c = vec![0.0; n];
                    let a = Operand::plain(&a[row * k..(row + 1) * k]);
                    at_level(level, (1, n, k), (a, pair.1), false, precision, &mut c);
                    assert_eq!(whole[row * n..(row + 1) * n], c, "{level:?} {precision:?} row {row}");
                }
            }
        }
    }
}

#[test]
fn a_weight_multiplies_as_its_dequantized_values() {
    for entry in &FORMATS {
        for (rows, columns, tokens) in [(37, 2, 5), (400, 1, 19), (70, 3, 1)] {
            let columns = if entry.block_len == 1 { columns * 50 } else { columns * entry.block_len };
            let weight =
                PackedWeight::pack(entry.format, &blocks(entry.format, rows, columns, 3), rows, columns);
            let weight = weight.unwrap();
            let plain = weight.dequantize();
            let (x, dy) = (floats(tokens * columns, 4), floats(tokens * rows, 6));
            for precision in [Precision::F32, Precision::BF16] {
                for level in Level::available() {
                    let run = |(m, n, k): (usize, usize, usize), x: &[f32], right: Right| {
                        let mut c = vec![f32::NAN; m * n];
                        let left = Left::new(Operand::plain(x), m, k);
                        multiply(level, Shape { m, n, k }, left, &right, false, precision, &mut c, n);
                        c
                    };
                    let shape = (tokens, rows, columns);
                    let right = Right::operand(Operand::transposed(&plain), columns, rows);
                    let expected = run(shape, &x, right);
                    let got = run(shape, &x, Right::Forward { weight: &weight, first: 0 });
                    assert_eq!(got, expected, "{} {level:?} {precision:?} forward", entry.name);
                    let shape = (tokens, columns, rows);
                    let expected = run(shape, &dy, Right::operand(Operand::plain(&plain), rows, columns));
                    let got = run(shape, &dy, Right::Backward { weight: &weight, first: 0 });
                    assert_eq!(got, expected, "{} {level:?} {precision:?} backward", entry.name);
                }
            }
        }
    }
}

#[test]
fn nothing_is_read_or_written_beyond_the_shape() {
    // Empty inner dimension: zeros, or what was there.
    let mut c = [1.0, 2.0];
    gemm(1, 2, 0, Operand::plain(&[]), Operand::plain(&[]), true, Precision::F32, &mut c);
    assert_eq!(c, [1.0, 2.0]);
    gemm(1, 2, 0, Operand::plain(&[]), Operand::plain(&[]), false, Precision::F32, &mut c);
    assert_eq!(c, [0.0, 0.0]);
    // Strided output keeps its gaps; NaN in A reaches its own row only.
    let a = [1.0, f32::NAN, 3.0, 1.0];
    let b = [1.0, 0.0, 0.0, 1.0];
    let mut c = [7.0; 6];
    let right = Right::operand(Operand::plain(&b), 2, 2);
    let left = Left::new(Operand::plain(&a), 2, 2);
    multiply(Level::best(), Shape { m: 2, n: 2, k: 2 }, left, &right, false, Precision::BF16, &mut c, 3);
    assert!(c[0].is_nan() && c[1].is_nan());
    assert_eq!(c[2..], [7.0, 3.0, 1.0, 7.0]);
}
