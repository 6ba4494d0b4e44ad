//! Causal softmax attention with grouped keys and values (Ainslie et al. 2023, arXiv:2305.13245).
//!
//! A token sees the tokens of its own document up to and including itself. Query head `h` reads key and value head
//! `h / (queries / keys)`; scores are scaled by `1 / sqrt(features)`. [`attention`] is the fused operation;
//! [`attention_pattern`] and [`attention_mix`] are its two parts. A document in a packed run has the bits it has alone.

pub(crate) mod composed;

use std::ops::Range;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use kernels::attention as kernel;
use kernels::linear::Activation;
use kernels::memory::unwritten;

use crate::Documents;
use crate::attention::composed::{composed, composed_gradient, composed_mix, composed_pattern};
use crate::attention::composed::{mix_gradient, pattern_gradient};
use crate::flex::{self, CpuTensor};
use crate::key_values::write;
use crate::linear::precision;
use crate::node::node;
use crate::timing;

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

impl Heads {
    /// The elements of query rows `range`.
    fn rows(&self, range: &Range<usize>) -> Range<usize> {
        let width = self.queries * self.features;
        range.start * width..range.end * width
    }
}

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait Attention: Backend {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed::<Self>(q, k, v, heads, documents)
    }

    fn attention_pattern(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        composed_pattern::<Self>(q, k, heads, documents)
    }

    fn attention_mix(pattern: FloatTensor<Self>, v: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        composed_mix::<Self>(pattern, v, heads)
    }
}

/// Gradients, per back end. The two parts serve instruments; only the fused form has kernels.
pub(crate) trait AttentionGradient: Attention {
    /// The output, and what the gradient needs besides the inputs: the output again and two numbers of each softmax, or
    /// nothing where it computes the pattern again.
    fn attention_kept(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
        activation: Activation,
    ) -> (FloatTensor<Self>, Option<[FloatTensor<Self>; 2]>) {
        (<Self as Attention>::attention(q, k, v, heads, documents, activation), None)
    }

    /// Of queries, keys and values, given what was kept and the output's gradient.
    fn attention_gradient(
        [q, k, v]: [FloatTensor<Self>; 3],
        kept: Option<[FloatTensor<Self>; 2]>,
        dy: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
        activation: Activation,
    ) -> [FloatTensor<Self>; 3] {
        let _ = (kept, activation);
        composed_gradient::<Self>(q, k, v, dy, heads, documents)
    }
}

impl<B: AttentionGradient, C: CheckpointStrategy> Attention for Autodiff<B, C> {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let ((q, q_node), (k, k_node), (v, v_node)) = (q.into_parts(), k.into_parts(), v.into_parts());
        let (y, kept) = B::attention_kept(q.clone(), k.clone(), v.clone(), heads, documents, activation);
        let state = ([q, k, v], kept, heads, documents.clone(), activation);
        let parents = [q_node, k_node, v_node];
        node::<B, C, _, 3>(parents, state, y, |(inputs, kept, heads, documents, activation), dy, _| {
            B::attention_gradient(inputs, kept, dy, heads, &documents, activation).map(Some)
        })
    }

    fn attention_pattern(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        let ((q, q_node), (k, k_node)) = (q.into_parts(), k.into_parts());
        let y = B::attention_pattern(q.clone(), k.clone(), heads, documents);
        let state = (q, k, y.clone(), heads);
        node::<B, C, _, 2>([q_node, k_node], state, y, |(q, k, pattern, heads), dy, _| {
            pattern_gradient::<B>(q, k, pattern, dy, heads).map(Some)
        })
    }

    fn attention_mix(pattern: FloatTensor<Self>, v: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        let ((pattern, pattern_node), (v, v_node)) = (pattern.into_parts(), v.into_parts());
        let y = B::attention_mix(pattern.clone(), v.clone(), heads);
        node::<B, C, _, 2>([pattern_node, v_node], (pattern, v, heads), y, |(pattern, v, heads), dy, _| {
            mix_gradient::<B>(pattern, v, dy, heads).map(Some)
        })
    }
}

impl Attention for Flex {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("attention");
        if flex::composed() {
            return composed::<Self>(q, k, v, heads, documents);
        }
        let [q, k, v] = [q, k, v].map(flex::contiguous);
        // In bf16, as it is trained; in f32, bit for bit as from a cache.
        if activation == Activation::Bf16 {
            let [y, _] = tiled([&q, &k, &v], heads, documents, activation);
            return y;
        }
        let mut y = unwritten(flex::values(&q).len());
        for range in documents.ranges() {
            let (shape, rows) = (causal(range.len(), heads), heads.rows(&range));
            let (keys, values) = (memory(&k, &range, heads), memory(&v, &range, heads));
            kernel::attention(&shape, &flex::values(&q)[rows.clone()], &keys, &values, &mut y[rows]);
        }
        flex::tensor(y, q.shape())
    }

    fn attention_pattern(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        if flex::composed() {
            return composed_pattern::<Self>(q, k, heads, documents);
        }
        let (q, k) = (flex::contiguous(q), flex::contiguous(k));
        let tokens = documents.tokens();
        let mut rows = vec![0.0; heads.queries * tokens * tokens];
        for range in documents.ranges() {
            let (shape, n) = (causal(range.len(), heads), range.len());
            let mut own = vec![0.0; shape.pattern_len()];
            kernel::scores(
                &shape,
                &flex::values(&q)[heads.rows(&range)],
                &memory(&k, &range, heads),
                &mut own,
            );
            kernel::pattern(&shape, &mut own);
            for (i, row) in own.chunks_exact(n).enumerate() {
                let at = (i / n * tokens + range.start + i % n) * tokens + range.start;
                rows[at..at + n].copy_from_slice(row);
            }
        }
        flex::tensor(rows, [heads.queries, tokens, tokens])
    }

    fn attention_mix(pattern: FloatTensor<Self>, v: FloatTensor<Self>, heads: Heads) -> FloatTensor<Self> {
        if flex::composed() {
            return composed_mix::<Self>(pattern, v, heads);
        }
        let v = flex::contiguous(v);
        let tokens = v.shape()[0];
        flex::mix(&causal(tokens, heads), pattern, &memory(&v, &(0..tokens), heads))
    }
}

impl AttentionGradient for Flex {
    fn attention_kept(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
        activation: Activation,
    ) -> (FloatTensor<Self>, Option<[FloatTensor<Self>; 2]>) {
        if flex::composed() || activation != Activation::Bf16 {
            return (<Self as Attention>::attention(q, k, v, heads, documents, activation), None);
        }
        let _timer = timing::of("attention");
        let [q, k, v] = [q, k, v].map(flex::contiguous);
        let kept = tiled([&q, &k, &v], heads, documents, activation);
        (kept[0].clone(), Some(kept))
    }

    fn attention_gradient(
        [q, k, v]: [FloatTensor<Self>; 3],
        kept: Option<[FloatTensor<Self>; 2]>,
        dy: FloatTensor<Self>,
        heads: Heads,
        documents: &Documents,
        activation: Activation,
    ) -> [FloatTensor<Self>; 3] {
        let _timer = timing::of("attention backward");
        if flex::composed() {
            return composed_gradient::<Self>(q, k, v, dy, heads, documents);
        }
        let [q, k, v, dy] = [q, k, v, dy].map(flex::contiguous);
        // The kernel for a cache keeps nothing, and its output may differ in the last bits.
        let [y, kept] = kept.unwrap_or_else(|| tiled([&q, &k, &v], heads, documents, activation));
        let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(|x| unwritten(flex::values(x).len()));
        let shape = packed(documents, heads, activation);
        let [queries, keys, values, out, kept, dy] = [&q, &k, &v, &y, &kept, &dy].map(flex::values);
        let gradients = [&mut dq, &mut dk, &mut dv];
        let [dqueries, dkeys, dvalues] = gradients.map(Vec::as_mut_slice);
        kernel::documents::backward(&shape, queries, keys, values, out, kept, dy, dqueries, dkeys, dvalues);
        [flex::tensor(dq, q.shape()), flex::tensor(dk, k.shape()), flex::tensor(dv, v.shape())]
    }
}

/// The output, and what its gradient needs of the softmax, of contiguous queries, keys and values.
fn tiled(
    [q, k, v]: [&CpuTensor; 3],
    heads: Heads,
    documents: &Documents,
    activation: Activation,
) -> [CpuTensor; 2] {
    let shape = packed(documents, heads, activation);
    let len = kernel::documents::rescaling_len(&shape);
    let (mut y, mut kept) = (unwritten(flex::values(q).len()), unwritten(len));
    let [queries, keys, values] = [q, k, v].map(flex::values);
    kernel::documents::forward(&shape, queries, keys, values, &mut y, &mut kept);
    [flex::tensor(y, q.shape()), flex::tensor(kept, [len])]
}

fn packed(documents: &Documents, heads: Heads, activation: Activation) -> kernel::documents::Documents<'_> {
    let Heads { queries, keys, features } = heads;
    let (tokens, starts) = (documents.tokens(), documents.starts());
    let causal = kernel::documents::Documents::causal(tokens, starts, queries, keys, features);
    kernel::documents::Documents { precision: precision(activation), ..causal }
}

fn causal(tokens: usize, heads: Heads) -> kernel::Shape<'static> {
    kernel::Shape::causal(tokens, 0, heads.queries, heads.keys, heads.features, tokens)
}

/// Rows `range` of `[tokens, keys · features]` in the order the kernel reads, `[keys, positions, features]`.
fn memory(rows: &CpuTensor, range: &Range<usize>, heads: Heads) -> Vec<f32> {
    let width = heads.keys * heads.features;
    let rows = &flex::values(rows)[range.start * width..range.end * width];
    let mut memory = unwritten(rows.len());
    write(&mut memory, rows, heads, 0, range.len());
    memory
}

/// Attention of `q` `[T, queries · features]` over `k` and `v` `[T, keys · features]`; `[T, queries · features]`.
/// Its products are taken in f32, or in bf16 if that is the activation.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    heads: Heads,
    documents: &Documents,
    activation: Activation,
) -> Tensor<2> {
    check(q.dims(), k.dims(), heads, documents);
    assert_eq!(k.dims(), v.dims(), "attention: keys and values differ in shape");
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(Dispatch::attention(q, k, v, heads, documents, activation))
}

/// The weights of every query over the tokens, `[queries, T, T]`: each row sums to 1; the future and other
/// documents are 0.
///
/// # Panics
/// As [`attention`].
pub fn attention_pattern(q: Tensor<2>, k: Tensor<2>, heads: Heads, documents: &Documents) -> Tensor<3> {
    check(q.dims(), k.dims(), heads, documents);
    Tensor::from_dispatch(Dispatch::attention_pattern(q.into_dispatch(), k.into_dispatch(), heads, documents))
}

/// The sum of the values `v` `[T, keys · features]`, weighted by any `pattern` `[queries, T, T]`.
///
/// # Panics
/// As [`attention`].
pub fn attention_mix(pattern: Tensor<3>, v: Tensor<2>, heads: Heads) -> Tensor<2> {
    let [tokens, features] = v.dims();
    assert!(
        pattern.dims() == [heads.queries, tokens, tokens] && features == heads.keys * heads.features,
        "attention: pattern {:?} and values {:?} do not fit {heads:?}",
        pattern.dims(),
        v.dims()
    );
    Tensor::from_dispatch(Dispatch::attention_mix(pattern.into_dispatch(), v.into_dispatch(), heads))
}

fn check(q: [usize; 2], k: [usize; 2], heads: Heads, documents: &Documents) {
    let tokens = documents.tokens();
    assert!(
        heads.queries.is_multiple_of(heads.keys)
            && q == [tokens, heads.queries * heads.features]
            && k == [tokens, heads.keys * heads.features],
        "attention: queries {q:?} and keys {k:?} do not fit {heads:?} over {tokens} tokens"
    );
}
