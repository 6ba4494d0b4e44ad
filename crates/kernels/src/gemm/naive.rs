//! The twin: plain loops, double-precision sums.

use super::{Operand, Precision};

/// See [`super::gemm`].
#[allow(clippy::too_many_arguments)] // as the kernel
pub fn gemm(
    m: usize,
    n: usize,
    k: usize,
    a: Operand,
    b: Operand,
    accumulate: bool,
    precision: Precision,
    c: &mut [f32],
) {
    let value = |v: f32| match precision {
        Precision::F32 => f64::from(v),
        Precision::BF16 => half::bf16::from_f32(v).to_f64(),
    };
    for row in 0..m {
        for column in 0..n {
            let a = |i: usize| a.values[if a.transposed { i * m + row } else { row * k + i }];
            let b = |i: usize| b.values[if b.transposed { column * k + i } else { i * n + column }];
            let sum: f64 = (0..k).map(|i| value(a(i)) * value(b(i))).sum();
            let before = if accumulate { f64::from(c[row * n + column]) } else { 0.0 };
            c[row * n + column] = (before + sum) as f32;
        }
    }
}
