//! Weight files: tensors by name, in the number formats of the checkpoint.
//!
//! Both readers check every count, length and offset against the file before they trust it, and read a
//! tensor's bytes only when asked. Both writers write beside the target and rename when complete.

pub mod gguf;
mod gguf_value;
mod gguf_writer;
pub mod safetensors;

use std::fs::File;
use std::path::{Path, PathBuf};

use kernels::quant::Format;

use crate::Error;

/// A tensor as a checkpoint stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// How the numbers are stored.
    pub format: Format,
    /// Sizes, outermost first: a matrix is `[rows, columns]`, each row contiguous.
    pub shape: Vec<usize>,
    /// The stored bytes, blocks in row order.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of `f32` values.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { format: Format::F32, shape, bytes }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// All values as `f32`.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; self.elements()];
        kernels::quant::dequantize(self.format, &self.bytes, &mut values)?;
        Ok(values)
    }
}

/// Bytes a tensor of this format and shape takes; `None` on overflow, on an empty shape or side, or if a row
/// is not a whole number of blocks.
pub(crate) fn bytes_for(format: Format, shape: &[usize]) -> Option<usize> {
    let (columns, outer) = shape.split_last()?;
    let rows = outer.iter().try_fold(1usize, |product, size| product.checked_mul(*size))?;
    // The element count must fit as well, whatever the block size.
    rows.checked_mul(*columns)?;
    format.bytes_of(rows, *columns).ok().filter(|bytes| *bytes > 0)
}

/// Lets `fill` write a new file beside `path` and renames it to `path` when that succeeded, so a file of that
/// name is always complete.
pub(crate) fn write_beside(
    path: &Path,
    fill: impl FnOnce(File, &PathBuf) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let access = |source| Error::File { path: path.to_path_buf(), source };
    let result = File::create(&part)
        .map_err(access)
        .and_then(|file| fill(file, &part))
        .and_then(|()| std::fs::rename(&part, path).map_err(access));
    if result.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    result
}
