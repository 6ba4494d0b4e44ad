//! BLAKE3 of bytes, files and folders, in hexadecimal.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::Error;

/// BLAKE3 of `bytes`: 64 hexadecimal digits.
pub fn hash_bytes(bytes: impl AsRef<[u8]>) -> String {
    blake3::hash(bytes.as_ref()).to_hex().to_string()
}

/// The first 32 hexadecimal digits (128 bits) of the BLAKE3 of `parts`, each preceded by its length, so that
/// `["ab", "c"]` and `["a", "bc"]` differ. For identities of documents, passages and answers.
pub fn short_hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut text = hasher.finalize().to_hex().to_string();
    text.truncate(32);
    text
}

/// BLAKE3 of a file's bytes, read in pieces.
///
/// # Errors
/// If the file cannot be read.
pub fn hash_file(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(Error::file("read", path))?;
    hasher.update_reader(file).map_err(Error::file("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// BLAKE3 over the relative paths and contents of all files below `folder`, in path order.
///
/// # Errors
/// If the folder or one of its files cannot be read.
pub fn hash_folder(folder: impl AsRef<Path>) -> Result<String, Error> {
    let folder = folder.as_ref();
    let mut hasher = blake3::Hasher::new();
    for path in files_below(folder)? {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(hash_file(&path)?.as_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// All files below `folder`, in path order.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).map_err(Error::file("read", &next))? {
            let entry = entry.map_err(Error::file("read", &next))?;
            let path = entry.path();
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_value() {
        // The empty-input vector of the BLAKE3 specification.
        assert_eq!(hash_bytes(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(short_hash(&["ab", "c"]), short_hash(&["a", "bc"]));
        assert_eq!(short_hash(&["钨"]).len(), 32);
    }

    #[test]
    fn a_folder_hash_sees_names_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/a"), "1").unwrap();
        let first = hash_folder(folder.path()).unwrap();
        fs::rename(folder.path().join("sub/a"), folder.path().join("sub/b")).unwrap();
        let second = hash_folder(folder.path()).unwrap();
        fs::write(folder.path().join("sub/b"), "2").unwrap();
        let third = hash_folder(folder.path()).unwrap();
        assert!(first != second && second != third);
        assert_eq!(hash_file(folder.path().join("sub/b")).unwrap(), hash_bytes("2"));
    }
}
