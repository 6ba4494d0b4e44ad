//! The twins: plain loops, double-precision sums.

use super::Shape;

/// See [`super::scores`].
pub fn scores(shape: &Shape, queries: &[f32], keys: &[f32], out: &mut [f32]) {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    for head in 0..shape.heads {
        for token in 0..shape.tokens {
            let query = &queries[(token * shape.heads + head) * dim..][..dim];
            for key in 0..shape.keys() {
                let at = (head * shape.tokens + token) * shape.keys() + key;
                out[at] = f32::NEG_INFINITY;
                if shape.sees(shape.start + token, key) {
                    let k = &keys[(head / group * shape.capacity + key) * dim..][..dim];
                    let dot: f64 = query.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                    let score = dot * f64::from(shape.scale);
                    let capped = shape.softcap.map(f64::from).map(|cap| cap * (score / cap).tanh());
                    out[at] = capped.unwrap_or(score) as f32;
                }
            }
        }
    }
}

/// See [`super::pattern`].
pub fn pattern(shape: &Shape, scores: &mut [f32]) {
    for (row_index, row) in scores.chunks_exact_mut(shape.keys().max(1)).enumerate() {
        let sink = shape.sinks.map(|sinks| f64::from(sinks[row_index / shape.tokens]));
        let top = row.iter().map(|&s| f64::from(s)).chain(sink).fold(f64::NEG_INFINITY, f64::max);
        if top == f64::NEG_INFINITY {
            row.fill(0.0);
            continue;
        }
        let sum: f64 = row.iter().map(|&s| f64::from(s)).chain(sink).map(|s| (s - top).exp()).sum();
        row.iter_mut().for_each(|s| *s = ((f64::from(*s) - top).exp() / sum) as f32);
    }
}

/// See [`super::mix`].
pub fn mix(shape: &Shape, pattern: &[f32], values: &[f32], out: &mut [f32]) {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    for head in 0..shape.heads {
        for token in 0..shape.tokens {
            let row = &pattern[(head * shape.tokens + token) * shape.keys()..][..shape.keys()];
            for channel in 0..dim {
                let column = |key: usize| values[(head / group * shape.capacity + key) * dim + channel];
                let sum: f64 =
                    row.iter().enumerate().map(|(key, &p)| f64::from(p) * f64::from(column(key))).sum();
                out[(token * shape.heads + head) * dim + channel] = sum as f32;
            }
        }
    }
}
