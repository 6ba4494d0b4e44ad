//! Reading and writing folders with `*.safetensors` files, and the JSON files beside them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kernels::quant::Format;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::Value as Json;

use super::{Tensor, bytes_for, write_beside};
use crate::Error;

/// JSON files larger than this are not configurations or vocabularies.
const MAX_JSON: u64 = 256 << 20;
/// The format's own limit on its header.
const MAX_HEADER: u64 = 100_000_000;

/// Where one tensor lies and what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// How the numbers are stored.
    pub format: Format,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    file: usize,
    offset: u64,
    bytes: usize,
}

/// The tensors of a folder: `model.safetensors`, or the files `model.safetensors.index.json` names.
#[derive(Debug)]
pub struct SafeTensors {
    files: Vec<(PathBuf, Mutex<File>)>,
    /// Tensor infos by name.
    pub tensors: BTreeMap<String, TensorInfo>,
}

impl SafeTensors {
    /// Reads and checks the headers of all files of `folder`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let index = folder.join("model.safetensors.index.json");
        let names = if index.exists() { shards(&index)? } else { vec!["model.safetensors".to_string()] };
        let mut all = Self { files: Vec::new(), tensors: BTreeMap::new() };
        for name in names {
            all.add(&folder.join(name))?;
        }
        Ok(all)
    }

    /// Reads and checks the header of one file.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let mut all = Self { files: Vec::new(), tensors: BTreeMap::new() };
        all.add(path)?;
        Ok(all)
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let access = |source| Error::File { path: path.to_path_buf(), source };
        let invalid =
            |reason: String| Error::Format { path: path.to_path_buf(), format: "safetensors", reason };
        let mut file = File::open(path).map_err(access)?;
        let length = file.metadata().map_err(access)?.len();
        let truncated = || invalid("the file ends inside its header (truncated)".into());
        let mut size = [0; 8];
        if length < 8 {
            return Err(truncated());
        }
        file.read_exact(&mut size).map_err(access)?;
        let header = u64::from_le_bytes(size);
        if header > MAX_HEADER {
            return Err(invalid(format!("its header claims {header} bytes, more than the format allows")));
        }
        if header > length - 8 {
            return Err(truncated());
        }
        let mut bytes = vec![0; header as usize];
        file.read_exact(&mut bytes).map_err(access)?;
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| invalid(format!("header: {error}")))?;
        let data = length - 8 - header;
        if metadata.data_len() as u64 != data {
            return Err(invalid(format!(
                "the header describes {} bytes of data but the file holds {data} (truncated or corrupted)",
                metadata.data_len()
            )));
        }
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let Some(format) = format_of(info.dtype) else { continue };
            let bytes = info.data_offsets.1 - info.data_offsets.0;
            if bytes_for(format, &info.shape) != Some(bytes) {
                return Err(invalid(format!(
                    "tensor `{name}` of shape {:?} cannot take {bytes} bytes",
                    info.shape
                )));
            }
            let offset = 8 + header + info.data_offsets.0 as u64;
            let info =
                TensorInfo { format, shape: info.shape.clone(), file: self.files.len(), offset, bytes };
            if self.tensors.insert(name.clone(), info).is_some() {
                return Err(invalid(format!("tensor `{name}` is also in another file")));
            }
        }
        self.files.push((path.to_path_buf(), Mutex::new(file)));
        Ok(())
    }

    /// Reads the tensor called `name`.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let found = self.tensors.get(name).and_then(|info| Some((info, self.files.get(info.file)?)));
        let Some((info, (path, file))) = found else {
            let path = self.files.first().map(|(path, _)| path.clone()).unwrap_or_default();
            let reason = format!("it has no tensor `{name}` of a supported type (F32, F16, BF16)");
            return Err(Error::Format { path, format: "safetensors", reason });
        };
        let access = |source| Error::File { path: path.clone(), source };
        let mut bytes = vec![0; info.bytes];
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(info.offset)).map_err(access)?;
        file.read_exact(&mut bytes).map_err(access)?;
        Ok(Tensor { format: info.format, shape: info.shape.clone(), bytes })
    }
}

/// The distinct files an index names, in order. They must lie in the folder itself.
fn shards(index: &Path) -> Result<Vec<String>, Error> {
    let invalid = |reason: &str| Error::Format {
        path: index.to_path_buf(),
        format: "safetensors index",
        reason: reason.to_string(),
    };
    let json = read_json(index)?;
    let map = json["weight_map"].as_object().ok_or_else(|| invalid("it has no `weight_map`"))?;
    let mut names = Vec::new();
    for name in map.values() {
        let name = name.as_str().ok_or_else(|| invalid("a file name is not a text"))?;
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(invalid("a file name points outside the folder"));
        }
        names.push(name.to_string());
    }
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(invalid("it names no files"));
    }
    Ok(names)
}

fn format_of(dtype: Dtype) -> Option<Format> {
    match dtype {
        Dtype::F32 => Some(Format::F32),
        Dtype::F16 => Some(Format::F16),
        Dtype::BF16 => Some(Format::BF16),
        _ => None,
    }
}

/// Writes one safetensors file. `plan` lists name, format (F32, F16 or BF16) and shape of every tensor;
/// `tensor` delivers each when its turn comes. The file appears under its name only when complete.
pub fn write(
    path: &Path,
    plan: &[(String, Format, Vec<usize>)],
    mut tensor: impl FnMut(usize) -> Result<Tensor, Error>,
) -> Result<(), Error> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    let mut offset = 0usize;
    for (name, format, shape) in plan {
        let dtype = match format {
            Format::F32 | Format::F16 | Format::BF16 => format.name(),
            _ => {
                return Err(Error::Request(format!(
                    "safetensors cannot hold {} (tensor `{name}`)",
                    format.name()
                )));
            }
        };
        let bytes = bytes_for(*format, shape)
            .ok_or_else(|| Error::Request(format!("tensor `{name}` has impossible shape {shape:?}")))?;
        let end = offset + bytes;
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let mut header = Json::Object(header).to_string().into_bytes();
    // The data begins at a multiple of 8, so that readers may map it.
    header.resize(header.len().next_multiple_of(8), b' ');
    write_beside(path, |file, _| {
        let access = |source| Error::File { path: path.to_path_buf(), source };
        let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(access)?;
        out.write_all(&header).map_err(access)?;
        for (index, (name, format, shape)) in plan.iter().enumerate() {
            let tensor = tensor(index)?;
            if tensor.format != *format
                || tensor.shape != *shape
                || bytes_for(*format, shape) != Some(tensor.bytes.len())
            {
                return Err(Error::Request(format!("tensor `{name}` differs from what was announced")));
            }
            out.write_all(&tensor.bytes).map_err(access)?;
        }
        out.into_inner().map_err(|error| access(error.into_error()))?.sync_all().map_err(access)
    })
}

/// Reads a JSON file of reasonable size.
pub(crate) fn read_json(path: &Path) -> Result<Json, Error> {
    let access = |source| Error::File { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(access)?;
    let length = file.metadata().map_err(access)?.len();
    let invalid = |reason| Error::Format { path: path.to_path_buf(), format: "JSON", reason };
    if length > MAX_JSON {
        return Err(invalid(format!("it is {length} bytes long, more than the {MAX_JSON} this reads")));
    }
    serde_json::from_reader(BufReader::new(file)).map_err(|error| invalid(error.to_string()))
}

/// Writes a JSON file that appears under its name only when complete.
pub(crate) fn write_json(path: &Path, json: &Json) -> Result<(), Error> {
    write_beside(path, |mut file, _| {
        let access = |source| Error::File { path: path.to_path_buf(), source };
        let mut text = serde_json::to_string_pretty(json).map_err(|error| access(error.into()))?;
        text.push('\n');
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(access)
    })
}
