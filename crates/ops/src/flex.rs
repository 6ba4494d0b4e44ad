//! Between Burn's CPU tensors and slices: what every kernel-backed operation starts and ends with.

use std::cell::Cell;

use burn::backend::tensor::FloatTensor;
use burn::backend::{DType, Flex, FloatDType, ops::FloatTensorOps};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use kernels::attention as kernel;

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs the composed bodies in place of the kernels.
pub(crate) fn composed() -> bool {
    COMPOSED.get()
}

/// Sets [`composed`] and returns what it was.
pub(crate) fn set_composed(composed: bool) -> bool {
    COMPOSED.replace(composed)
}

/// A CPU tensor of Burn.
pub(crate) type CpuTensor = FloatTensor<Flex>;

/// The same values as contiguous f32, which is what the kernels read.
pub(crate) fn contiguous(tensor: CpuTensor) -> CpuTensor {
    let tensor = match tensor.dtype() {
        DType::F32 => tensor,
        _ => Flex::float_cast(tensor, FloatDType::F32),
    };
    if tensor.layout().contiguous_offsets().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The values of a tensor that [`contiguous`] returned.
pub(crate) fn values(tensor: &CpuTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("contiguous() made the tensor contiguous f32")
}

/// The values of a tensor: its own memory if nobody shares it.
pub(crate) fn into_values(tensor: CpuTensor) -> Vec<f32> {
    let data = contiguous(tensor).into_data();
    data.try_into_vec::<f32>().expect("contiguous() made the tensor f32")
}

/// A CPU tensor that takes over `values`.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> CpuTensor {
    Flex::float_from_data(TensorData::new(values, shape), &Default::default())
}

/// The attention pattern of queries over a `[kv_heads, capacity, head_dim]` memory.
pub(crate) fn pattern(shape: &kernel::Shape, q: &CpuTensor, keys: &[f32]) -> CpuTensor {
    let mut rows = vec![0.0; shape.pattern_len()];
    kernel::scores(shape, values(q), keys, &mut rows);
    kernel::pattern(shape, &mut rows);
    tensor(rows, [shape.heads, shape.tokens, shape.keys()])
}

/// The values of a `[kv_heads, capacity, head_dim]` memory, weighted by an attention pattern.
pub(crate) fn mix(shape: &kernel::Shape, pattern: CpuTensor, memory: &[f32]) -> CpuTensor {
    let pattern = contiguous(pattern);
    let mut y = vec![0.0; shape.query_len()];
    kernel::mix(shape, values(&pattern), memory, &mut y);
    tensor(y, [shape.tokens, shape.heads * shape.head_dim])
}

/// A tensor on the CPU from row-major values.
///
/// # Panics
/// If the number of values is not the product of the shape.
pub fn tensor_from<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// The values of a tensor, row-major, read from whatever device holds it.
pub fn values_of<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("a float tensor can be read as f32")
}
