//! A fetched input, and which part of it is the model or the corpus.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::lock::Lock;
use crate::failure::bad_input;

/// Endings of files that hold documents, most structured first.
const DOCUMENTS: &[&str] =
    &["db", "sqlite", "sqlite3", "jsonl", "zst", "csv", "tsv", "md", "txt", "html", "htm", "pdf", "json"];

/// An input on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    source: String,
    place: PathBuf,
    lock: Lock,
}

impl Fetched {
    pub(crate) fn new(source: String, place: PathBuf, lock: Lock) -> Self {
        Self { source, place, lock }
    }

    /// As the user named it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The folder or file.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// What it consists of.
    pub(crate) fn lock(&self) -> &Lock {
        &self.lock
    }

    /// One hash for all of it.
    pub(crate) fn hash(&self) -> String {
        self.lock.hash()
    }

    /// The GGUF file, or the folder with `config.json`.
    pub(crate) fn model(&self) -> Result<PathBuf> {
        if self.place.is_file() {
            return Ok(self.place.clone());
        }
        let named = |ending: &str| -> Vec<&str> {
            self.lock
                .files
                .iter()
                .map(|file| file.path.as_str())
                .filter(|path| path.ends_with(ending))
                .collect()
        };
        match (named("config.json").iter().find(|path| is_named(path, "config.json")), &named(".gguf")[..]) {
            (_, [one]) => Ok(self.place.join(one)),
            (Some(config), []) => Ok(self.place.join(config).parent().unwrap_or(&self.place).to_owned()),
            (None, []) => Err(bad_input(format!("`{}` holds no .gguf file and no config.json", self.source))),
            (_, several) => Err(bad_input(format!(
                "`{}` holds several .gguf files ({}); name one",
                self.source,
                several.join(", ")
            ))),
        }
    }

    /// The files to govern: the named part; or the database of a package, otherwise everything.
    pub(crate) fn corpus(&self, part: &str) -> Result<PathBuf> {
        if !part.is_empty() {
            let path = self.place.join(part);
            let inside = Path::new(part).components().all(|c| matches!(c, std::path::Component::Normal(_)));
            return match inside && path.exists() {
                true => Ok(path),
                false => Err(bad_input(format!("`{}` has no part `{part}`", self.source))),
            };
        }
        if self.lock.source.is_empty() {
            return Ok(self.place.clone());
        }
        let ending = |path: &str| Path::new(path).extension().and_then(|e| e.to_str().map(str::to_lowercase));
        for wanted in DOCUMENTS {
            let found: Vec<&str> = self
                .lock
                .files
                .iter()
                .map(|file| file.path.as_str())
                .filter(|path| ending(path).as_deref() == Some(*wanted))
                .collect();
            match found[..] {
                [] => {}
                [one] => return Ok(self.place.join(one)),
                _ => return Ok(self.place.clone()),
            }
        }
        Err(bad_input(format!("`{}` holds no documents ({})", self.source, DOCUMENTS.join(", "))))
    }
}

fn is_named(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}
