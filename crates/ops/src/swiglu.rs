//! The gate of the SwiGLU channel (Shazeer 2020, arXiv:2002.05202): `y = silu(gate) ⊙ up`; alone, or fused with
//! the two projections that feed it.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use kernels::linear::{Activation, PackedWeight};
use kernels::memory::unwritten;

use crate::flex;
use crate::linear::{self, Linear, LinearGradient};
use crate::node::node;
use crate::timing;
use crate::weight::{Storage, Weight};

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
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
        composed_linear::<Self>(x, weights)
    }
}

/// Gradients of gate and up, per back end.
pub(crate) trait SwigluGradient: Swiglu {
    fn swiglu_gradient(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        composed_gradient::<Self>(gate, up, dy)
    }
}

impl<B: SwigluGradient + LinearGradient, C: CheckpointStrategy> Swiglu for Autodiff<B, C> {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((gate, gate_node), (up, up_node)) = (gate.into_parts(), up.into_parts());
        let y = B::swiglu(gate.clone(), up.clone());
        node::<B, C, _, 2>([gate_node, up_node], (gate, up), y, |(gate, up), dy, _| {
            B::swiglu_gradient(gate, up, dy).map(Some)
        })
    }

    /// Keeps gate and up, which its backward would otherwise multiply out again.
    fn swiglu_linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> FloatTensor<Self> {
        let (gate, up) = <Self as Linear>::linear_pair(x, weights, activation);
        <Self as Swiglu>::swiglu(gate, up)
    }
}

impl Swiglu for Flex {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let _timer = timing::of("swiglu");
        if flex::composed() {
            return composed::<Self>(gate, up);
        }
        let (gate, up) = (flex::contiguous(gate), flex::contiguous(up));
        let mut y = unwritten(flex::values(&gate).len());
        kernels::activation::swiglu(flex::values(&gate), flex::values(&up), &mut y);
        flex::tensor(y, gate.shape())
    }

    fn swiglu_linear(
        x: FloatTensor<Self>,
        weights: [&Arc<PackedWeight>; 2],
        activation: Activation,
    ) -> FloatTensor<Self> {
        if flex::composed() {
            return composed_linear::<Self>(x, weights);
        }
        let (tokens, [gate, up]) = linear::outputs(x, weights, activation);
        let mut y = unwritten(gate.len());
        kernels::activation::swiglu(&gate, &up, &mut y);
        flex::tensor(y, [tokens, weights[0].rows()])
    }
}

impl SwigluGradient for Flex {
    fn swiglu_gradient(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2] {
        let _timer = timing::of("swiglu backward");
        if flex::composed() {
            return composed_gradient::<Self>(gate, up, dy);
        }
        let [gate, up, dy] = [gate, up, dy].map(flex::contiguous);
        let values = flex::values;
        let (mut dgate, mut dup) = (unwritten(values(&gate).len()), unwritten(values(&up).len()));
        kernels::activation::swiglu_backward(values(&gate), values(&up), values(&dy), &mut dgate, &mut dup);
        [flex::tensor(dgate, gate.shape()), flex::tensor(dup, up.shape())]
    }
}

fn composed_linear<B: Backend>(x: FloatTensor<B>, weights: [&Arc<PackedWeight>; 2]) -> FloatTensor<B> {
    let [gate, up] = weights.map(|weight| linear::composed::<B>(x.clone(), weight));
    composed::<B>(gate, up)
}

/// With s = sigmoid(gate): `dgate = dy ⊙ up ⊙ s ⊙ (1 + gate (1 − s))`, `dup = dy ⊙ gate ⊙ s`.
fn composed_gradient<B: Backend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    dy: FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let sigmoid = B::sigmoid(gate.clone());
    let silu = B::float_mul(gate, sigmoid.clone());
    // gate · s · (1 − s) + s = silu + s · (1 − silu)
    let rest = B::float_add_scalar(B::float_neg(silu.clone()), 1f32.into());
    let slope = B::float_add(silu.clone(), B::float_mul(sigmoid, rest));
    [B::float_mul(B::float_mul(dy.clone(), up), slope), B::float_mul(dy, silu)]
}

pub(crate) fn composed<B: Backend>(gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
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
    let activation = if x.is_tracked() { linear::in_training(activation) } else { activation };
    if let (Storage::Packed(gate), Storage::Packed(up)) = (&gate.0, &up.0) {
        assert_eq!(x.dims()[1], gate.columns(), "swiglu_linear: columns of the input and of the weight");
        assert_eq!((gate.rows(), gate.columns()), (up.rows(), up.columns()), "swiglu_linear: gate and up");
        return Tensor::from_dispatch(Dispatch::swiglu_linear(x.into_dispatch(), [gate, up], activation));
    }
    let [gate, up] = linear::linear_many(x, [gate, up], activation);
    swiglu(gate, up)
}
