//! The loss of next-token prediction, `−log softmax(hidden · headᵀ)[target]` per row, without keeping the logits.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, TensorData};
use kernels::linear::PackedWeight;

use crate::weight::{Storage, Weight};
use crate::{Activation, Error, linear};

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait CrossEntropy: Backend {
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        head: &Arc<PackedWeight>,
        targets: &[u32],
    ) -> FloatTensor<Self> {
        let head = linear::dense::<Self>(head, &hidden.device());
        composed::<Self>(hidden, head, targets)
    }

    fn cross_entropy_dense(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        targets: &[u32],
    ) -> FloatTensor<Self> {
        composed::<Self>(hidden, head, targets)
    }
}

impl<B: CrossEntropy, C: CheckpointStrategy> CrossEntropy for Autodiff<B, C> {}

impl CrossEntropy for Flex {}

fn composed<B: Backend>(hidden: FloatTensor<B>, head: FloatTensor<B>, targets: &[u32]) -> FloatTensor<B> {
    composed_losses::<B>(B::float_matmul(hidden, B::float_transpose(head)), targets)
}

/// `−log softmax(logits)[target]` per row, `[rows]`.
pub(crate) fn composed_losses<B: Backend>(logits: FloatTensor<B>, targets: &[u32]) -> FloatTensor<B> {
    let rows = targets.len();
    let ids = targets.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
    let ids = B::int_from_data(TensorData::new(ids, [rows, 1]), &logits.device());
    let picked = B::float_gather(1, B::log_softmax(logits, 1), ids);
    B::float_neg(B::float_reshape(picked, Shape::new([rows])))
}

/// `−log p(target)` of each row of `hidden` `[n, width]` under `head` `[vocabulary, width]`, in nats, `[n]`.
///
/// Gradients reach `hidden` and a tracked dense `head`. Rows are worked on in groups, so the logits of all rows
/// never exist at once on the CPU.
///
/// # Errors
/// A target is outside the vocabulary.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn cross_entropy(hidden: Tensor<2>, head: &Weight, targets: &[u32]) -> Result<Tensor<1>, Error> {
    assert_eq!(hidden.dims(), [targets.len(), head.columns()], "cross_entropy: rows and width of the hidden");
    let rows = head.rows();
    if let Some((index, &id)) = targets.iter().enumerate().find(|&(_, &id)| id as usize >= rows) {
        return Err(Error::Token { id, index, rows });
    }
    Ok(Tensor::from_dispatch(match &head.0 {
        Storage::Packed(packed) => Dispatch::cross_entropy(hidden.into_dispatch(), packed, targets),
        Storage::Dense(dense) => {
            Dispatch::cross_entropy_dense(hidden.into_dispatch(), (**dense).clone().into_dispatch(), targets)
        }
        Storage::LowRank(_) => {
            let logits = linear::linear(hidden, head, Activation::F32);
            composed_losses::<Dispatch>(logits.into_dispatch(), targets)
        }
    }))
}
