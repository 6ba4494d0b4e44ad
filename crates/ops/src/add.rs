//! The residual sum `y = a + b`.

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
pub(crate) trait Add: Backend {
    fn add(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::<Self>(a, b)
    }
}

impl<B: Add, C: CheckpointStrategy> Add for Autodiff<B, C> {
    fn add(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        node::<B, C, _, 2>([a_node, b_node], (), B::add(a, b), both::<B>)
    }
}

/// The gradient of a sum is that of both summands.
pub(crate) fn both<B: Backend>(
    _state: (),
    dy: FloatTensor<B>,
    _wanted: [bool; 2],
) -> [Option<FloatTensor<B>>; 2] {
    [Some(dy.clone()), Some(dy)]
}

impl Add for Flex {
    fn add(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let _timer = timing::of("add");
        if flex::composed() {
            return composed::<Self>(a, b);
        }
        let (a, b) = (flex::contiguous(a), flex::contiguous(b));
        let mut y = unwritten(flex::values(&a).len());
        kernels::activation::add(flex::values(&a), flex::values(&b), &mut y);
        flex::tensor(y, a.shape())
    }
}

fn composed<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add(a, b)
}

/// `a + b`, element by element; both `[tokens, features]`.
///
/// # Panics
/// If the shapes differ: a fault of the caller, not of user input.
pub fn add(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    assert_eq!(a.dims(), b.dims(), "add: shapes of the two summands");
    Tensor::from_dispatch(Dispatch::add(a.into_dispatch(), b.into_dispatch()))
}
