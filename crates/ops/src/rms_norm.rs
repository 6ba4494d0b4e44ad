//! Root-mean-square normalization (Zhang & Sennrich 2019, arXiv:1910.07467): `y = x / sqrt(mean(x²) + ε) ⊙ w`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use kernels::norm;

use crate::flex;

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait RmsNorm: Backend {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        composed::<Self>(x, weight, epsilon)
    }

    fn add_rms_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let sum = Self::float_add(x, delta);
        (sum.clone(), composed::<Self>(sum, weight, epsilon))
    }
}

impl<B: RmsNorm, C: CheckpointStrategy> RmsNorm for Autodiff<B, C> {}

impl RmsNorm for Flex {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        let (x, weight) = (flex::contiguous(x), flex::contiguous(weight));
        let mut y = vec![0.0; flex::values(&x).len()];
        norm::rms_norm(flex::values(&x), flex::values(&weight), epsilon, &mut y);
        flex::tensor(y, x.shape())
    }

    fn add_rms_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, delta, weight] = [x, delta, weight].map(flex::contiguous);
        let length = flex::values(&x).len();
        let (mut sum, mut y) = (vec![0.0; length], vec![0.0; length]);
        let values = flex::values;
        norm::residual_rms_norm(values(&x), values(&delta), values(&weight), epsilon, &mut sum, &mut y);
        (flex::tensor(sum, x.shape()), flex::tensor(y, x.shape()))
    }
}

fn composed<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, epsilon: f32) -> FloatTensor<B> {
    let features = weight.shape()[0];
    let mean_square = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 1);
    let scale = B::float_recip(B::float_sqrt(B::float_add_scalar(mean_square, epsilon.into())));
    B::float_mul(B::float_mul(x, scale), B::float_reshape(weight, Shape::new([1, features])))
}

/// Normalizes each row of `x` `[tokens, features]` and scales it by `weight` `[features]`.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f32) -> Tensor<2> {
    assert_eq!(x.dims()[1], weight.dims()[0], "rms_norm: features of the input and of the weight");
    Tensor::from_dispatch(Dispatch::rms_norm(x.into_dispatch(), weight.into_dispatch(), epsilon))
}

/// `x + delta`, and its [`rms_norm`]; bit for bit the two operations.
///
/// # Panics
/// As [`rms_norm`].
pub fn add_rms_norm(
    x: Tensor<2>,
    delta: Tensor<2>,
    weight: Tensor<1>,
    epsilon: f32,
) -> (Tensor<2>, Tensor<2>) {
    assert_eq!(x.dims(), delta.dims(), "add_rms_norm: shapes of the two summands");
    assert_eq!(x.dims()[1], weight.dims()[0], "add_rms_norm: features of the input and of the weight");
    let (x, delta, weight) = (x.into_dispatch(), delta.into_dispatch(), weight.into_dispatch());
    let (sum, normed) = Dispatch::add_rms_norm(x, delta, weight, epsilon);
    (Tensor::from_dispatch(sum), Tensor::from_dispatch(normed))
}
