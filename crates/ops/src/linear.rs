//! `y = x · Wᵀ` over dense and packed weights.
//!
//! A packed weight is frozen: gradients pass through it to `x` (`dx = dy · dequant(W)`). Training always
//! computes in f32; [`Activation::Int8`] applies to untracked CPU tensors only.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, TensorData};
use kernels::linear::{Activation, PackedWeight, forward_many};

use crate::flex;
use crate::weight::{Storage, Weight};

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Linear: Backend {
    /// The outputs of all weights, one after the other, in one flat tensor.
    fn linear(x: FloatTensor<Self>, weights: &[&PackedWeight], activation: Activation) -> FloatTensor<Self> {
        let _ = activation;
        composed::<Self>(x, weights)
    }
}

impl<B: Linear, C: CheckpointStrategy> Linear for Autodiff<B, C> {}

impl Linear for Flex {
    fn linear(x: FloatTensor<Self>, weights: &[&PackedWeight], activation: Activation) -> FloatTensor<Self> {
        let x = flex::contiguous(x);
        let tokens = x.shape()[0];
        let length = weights.iter().map(|weight| tokens * weight.rows()).sum::<usize>();
        let mut flat = vec![0.0; length];
        let mut rest = flat.as_mut_slice();
        let mut outputs = Vec::with_capacity(weights.len());
        for weight in weights {
            let (output, after) = rest.split_at_mut(tokens * weight.rows());
            outputs.push(output);
            rest = after;
        }
        forward_many(weights, flex::values(&x), tokens, &mut outputs, activation);
        flex::tensor(flat, [length])
    }
}

fn composed<B: Backend>(x: FloatTensor<B>, weights: &[&PackedWeight]) -> FloatTensor<B> {
    let (tokens, device) = (x.shape()[0], x.device());
    let outputs = weights.iter().map(|weight| {
        let dense = TensorData::new(weight.dequantize(), [weight.rows(), weight.columns()]);
        let transposed = B::float_transpose(B::float_from_data(dense, &device));
        let y = B::float_matmul(x.clone(), transposed);
        B::float_reshape(y, Shape::new([tokens * weight.rows()]))
    });
    B::float_cat(outputs.collect(), 0)
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
    let [tokens, columns] = x.dims();
    for weight in weights {
        assert_eq!(columns, weight.columns(), "linear: columns of the input and of the weight");
    }
    let packed = weights.map(|weight| match &weight.0 {
        Storage::Packed(packed) => Some(packed.as_ref()),
        Storage::Dense(_) => None,
    });
    if packed.iter().any(Option::is_none) {
        return weights.map(|weight| match &weight.0 {
            Storage::Dense(dense) => x.clone().matmul((**dense).clone().transpose()),
            Storage::Packed(packed) => one(x.clone(), packed, activation),
        });
    }
    let packed: Vec<&PackedWeight> = packed.into_iter().flatten().collect();
    if let [single] = packed[..] {
        return [(); N].map(|()| one(x.clone(), single, activation));
    }
    let flat = Tensor::<1>::from_dispatch(Dispatch::linear(x.into_dispatch(), &packed, activation));
    let mut start = 0;
    weights.map(|weight| {
        let end = start + tokens * weight.rows();
        let y = flat.clone().slice(start..end).reshape([tokens, weight.rows()]);
        start = end;
        y
    })
}

fn one(x: Tensor<2>, weight: &PackedWeight, activation: Activation) -> Tensor<2> {
    let tokens = x.dims()[0];
    let y = Tensor::<1>::from_dispatch(Dispatch::linear(x.into_dispatch(), &[weight], activation));
    y.reshape([tokens, weight.rows()])
}
