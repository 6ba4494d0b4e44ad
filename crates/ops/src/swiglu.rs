//! The gate of the SwiGLU channel (Shazeer 2020, arXiv:2002.05202): `y = silu(gate) ⊙ up`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::flex;

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Swiglu: Backend {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
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
