//! A weight matrix: packed for the CPU kernels in any GGUF format, or a dense tensor that can be trained.

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

    /// Outputs.
    pub fn rows(&self) -> usize {
        match &self.0 {
            Storage::Packed(packed) => packed.rows(),
            Storage::Dense(tensor) => tensor.dims()[0],
        }
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        match &self.0 {
            Storage::Packed(packed) => packed.columns(),
            Storage::Dense(tensor) => tensor.dims()[1],
        }
    }

    /// The format of a packed weight.
    pub fn format(&self) -> Option<Format> {
        match &self.0 {
            Storage::Packed(packed) => Some(packed.format()),
            Storage::Dense(_) => None,
        }
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Storage::Packed(packed) => packed.bytes(),
            Storage::Dense(tensor) => tensor.shape().num_elements() * size_of::<f32>(),
        }
    }

    /// The weights as a dense f32 tensor: a copy on the given device, or the trained tensor itself.
    pub fn to_dense(&self, device: &Device) -> Tensor<2> {
        match &self.0 {
            Storage::Packed(packed) => {
                tensor_from(packed.dequantize(), [packed.rows(), packed.columns()]).to_device(device)
            }
            Storage::Dense(tensor) => (**tensor).clone(),
        }
    }
}
