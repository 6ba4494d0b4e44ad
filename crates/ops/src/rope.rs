//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864): pairs of features turn with the position.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor, TensorData};
use kernels::rope::Style;

use crate::flex;
use crate::node::node;
use crate::timing;

/// The angles of a run of positions, computed once per forward and shared by every layer; cloning shares them.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// `[tokens, pairs]`.
    cosines: Arc<[f32]>,
    /// `[tokens, pairs]`.
    sines: Arc<[f32]>,
    tokens: usize,
    pairs: usize,
    style: Style,
}

impl Rotation {
    /// Angles `position · frequency` for the given positions, one frequency (radians per position) per pair.
    pub fn new(frequencies: &[f32], positions: impl IntoIterator<Item = u32>, style: Style) -> Self {
        let positions: Vec<u32> = positions.into_iter().collect();
        let (cosines, sines) = kernels::rope::angles(&positions, frequencies);
        let (cosines, sines) = (cosines.into(), sines.into());
        Self { cosines, sines, tokens: positions.len(), pairs: frequencies.len(), style }
    }

    /// The turn back.
    fn opposite(&self) -> Self {
        Self { sines: self.sines.iter().map(|sine| -sine).collect(), ..self.clone() }
    }

    /// Number of positions.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

/// The operation, per back end; the body here is its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait Rope: Backend {
    fn rope(x: FloatTensor<Self>, head_dim: usize, rotation: &Rotation) -> FloatTensor<Self> {
        composed::<Self>(x, head_dim, rotation)
    }

    fn rope_pair(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        head_dim: usize,
        rotation: &Rotation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        (Self::rope(q, head_dim, rotation), Self::rope(k, head_dim, rotation))
    }
}

/// Its gradient, per back end: the opposite turn.
pub(crate) trait RopeGradient: Rope {
    fn rope_gradient(dy: FloatTensor<Self>, head_dim: usize, rotation: &Rotation) -> FloatTensor<Self> {
        composed::<Self>(dy, head_dim, &rotation.opposite())
    }
}

impl<B: RopeGradient, C: CheckpointStrategy> Rope for Autodiff<B, C> {
    fn rope(x: FloatTensor<Self>, head_dim: usize, rotation: &Rotation) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (state, y) = ((head_dim, rotation.clone()), B::rope(x, head_dim, rotation));
        node::<B, C, _, 1>([x_node], state, y, |(head_dim, rotation), dy, _| {
            [Some(B::rope_gradient(dy, head_dim, &rotation))]
        })
    }
}

impl Rope for Flex {
    fn rope(x: FloatTensor<Self>, head_dim: usize, rotation: &Rotation) -> FloatTensor<Self> {
        let _timer = timing::of("rope");
        if flex::composed() {
            return composed::<Self>(x, head_dim, rotation);
        }
        let shape = x.shape();
        let mut y = flex::into_values(x);
        let Rotation { cosines, sines, pairs, style, .. } = rotation;
        kernels::rope::rope(&mut y, shape[1] / head_dim, head_dim, 2 * pairs, cosines, sines, *style);
        flex::tensor(y, shape)
    }
}

impl RopeGradient for Flex {
    fn rope_gradient(dy: FloatTensor<Self>, head_dim: usize, rotation: &Rotation) -> FloatTensor<Self> {
        let _timer = timing::of("rope backward");
        if flex::composed() {
            return composed::<Self>(dy, head_dim, &rotation.opposite());
        }
        let shape = dy.shape();
        let mut dx = flex::into_values(dy);
        let Rotation { cosines, sines, pairs, style, .. } = rotation;
        let heads = shape[1] / head_dim;
        kernels::rope::rope_gradient(&mut dx, heads, head_dim, 2 * pairs, cosines, sines, *style);
        flex::tensor(dx, shape)
    }
}

pub(crate) fn composed<B: Backend>(
    x: FloatTensor<B>,
    head_dim: usize,
    rotation: &Rotation,
) -> FloatTensor<B> {
    let (shape, device) = (x.shape(), x.device());
    let (tokens, heads, pairs) = (shape[0], shape[1] / head_dim, rotation.pairs);
    let x = B::float_reshape(x, Shape::new([tokens, heads, head_dim]));
    // As [tokens, heads, 2, pairs], or [.., pairs, 2] when interleaved: one slice is one half of every pair.
    let (sizes, table_sizes, pair_axis) = match rotation.style {
        Style::Interleaved => ([tokens, heads, pairs, 2], [tokens, 1, pairs, 1], 3),
        Style::HalfSplit => ([tokens, heads, 2, pairs], [tokens, 1, 1, pairs], 2),
    };
    let turning = B::float_reshape(slice_last::<B>(x.clone(), 0, 2 * pairs), Shape::new(sizes));
    let half = |which: usize| {
        let mut slices = [tokens, heads, sizes[2], sizes[3]].map(|n| Slice::from(0..n as i64));
        slices[pair_axis] = Slice::from(which as i64..which as i64 + 1);
        B::float_slice(turning.clone(), &slices)
    };
    let table = |values: &[f32]| B::float_from_data(TensorData::new(values.to_vec(), table_sizes), &device);
    let (a, b) = (half(0), half(1));
    let (cosines, sines) = (table(&rotation.cosines), table(&rotation.sines));
    let turned_a =
        B::float_sub(B::float_mul(a.clone(), cosines.clone()), B::float_mul(b.clone(), sines.clone()));
    let turned_b = B::float_add(B::float_mul(b, cosines), B::float_mul(a, sines));
    let turned = B::float_cat(vec![turned_a, turned_b], pair_axis);
    let turned = B::float_reshape(turned, Shape::new([tokens, heads, 2 * pairs]));
    let whole = match 2 * pairs < head_dim {
        true => B::float_cat(vec![turned, slice_last::<B>(x, 2 * pairs, head_dim)], 2),
        false => turned,
    };
    B::float_reshape(whole, shape)
}

/// Features `first..end` of `[tokens, heads, head_dim]`.
fn slice_last<B: Backend>(x: FloatTensor<B>, first: usize, end: usize) -> FloatTensor<B> {
    let shape = x.shape();
    let ranges = [0..shape[0] as i64, 0..shape[1] as i64, first as i64..end as i64];
    B::float_slice(x, &ranges.map(Slice::from))
}

/// Turns the first `2 · pairs` features of every head of `x` `[tokens, heads · head_dim]`.
///
/// # Panics
/// If the shapes of `x` and `rotation` do not fit: a fault of the caller, not of user input.
pub fn rope(x: Tensor<2>, head_dim: usize, rotation: &Rotation) -> Tensor<2> {
    check(x.dims(), head_dim, rotation);
    Tensor::from_dispatch(Dispatch::rope(x.into_dispatch(), head_dim, rotation))
}

/// [`rope`] of queries and keys together.
///
/// # Panics
/// As [`rope`].
pub fn rope_pair(q: Tensor<2>, k: Tensor<2>, head_dim: usize, rotation: &Rotation) -> (Tensor<2>, Tensor<2>) {
    check(q.dims(), head_dim, rotation);
    check(k.dims(), head_dim, rotation);
    let (q, k) = Dispatch::rope_pair(q.into_dispatch(), k.into_dispatch(), head_dim, rotation);
    (Tensor::from_dispatch(q), Tensor::from_dispatch(k))
}

fn check([tokens, features]: [usize; 2], head_dim: usize, rotation: &Rotation) {
    assert!(
        tokens == rotation.tokens() && features.is_multiple_of(head_dim) && 2 * rotation.pairs <= head_dim,
        "rope: x is [{tokens}, {features}], head_dim {head_dim}, rotation {} tokens × {} pairs",
        rotation.tokens(),
        rotation.pairs
    );
}
