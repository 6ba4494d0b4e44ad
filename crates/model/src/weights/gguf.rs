//! Reading GGUF, versions 2 and 3 (little-endian).
//!
//! Layout: magic, version, tensor count, metadata count, metadata, tensor infos, padding, data. A tensor's
//! dimensions are stored innermost first; this module turns them around.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kernels::quant::Format;

pub use super::gguf_value::{Kind, Value};
pub use super::gguf_writer::write;

use super::gguf_value::Bounded;
use super::{Tensor, bytes_for};
use crate::Error;

/// Data offsets are multiples of this unless `general.alignment` says otherwise.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";
const MAX_DIMENSIONS: u32 = 4;

/// Where one tensor lies and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// How the numbers are stored.
    pub format: Format,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Offset of the first byte in the file.
    offset: u64,
    /// Bytes stored.
    bytes: usize,
}

/// An open GGUF file whose header has been read and checked.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    file: Mutex<File>,
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensor infos by name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Tensor names in the order of the file.
    pub order: Vec<String>,
}

impl Gguf {
    /// Reads and checks the header of the file at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let access = |source| Error::File { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(access)?;
        let length = file.metadata().map_err(access)?.len();
        let invalid = |reason| Error::Format { path: path.to_path_buf(), format: "GGUF", reason };
        let header = read_header(&file, length).map_err(invalid)?;
        Ok(Self {
            path: path.to_path_buf(),
            file: Mutex::new(file),
            metadata: header.metadata,
            tensors: header.tensors,
            order: header.order,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error that this file is invalid for `reason`.
    pub(crate) fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::Format { path: self.path.clone(), format: "GGUF", reason: reason.into() }
    }

    /// Reads the tensor called `name`.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let info =
            self.tensors.get(name).ok_or_else(|| self.invalid(format!("it has no tensor `{name}`")))?;
        let access = |source| Error::File { path: self.path.clone(), source };
        let mut bytes = vec![0; info.bytes];
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(info.offset)).map_err(access)?;
        file.read_exact(&mut bytes).map_err(access)?;
        Ok(Tensor { format: info.format, shape: info.shape.clone(), bytes })
    }

    /// The metadata value `key` as `convert` sees it; an error if it is missing or of another type.
    pub(crate) fn required<'a, T>(
        &'a self,
        key: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<T, Error> {
        self.optional(key, convert)?.ok_or_else(|| self.invalid(format!("metadata key `{key}` is missing")))
    }

    /// As [`Self::required`], but `None` if it is missing.
    pub(crate) fn optional<'a, T>(
        &'a self,
        key: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(value) => convert(value)
                .map(Some)
                .ok_or_else(|| self.invalid(format!("metadata key `{key}` has the wrong type"))),
        }
    }
}

struct Header {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
    order: Vec<String>,
}

fn read_header(file: &File, length: u64) -> Result<Header, String> {
    let mut reader = Bounded::new(BufReader::with_capacity(1 << 16, file), length);
    let magic = reader.u32("the magic number")?;
    if magic.to_le_bytes() != MAGIC {
        return Err("it does not begin with the letters GGUF".into());
    }
    match reader.u32("the version")? {
        2 | 3 => {}
        version if version.swap_bytes() <= 3 => return Err("big-endian files are not supported".into()),
        version => return Err(format!("version {version} is not supported (2 and 3 are)")),
    }
    // A tensor info takes at least 24 bytes (name length, dimension count, type, offset), a pair at least 13.
    let tensor_count = reader.count(24, "the tensor count")?;
    let pair_count = reader.count(13, "the metadata count")?;

    let mut metadata = BTreeMap::new();
    for index in 0..pair_count {
        let key = reader.string(&format!("metadata key {index}"))?;
        let value = reader.value(&format!("metadata value `{key}`"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("metadata key `{key}` occurs twice"));
        }
    }
    let alignment = alignment(&metadata)?;

    let mut tensors = BTreeMap::new();
    let mut order = Vec::new();
    for index in 0..tensor_count {
        let name = reader.string(&format!("name of tensor {index}"))?;
        let info = read_info(&mut reader, &name, alignment)?;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(format!("tensor `{name}` occurs twice"));
        }
        order.push(name);
    }
    let start = reader.position.next_multiple_of(alignment);
    place(&mut tensors, start, length)?;
    Ok(Header { metadata, tensors, order })
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, String> {
    match metadata.get("general.alignment").map(Value::as_integer) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Some(value)) if (1..=1 << 20).contains(&value) && (value as u64).is_power_of_two() => {
            Ok(value as u64)
        }
        Some(value) => Err(format!("`general.alignment` is {value:?}, not a power of two up to 1048576")),
    }
}

fn read_info(
    reader: &mut Bounded<BufReader<&File>>,
    name: &str,
    alignment: u64,
) -> Result<TensorInfo, String> {
    let dimensions = reader.u32("a dimension count")?;
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(format!(
            "tensor `{name}` has {dimensions} dimensions (1 to {MAX_DIMENSIONS} are allowed)"
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = reader.u64("a dimension")?;
        shape.push(usize::try_from(size).map_err(|_| format!("tensor `{name}` has a side of {size}"))?);
    }
    shape.reverse();
    let code = reader.u32("a tensor type")?;
    let format = Format::from_id(code).map_err(|error| format!("tensor `{name}`: {error}"))?;
    let bytes = bytes_for(format, &shape).ok_or_else(|| {
        format!(
            "tensor `{name}` has shape {shape:?}, which is empty, too large or not whole {} blocks",
            format.name()
        )
    })?;
    let offset = reader.u64("a tensor offset")?;
    if offset % alignment != 0 {
        return Err(format!("tensor `{name}` starts at data byte {offset}, not a multiple of {alignment}"));
    }
    Ok(TensorInfo { format, shape, offset, bytes })
}

/// Turns offsets in the data into offsets in the file; every tensor must lie inside it and overlap no other.
fn place(tensors: &mut BTreeMap<String, TensorInfo>, start: u64, length: u64) -> Result<(), String> {
    let mut spans = Vec::with_capacity(tensors.len());
    for (name, info) in tensors.iter_mut() {
        let begin = start.checked_add(info.offset);
        let end = begin.and_then(|begin| begin.checked_add(info.bytes as u64));
        match (begin, end) {
            (Some(begin), Some(end)) if end <= length => {
                info.offset = begin;
                spans.push((begin, end, name));
            }
            _ => {
                return Err(format!(
                    "tensor `{name}` ({} bytes at data byte {}) reaches beyond the end of the file ({length} bytes); \
                     the file is truncated or corrupted",
                    info.bytes, info.offset
                ));
            }
        }
    }
    spans.sort();
    match spans.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(format!("tensors `{}` and `{}` overlap", pair[0].2, pair[1].2)),
        None => Ok(()),
    }
}
