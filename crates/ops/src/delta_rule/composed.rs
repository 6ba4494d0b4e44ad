//! The delta rule as compositions of Burn operations, chunk by chunk, on any back end.
//!
//! Inside a chunk with G the running sum of g and Γ_ij = e^(G_i − G_j) for j ≤ i:
//! `(I + A) U = β V − β e^G K S` with `A_ij = β_i (k_i · k_j) Γ_ij` below the diagonal;
//! `Y = scale · (e^G Q S + (Q Kᵀ ⊙ Γ) U)` and `S ← e^(G_last) S + (e^(G_last − G) K)ᵀ U`.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice, TensorData};

use super::scale;
use crate::Documents;

/// Tokens of a chunk.
const CHUNK: usize = 32;
/// Least log-decay: e^−100 is 0 in f32, and differences of sums stay finite.
const LEAST: f32 = -100.0;

/// Every document from a state of zeros.
pub(crate) fn composed<B: Backend>(
    inputs: [FloatTensor<B>; 5],
    heads: usize,
    documents: &Documents,
) -> FloatTensor<B> {
    let (keys, values) = (inputs[0].shape()[1] / heads, inputs[2].shape()[1] / heads);
    let (device, dtype) = (inputs[0].device(), inputs[0].dtype().into());
    let parts = documents.ranges().map(|range| {
        let rows = [Slice::from(range.start as i64..range.end as i64)];
        let part = inputs.each_ref().map(|input| B::float_slice(input.clone(), &rows));
        let state = B::float_zeros(Shape::new([heads, keys, values]), &device, dtype);
        composed_step::<B>(part, state, heads).0
    });
    B::float_cat(parts.collect(), 0)
}

/// One document after `state` `[heads, key_dim, value_dim]`; the state after its last token, besides.
pub(crate) fn composed_step<B: Backend>(
    inputs: [FloatTensor<B>; 5],
    mut state: FloatTensor<B>,
    heads: usize,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (tokens, values) = (inputs[0].shape()[0], inputs[2].shape()[1] / heads);
    let scale = scale(inputs[0].shape()[1] / heads);
    let device = inputs[0].device();
    let chunks = tokens.div_ceil(CHUNK);
    let [q, k, v, g, beta] = inputs.map(|input| chunked::<B>(input, heads, chunks));
    let sums = B::float_cumsum(B::float_clamp_min(g, LEAST.into()), 1);
    let grown = B::float_exp(sums.clone());
    let mask = |keep: &dyn Fn(usize, usize) -> f32| {
        let values = (0..CHUNK * CHUNK).map(|at| keep(at / CHUNK, at % CHUNK));
        B::float_from_data(TensorData::new(values.collect::<Vec<_>>(), [1, CHUNK, CHUNK]), &device)
    };
    let between = B::float_sub(sums.clone(), B::float_swap_dims(sums.clone(), 1, 2));
    let future = mask(&|i, j| if j <= i { 0.0 } else { f32::NEG_INFINITY });
    let decays = B::float_exp(B::float_add(between, future));
    let turned = B::float_swap_dims(k.clone(), 1, 2);
    let seen = B::float_mul(B::float_matmul(q.clone(), turned.clone()), decays.clone());
    let below = mask(&|i, j| if j < i { 1.0 } else { 0.0 });
    let coupling = B::float_mul(B::float_matmul(k.clone(), turned), B::float_mul(decays, below));
    let inverse = inverse::<B>(B::float_mul(coupling, beta.clone()));
    let written = B::float_matmul(inverse.clone(), B::float_mul(v, beta.clone()));
    let erased = B::float_mul(k.clone(), B::float_mul(beta, grown.clone()));
    let erased = B::float_matmul(inverse, erased);
    let queries = B::float_mul(q, grown);
    let last = {
        let batch = sums.shape()[0] as i64;
        let ranges = [0..batch, CHUNK as i64 - 1..CHUNK as i64, 0..1];
        B::float_slice(sums.clone(), &ranges.map(Slice::from))
    };
    let kept = B::float_mul(k, B::float_exp(B::float_sub(last.clone(), sums)));
    let last = B::float_exp(last);
    let mut outputs = Vec::with_capacity(chunks);
    for chunk in 0..chunks {
        let of = |x: &FloatTensor<B>| chunk_of::<B>(x.clone(), heads, chunk);
        let change = B::float_sub(of(&written), B::float_matmul(of(&erased), state.clone()));
        let read = B::float_matmul(of(&queries), state.clone());
        outputs.push(B::float_add(read, B::float_matmul(of(&seen), change.clone())));
        let added = B::float_matmul(B::float_swap_dims(of(&kept), 1, 2), change);
        state = B::float_add(B::float_mul(state, of(&last)), added);
    }
    let y = B::float_mul_scalar(B::float_cat(outputs, 1), scale.into());
    let y = B::float_reshape(B::float_permute(y, &[1, 0, 2]), Shape::new([chunks * CHUNK, heads * values]));
    (B::float_slice(y, &[Slice::from(0..tokens as i64)]), state)
}

/// `[tokens, heads · n]` as `[heads · chunks, CHUNK, n]`; zeros fill the last chunk and change nothing.
fn chunked<B: Backend>(x: FloatTensor<B>, heads: usize, chunks: usize) -> FloatTensor<B> {
    let (tokens, columns) = (x.shape()[0], x.shape()[1]);
    let missing = chunks * CHUNK - tokens;
    let x = if missing == 0 {
        x
    } else {
        let zeros = B::float_zeros(Shape::new([missing, columns]), &x.device(), x.dtype().into());
        B::float_cat(vec![x, zeros], 0)
    };
    let x = B::float_reshape(x, Shape::new([chunks * CHUNK, heads, columns / heads]));
    B::float_reshape(B::float_permute(x, &[1, 0, 2]), Shape::new([heads * chunks, CHUNK, columns / heads]))
}

/// One chunk of every head, `[heads, rows, n]`, of `[heads · chunks, rows, n]`.
fn chunk_of<B: Backend>(x: FloatTensor<B>, heads: usize, chunk: usize) -> FloatTensor<B> {
    let shape = x.shape();
    let (chunks, rows, columns) = (shape[0] / heads, shape[1], shape[2]);
    let x = B::float_reshape(x, Shape::new([heads, chunks, rows, columns]));
    let ranges = [0..heads as i64, chunk as i64..chunk as i64 + 1, 0..rows as i64, 0..columns as i64];
    B::float_reshape(B::float_slice(x, &ranges.map(Slice::from)), Shape::new([heads, rows, columns]))
}

/// `(I + a)⁻¹` of strictly lower triangular matrices `[batch, CHUNK, CHUNK]`, row by row: products of powers of `a`
/// would cancel where keys repeat.
fn inverse<B: Backend>(a: FloatTensor<B>) -> FloatTensor<B> {
    let (batch, device) = (a.shape()[0], a.device());
    let unit = |i: usize| {
        let row = (0..batch * CHUNK).map(|at| if at % CHUNK == i { 1.0 } else { 0f32 });
        B::float_from_data(TensorData::new(row.collect::<Vec<_>>(), [batch, 1, CHUNK]), &device)
    };
    let mut rows = unit(0);
    for i in 1..CHUNK {
        let ranges = [0..batch as i64, i as i64..i as i64 + 1, 0..i as i64];
        let before = B::float_slice(a.clone(), &ranges.map(Slice::from));
        let row = B::float_sub(unit(i), B::float_matmul(before, rows.clone()));
        rows = B::float_cat(vec![rows, row], 1);
    }
    rows
}
