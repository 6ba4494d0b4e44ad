//! Causal short convolution, channel by channel: `y[t] = Σ_j w[:, j] ⊙ x[t − (taps − 1) + j]`, zeros before the start.
//!
//! On the CPU the gradient is a kernel; elsewhere it is Burn's, of the composed body.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};
use kernels::conv as kernel;

use crate::flex::{self, CpuTensor};
use crate::node::node;
use crate::timing;
use crate::{Documents, Error};

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait ShortConv: Backend {
    fn short_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        composed::<Self>(x, weight, documents)
    }

    fn short_conv_step(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        past: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed_step::<Self>(x, weight, past)
    }
}

/// The gradient, per back end.
pub(crate) trait ShortConvGradient: ShortConv {
    /// Of the input and the weight, or nothing where Burn differentiates the composed body.
    fn short_conv_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        documents: &Documents,
    ) -> Option<[FloatTensor<Self>; 2]> {
        let _ = (x, weight, dy, documents);
        None
    }

    /// Whether [`ShortConvGradient::short_conv_gradient`] gives something.
    fn has_short_conv_gradient() -> bool {
        false
    }
}

impl<B: ShortConvGradient, C: CheckpointStrategy> ShortConv for Autodiff<B, C> {
    fn short_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        if !B::has_short_conv_gradient() {
            return composed::<Self>(x, weight, documents);
        }
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let y = B::short_conv(x.clone(), weight.clone(), documents);
        let state = (x, weight, documents.clone());
        node::<B, C, _, 2>([x_node, weight_node], state, y, |(x, weight, documents), dy, _| {
            match B::short_conv_gradient(x, weight, dy, &documents) {
                Some(gradients) => gradients.map(Some),
                None => unreachable!("this back end has the gradient"),
            }
        })
    }
}

impl ShortConv for Flex {
    fn short_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("short conv");
        if flex::composed() {
            return composed::<Self>(x, weight, documents);
        }
        let (x, weight) = (flex::contiguous(x), flex::contiguous(weight));
        let mut y = vec![0.0; flex::values(&x).len()];
        let shape = shape(&x, &weight, documents.starts());
        kernel::forward(&shape, flex::values(&x), flex::values(&weight), None, &mut y, None);
        flex::tensor(y, x.shape())
    }

    fn short_conv_step(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        past: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if flex::composed() {
            return composed_step::<Self>(x, weight, past);
        }
        let [x, weight, past] = [x, weight, past].map(flex::contiguous);
        let values = flex::values;
        let (mut y, mut last) = (vec![0.0; values(&x).len()], vec![0.0; values(&past).len()]);
        let shape = shape(&x, &weight, &[0]);
        kernel::forward(&shape, values(&x), values(&weight), Some(values(&past)), &mut y, Some(&mut last));
        (flex::tensor(y, x.shape()), flex::tensor(last, past.shape()))
    }
}

impl ShortConvGradient for Flex {
    fn short_conv_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        documents: &Documents,
    ) -> Option<[FloatTensor<Self>; 2]> {
        let _timer = timing::of("short conv backward");
        let [x, weight, dy] = [x, weight, dy].map(flex::contiguous);
        let values = flex::values;
        let (mut dx, mut dweight) = (vec![0.0; values(&x).len()], vec![0.0; values(&weight).len()]);
        let mut views = kernel::Gradients { x: &mut dx, weight: &mut dweight, initial: None };
        let shape = shape(&x, &weight, documents.starts());
        kernel::backward(&shape, values(&x), values(&weight), None, values(&dy), None, &mut views);
        Some([flex::tensor(dx, x.shape()), flex::tensor(dweight, weight.shape())])
    }

    fn has_short_conv_gradient() -> bool {
        !flex::composed()
    }
}

fn shape<'a>(x: &CpuTensor, weight: &CpuTensor, starts: &'a [usize]) -> kernel::Shape<'a> {
    let (tokens, channels, taps) = (x.shape()[0], weight.shape()[0], weight.shape()[1]);
    kernel::Shape { tokens, starts, channels, taps }
}

pub(crate) fn composed<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    documents: &Documents,
) -> FloatTensor<B> {
    let (channels, taps) = (weight.shape()[0], weight.shape()[1]);
    let parts = documents.ranges().map(|range| {
        let rows = [Slice::from(range.start as i64..range.end as i64)];
        let past = Shape::new([taps - 1, channels]);
        let past = B::float_zeros(past, &x.device(), x.dtype().into());
        composed_step::<B>(B::float_slice(x.clone(), &rows), weight.clone(), past).0
    });
    B::float_cat(parts.collect(), 0)
}

fn composed_step<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    past: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (tokens, channels, taps) = (x.shape()[0], weight.shape()[0], weight.shape()[1]);
    let all = if taps > 1 { B::float_cat(vec![past.clone(), x], 0) } else { x };
    let rows = |first: usize, count: usize| {
        B::float_slice(all.clone(), &[Slice::from(first as i64..(first + count) as i64)])
    };
    let tap = |j: usize| {
        let ranges = [0..channels as i64, j as i64..j as i64 + 1];
        let weights = B::float_slice(weight.clone(), &ranges.map(Slice::from));
        B::float_mul(rows(j, tokens), B::float_reshape(weights, Shape::new([1, channels])))
    };
    let y = (1..taps).fold(tap(0), |sum, j| B::float_add(sum, tap(j)));
    (y, if taps > 1 { rows(tokens, taps - 1) } else { past })
}

/// The convolution of `x` `[T, channels]` with `weight` `[channels, taps]` inside every document.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn short_conv(x: Tensor<2>, weight: Tensor<2>, documents: &Documents) -> Tensor<2> {
    check(x.dims(), weight.dims());
    assert_eq!(x.dims()[0], documents.tokens(), "short_conv: tokens of the input and of the documents");
    Tensor::from_dispatch(Dispatch::short_conv(x.into_dispatch(), weight.into_dispatch(), documents))
}

/// As [`short_conv`] for the next tokens of one document after the inputs `past` `[taps − 1, channels]`, oldest
/// first, zeros at first; the last inputs, besides. Any split of a document gives the same bits.
///
/// # Errors
/// [`Error::Tracked`] for tracked tensors: their gradient would be cut at the state.
///
/// # Panics
/// As [`short_conv`].
pub fn short_conv_step(
    x: Tensor<2>,
    weight: Tensor<2>,
    past: Tensor<2>,
) -> Result<(Tensor<2>, Tensor<2>), Error> {
    check(x.dims(), weight.dims());
    let [channels, taps] = weight.dims();
    assert_eq!(past.dims(), [taps - 1, channels], "short_conv: shape of the state");
    if [&x, &weight, &past].into_iter().any(Tensor::is_tracked) {
        return Err(Error::Tracked { operation: "a short convolution after remembered inputs" });
    }
    let [x, weight, past] = [x, weight, past].map(Tensor::into_dispatch);
    let (y, past) = Dispatch::short_conv_step(x, weight, past);
    Ok((Tensor::from_dispatch(y), Tensor::from_dispatch(past)))
}

fn check(x: [usize; 2], weight: [usize; 2]) {
    assert!(
        x[1] == weight[0] && weight[1] > 0,
        "short_conv: input {x:?} and weight {weight:?} [channels, taps]"
    );
}
