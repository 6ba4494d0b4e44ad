//! A checkpoint on disk, seen the same way whether it is a GGUF file or a folder with safetensors.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::config::RopeStyle;
use crate::families::{self, Family};
use crate::template::{CHATML, ChatTemplate};
use crate::tokenizer::{Tokenizer, Vocabulary};
use crate::transformer::WeightSource;
use crate::weights::Tensor;
use crate::weights::gguf::{Gguf, Value};
use crate::weights::safetensors::{SafeTensors, read_json};
use crate::{Config, Error, Init};

/// An open checkpoint whose configuration has been read and compared with the tensors.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    family: &'static Family,
    config: Config,
    files: Files,
}

#[derive(Debug)]
pub(crate) enum Files {
    Gguf(Gguf),
    Folder { weights: SafeTensors, config: Json },
}

impl Checkpoint {
    /// Opens a `.gguf` file, or a folder with `config.json` and safetensors, or with a single `.gguf` file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let config_path = path.join("config.json");
        let (files, family, config) = if config_path.is_file() {
            let json = read_json(&config_path)?;
            let weights = SafeTensors::open(path)?;
            let (family, config) =
                families::from_config_json(&json, weights.tensors.contains_key("lm_head.weight"))?;
            refuse_unexpected(&config, weights.tensors.keys(), |ours| families::folder_name(family, ours))?;
            (Files::Folder { weights, config: json }, family, config)
        } else {
            let gguf = Gguf::open(&gguf_file(path)?)?;
            let (family, config) = families::from_gguf(&gguf)?;
            refuse_unexpected(&config, gguf.tensors.keys(), families::gguf_name)?;
            (Files::Gguf(gguf), family, config)
        };
        Ok(Self { path: path.to_path_buf(), family, config, files })
    }

    /// What it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The family it belongs to.
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Everything about the model except its weights.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// A short name for reports.
    pub fn name(&self) -> String {
        let stated = match &self.files {
            Files::Gguf(gguf) => gguf.metadata.get("general.name").and_then(Value::as_str),
            Files::Folder { config, .. } => config["_name_or_path"].as_str().filter(|name| !name.is_empty()),
        };
        let stem = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        stated.map_or_else(stem, str::to_string)
    }

    /// The tensor we call `ours` (see `transformer`), as stored: a GGUF Llama's query and key rows are in
    /// the interleaved order that its configuration states.
    pub fn tensor(&self, ours: &str) -> Result<Tensor, Error> {
        let unknown =
            || Error::Unsupported(format!("{} checkpoints have no tensor `{ours}`", self.family.name));
        match &self.files {
            Files::Gguf(gguf) => gguf.tensor(&families::gguf_name(ours).ok_or_else(unknown)?),
            Files::Folder { weights, .. } => {
                weights.tensor(&families::folder_name(self.family, ours).ok_or_else(unknown)?)
            }
        }
    }

    /// Our names of all its tensors, in a fixed order.
    pub fn tensor_names(&self) -> Vec<String> {
        families::tensor_names(&self.config)
    }

    /// [`tensor`](Self::tensor) with query and key rows in the order of `style`, so that checkpoints of different
    /// kinds can be compared.
    pub fn tensor_in(&self, ours: &str, style: RopeStyle) -> Result<Tensor, Error> {
        crate::convert::restyle(ours, self.tensor(ours)?, &self.config, style)
    }

    /// The shape of the tensor we call `ours`, as the header states it.
    pub fn shape(&self, ours: &str) -> Result<Vec<usize>, Error> {
        let found = match &self.files {
            Files::Gguf(gguf) => families::gguf_name(ours)
                .and_then(|name| gguf.tensors.get(&name))
                .map(|info| info.shape.clone()),
            Files::Folder { weights, .. } => families::folder_name(self.family, ours)
                .and_then(|name| weights.tensors.get(&name))
                .map(|info| info.shape.clone()),
        };
        found.ok_or_else(|| Error::Format {
            path: self.path.clone(),
            format: "checkpoint",
            reason: format!("it has no tensor `{ours}`"),
        })
    }

    /// The tokenizer. Errors if there is none or its tokens outnumber the embedding's rows.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let vocabulary = match &self.files {
            Files::Gguf(gguf) => Vocabulary::from_gguf(gguf)?,
            Files::Folder { config, .. } => {
                let mut vocabulary = Vocabulary::from_folder(&self.path)?;
                vocabulary.bos = vocabulary.bos.or(id(&config["bos_token_id"]));
                vocabulary.eos = vocabulary.eos.or(id(&config["eos_token_id"]));
                vocabulary
            }
        };
        let invalid = |reason: String| Error::Format { path: self.path.clone(), format: "tokenizer", reason };
        if vocabulary.tokens.len() > self.config.vocabulary {
            return Err(invalid(format!(
                "it has {} tokens but the embedding has {} rows",
                vocabulary.tokens.len(),
                self.config.vocabulary
            )));
        }
        Tokenizer::new(vocabulary).map_err(invalid)
    }

    /// The text of the chat template, if the checkpoint carries one.
    pub fn chat_template_source(&self) -> Result<Option<String>, Error> {
        match &self.files {
            Files::Gguf(gguf) => {
                Ok(gguf.optional("tokenizer.chat_template", Value::as_str)?.map(str::to_string))
            }
            Files::Folder { .. } => {
                let file = self.path.join("chat_template.jinja");
                if file.is_file() {
                    let read = std::fs::read_to_string(&file);
                    return read.map(Some).map_err(|source| Error::File { path: file, source });
                }
                let config = self.path.join("tokenizer_config.json");
                let json = if config.is_file() { read_json(&config)? } else { Json::Null };
                Ok(template_in(&json["chat_template"]))
            }
        }
    }

    /// The chat template, or ChatML's if the checkpoint carries none.
    pub fn chat_template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate, Error> {
        let source = self.chat_template_source()?;
        let vocabulary = tokenizer.vocabulary();
        let text =
            |id: Option<u32>| id.and_then(|id| vocabulary.tokens.get(id as usize)).map_or("", String::as_str);
        ChatTemplate::new(source.as_deref().unwrap_or(CHATML), text(vocabulary.bos), text(vocabulary.eos))
    }

    pub(crate) fn checked(&self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let tensor = self.tensor(name)?;
        if tensor.shape != shape {
            return Err(Error::Format {
                path: self.path.clone(),
                format: "checkpoint",
                reason: format!(
                    "tensor `{name}` has shape {:?} but the configuration asks for {shape:?}",
                    tensor.shape
                ),
            });
        }
        Ok(tensor)
    }
}

impl WeightSource for &Checkpoint {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize, _: Init) -> Result<ops::Weight, Error> {
        let tensor = self.checked(name, &[rows, columns])?;
        Ok(ops::Weight::from_bytes(tensor.format, rows, columns, &tensor.bytes)?)
    }

    fn vector(&mut self, name: &str, length: usize, _: Init) -> Result<burn::tensor::Tensor<1>, Error> {
        Ok(ops::tensor_from(self.checked(name, &[length])?.to_f32()?, [length]))
    }
}

fn refuse_unexpected<'n>(
    config: &Config,
    stored: impl Iterator<Item = &'n String>,
    name: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    match families::unexpected(config, stored, name) {
        Some(tensor) => {
            Err(Error::Unsupported(format!("tensor `{tensor}` has no place in the forward pass")))
        }
        None => Ok(()),
    }
}

/// `path` itself, or the only GGUF file in it.
fn gguf_file(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let access = |source| Error::File { path: path.to_path_buf(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(access)? {
        let file = entry.map_err(access)?.path();
        if file.extension().is_some_and(|extension| extension == "gguf") {
            found.push(file);
        }
    }
    match <[PathBuf; 1]>::try_from(found) {
        Ok([file]) => Ok(file),
        Err(found) => Err(Error::Unsupported(format!(
            "`{}` has no config.json and {} GGUF files; name one file, or a folder with config.json and safetensors",
            path.display(),
            found.len()
        ))),
    }
}

fn id(json: &Json) -> Option<u32> {
    json.as_u64().or_else(|| json[0].as_u64()).and_then(|id| u32::try_from(id).ok())
}

/// A template is a text, or one of several named ones.
fn template_in(json: &Json) -> Option<String> {
    let named = || json.as_array()?.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    json.as_str().or_else(named).map(str::to_string)
}
