//! A weight matrix: packed for the CPU kernels in any GGUF format, a dense tensor that can be trained, or either
//! with a trainable low-rank addition.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use kernels::linear::PackedWeight;
use kernels::quant::Format;

use crate::flex::tensor_from;

/// A matrix `[rows = outputs, columns = inputs]`; cloning shares it.
#[derive(Clone, Debug)]
pub struct Weight(pub(crate) Storage);

#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// Frozen, in the checkpoint's format, laid out for the kernels.
    Packed(Arc<PackedWeight>),
    /// A Burn tensor, on any device, tracked or not.
    Dense(Box<Tensor<2>>),
    /// Another weight plus `scale · b · a`.
    LowRank(Arc<LowRank>),
}

#[derive(Debug)]
pub(crate) struct LowRank {
    pub(crate) base: Weight,
    /// `[rank, columns]`.
    pub(crate) a: Tensor<2>,
    /// `[rows, rank]`.
    pub(crate) b: Tensor<2>,
    pub(crate) scale: f32,
}

impl Weight {
    /// Packs the row-major blocks of a checkpoint.
    ///
    /// # Errors
    /// The number of bytes is not that of `rows` × `columns` weights in `format`.
    pub fn from_bytes(
        format: Format,
        rows: usize,
        columns: usize,
        bytes: &[u8],
    ) -> Result<Self, kernels::Error> {
        Ok(Self(Storage::Packed(Arc::new(PackedWeight::pack(format, bytes, rows, columns)?))))
    }

    /// Shares a weight that is packed already.
    pub fn packed(weight: Arc<PackedWeight>) -> Self {
        Self(Storage::Packed(weight))
    }

    /// A tensor `[rows, columns]`; gradients reach it if it is tracked.
    pub fn dense(tensor: Tensor<2>) -> Self {
        Self(Storage::Dense(Box::new(tensor)))
    }

    /// `base + scale · b · a` (Hu et al. 2021, arXiv:2106.09685), with `a` `[rank, columns]` and `b` `[rows, rank]`;
    /// never multiplied out. Gradients reach `a`, `b` and a dense base that are tracked.
    ///
    /// # Panics
    /// If the shapes do not fit: a fault of the caller, not of user input.
    pub fn low_rank(base: Weight, a: Tensor<2>, b: Tensor<2>, scale: f32) -> Self {
        let ([rank, columns], [rows, rank_b]) = (a.dims(), b.dims());
        assert!(
            rank == rank_b && rows == base.rows() && columns == base.columns(),
            "low_rank: a [{rank}, {columns}] and b [{rows}, {rank_b}] on a weight [{}, {}]",
            base.rows(),
            base.columns()
        );
        Self(Storage::LowRank(Arc::new(LowRank { base, a, b, scale })))
    }

    /// Whether gradients reach a part of it.
    pub fn is_tracked(&self) -> bool {
        match &self.0 {
            Storage::Packed(_) => false,
            Storage::Dense(tensor) => tensor.is_tracked(),
            Storage::LowRank(low) => low.a.is_tracked() || low.b.is_tracked() || low.base.is_tracked(),
        }
    }

    /// The packed or dense weight under every low-rank addition.
    pub(crate) fn base(&self) -> &Storage {
        match &self.0 {
            Storage::LowRank(low) => low.base.base(),
            storage => storage,
        }
    }

    /// The low-rank additions, the outermost first.
    pub(crate) fn additions(&self) -> impl Iterator<Item = &LowRank> {
        std::iter::successors(self.as_low_rank(), |low| low.base.as_low_rank())
    }

    fn as_low_rank(&self) -> Option<&LowRank> {
        match &self.0 {
            Storage::LowRank(low) => Some(low),
            _ => None,
        }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        match &self.0 {
            Storage::Packed(packed) => packed.rows(),
            Storage::Dense(tensor) => tensor.dims()[0],
            Storage::LowRank(low) => low.base.rows(),
        }
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        match &self.0 {
            Storage::Packed(packed) => packed.columns(),
            Storage::Dense(tensor) => tensor.dims()[1],
            Storage::LowRank(low) => low.base.columns(),
        }
    }

    /// The format of a packed weight, or of a packed base.
    pub fn format(&self) -> Option<Format> {
        match self.base() {
            Storage::Packed(packed) => Some(packed.format()),
            _ => None,
        }
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Storage::Packed(packed) => packed.bytes(),
            Storage::Dense(tensor) => tensor.shape().num_elements() * size_of::<f32>(),
            Storage::LowRank(low) => {
                let added = low.a.shape().num_elements() + low.b.shape().num_elements();
                low.base.bytes() + added * size_of::<f32>()
            }
        }
    }

    /// The weights as a dense f32 tensor: a copy on the given device, or the trained tensor itself; low-rank
    /// additions are multiplied out.
    pub fn to_dense(&self, device: &Device) -> Tensor<2> {
        match &self.0 {
            Storage::Packed(packed) => {
                tensor_from(packed.dequantize(), [packed.rows(), packed.columns()]).to_device(device)
            }
            Storage::Dense(tensor) => (**tensor).clone(),
            Storage::LowRank(low) => {
                low.base.to_dense(device) + low.b.clone().matmul(low.a.clone()) * low.scale
            }
        }
    }
}
