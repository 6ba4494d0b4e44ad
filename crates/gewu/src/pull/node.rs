//! Node packages through `npm pack`: the archive is unpacked, nothing is installed or run.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::fresh;
use super::lock::Details;

/// Downloads and unpacks a package into `folder`.
pub(super) fn download(package: &str, folder: &Path) -> Result<Details> {
    fresh(folder)?;
    let archives = folder.join(".download");
    fs::create_dir(&archives).with_context(|| format!("cannot create `{}`", archives.display()))?;
    let output = Command::new("npm")
        .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
        .arg(&archives)
        .arg(package)
        .current_dir(&archives)
        .stdin(Stdio::null())
        .output()
        .context("`npm` does not start; install it (Debian: apt install npm) or give a path instead")?;
    if !output.status.success() {
        bail!("npm failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let archive = fs::read_dir(&archives)
        .with_context(|| format!("cannot read `{}`", archives.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "tgz"))
        .context("npm left no archive")?;
    let file = File::open(&archive).with_context(|| format!("cannot read `{}`", archive.display()))?;
    // `unpack` skips entries that lead outside the folder.
    tar::Archive::new(flate2::read::GzDecoder::new(file))
        .unpack(folder)
        .with_context(|| format!("cannot unpack `{}`", archive.display()))?;
    fs::remove_dir_all(&archives).with_context(|| format!("cannot remove `{}`", archives.display()))?;
    Ok(details(&folder.join("package/package.json")))
}

/// Version and licence from `package.json`.
fn details(path: &Path) -> Details {
    let manifest: serde_json::Value =
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let text = |key: &str| manifest.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    Details { version: text("version"), licence: text("license") }
}
