//! `y = x · Wᵀ` over a dense weight, which may be trained: `dx = dy · W`, `dW = dyᵀ · x`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use kernels::gemm::{Operand, gemm};
use kernels::linear::Activation;
use kernels::memory::unwritten;

use crate::flex::{self, CpuTensor};
use crate::linear::precision;
use crate::node::node;
use crate::timing;

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait Dense: Backend {
    fn linear_dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed::<Self>(x, weight)
    }
}

/// Gradients of the input and of the weight, per back end.
pub(crate) trait DenseGradient: Dense {
    fn dense_input_gradient(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed_input::<Self>(dy, weight)
    }

    fn dense_weight_gradient(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed_weight::<Self>(dy, x)
    }
}

impl<B: DenseGradient, C: CheckpointStrategy> Dense for Autodiff<B, C> {
    fn linear_dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        // Each factor is kept only for the gradient of the other.
        let kept_weight = x.is_tracked().then(|| weight.primitive().clone());
        let kept_x = weight.is_tracked().then(|| x.primitive().clone());
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let y = B::linear_dense(x, weight, activation);
        let state = (kept_x, kept_weight, activation);
        node::<B, C, _, 2>([x_node, weight_node], state, y, |(x, weight, activation), dy, _| {
            let dx = weight.map(|weight| B::dense_input_gradient(dy.clone(), weight, activation));
            [dx, x.map(|x| B::dense_weight_gradient(dy, x, activation))]
        })
    }
}

impl Dense for Flex {
    fn linear_dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("linear");
        if flex::composed() {
            return composed::<Self>(x, weight);
        }
        product(x, weight, [false, true], activation)
    }
}

impl DenseGradient for Flex {
    fn dense_input_gradient(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("linear backward, input");
        if flex::composed() {
            return composed_input::<Self>(dy, weight);
        }
        product(dy, weight, [false, false], activation)
    }

    fn dense_weight_gradient(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("linear backward, weight");
        if flex::composed() {
            return composed_weight::<Self>(dy, x);
        }
        product(dy, x, [true, false], activation)
    }
}

/// `a · b`, either one transposed first, as matrices on the CPU.
pub(crate) fn product(
    a: CpuTensor,
    b: CpuTensor,
    transposed: [bool; 2],
    activation: Activation,
) -> CpuTensor {
    let (a, b) = (flex::contiguous(a), flex::contiguous(b));
    let (m, k) = turned(a.shape(), transposed[0]);
    let (inner, n) = turned(b.shape(), transposed[1]);
    assert_eq!(k, inner, "linear: inner sizes of a product");
    let mut c = unwritten(m * n);
    let operand = |x, transposed| Operand { values: flex::values(x), transposed };
    let (left, right) = (operand(&a, transposed[0]), operand(&b, transposed[1]));
    gemm(m, n, k, left, right, false, precision(activation), &mut c);
    flex::tensor(c, [m, n])
}

fn turned(shape: burn::tensor::Shape, transposed: bool) -> (usize, usize) {
    if transposed { (shape[1], shape[0]) } else { (shape[0], shape[1]) }
}

fn composed_input<B: Backend>(dy: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(dy, weight)
}

fn composed_weight<B: Backend>(dy: FloatTensor<B>, x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(B::float_transpose(dy), x)
}

pub(crate) fn composed<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(x, B::float_transpose(weight))
}
