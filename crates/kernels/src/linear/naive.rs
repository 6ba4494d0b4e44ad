//! The twins: plain loops over dequantized weights, double-precision sums.

/// `y = x · Wᵀ`; `weights` is rows × columns, row-major.
pub fn forward(weights: &[f32], rows: usize, columns: usize, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(columns.max(1)).zip(y.chunks_exact_mut(rows.max(1))) {
        for (y, w) in y.iter_mut().zip(weights.chunks_exact(columns.max(1))) {
            *y = w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>() as f32;
        }
    }
}

/// `dx = dy · W`.
pub fn input_gradient(weights: &[f32], rows: usize, columns: usize, dy: &[f32], dx: &mut [f32]) {
    for (dy, dx) in dy.chunks_exact(rows.max(1)).zip(dx.chunks_exact_mut(columns.max(1))) {
        let mut sums = vec![0f64; columns];
        for (&dy, w) in dy.iter().zip(weights.chunks_exact(columns.max(1))) {
            sums.iter_mut().zip(w).for_each(|(sum, &w)| *sum += f64::from(dy) * f64::from(w));
        }
        dx.iter_mut().zip(sums).for_each(|(dx, sum)| *dx = sum as f32);
    }
}
