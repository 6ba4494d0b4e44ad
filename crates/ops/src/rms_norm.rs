//! Root-mean-square normalization (Zhang & Sennrich 2019, arXiv:1910.07467): `y = x / sqrt(mean(x²) + ε) ⊙ w`.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use kernels::memory::unwritten;
use kernels::norm;

use crate::add::both;
use crate::flex;
use crate::node::node;
use crate::timing;

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
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
        composed_add::<Self>(x, delta, weight, epsilon)
    }
}

/// Gradients of input and weight, per back end.
pub(crate) trait RmsNormGradient: RmsNorm {
    fn rms_norm_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
        dy: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        composed_gradient::<Self>(x, weight, epsilon, dy)
    }
}

impl<B: RmsNormGradient, C: CheckpointStrategy> RmsNorm for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        let y = B::rms_norm(x.primitive().clone(), weight.primitive().clone(), epsilon);
        normed::<B, C>(x, weight, epsilon, y)
    }

    fn add_rms_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let ((x, x_node), (delta, delta_node)) = (x.into_parts(), delta.into_parts());
        let (sum, y) = B::add_rms_norm(x, delta, weight.primitive().clone(), epsilon);
        let sum = node::<B, C, _, 2>([x_node, delta_node], (), sum, both::<B>);
        (sum.clone(), normed::<B, C>(sum, weight, epsilon, y))
    }
}

/// `y` as the normalized `x`.
fn normed<B: RmsNormGradient, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    epsilon: f32,
    y: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
    node::<B, C, _, 2>([x_node, weight_node], (x, weight, epsilon), y, |(x, weight, epsilon), dy, _| {
        B::rms_norm_gradient(x, weight, epsilon, dy).map(Some)
    })
}

impl RmsNorm for Flex {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        let _timer = timing::of("norm");
        if flex::composed() {
            return composed::<Self>(x, weight, epsilon);
        }
        let (x, weight) = (flex::contiguous(x), flex::contiguous(weight));
        let mut y = unwritten(flex::values(&x).len());
        norm::rms_norm(flex::values(&x), flex::values(&weight), epsilon, &mut y);
        flex::tensor(y, x.shape())
    }

    fn add_rms_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _timer = timing::of("norm");
        if flex::composed() {
            return composed_add::<Self>(x, delta, weight, epsilon);
        }
        let [x, delta, weight] = [x, delta, weight].map(flex::contiguous);
        let length = flex::values(&x).len();
        let (mut sum, mut y) = (unwritten(length), unwritten(length));
        let values = flex::values;
        norm::residual_rms_norm(values(&x), values(&delta), values(&weight), epsilon, &mut sum, &mut y);
        (flex::tensor(sum, x.shape()), flex::tensor(y, x.shape()))
    }
}

impl RmsNormGradient for Flex {
    fn rms_norm_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
        dy: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        let _timer = timing::of("norm backward");
        if flex::composed() {
            return composed_gradient::<Self>(x, weight, epsilon, dy);
        }
        let [x, weight, dy] = [x, weight, dy].map(flex::contiguous);
        let values = flex::values;
        let (mut dx, mut dweight) = (unwritten(values(&x).len()), unwritten(values(&weight).len()));
        norm::rms_norm_backward(values(&x), values(&weight), epsilon, values(&dy), &mut dx, &mut dweight);
        [flex::tensor(dx, x.shape()), flex::tensor(dweight, weight.shape())]
    }
}

fn composed_add<B: Backend>(
    x: FloatTensor<B>,
    delta: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let sum = B::float_add(x, delta);
    (sum.clone(), composed::<B>(sum, weight, epsilon))
}

pub(crate) fn composed<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f32,
) -> FloatTensor<B> {
    let features = weight.shape()[0];
    let scale = scale::<B>(x.clone(), epsilon);
    B::float_mul(B::float_mul(x, scale), B::float_reshape(weight, Shape::new([1, features])))
}

/// `1 / sqrt(mean(x²) + ε)` of each row, `[tokens, 1]`.
fn scale<B: Backend>(x: FloatTensor<B>, epsilon: f32) -> FloatTensor<B> {
    let mean_square = B::float_mean_dim(B::float_mul(x.clone(), x), 1);
    B::float_recip(B::float_sqrt(B::float_add_scalar(mean_square, epsilon.into())))
}

/// With n = x · scale: `dx = scale · (w ⊙ dy − n · mean(w ⊙ dy ⊙ n))`, and `dw` the sum of dy ⊙ n over the rows.
fn composed_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f32,
    dy: FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let features = weight.shape()[0];
    let scale = scale::<B>(x.clone(), epsilon);
    let normed = B::float_mul(x, scale.clone());
    let dweight = B::float_sum_dim(B::float_mul(dy.clone(), normed.clone()), 0);
    let dnormed = B::float_mul(dy, B::float_reshape(weight, Shape::new([1, features])));
    let along = B::float_mean_dim(B::float_mul(dnormed.clone(), normed.clone()), 1);
    let dx = B::float_mul(B::float_sub(dnormed, B::float_mul(normed, along)), scale);
    [dx, B::float_reshape(dweight, Shape::new([features]))]
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
