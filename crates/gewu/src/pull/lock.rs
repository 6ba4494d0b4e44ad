//! `lock.json`: what a fetched input consists of, and the proof that it still does.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Source;

const NAME: &str = "lock.json";

/// What the origin says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// Version or commit.
    pub(crate) version: String,
    /// SPDX expression, if the origin states one.
    pub(crate) licence: String,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockedFile {
    /// Path inside the input, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

/// The record of a fetched input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lock {
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) licence: String,
    pub(crate) files: Vec<LockedFile>,
}

impl Lock {
    /// Hashes every file below `folder`.
    pub(crate) fn of(source: &Source, details: Details, folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for path in files_below(folder)? {
            files.push(locked(&path, path.strip_prefix(folder).unwrap_or(&path))?);
        }
        if files.is_empty() {
            bail!("`{source}` holds no files");
        }
        Ok(Self { source: source.to_string(), version: details.version, licence: details.licence, files })
    }

    /// Hashes a user's file or folder; nothing is written.
    pub(crate) fn of_path(path: &Path) -> Result<Self> {
        let mut files = Vec::new();
        if path.is_dir() {
            for file in files_below(path)? {
                files.push(locked(&file, file.strip_prefix(path).unwrap_or(&file))?);
            }
        } else {
            files.push(locked(path, Path::new(path.file_name().unwrap_or_default()))?);
        }
        Ok(Self { source: String::new(), version: String::new(), licence: String::new(), files })
    }

    /// The lock of a complete input; `None` if there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().or(Some(Self {
                source: String::new(),
                version: String::new(),
                licence: String::new(),
                files: Vec::new(),
            }))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if folder.exists() {
                    // No lock: not complete, whatever else is there.
                    fs::remove_dir_all(folder)
                        .with_context(|| format!("cannot remove `{}`", folder.display()))?;
                }
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Checks that every file is there with the recorded content.
    pub(crate) fn verify(&self, folder: &Path) -> Result<()> {
        if self.files.is_empty() {
            bail!("its lock.json is not readable");
        }
        for file in &self.files {
            let found = ledger::hash_file(folder.join(&file.path))?;
            if found != file.blake3 {
                bail!("`{}` has hash {found}, recorded is {}", file.path, file.blake3);
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(ledger::write_atomic(folder.join(NAME), text.as_bytes())?)
    }

    /// One hash for the whole input.
    pub(crate) fn hash(&self) -> String {
        let parts: Vec<&str> =
            self.files.iter().flat_map(|file| [file.path.as_str(), file.blake3.as_str()]).collect();
        ledger::short_hash(&parts)
    }
}

fn locked(file: &Path, name: &Path) -> Result<LockedFile> {
    let bytes = fs::metadata(file).with_context(|| format!("cannot read `{}`", file.display()))?.len();
    let path = name.to_string_lossy().replace('\\', "/");
    Ok(LockedFile { path, bytes, blake3: ledger::hash_file(file)? })
}

/// Files below a folder in path order, without hidden ones.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("cannot read `{}`", next.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read `{}`", next.display()))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            match (hidden, path.is_dir()) {
                (true, _) => {}
                (false, true) => pending.push(path),
                (false, false) => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}
