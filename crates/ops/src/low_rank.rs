//! The outer half of a low-rank addition to a linear map (Hu et al. 2021, arXiv:2106.09685): `y + scale · u · bᵀ`.
//! The inner half, `u = x · aᵀ`, is a linear map of its own, one for all additions over the same `x`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use kernels::gemm::{Operand, gemm};
use kernels::linear::Activation;

use crate::dense::{self, product};
use crate::flex::{self, CpuTensor};
use crate::linear::precision;
use crate::node::node;
use crate::timing;

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait AddLowRank: Backend {
    fn add_low_rank(
        y: FloatTensor<Self>,
        u: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed::<Self>(y, u, b, scale)
    }
}

/// Gradients of `u` and `b`, per back end: `du = scale · dy · b`, `db = scale · dyᵀ · u`.
pub(crate) trait LowRankGradient: AddLowRank {
    fn low_rank_gradient(
        dy: FloatTensor<Self>,
        u: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        let _ = activation;
        composed_gradient::<Self>(dy, u, b, scale, wanted)
    }
}

impl<B: LowRankGradient, C: CheckpointStrategy> AddLowRank for Autodiff<B, C> {
    fn add_low_rank(
        y: FloatTensor<Self>,
        u: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let ((y, y_node), (u, u_node), (b, b_node)) = (y.into_parts(), u.into_parts(), b.into_parts());
        let sum = B::add_low_rank(y, u.clone(), b.clone(), scale, activation);
        let (parents, state) = ([y_node, u_node, b_node], (u, b, scale, activation));
        node::<B, C, _, 3>(parents, state, sum, |(u, b, scale, activation), dy, wanted| {
            let [du, db] = B::low_rank_gradient(dy.clone(), u, b, scale, activation, [wanted[1], wanted[2]]);
            [Some(dy), du, db]
        })
    }
}

impl AddLowRank for Flex {
    fn add_low_rank(
        y: FloatTensor<Self>,
        u: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("low rank");
        if flex::composed() {
            return composed::<Self>(y, u, b, scale);
        }
        let (shape, rank) = (y.shape(), b.shape()[1]);
        let (mut sum, u, b) = (flex::into_values(y), scaled(u, scale), flex::contiguous(b));
        let (left, right) = (Operand::plain(flex::values(&u)), Operand::transposed(flex::values(&b)));
        gemm(shape[0], shape[1], rank, left, right, true, precision(activation), &mut sum);
        flex::tensor(sum, shape)
    }
}

impl LowRankGradient for Flex {
    fn low_rank_gradient(
        dy: FloatTensor<Self>,
        u: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
        wanted: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        let _timer = timing::of("low rank backward");
        if flex::composed() {
            return composed_gradient::<Self>(dy, u, b, scale, wanted);
        }
        let db = wanted[1].then(|| product(dy.clone(), scaled(u, scale), [true, false], activation));
        [wanted[0].then(|| scaled(product(dy, b, [false, false], activation), scale)), db]
    }
}

fn scaled(tensor: CpuTensor, scale: f32) -> CpuTensor {
    let shape = TensorMetadata::shape(&tensor);
    let mut values = flex::into_values(tensor);
    values.iter_mut().for_each(|value| *value *= scale);
    flex::tensor(values, shape)
}

pub(crate) fn composed<B: Backend>(
    y: FloatTensor<B>,
    u: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
) -> FloatTensor<B> {
    B::float_add(y, B::float_mul_scalar(dense::composed::<B>(u, b), scale.into()))
}

fn composed_gradient<B: Backend>(
    dy: FloatTensor<B>,
    u: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
    wanted: [bool; 2],
) -> [Option<FloatTensor<B>>; 2] {
    let dy = B::float_mul_scalar(dy, scale.into());
    let db = wanted[1].then(|| B::float_matmul(B::float_transpose(dy.clone()), u));
    [wanted[0].then(|| B::float_matmul(dy, b)), db]
}
