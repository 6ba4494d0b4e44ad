//! The twins: plain loops, double-precision sums.

use super::Shape;
use super::documents::Documents;

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

/// One query of a packed run: its document's start, its position there, and its weights over the keys
/// it sees, with the derivative of the soft cap beside each.
fn row(
    shape: &Documents,
    token: usize,
    head: usize,
    queries: &[f32],
    keys: &[f32],
) -> (usize, Vec<(f64, f64)>) {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    let start = shape.starts.iter().copied().filter(|&start| start <= token).max().unwrap_or(0);
    let first = shape.window.map_or(start, |window| start.max((token + 1).saturating_sub(window)));
    let query = &queries[(token * shape.heads + head) * dim..][..dim];
    let scores: Vec<(f64, f64)> = (first..=token)
        .map(|key| {
            let key = &keys[(key * shape.kv_heads + head / group) * dim..][..dim];
            let dot: f64 = query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
            let score = dot * f64::from(shape.scale);
            shape.softcap.map(f64::from).map_or((score, 1.0), |cap| {
                let tanh = (score / cap).tanh();
                (cap * tanh, 1.0 - tanh * tanh)
            })
        })
        .collect();
    let top = scores.iter().fold(f64::NEG_INFINITY, |top, score| top.max(score.0));
    let sum: f64 = scores.iter().map(|score| (score.0 - top).exp()).sum();
    (first, scores.into_iter().map(|(score, slope)| ((score - top).exp() / sum, slope)).collect())
}

/// See [`super::documents::forward`].
pub fn documents_forward(shape: &Documents, queries: &[f32], keys: &[f32], values: &[f32], out: &mut [f32]) {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    for token in 0..shape.tokens {
        for head in 0..shape.heads {
            let (first, weights) = row(shape, token, head, queries, keys);
            for channel in 0..dim {
                let value = |key: usize| values[(key * shape.kv_heads + head / group) * dim + channel];
                let sum: f64 =
                    weights.iter().zip(first..).map(|(weight, key)| weight.0 * f64::from(value(key))).sum();
                out[(token * shape.heads + head) * dim + channel] = sum as f32;
            }
        }
    }
}

/// See [`super::documents::backward`]: gradients of queries, keys and values.
pub fn documents_backward(
    shape: &Documents,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    dy: &[f32],
) -> [Vec<f32>; 3] {
    let (dim, group) = (shape.head_dim, shape.heads / shape.kv_heads);
    let (mut dq, mut dk, mut dv) =
        (vec![0f64; queries.len()], vec![0f64; keys.len()], vec![0f64; values.len()]);
    for token in 0..shape.tokens {
        for head in 0..shape.heads {
            let (first, weights) = row(shape, token, head, queries, keys);
            let query = (token * shape.heads + head) * dim;
            let key = |i: usize| ((first + i) * shape.kv_heads + head / group) * dim;
            let slopes: Vec<f64> = (0..weights.len())
                .map(|i| (0..dim).map(|c| f64::from(dy[query + c]) * f64::from(values[key(i) + c])).sum())
                .collect();
            let mean: f64 = slopes.iter().zip(&weights).map(|(slope, weight)| slope * weight.0).sum();
            for (i, (&(weight, cap), &slope)) in weights.iter().zip(&slopes).enumerate() {
                let slope = weight * (slope - mean) * cap * f64::from(shape.scale);
                for c in 0..dim {
                    dv[key(i) + c] += weight * f64::from(dy[query + c]);
                    dq[query + c] += slope * f64::from(keys[key(i) + c]);
                    dk[key(i) + c] += slope * f64::from(queries[query + c]);
                }
            }
        }
    }
    [dq, dk, dv].map(|gradient| gradient.into_iter().map(|v| v as f32).collect())
}
