//! The squared rectifier (So et al. 2021, arXiv:2109.08668): `y = max(x, 0)²`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::flex;

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Relu2: Backend {
    fn relu2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::<Self>(x)
    }
}

impl<B: Relu2, C: CheckpointStrategy> Relu2 for Autodiff<B, C> {}

impl Relu2 for Flex {
    fn relu2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = x.shape();
        let mut y = flex::into_values(x);
        y.iter_mut().for_each(|y| *y = y.max(0.0) * y.max(0.0));
        flex::tensor(y, shape)
    }
}

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let positive = B::relu(x);
    B::float_mul(positive.clone(), positive)
}

/// `max(x, 0)²`, element by element; `[tokens, features]`.
pub fn relu2(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::relu2(x.into_dispatch()))
}
