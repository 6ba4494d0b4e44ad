//! The gate of the SwiGLU channel (Shazeer 2020, arXiv:2002.05202): `y = silu(gate) ⊙ up`; alone, or fused with
//! the two projections that feed it.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use kernels::linear::PackedWeight;

use crate::weight::{Storage, Weight};
use crate::{Activation, flex, linear};

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Swiglu: Backend {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::<Self>(gate, up)
    }

    fn swiglu_linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        let [gate, up] = weights.map(|weight| linear::composed::<Self>(x.clone(), weight));
        composed::<Self>(gate, up)
    }
}

impl<B: Swiglu, C: CheckpointStrategy> Swiglu for Autodiff<B, C> {}

impl Swiglu for Flex {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let (gate, up) = (flex::contiguous(gate), flex::contiguous(up));
        let mut y = vec![0.0; flex::values(&gate).len()];
        kernels::activation::swiglu(flex::values(&gate), flex::values(&up), &mut y);
        flex::tensor(y, gate.shape())
    }

    fn swiglu_linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let (tokens, [gate, up]) = linear::outputs(x, weights, activation);
        let mut y = vec![0.0; gate.len()];
        kernels::activation::swiglu(&gate, &up, &mut y);
        flex::tensor(y, [tokens, weights[0].rows()])
    }
}

fn composed<B: Backend>(gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    let sigmoid = B::sigmoid(gate.clone());
    B::float_mul(B::float_mul(gate, sigmoid), up)
}

/// `silu(gate) ⊙ up`, element by element; both `[tokens, features]`.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    assert_eq!(gate.dims(), up.dims(), "swiglu: gate and up differ in shape");
    Tensor::from_dispatch(Dispatch::swiglu(gate.into_dispatch(), up.into_dispatch()))
}

/// `silu(x · gateᵀ) ⊙ (x · upᵀ)`: bit for bit [`crate::linear_many`] and [`swiglu`], without the tensors between.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn swiglu_linear(x: Tensor<2>, gate: &Weight, up: &Weight, activation: Activation) -> Tensor<2> {
    if let (Storage::Packed(gate), Storage::Packed(up)) = (&gate.0, &up.0) {
        assert_eq!(x.dims()[1], gate.columns(), "swiglu_linear: columns of the input and of the weight");
        assert_eq!((gate.rows(), gate.columns()), (up.rows(), up.columns()), "swiglu_linear: gate and up");
        return Tensor::from_dispatch(Dispatch::swiglu_linear(x.into_dispatch(), [gate, up], activation));
    }
    let [gate, up] = linear::linear_many(x, [gate, up], activation);
    swiglu(gate, up)
}
