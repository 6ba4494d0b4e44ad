//! Causal softmax attention with grouped keys and values (Ainslie et al. 2023, arXiv:2305.13245).
//!
//! `T` tokens are the last of `S` positions: token `t` sees positions `0 ..= S - T + t`. Query head `h` reads
//! key and value head `h / (heads / kv_heads)`; scores are scaled by `1 / sqrt(head_dim)`.
//! [`attention`] is the fused operation; [`attention_pattern`] and [`attention_mix`] are its two parts.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, TensorData};
use kernels::attention as kernel;

use crate::flex::{self, CpuTensor};
use crate::key_values::write;

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub queries: usize,
    /// Key and value heads; divides `queries`.
    pub keys: usize,
    /// Features of one head.
    pub features: usize,
}

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Attention: Backend {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        composed_mix::<Self>(composed_pattern::<Self>(q, k, heads), v, heads)
    }

    fn attention_pattern(q: FloatTensor<Self>, k: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        composed_pattern::<Self>(q, k, heads)
    }

    fn attention_mix(pattern: FloatTensor<Self>, v: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        composed_mix::<Self>(pattern, v, heads)
    }
}

impl<B: Attention, C: CheckpointStrategy> Attention for Autodiff<B, C> {}

impl Attention for Flex {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self> {
        let q = flex::contiguous(q);
        let (shape, keys) = memory(q.shape()[0], k, heads);
        let (_, values) = memory(q.shape()[0], v, heads);
        let mut y = vec![0.0; shape.query_len()];
        kernel::attention(&shape, flex::values(&q), &keys, &values, &mut y);
        flex::tensor(y, q.shape())
    }

    fn attention_pattern(q: FloatTensor<Self>, k: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        let q = flex::contiguous(q);
        let (shape, keys) = memory(q.shape()[0], k, heads);
        flex::pattern(&shape, &q, &keys)
    }

    fn attention_mix(pattern: FloatTensor<Self>, v: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        let (shape, values) = memory(pattern.shape()[1], v, heads);
        flex::mix(&shape, pattern, &values)
    }
}

/// `[positions, keys · features]` in the order the kernel reads, `[keys, positions, features]`.
fn memory(tokens: usize, rows: CpuTensor, heads: Heads) -> (kernel::Shape<'static>, Vec<f32>) {
    let rows = flex::contiguous(rows);
    let (positions, rows) = (rows.shape()[0], flex::values(&rows));
    let mut memory = vec![0.0; rows.len()];
    write(&mut memory, rows, heads, 0, positions);
    let Heads { queries, keys, features } = heads;
    (kernel::Shape::causal(tokens, positions - tokens, queries, keys, features, positions), memory)
}

pub(crate) fn composed_pattern<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    heads: Heads,
) -> FloatTensor<B> {
    let Heads { queries, keys, features } = heads;
    let (tokens, positions, group) = (q.shape()[0], k.shape()[0], queries / keys);
    let device = q.device();
    let q = B::float_reshape(q, Shape::new([tokens, keys, group, features]));
    let q =
        B::float_reshape(B::float_permute(q, &[1, 2, 0, 3]), Shape::new([keys, group * tokens, features]));
    let k = B::float_reshape(k, Shape::new([positions, keys, features]));
    let scores = B::float_matmul(q, B::float_permute(k, &[1, 2, 0]));
    let scores = B::float_mul_scalar(scores, (1.0 / (features as f32).sqrt()).into());
    let mask = (0..tokens).flat_map(|t| {
        (0..positions).map(move |s| if s + tokens <= positions + t { 0.0 } else { f32::NEG_INFINITY })
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
    let v = B::float_permute(B::float_reshape(v, Shape::new([positions, keys, features])), &[1, 0, 2]);
    let y = B::float_reshape(B::float_matmul(pattern, v), Shape::new([queries, tokens, features]));
    B::float_reshape(B::float_permute(y, &[1, 0, 2]), Shape::new([tokens, queries * features]))
}

/// Attention of `q` `[T, queries · features]` over `k` and `v` `[S, keys · features]`; `[T, queries · features]`.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, heads: Heads) -> Tensor<2> {
    check(q.dims(), k.dims(), heads);
    assert_eq!(k.dims(), v.dims(), "attention: keys and values differ in shape");
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(Dispatch::attention(q, k, v, heads))
}

/// The weights of every query over the positions, `[queries, T, S]`: each row sums to 1, the future is 0.
///
/// # Panics
/// As [`attention`].
pub fn attention_pattern(q: Tensor<2>, k: Tensor<2>, heads: Heads) -> Tensor<3> {
    check(q.dims(), k.dims(), heads);
    Tensor::from_dispatch(Dispatch::attention_pattern(q.into_dispatch(), k.into_dispatch(), heads))
}

/// The sum of the values `v` `[S, keys · features]`, weighted by `pattern` `[queries, T, S]`.
///
/// # Panics
/// As [`attention`].
pub fn attention_mix(pattern: Tensor<3>, v: Tensor<2>, heads: Heads) -> Tensor<2> {
    let [queries, _, positions] = pattern.dims();
    assert!(
        queries == heads.queries && v.dims() == [positions, heads.keys * heads.features],
        "attention: pattern {:?} and values {:?} do not fit {heads:?}",
        pattern.dims(),
        v.dims()
    );
    Tensor::from_dispatch(Dispatch::attention_mix(pattern.into_dispatch(), v.into_dispatch(), heads))
}

fn check(q: [usize; 2], k: [usize; 2], heads: Heads) {
    assert!(
        heads.queries.is_multiple_of(heads.keys)
            && q[1] == heads.queries * heads.features
            && k[1] == heads.keys * heads.features
            && q[0] <= k[0],
        "attention: queries {q:?} and keys {k:?} do not fit {heads:?}"
    );
}
