//! The loss of next-token prediction, `−log softmax(hidden · headᵀ)[target]` per row, without keeping the logits:
//! the backward pass computes them again.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{IndexingUpdateOp, Shape, Slice, Tensor, TensorData};
use kernels::cross_entropy as kernel;
use kernels::linear::{Activation, PackedWeight};
use kernels::memory::unwritten;

use crate::flex::{self, CpuTensor};
use crate::linear::{self, precision};
use crate::node::node;
use crate::timing;
use crate::weight::{Storage, Weight};
use crate::{Error, dense};

/// Rows whose logits exist together in the composed bodies.
const ROWS: usize = 128;

/// The operation, per back end: the losses, and the logarithm of each row's sum of e^logit. The bodies here are
/// its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait CrossEntropy: Backend {
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        head: &Arc<PackedWeight>,
        targets: &[u32],
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _ = activation;
        let head = linear::unpacked::<Self>(head, &hidden.device());
        composed::<Self>(hidden, head, targets)
    }

    fn cross_entropy_dense(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: &[u32],
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let _ = activation;
        composed::<Self>(hidden, head, targets)
    }
}

type Pair<B> = (FloatTensor<B>, FloatTensor<B>);

/// What the gradient needs of the forward pass.
#[derive(Clone, Debug)]
pub(crate) struct Kept<B: Backend> {
    hidden: FloatTensor<B>,
    head: Head<B>,
    targets: Arc<[u32]>,
    log_sums: FloatTensor<B>,
    activation: Activation,
}

#[derive(Clone, Debug)]
enum Head<B: Backend> {
    Packed(Arc<PackedWeight>),
    Dense(FloatTensor<B>),
}

/// Gradients of the hidden rows and, when wanted, of a dense head, per back end.
pub(crate) trait CrossEntropyGradient: CrossEntropy {
    fn cross_entropy_gradient(
        kept: Kept<Self>,
        dy: FloatTensor<Self>,
        head_wanted: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        composed_gradient(kept, dy, head_wanted)
    }
}

impl<B: CrossEntropyGradient, C: CheckpointStrategy> CrossEntropy for Autodiff<B, C> {
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        head: &Arc<PackedWeight>,
        targets: &[u32],
        activation: Activation,
    ) -> Pair<Self> {
        let (hidden, hidden_node) = hidden.into_parts();
        let (losses, log_sums) = B::cross_entropy(hidden.clone(), head, targets, activation);
        let (targets, head) = (targets.into(), Head::Packed(Arc::clone(head)));
        let kept = Kept::<B> { hidden, head, targets, log_sums: log_sums.clone(), activation };
        let losses = node::<B, C, _, 1>([hidden_node], kept, losses, |kept, dy, _| {
            [Some(B::cross_entropy_gradient(kept, dy, false).0)]
        });
        (losses, <Self as AutodiffBackend>::from_inner(log_sums))
    }

    fn cross_entropy_dense(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: &[u32],
        activation: Activation,
    ) -> Pair<Self> {
        let ((hidden, hidden_node), (head, head_node)) = (hidden.into_parts(), head.into_parts());
        let (losses, log_sums) = B::cross_entropy_dense(hidden.clone(), head.clone(), targets, activation);
        let (targets, head) = (targets.into(), Head::Dense(head));
        let kept = Kept::<B> { hidden, head, targets, log_sums: log_sums.clone(), activation };
        let losses = node::<B, C, _, 2>([hidden_node, head_node], kept, losses, |kept, dy, wanted| {
            let (dhidden, dhead) = B::cross_entropy_gradient(kept, dy, wanted[1]);
            [Some(dhidden), dhead]
        });
        (losses, <Self as AutodiffBackend>::from_inner(log_sums))
    }
}

impl CrossEntropy for Flex {
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        head: &Arc<PackedWeight>,
        targets: &[u32],
        activation: Activation,
    ) -> Pair<Self> {
        let _timer = timing::of("cross entropy");
        if flex::composed() {
            let head = linear::unpacked::<Self>(head, &hidden.device());
            return composed::<Self>(hidden, head, targets);
        }
        forward(hidden, kernel::Head::Packed(head), targets, activation)
    }

    fn cross_entropy_dense(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: &[u32],
        activation: Activation,
    ) -> Pair<Self> {
        let _timer = timing::of("cross entropy");
        if flex::composed() {
            return composed::<Self>(hidden, head, targets);
        }
        let head = flex::contiguous(head);
        let head = kernel::Head::Dense { values: flex::values(&head), width: head.shape()[1] };
        forward(hidden, head, targets, activation)
    }
}

/// The public function has checked the targets against the vocabulary.
const CHECKED: &str = "targets are in the vocabulary";

fn forward(hidden: CpuTensor, head: kernel::Head, targets: &[u32], activation: Activation) -> Pair<Flex> {
    let hidden = flex::contiguous(hidden);
    let rows = targets.len();
    let (mut losses, mut log_sums) = (vec![0.0; rows], vec![0.0; rows]);
    let precision = precision(activation);
    kernel::forward(flex::values(&hidden), head, targets, precision, &mut losses, &mut log_sums)
        .expect(CHECKED);
    (flex::tensor(losses, [rows]), flex::tensor(log_sums, [rows]))
}

impl CrossEntropyGradient for Flex {
    fn cross_entropy_gradient(
        kept: Kept<Self>,
        dy: FloatTensor<Self>,
        head_wanted: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let _timer = timing::of("cross entropy backward");
        if flex::composed() {
            return composed_gradient(kept, dy, head_wanted);
        }
        let Kept { hidden, head, targets, log_sums, activation } = kept;
        let [hidden, log_sums, dy] = [hidden, log_sums, dy].map(flex::contiguous);
        let head: Head<Self> = match head {
            Head::Packed(packed) => Head::Packed(packed),
            Head::Dense(head) => Head::Dense(flex::contiguous(head)),
        };
        let (view, shape) = match &head {
            Head::Packed(packed) => (kernel::Head::Packed(packed), Shape::new([0, 0])),
            Head::Dense(head) => {
                (kernel::Head::Dense { values: flex::values(head), width: head.shape()[1] }, head.shape())
            }
        };
        let values = flex::values;
        let mut dhidden = unwritten(values(&hidden).len());
        let mut dhead = head_wanted.then(|| vec![0.0; shape.num_elements()]);
        kernel::backward(
            values(&hidden),
            view,
            &targets,
            values(&log_sums),
            values(&dy),
            precision(activation),
            &mut dhidden,
            dhead.as_deref_mut(),
        )
        .expect(CHECKED);
        (flex::tensor(dhidden, hidden.shape()), dhead.map(|dhead| flex::tensor(dhead, shape)))
    }
}

/// Row ranges that are worked on together.
fn groups(rows: usize) -> impl Iterator<Item = [Slice; 1]> {
    (0..rows).step_by(ROWS).map(move |at| [Slice::from(at as i64..(at + ROWS).min(rows) as i64)])
}

pub(crate) fn composed<B: Backend>(
    hidden: FloatTensor<B>,
    head: FloatTensor<B>,
    targets: &[u32],
) -> (FloatTensor<B>, FloatTensor<B>) {
    if targets.is_empty() {
        let empty = B::float_reshape(hidden, Shape::new([0]));
        return (empty.clone(), empty);
    }
    let (losses, log_sums) = groups(targets.len())
        .zip(targets.chunks(ROWS))
        .map(|(rows, targets)| {
            let hidden = B::float_slice(hidden.clone(), &rows);
            composed_losses::<B>(dense::composed::<B>(hidden, head.clone()), targets)
        })
        .unzip();
    (B::float_cat(losses, 0), B::float_cat(log_sums, 0))
}

/// `−log softmax(logits)[target]` and `log Σ e^logit` per row.
fn composed_losses<B: Backend>(logits: FloatTensor<B>, targets: &[u32]) -> (FloatTensor<B>, FloatTensor<B>) {
    let largest = B::float_max_dim(B::float_detach(logits.clone()), 1);
    let sums = B::float_sum_dim(B::float_exp(B::float_sub(logits.clone(), largest.clone())), 1);
    let log_sums = B::float_add(B::float_log(sums), largest);
    let ids = ids::<B>(targets, &logits.device());
    let losses = B::float_sub(log_sums.clone(), B::float_gather(1, logits, ids));
    let shape = Shape::new([targets.len()]);
    (B::float_reshape(losses, shape.clone()), B::float_reshape(log_sums, shape))
}

fn ids<B: Backend>(targets: &[u32], device: &B::Device) -> IntTensor<B> {
    let ids = targets.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
    B::int_from_data(TensorData::new(ids, [targets.len(), 1]), device)
}

/// With `dlogits = (softmax − onehot) · dy`: `dhidden = dlogits · head`, `dhead = dlogitsᵀ · hidden`.
fn composed_gradient<B: Backend>(
    kept: Kept<B>,
    dy: FloatTensor<B>,
    head_wanted: bool,
) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
    let Kept { hidden, head, targets, log_sums, .. } = kept;
    let device = hidden.device();
    let head = match head {
        Head::Packed(packed) => linear::unpacked::<B>(&packed, &device),
        Head::Dense(head) => head,
    };
    let column = |tensor, rows: &[Slice; 1], count: usize| {
        B::float_reshape(B::float_slice(tensor, rows), Shape::new([count, 1]))
    };
    let (mut dhidden, mut dhead) = (Vec::new(), None);
    for (rows, targets) in groups(targets.len()).zip(targets.chunks(ROWS)) {
        let count = targets.len();
        let hidden = B::float_slice(hidden.clone(), &rows);
        let logits = dense::composed::<B>(hidden.clone(), head.clone());
        let softmax = B::float_exp(B::float_sub(logits, column(log_sums.clone(), &rows, count)));
        let minus = B::float_from_data(TensorData::new(vec![-1f32; count], [count, 1]), &device);
        let ids = ids::<B>(targets, &device);
        let slopes = B::float_scatter(1, softmax, ids, minus, IndexingUpdateOp::Add);
        let dlogits = B::float_mul(slopes, column(dy.clone(), &rows, count));
        dhidden.push(B::float_matmul(dlogits.clone(), head.clone()));
        if head_wanted {
            let share = B::float_matmul(B::float_transpose(dlogits), hidden);
            dhead = Some(match dhead {
                Some(sum) => B::float_add(sum, share),
                None => share,
            });
        }
    }
    (B::float_cat(dhidden, 0), dhead)
}

/// [`cross_entropy_with`] in f32.
///
/// # Errors
/// As [`cross_entropy_with`].
///
/// # Panics
/// As [`cross_entropy_with`].
pub fn cross_entropy(hidden: Tensor<2>, head: &Weight, targets: &[u32]) -> Result<Tensor<1>, Error> {
    cross_entropy_with(hidden, head, targets, Activation::F32)
}

/// `−log p(target)` of each row of `hidden` `[n, width]` under `head` `[vocabulary, width]`, in nats, `[n]`.
///
/// Gradients reach `hidden` and a tracked dense `head`. Rows are worked on in groups, so the logits of all rows
/// never exist at once. A low-rank `head` is the exception: its logits are multiplied out and kept.
///
/// # Errors
/// A target is outside the vocabulary.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn cross_entropy_with(
    hidden: Tensor<2>,
    head: &Weight,
    targets: &[u32],
    activation: Activation,
) -> Result<Tensor<1>, Error> {
    assert_eq!(hidden.dims(), [targets.len(), head.columns()], "cross_entropy: rows and width of the hidden");
    let rows = head.rows();
    if let Some((index, &id)) = targets.iter().enumerate().find(|&(_, &id)| id as usize >= rows) {
        return Err(Error::Token { id, index, rows });
    }
    let (losses, _) = match &head.0 {
        Storage::Packed(packed) => {
            Dispatch::cross_entropy(hidden.into_dispatch(), packed, targets, activation)
        }
        Storage::Dense(dense) => {
            let head = (**dense).clone().into_dispatch();
            Dispatch::cross_entropy_dense(hidden.into_dispatch(), head, targets, activation)
        }
        Storage::LowRank(_) => {
            let logits = linear::linear(hidden, head, linear::in_training(activation));
            composed_losses::<Dispatch>(logits.into_dispatch(), targets)
        }
    };
    Ok(Tensor::from_dispatch(losses))
}
