//! Element-wise operations: SwiGLU and addition.

use crate::expect_len;

/// silu(gate) · up, element by element: g / (1 + e^(−g)) · u (Shazeer 2020).
///
/// # Panics
/// When the lengths differ.
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    expect_len("swiglu up", up.len(), gate.len());
    expect_len("swiglu output", out.len(), gate.len());
    naive::swiglu(gate, up, out);
}

/// a + b, element by element.
///
/// # Panics
/// When the lengths differ.
pub fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
    expect_len("add right side", b.len(), a.len());
    expect_len("add output", out.len(), a.len());
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a + b;
    }
}

/// The same in double precision.
pub mod naive {
    /// See [`super::swiglu`].
    pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
            let g = f64::from(g);
            *out = (g / (1.0 + (-g).exp()) * f64::from(u)) as f32;
        }
    }
}
