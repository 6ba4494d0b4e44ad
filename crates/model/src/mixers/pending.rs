//! The recurrences as compositions of Burn operations, document by document, token by token.

use burn::tensor::Tensor;
use ops::Documents;

/// `y[t] = Σ_j w[:, j] ⊙ x[t − (kernel − 1) + j]` inside every document.
pub(super) fn short_conv(x: Tensor<2>, w: Tensor<2>, documents: &Documents) -> Tensor<2> {
    let [features, kernel] = w.dims();
    let parts = documents.ranges().map(|range| {
        let past = ops::tensor_from(vec![0.0; (kernel - 1) * features], [kernel - 1, features]);
        short_conv_step(x.clone().slice(range), w.clone(), past).0
    });
    Tensor::cat(parts.collect(), 0)
}

/// As [`short_conv`] after the given inputs `[kernel - 1, features]`; the last inputs, besides.
pub(super) fn short_conv_step(x: Tensor<2>, w: Tensor<2>, past: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let ([tokens, features], [_, kernel]) = (x.dims(), w.dims());
    let all = if kernel > 1 { Tensor::cat(vec![past, x], 0) } else { x };
    let tap = |j: usize| {
        let taps = w.clone().slice([0..features, j..j + 1]).reshape([1, features]);
        all.clone().slice(j..j + tokens) * taps
    };
    let y = (1..kernel).fold(tap(0), |sum, j| sum + tap(j));
    (y, all.slice(tokens..tokens + kernel - 1))
}

/// The delta rule inside every document, from a state of zeros.
pub(super) fn delta_rule(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    g: Tensor<2>,
    beta: Tensor<2>,
    heads: usize,
    documents: &Documents,
) -> Tensor<2> {
    let parts = documents.ranges().map(|range| {
        let part = |x: &Tensor<2>| x.clone().slice(range.clone());
        delta_rule_step(part(&q), part(&k), part(&v), part(&g), part(&beta), heads, None).0
    });
    Tensor::cat(parts.collect(), 0)
}

/// As [`delta_rule`] after a state `[heads, key_dim, value_dim]`; the state after the last token, besides.
pub(super) fn delta_rule_step(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    g: Tensor<2>,
    beta: Tensor<2>,
    heads: usize,
    state: Option<Tensor<3>>,
) -> (Tensor<2>, Tensor<3>) {
    let ([tokens, keys], [_, values]) = (q.dims(), v.dims());
    let (key_dim, value_dim) = (keys / heads, values / heads);
    let zeros = || Tensor::zeros([heads, key_dim, value_dim], &q.device());
    let mut state = state.unwrap_or_else(zeros);
    let mut outputs = Vec::with_capacity(tokens);
    for t in 0..tokens {
        let row = |x: &Tensor<2>, columns: usize| x.clone().slice(t..t + 1).reshape([heads, 1, columns]);
        let (key, value) = (row(&k, key_dim), row(&v, value_dim));
        state = state * row(&g, 1).exp();
        let written = (value - key.clone().matmul(state.clone())) * row(&beta, 1);
        state = state + key.transpose().matmul(written);
        let read = row(&q, key_dim).matmul(state.clone()) * (1.0 / (key_dim as f32).sqrt());
        outputs.push(read.reshape([1, values]));
    }
    (Tensor::cat(outputs, 0), state)
}
