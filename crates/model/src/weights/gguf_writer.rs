//! Writing GGUF version 3.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::gguf::{DEFAULT_ALIGNMENT, Kind, MAGIC, Value};
use super::{Tensor, bytes_for};
use crate::Error;
use kernels::quant::Format;

/// Writes a GGUF file. `plan` lists name, format and shape (outermost first) of every tensor in file order;
/// `tensor` delivers each when its turn comes, so only one is in memory at a time.
///
/// The file is written beside `path` and renamed when complete. Errors if a delivered tensor differs from
/// the plan or the disk refuses.
pub fn write(
    path: &Path,
    metadata: &BTreeMap<String, Value>,
    plan: &[(String, Format, Vec<usize>)],
    mut tensor: impl FnMut(usize) -> Result<Tensor, Error>,
) -> Result<(), Error> {
    crate::weights::write_beside(path, |file: File, _: &PathBuf| {
        let access = |source| Error::File { path: path.to_path_buf(), source };
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let header = header(metadata, plan)?;
        out.write_all(&header).map_err(access)?;
        pad(&mut out, header.len()).map_err(access)?;
        for (index, (name, format, shape)) in plan.iter().enumerate() {
            let tensor = tensor(index)?;
            let bytes = bytes_for(*format, shape);
            if tensor.format != *format || tensor.shape != *shape || Some(tensor.bytes.len()) != bytes {
                return Err(Error::Request(format!(
                    "tensor `{name}` was announced as {} {shape:?} but is {} {:?}",
                    format.name(),
                    tensor.format.name(),
                    tensor.shape
                )));
            }
            out.write_all(&tensor.bytes).map_err(access)?;
            pad(&mut out, tensor.bytes.len()).map_err(access)?;
        }
        out.into_inner().map_err(|error| access(error.into_error()))?.sync_all().map_err(access)
    })
}

fn pad(out: &mut impl Write, written: usize) -> std::io::Result<()> {
    let alignment = DEFAULT_ALIGNMENT as usize;
    out.write_all(&vec![0; written.next_multiple_of(alignment) - written])
}

fn header(
    metadata: &BTreeMap<String, Value>,
    plan: &[(String, Format, Vec<usize>)],
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(3u32.to_le_bytes());
    out.extend((plan.len() as u64).to_le_bytes());
    // The alignment of the source need not be ours.
    let pairs: Vec<_> = metadata.iter().filter(|(key, _)| *key != "general.alignment").collect();
    out.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        string(&mut out, key);
        let kind = match value {
            Value::Number(kind, _) => *kind,
            Value::String(_) => Kind::String,
            Value::Numbers(..) | Value::Strings(_) | Value::Lists(_) => Kind::Array,
        };
        out.extend(kind.code().to_le_bytes());
        content(&mut out, value);
    }
    let mut offset = 0u64;
    for (name, format, shape) in plan {
        let bytes = bytes_for(*format, shape).ok_or_else(|| {
            Error::Request(format!(
                "tensor `{name}` of shape {shape:?} cannot be stored as {}",
                format.name()
            ))
        })?;
        string(&mut out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        for size in shape.iter().rev() {
            out.extend((*size as u64).to_le_bytes());
        }
        out.extend(format.id().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += (bytes as u64).next_multiple_of(DEFAULT_ALIGNMENT);
    }
    Ok(out)
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn content(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(kind, bytes) => out.extend(&bytes[..kind.bytes()]),
        Value::String(text) => string(out, text),
        Value::Numbers(kind, bytes) => {
            out.extend(kind.code().to_le_bytes());
            out.extend(((bytes.len() / kind.bytes()) as u64).to_le_bytes());
            out.extend(bytes);
        }
        Value::Strings(texts) => {
            out.extend(Kind::String.code().to_le_bytes());
            out.extend((texts.len() as u64).to_le_bytes());
            for text in texts {
                string(out, text);
            }
        }
        Value::Lists(lists) => {
            out.extend(Kind::Array.code().to_le_bytes());
            out.extend((lists.len() as u64).to_le_bytes());
            for list in lists {
                content(out, list);
            }
        }
    }
}
