//! `y = x · Wᵀ` over packed, dense and low-rank weights.
//!
//! A packed weight is frozen: gradients pass through it to `x` (`dx = dy · dequant(W)`). A low-rank weight
//! (Hu et al. 2021, arXiv:2106.09685) adds `scale · (x · aᵀ) · bᵀ` to its base.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use kernels::linear::{PackedWeight, forward_many};

use crate::Activation;
use crate::flex::{self, CpuTensor};
use crate::weight::{Storage, Weight};

type Pair<B> = (FloatTensor<B>, FloatTensor<B>);
type Triple<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

/// The operation for one, two and three packed weights, a dense one, and the low-rank addition, per back end; the
/// bodies here are its composed twin.
#[backend_extension(Flex, Autodiff)]
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

    fn linear_dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed_dense::<Self>(x, weight)
    }

    fn add_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed_low_rank::<Self>(y, x, a, b, scale)
    }
}

impl<B: Linear, C: CheckpointStrategy> Linear for Autodiff<B, C> {}

impl Linear for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 1],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let [y] = run(x, weights, activation);
        y
    }

    fn linear_pair(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> Pair<Self> {
        run(x, weights, activation).into()
    }

    fn linear_triple(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 3],
        activation: Activation,
    ) -> Triple<Self> {
        run(x, weights, activation).into()
    }
}

fn run<const N: usize>(
    x: CpuTensor,
    weights: [&Arc<PackedWeight>; N],
    activation: Activation,
) -> [CpuTensor; N] {
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
    let mut outputs = weights.map(|weight| vec![0.0; tokens * weight.rows()]);
    let mut slices = outputs.each_mut().map(Vec::as_mut_slice);
    let weights = weights.map(|weight| &**weight);
    forward_many(&weights, flex::values(&x), tokens, &mut slices, activation.kernel());
    (tokens, outputs)
}

/// The weights of `packed` as a tensor.
pub(crate) fn dense<B: Backend>(packed: &PackedWeight, device: &B::Device) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(packed.dequantize(), [packed.rows(), packed.columns()]), device)
}

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>, weight: &PackedWeight) -> FloatTensor<B> {
    let dense = dense::<B>(weight, &x.device());
    composed_dense::<B>(x, dense)
}

pub(crate) fn composed_dense<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(x, B::float_transpose(weight))
}

pub(crate) fn composed_low_rank<B: Backend>(
    y: FloatTensor<B>,
    x: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
) -> FloatTensor<B> {
    let added = composed_dense::<B>(composed_dense::<B>(x, a), b);
    B::float_add(y, B::float_mul_scalar(added, scale.into()))
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
    let activation = if tracked { activation.tracked() } else { activation };
    let mut ys = bases(x.clone(), weights.map(Weight::base), activation).into_iter();
    weights.map(|weight| {
        let y = ys.next().expect("one output per weight");
        weight.additions().fold(y, |y, added| {
            let [y, x, a, b] = [y, x.clone(), added.a.clone(), added.b.clone()].map(Tensor::into_dispatch);
            Tensor::from_dispatch(Dispatch::add_low_rank(y, x, a, b, added.scale, activation))
        })
    })
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
