//! Softmax, log-softmax and argmax of rows.

/// Softmax of each row of `x` (rows × width), in place. A row of −∞ only becomes zeros.
///
/// # Panics
/// When `x` is not whole rows.
pub fn softmax(x: &mut [f32], width: usize) {
    assert!(width > 0 && x.len().is_multiple_of(width), "softmax: {} elements in rows of {width}", x.len());
    naive::softmax(x, width);
}

/// log(softmax) of each row of `x` (rows × width), in place; the sum is taken in double precision.
///
/// # Panics
/// When `x` is not whole rows.
pub fn log_softmax(x: &mut [f32], width: usize) {
    assert!(
        width > 0 && x.len().is_multiple_of(width),
        "log_softmax: {} elements in rows of {width}",
        x.len()
    );
    for row in x.chunks_exact_mut(width) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if top == f32::NEG_INFINITY {
            continue;
        }
        let sum: f64 = row.iter().map(|&v| f64::from(v - top).exp()).sum();
        let log = sum.ln();
        row.iter_mut().for_each(|v| *v = (f64::from(*v - top) - log) as f32);
    }
}

/// Index of the largest element, the first of equals; NaN is never chosen. `None` when nothing can be.
pub fn argmax(row: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (i, &v) in row.iter().enumerate() {
        if !v.is_nan() && best.is_none_or(|(_, top)| v > top) {
            best = Some((i, v));
        }
    }
    best.map(|(i, _)| i)
}

/// The same in double precision.
pub mod naive {
    /// See [`super::softmax`].
    pub fn softmax(x: &mut [f32], width: usize) {
        for row in x.chunks_exact_mut(width) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if top == f32::NEG_INFINITY {
                row.fill(0.0);
                continue;
            }
            let sum: f64 = row.iter().map(|&v| (f64::from(v) - f64::from(top)).exp()).sum();
            row.iter_mut().for_each(|v| *v = ((f64::from(*v) - f64::from(top)).exp() / sum) as f32);
        }
    }
}
