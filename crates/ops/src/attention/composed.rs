//! Attention and its gradients as compositions of Burn operations, on any back end.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, TensorData};

use crate::{Documents, Heads};

pub(crate) fn composed<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    heads: Heads,
    documents: &Documents,
) -> FloatTensor<B> {
    composed_mix::<B>(composed_pattern::<B>(q, k, heads, documents), v, heads)
}

/// The pattern of the last tokens of a run of `documents`.
pub(crate) fn composed_pattern<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    heads: Heads,
    documents: &Documents,
) -> FloatTensor<B> {
    let Heads { queries, keys, features } = heads;
    let (tokens, positions) = (q.shape()[0], k.shape()[0]);
    let device = q.device();
    let k = by_head::<B>(k, keys);
    let scores = B::float_matmul(by_group::<B>(q, heads), B::float_swap_dims(k, 1, 2));
    let scores = B::float_mul_scalar(scores, (1.0 / (features as f32).sqrt()).into());
    let starts = documents.ranges().flat_map(|range| std::iter::repeat_n(range.start, range.len()));
    let mask = starts.enumerate().skip(positions - tokens).flat_map(|(at, start)| {
        (0..positions).map(move |s| if start <= s && s <= at { 0.0 } else { f32::NEG_INFINITY })
    });
    let mask = TensorData::new(mask.collect::<Vec<_>>(), [1, tokens, positions]);
    let scores = B::float_reshape(scores, Shape::new([queries, tokens, positions]));
    B::softmax(B::float_add(scores, B::float_from_data(mask, &device)), 2)
}

pub(crate) fn composed_mix<B: Backend>(
    pattern: FloatTensor<B>,
    v: FloatTensor<B>,
    heads: Heads,
) -> FloatTensor<B> {
    let Heads { queries, keys, features } = heads;
    let (tokens, positions, group) = (pattern.shape()[1], v.shape()[0], queries / keys);
    let pattern = B::float_reshape(pattern, Shape::new([keys, group * tokens, positions]));
    from_group::<B>(B::float_matmul(pattern, by_head::<B>(v, keys)), tokens, queries, features)
}

/// Gradients of queries, keys and values.
pub(crate) fn composed_gradient<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    dy: FloatTensor<B>,
    heads: Heads,
    documents: &Documents,
) -> [FloatTensor<B>; 3] {
    let pattern = composed_pattern::<B>(q.clone(), k.clone(), heads, documents);
    let [dpattern, dv] = mix_gradient::<B>(pattern.clone(), v, dy, heads);
    let [dq, dk] = pattern_gradient::<B>(q, k, pattern, dpattern, heads);
    [dq, dk, dv]
}

/// Gradients of queries and keys: `dscores = P ⊙ (dP − rowsum(dP ⊙ P))`; what the pattern hides has none.
pub(crate) fn pattern_gradient<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    pattern: FloatTensor<B>,
    dpattern: FloatTensor<B>,
    heads: Heads,
) -> [FloatTensor<B>; 2] {
    let Heads { queries, keys, features } = heads;
    let (tokens, positions, group) = (q.shape()[0], k.shape()[0], queries / keys);
    let rows = B::float_sum_dim(B::float_mul(dpattern.clone(), pattern.clone()), 2);
    let dscores = B::float_mul(pattern, B::float_sub(dpattern, rows));
    let dscores = B::float_mul_scalar(dscores, (1.0 / (features as f32).sqrt()).into());
    let dscores = B::float_reshape(dscores, Shape::new([keys, group * tokens, positions]));
    let dq = B::float_matmul(dscores.clone(), by_head::<B>(k, keys));
    let dk = B::float_matmul(B::float_swap_dims(dscores, 1, 2), by_group::<B>(q, heads));
    [from_group::<B>(dq, tokens, queries, features), from_head::<B>(dk)]
}

/// Gradients of the pattern and of the values.
pub(crate) fn mix_gradient<B: Backend>(
    pattern: FloatTensor<B>,
    v: FloatTensor<B>,
    dy: FloatTensor<B>,
    heads: Heads,
) -> [FloatTensor<B>; 2] {
    let (shape, keys) = (pattern.shape(), heads.keys);
    let (tokens, positions, group) = (shape[1], v.shape()[0], heads.queries / keys);
    let dy = by_group::<B>(dy, heads);
    let pattern = B::float_reshape(pattern, Shape::new([keys, group * tokens, positions]));
    let dpattern = B::float_matmul(dy.clone(), B::float_swap_dims(by_head::<B>(v, keys), 1, 2));
    let dv = B::float_matmul(B::float_swap_dims(pattern, 1, 2), dy);
    [B::float_reshape(dpattern, shape), from_head::<B>(dv)]
}

/// `[tokens, queries · features]` as `[keys, queries / keys · tokens, features]`.
fn by_group<B: Backend>(x: FloatTensor<B>, heads: Heads) -> FloatTensor<B> {
    let Heads { queries, keys, features } = heads;
    let (tokens, group) = (x.shape()[0], queries / keys);
    let x = B::float_reshape(x, Shape::new([tokens, keys, group, features]));
    B::float_reshape(B::float_permute(x, &[1, 2, 0, 3]), Shape::new([keys, group * tokens, features]))
}

/// Back from [`by_group`].
fn from_group<B: Backend>(
    x: FloatTensor<B>,
    tokens: usize,
    queries: usize,
    features: usize,
) -> FloatTensor<B> {
    let x = B::float_reshape(x, Shape::new([queries, tokens, features]));
    B::float_reshape(B::float_permute(x, &[1, 0, 2]), Shape::new([tokens, queries * features]))
}

/// `[positions, keys · features]` as `[keys, positions, features]`.
fn by_head<B: Backend>(x: FloatTensor<B>, keys: usize) -> FloatTensor<B> {
    let (positions, features) = (x.shape()[0], x.shape()[1] / keys);
    B::float_permute(B::float_reshape(x, Shape::new([positions, keys, features])), &[1, 0, 2])
}

/// Back from [`by_head`].
fn from_head<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    B::float_reshape(B::float_permute(x, &[1, 0, 2]), Shape::new([shape[1], shape[0] * shape[2]]))
}
