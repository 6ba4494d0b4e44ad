//! The low-rank addition to a linear map (Hu et al. 2021, arXiv:2106.09685): `y + scale · (x · aᵀ) · bᵀ`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata, backend_extension};
use kernels::gemm::{Operand, gemm};
use kernels::linear::Activation;

use crate::dense::{self, product};
use crate::flex;
use crate::linear::precision;
use crate::node::node;
use crate::timing;

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait AddLowRank: Backend {
    fn add_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = activation;
        composed::<Self>(y, x, a, b, scale)
    }
}

/// Gradients of `x`, `a` and `b`, per back end; with `s = scale · dy` and `u = x · aᵀ`:
/// `dx = s · b · a`, `da = (s · b)ᵀ · x`, `db = sᵀ · u`.
pub(crate) trait LowRankGradient: AddLowRank {
    fn low_rank_gradient(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        let _ = activation;
        composed_gradient::<Self>(dy, x, a, b, scale, wanted)
    }
}

impl<B: LowRankGradient, C: CheckpointStrategy> AddLowRank for Autodiff<B, C> {
    fn add_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let ((y, y_node), (x, x_node)) = (y.into_parts(), x.into_parts());
        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        let sum = B::add_low_rank(y, x.clone(), a.clone(), b.clone(), scale, activation);
        let (parents, state) = ([y_node, x_node, a_node, b_node], (x, a, b, scale, activation));
        node::<B, C, _, 4>(parents, state, sum, |(x, a, b, scale, activation), dy, wanted| {
            let [dx, da, db] = B::low_rank_gradient(
                dy.clone(),
                x,
                a,
                b,
                scale,
                activation,
                [wanted[1], wanted[2], wanted[3]],
            );
            [Some(dy), dx, da, db]
        })
    }
}

impl AddLowRank for Flex {
    fn add_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("low rank");
        if flex::composed() {
            return composed::<Self>(y, x, a, b, scale);
        }
        let (shape, rank) = (y.shape(), a.shape()[0]);
        let (mut sum, b) = (flex::into_values(y), flex::contiguous(b));
        let mut inner = flex::into_values(product(x, a, [false, true], activation));
        inner.iter_mut().for_each(|value| *value *= scale);
        let (left, right) = (Operand::plain(&inner), Operand::transposed(flex::values(&b)));
        gemm(shape[0], shape[1], rank, left, right, true, precision(activation), &mut sum);
        flex::tensor(sum, shape)
    }
}

impl LowRankGradient for Flex {
    fn low_rank_gradient(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f32,
        activation: Activation,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        let _timer = timing::of("low rank backward");
        if flex::composed() {
            return composed_gradient::<Self>(dy, x, a, b, scale, wanted);
        }
        let scaled = |tensor| {
            let shape = TensorMetadata::shape(&tensor);
            let mut values = flex::into_values(tensor);
            values.iter_mut().for_each(|value| *value *= scale);
            flex::tensor(values, shape)
        };
        let db = wanted[2].then(|| {
            let inner = scaled(product(x.clone(), a.clone(), [false, true], activation));
            product(dy.clone(), inner, [true, false], activation)
        });
        if !wanted[0] && !wanted[1] {
            return [None, None, db];
        }
        let dinner = scaled(product(dy, b, [false, false], activation));
        let da = wanted[1].then(|| product(dinner.clone(), x, [true, false], activation));
        [wanted[0].then(|| product(dinner, a, [false, false], activation)), da, db]
    }
}

pub(crate) fn composed<B: Backend>(
    y: FloatTensor<B>,
    x: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
) -> FloatTensor<B> {
    let added = dense::composed::<B>(dense::composed::<B>(x, a), b);
    B::float_add(y, B::float_mul_scalar(added, scale.into()))
}

fn composed_gradient<B: Backend>(
    dy: FloatTensor<B>,
    x: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f32,
    wanted: [bool; 3],
) -> [Option<FloatTensor<B>>; 3] {
    let dy = B::float_mul_scalar(dy, scale.into());
    let db = wanted[2].then(|| {
        let inner = dense::composed::<B>(x.clone(), a.clone());
        B::float_matmul(B::float_transpose(dy.clone()), inner)
    });
    let dinner = B::float_matmul(dy, b);
    let da = wanted[1].then(|| B::float_matmul(B::float_transpose(dinner.clone()), x));
    [wanted[0].then(|| B::float_matmul(dinner, a)), da, db]
}
