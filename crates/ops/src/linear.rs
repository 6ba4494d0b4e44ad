//! `y = x · Wᵀ` over packed, dense and low-rank weights.
//!
//! A packed weight is frozen: gradients pass through it to `x`, `dx = dy · dequant(W)`.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use kernels::gemm::Precision;
use kernels::linear::{Activation, PackedWeight, forward_many};
use kernels::memory::unwritten;

use crate::dense::{self, Dense};
use crate::flex::{self, CpuTensor};
use crate::low_rank::AddLowRank;
use crate::node::node;
use crate::timing;
use crate::weight::{LowRank, Storage, Weight};

type Pair<B> = (FloatTensor<B>, FloatTensor<B>);
type Triple<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

/// The operation for one, two and three packed weights, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait Linear: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 1],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed::<Self>(x, weights[0])
    }

    fn linear_pair(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _ = activation;
        (composed::<Self>(x.clone(), weights[0]), composed::<Self>(x, weights[1]))
    }

    fn linear_triple(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 3],
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (a, b) = Self::linear_pair(x.clone(), [weights[0], weights[1]], activation);
        (a, b, composed::<Self>(x, weights[2]))
    }
}

/// The gradient of the input, per back end.
pub(crate) trait LinearGradient: Linear {
    fn linear_gradient(
        dy: FloatTensor<Self>,
        weight: &Arc<PackedWeight>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed_gradient::<Self>(dy, weight)
    }
}

impl<B: LinearGradient, C: CheckpointStrategy> Linear for Autodiff<B, C> {
    fn linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 1],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let y = <B as Linear>::linear(x.primitive().clone(), weights, activation);
        output::<B, C>(&x, weights[0], activation, y)
    }

    fn linear_pair(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> Pair<Self> {
        let (a, b) = B::linear_pair(x.primitive().clone(), weights, activation);
        let output = |i: usize, y| output::<B, C>(&x, weights[i], activation, y);
        (output(0, a), output(1, b))
    }

    fn linear_triple(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 3],
        activation: Activation,
    ) -> Triple<Self> {
        let (a, b, c) = B::linear_triple(x.primitive().clone(), weights, activation);
        let output = |i: usize, y| output::<B, C>(&x, weights[i], activation, y);
        (output(0, a), output(1, b), output(2, c))
    }
}

/// `y` as the product of `x` and `weight`.
fn output<B: LinearGradient, C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<B, C>>,
    weight: &Arc<PackedWeight>,
    activation: Activation,
    y: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    node::<B, C, _, 1>([x.node()], (Arc::clone(weight), activation), y, |(weight, activation), dy, _| {
        [Some(B::linear_gradient(dy, &weight, activation))]
    })
}

impl Linear for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 1],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("linear");
        let [y] = run(x, weights, activation);
        y
    }

    fn linear_pair(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> Pair<Self> {
        let _timer = timing::of("linear");
        run(x, weights, activation).into()
    }

    fn linear_triple(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 3],
        activation: Activation,
    ) -> Triple<Self> {
        let _timer = timing::of("linear");
        run(x, weights, activation).into()
    }
}

impl LinearGradient for Flex {
    fn linear_gradient(
        dy: FloatTensor<Self>,
        weight: &Arc<PackedWeight>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("linear backward, input");
        if flex::composed() {
            return composed_gradient::<Self>(dy, weight);
        }
        let dy = flex::contiguous(dy);
        let tokens = dy.shape()[0];
        let mut dx = unwritten(tokens * weight.columns());
        weight.input_gradient(flex::values(&dy), tokens, precision(activation), &mut dx);
        flex::tensor(dx, [tokens, weight.columns()])
    }
}

/// How matrix products are taken.
pub(crate) fn precision(activation: Activation) -> Precision {
    match activation {
        Activation::Bf16 => Precision::BF16,
        Activation::F32 | Activation::Int8 => Precision::F32,
    }
}

fn run<const N: usize>(
    x: CpuTensor,
    weights: [&Arc<PackedWeight>; N],
    activation: Activation,
) -> [CpuTensor; N] {
    if flex::composed() {
        return weights.map(|weight| composed::<Flex>(x.clone(), weight));
    }
    let (tokens, outputs) = outputs(x, weights, activation);
    let mut rows = weights.into_iter().map(|weight| weight.rows());
    outputs.map(|output| flex::tensor(output, [tokens, rows.next().unwrap_or_default()]))
}

/// The number of tokens, and the outputs of each weight.
pub(crate) fn outputs<const N: usize>(
    x: CpuTensor,
    weights: [&Arc<PackedWeight>; N],
    activation: Activation,
) -> (usize, [Vec<f32>; N]) {
    let x = flex::contiguous(x);
    let tokens = x.shape()[0];
    let mut outputs = weights.map(|weight| unwritten(tokens * weight.rows()));
    let mut slices = outputs.each_mut().map(Vec::as_mut_slice);
    let weights = weights.map(|weight| &**weight);
    forward_many(&weights, flex::values(&x), tokens, &mut slices, activation);
    (tokens, outputs)
}

/// The weights of `packed` as a tensor.
pub(crate) fn unpacked<B: Backend>(packed: &PackedWeight, device: &B::Device) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(packed.dequantize(), [packed.rows(), packed.columns()]), device)
}

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>, weight: &PackedWeight) -> FloatTensor<B> {
    let weight = unpacked::<B>(weight, &x.device());
    dense::composed::<B>(x, weight)
}

fn composed_gradient<B: Backend>(dy: FloatTensor<B>, weight: &PackedWeight) -> FloatTensor<B> {
    let weight = unpacked::<B>(weight, &dy.device());
    B::float_matmul(dy, weight)
}

/// `x · weightᵀ`: `x` is `[tokens, columns]`, the result `[tokens, rows]`.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn linear(x: Tensor<2>, weight: &Weight, activation: Activation) -> Tensor<2> {
    let [y] = linear_many(x, [weight], activation);
    y
}

/// Several weights over the same input (query, key and value; gate and up), each bit for bit as
/// [`linear`] alone, in one pass over `x` if all are packed.
///
/// # Panics
/// As [`linear`].
pub fn linear_many<const N: usize>(
    x: Tensor<2>,
    weights: [&Weight; N],
    activation: Activation,
) -> [Tensor<2>; N] {
    let columns = x.dims()[1];
    for weight in weights {
        assert_eq!(columns, weight.columns(), "linear: columns of the input and of the weight");
    }
    let tracked = x.is_tracked() || weights.iter().any(|weight| weight.is_tracked());
    let activation = if tracked { in_training(activation) } else { activation };
    let ys = bases(x.clone(), weights.map(Weight::base), activation);
    let additions: Vec<(usize, &LowRank)> = weights
        .iter()
        .enumerate()
        .flat_map(|(index, weight)| weight.additions().map(move |added| (index, added)))
        .collect();
    if additions.is_empty() {
        return ys;
    }
    // One pass over `x` for all of them.
    let inner = additions.iter().map(|(_, added)| added.a.clone()).collect::<Vec<_>>();
    let ranks: Vec<usize> = inner.iter().map(|a| a.dims()[0]).collect();
    let inner = if inner.len() == 1 { additions[0].1.a.clone() } else { Tensor::cat(inner, 0) };
    let (x, inner) = (x.into_dispatch(), inner.into_dispatch());
    let all: Tensor<2> = Tensor::from_dispatch(Dispatch::linear_dense(x, inner, activation));
    // Taken out while it grows: a second owner would make it a copy.
    let (mut ys, mut from) = (ys.map(Some), 0);
    for ((index, added), rank) in additions.into_iter().zip(ranks) {
        let u = if rank == all.dims()[1] { all.clone() } else { all.clone().narrow(1, from, rank) };
        from += rank;
        ys[index] = ys[index].take().map(|y| {
            let [y, u, b] = [y, u, added.b.clone()].map(Tensor::into_dispatch);
            Tensor::from_dispatch(Dispatch::add_low_rank(y, u, b, added.scale, activation))
        });
    }
    ys.map(|y| y.expect("put back after every addition"))
}

/// What a tracked operation computes in: never 8-bit integers.
pub(crate) fn in_training(activation: Activation) -> Activation {
    match activation {
        Activation::Int8 => Activation::F32,
        other => other,
    }
}

/// [`linear_many`] over packed and dense weights.
fn bases<const N: usize>(x: Tensor<2>, weights: [&Storage; N], activation: Activation) -> [Tensor<2>; N] {
    let packed = weights.map(|weight| match weight {
        Storage::Packed(packed) => Some(packed),
        _ => None,
    });
    match packed[..] {
        [Some(a), Some(b)] => {
            let (a, b) = Dispatch::linear_pair(x.into_dispatch(), [a, b], activation);
            tensors([a, b])
        }
        [Some(a), Some(b), Some(c)] => {
            let (a, b, c) = Dispatch::linear_triple(x.into_dispatch(), [a, b, c], activation);
            tensors([a, b, c])
        }
        _ => weights.map(|weight| {
            let x = x.clone().into_dispatch();
            Tensor::from_dispatch(match weight {
                Storage::Packed(packed) => Dispatch::linear(x, [packed], activation),
                Storage::Dense(dense) => {
                    Dispatch::linear_dense(x, (**dense).clone().into_dispatch(), activation)
                }
                Storage::LowRank(_) => unreachable!("a base is not low-rank"),
            })
        }),
    }
}

/// As many tensors as the caller knows there are.
fn tensors<const M: usize, const N: usize>(outputs: [DispatchTensor; M]) -> [Tensor<2>; N] {
    let mut outputs = outputs.into_iter().map(Tensor::from_dispatch);
    std::array::from_fn(|_| outputs.next().expect("one output per weight"))
}
