//! The twin: token after token in double precision, and its gradients by reversing the recurrence.

use super::{Inputs, Shape};

/// Inputs, states and outputs in double precision, as [`super::Inputs`].
#[derive(Debug, Clone)]
pub struct Values {
    /// Queries.
    pub q: Vec<f64>,
    /// Keys.
    pub k: Vec<f64>,
    /// Values.
    pub v: Vec<f64>,
    /// Logarithms of the decays.
    pub g: Vec<f64>,
    /// Strengths.
    pub beta: Vec<f64>,
    /// States before the first token (or their gradients).
    pub state: Vec<f64>,
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

impl Values {
    /// The inputs, and zeros or the initial states.
    pub fn new(shape: &Shape, inputs: &Inputs, initial: Option<&[f32]>) -> Values {
        let Inputs { q, k, v, g, beta } = *inputs;
        let state = initial.map_or_else(|| vec![0.0; shape.state_len()], double);
        Values { q: double(q), k: double(k), v: double(v), g: double(g), beta: double(beta), state }
    }
}

/// (document, head, tokens) of every recurrence.
fn sequences(shape: &Shape) -> Vec<(usize, usize, std::ops::Range<usize>)> {
    let end = |document: usize| shape.starts.get(document + 1).copied().unwrap_or(shape.tokens);
    (0..shape.starts.len())
        .flat_map(|document| {
            let tokens = shape.starts[document]..end(document);
            (0..shape.heads).map(move |head| (document, head, tokens.clone()))
        })
        .collect()
}

/// Outputs and last states: see [`super::forward`].
pub fn forward(shape: &Shape, inputs: &Values) -> (Vec<f64>, Vec<f64>) {
    let Shape { heads, key_dim, value_dim, .. } = *shape;
    let mut out = vec![0.0; shape.tokens * heads * value_dim];
    let mut last = inputs.state.clone();
    for (document, head, tokens) in sequences(shape) {
        let state = &mut last[(document * heads + head) * key_dim * value_dim..][..key_dim * value_dim];
        for token in tokens {
            let row = token * heads + head;
            advance(shape, inputs, row, state);
            for c in 0..value_dim {
                let read: f64 =
                    (0..key_dim).map(|i| inputs.q[row * key_dim + i] * state[i * value_dim + c]).sum();
                out[row * value_dim + c] = f64::from(shape.scale) * read;
            }
        }
    }
    (out, last)
}

/// One token: the state, and u.
fn advance(shape: &Shape, inputs: &Values, row: usize, state: &mut [f64]) -> Vec<f64> {
    let Shape { key_dim, value_dim, .. } = *shape;
    let k = &inputs.k[row * key_dim..][..key_dim];
    state.iter_mut().for_each(|s| *s *= inputs.g[row].exp());
    let u: Vec<f64> = (0..value_dim)
        .map(|c| {
            let held: f64 = (0..key_dim).map(|i| k[i] * state[i * value_dim + c]).sum();
            inputs.beta[row] * (inputs.v[row * value_dim + c] - held)
        })
        .collect();
    for i in 0..key_dim {
        (0..value_dim).for_each(|c| state[i * value_dim + c] += k[i] * u[c]);
    }
    u
}

/// Gradients of Σ dout · out + Σ dlast · last: see [`super::backward`].
pub fn backward(shape: &Shape, inputs: &Values, dout: &[f64], dlast: &[f64]) -> Values {
    let Shape { heads, key_dim, value_dim, .. } = *shape;
    let zeros = |like: &[f64]| vec![0.0; like.len()];
    let mut d = Values {
        q: zeros(&inputs.q),
        k: zeros(&inputs.k),
        v: zeros(&inputs.v),
        g: zeros(&inputs.g),
        beta: zeros(&inputs.beta),
        state: dlast.to_vec(),
    };
    for (document, head, tokens) in sequences(shape) {
        let at = (document * heads + head) * key_dim * value_dim;
        let size = key_dim * value_dim;
        let mut states = vec![inputs.state[at..at + size].to_vec()];
        for token in tokens.clone() {
            let mut state = states[states.len() - 1].clone();
            advance(shape, inputs, token * heads + head, &mut state);
            states.push(state);
        }
        let dstate = &mut d.state[at..at + size];
        for (step, token) in tokens.enumerate().rev() {
            let row = token * heads + head;
            let (before, after) = (&states[step], &states[step + 1]);
            let (k, v) = (&inputs.k[row * key_dim..][..key_dim], &inputs.v[row * value_dim..][..value_dim]);
            let (decay, beta) = (inputs.g[row].exp(), inputs.beta[row]);
            let dy: Vec<f64> =
                (0..value_dim).map(|c| f64::from(shape.scale) * dout[row * value_dim + c]).collect();
            for i in 0..key_dim {
                for c in 0..value_dim {
                    d.q[row * key_dim + i] += dy[c] * after[i * value_dim + c];
                    dstate[i * value_dim + c] += inputs.q[row * key_dim + i] * dy[c];
                }
            }
            for c in 0..value_dim {
                let held: f64 = (0..key_dim).map(|i| k[i] * decay * before[i * value_dim + c]).sum();
                let du: f64 = (0..key_dim).map(|i| k[i] * dstate[i * value_dim + c]).sum();
                d.beta[row] += du * (v[c] - held);
                d.v[row * value_dim + c] = beta * du;
                for (i, &k) in k.iter().enumerate() {
                    let at = i * value_dim + c;
                    let kept = decay * before[at];
                    // u = β (v − kᵀ kept); S = kept + k u.
                    d.k[row * key_dim + i] += dstate[at] * beta * (v[c] - held) - beta * du * kept;
                    let dkept = dstate[at] - k * beta * du;
                    d.g[row] += dkept * kept;
                    dstate[at] = dkept * decay;
                }
            }
        }
    }
    d
}
