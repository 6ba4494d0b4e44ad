//! The squared rectifier (So et al. 2021, arXiv:2109.08668): `y = max(x, 0)²`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use kernels::memory::unwritten;

use crate::flex;
use crate::node::node;
use crate::timing;

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait Relu2: Backend {
    fn relu2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::<Self>(x)
    }
}

/// Its gradient, per back end.
pub(crate) trait Relu2Gradient: Relu2 {
    fn relu2_gradient(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_gradient::<Self>(x, dy)
    }
}

impl<B: Relu2Gradient, C: CheckpointStrategy> Relu2 for Autodiff<B, C> {
    fn relu2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let y = B::relu2(x.clone());
        node::<B, C, _, 1>([x_node], x, y, |x, dy, _| [Some(B::relu2_gradient(x, dy))])
    }
}

impl Relu2 for Flex {
    fn relu2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let _timer = timing::of("relu2");
        if flex::composed() {
            return composed::<Self>(x);
        }
        let x = flex::contiguous(x);
        let mut y = unwritten(flex::values(&x).len());
        kernels::activation::relu2(flex::values(&x), &mut y);
        flex::tensor(y, x.shape())
    }
}

impl Relu2Gradient for Flex {
    fn relu2_gradient(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        let _timer = timing::of("relu2 backward");
        if flex::composed() {
            return composed_gradient::<Self>(x, dy);
        }
        let (x, dy) = (flex::contiguous(x), flex::contiguous(dy));
        let mut dx = unwritten(flex::values(&x).len());
        kernels::activation::relu2_backward(flex::values(&x), flex::values(&dy), &mut dx);
        flex::tensor(dx, x.shape())
    }
}

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let positive = B::relu(x);
    B::float_mul(positive.clone(), positive)
}

/// `dx = 2 max(x, 0) dy`.
fn composed_gradient<B: Backend>(x: FloatTensor<B>, dy: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(B::float_mul_scalar(B::relu(x), 2f32.into()), dy)
}

/// `max(x, 0)²`, element by element; `[tokens, features]`.
pub fn relu2(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::relu2(x.into_dispatch()))
}
