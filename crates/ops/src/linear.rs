//! `y = x · Wᵀ` over dense and packed weights.
//!
//! A packed weight is frozen: gradients pass through it to `x` (`dx = dy · dequant(W)`). Training always
//! computes in f32; [`Activation::Int8`] applies to untracked CPU tensors only.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use kernels::linear::{Activation, PackedWeight, forward_many};

use crate::flex::{self, CpuTensor};
use crate::weight::{Storage, Weight};

type Pair<B> = (FloatTensor<B>, FloatTensor<B>);
type Triple<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

/// The operation for one, two and three weights, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Linear: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weights: [&PackedWeight; 1],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed::<Self>(x, weights[0])
    }

    fn linear_pair(
        x: FloatTensor<Self>,
        weights: [&PackedWeight; 2],
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _ = activation;
        (composed::<Self>(x.clone(), weights[0]), composed::<Self>(x, weights[1]))
    }

    fn linear_triple(
        x: FloatTensor<Self>,
        weights: [&PackedWeight; 3],
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (a, b) = Self::linear_pair(x.clone(), [weights[0], weights[1]], activation);
        (a, b, composed::<Self>(x, weights[2]))
    }
}

impl<B: Linear, C: CheckpointStrategy> Linear for Autodiff<B, C> {}

impl Linear for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weights: [&PackedWeight; 1],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let [y] = run(x, weights, activation);
        y
    }

    fn linear_pair(x: FloatTensor<Self>, weights: [&PackedWeight; 2], activation: Activation) -> Pair<Self> {
        run(x, weights, activation).into()
    }

    fn linear_triple(
        x: FloatTensor<Self>,
        weights: [&PackedWeight; 3],
        activation: Activation,
    ) -> Triple<Self> {
        run(x, weights, activation).into()
    }
}

fn run<const N: usize>(x: CpuTensor, weights: [&PackedWeight; N], activation: Activation) -> [CpuTensor; N] {
    let (tokens, outputs) = outputs(x, weights, activation);
    let mut rows = weights.into_iter().map(PackedWeight::rows);
    outputs.map(|output| flex::tensor(output, [tokens, rows.next().unwrap_or_default()]))
}

/// The number of tokens, and the outputs of each weight.
pub(crate) fn outputs<const N: usize>(
    x: CpuTensor,
    weights: [&PackedWeight; N],
    activation: Activation,
) -> (usize, [Vec<f32>; N]) {
    let x = flex::contiguous(x);
    let tokens = x.shape()[0];
    let mut outputs = weights.map(|weight| vec![0.0; tokens * weight.rows()]);
    let mut slices = outputs.each_mut().map(Vec::as_mut_slice);
    forward_many(&weights, flex::values(&x), tokens, &mut slices, activation);
    (tokens, outputs)
}

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>, weight: &PackedWeight) -> FloatTensor<B> {
    let dense = TensorData::new(weight.dequantize(), [weight.rows(), weight.columns()]);
    let dense = B::float_from_data(dense, &x.device());
    B::float_matmul(x, B::float_transpose(dense))
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
    let packed = weights.map(|weight| {
        assert_eq!(columns, weight.columns(), "linear: columns of the input and of the weight");
        match &weight.0 {
            Storage::Packed(packed) => Some(packed.as_ref()),
            Storage::Dense(_) => None,
        }
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
        _ => weights.map(|weight| match &weight.0 {
            Storage::Packed(packed) => {
                Tensor::from_dispatch(Dispatch::linear(x.clone().into_dispatch(), [packed], activation))
            }
            Storage::Dense(dense) => x.clone().matmul((**dense).clone().transpose()),
        }),
    }
}

/// As many tensors as the caller knows there are.
fn tensors<const M: usize, const N: usize>(outputs: [DispatchTensor; M]) -> [Tensor<2>; N] {
    let mut outputs = outputs.into_iter().map(Tensor::from_dispatch);
    std::array::from_fn(|_| outputs.next().expect("one output per weight"))
}
