//! Files that appear complete or not at all: written beside their place, synced, then renamed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// Writes `bytes` to `path` so that `path` holds either its old content or all of `bytes`, even after a crash.
///
/// # Errors
/// The file system's, with the path; the unfinished file is removed.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(Error::file("write", path))?;
    file.commit()
}

/// A buffered writer whose file takes its name only at [`AtomicFile::commit`]; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    writer: Option<BufWriter<File>>,
    temporary: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts a file that will be called `path`; its folder must exist.
    ///
    /// # Errors
    /// If the temporary file beside `path` cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(Error::file("create", &path))?;
        Ok(Self { writer: Some(BufWriter::with_capacity(1 << 16, file)), temporary, path })
    }

    /// Syncs the content and gives the file its name.
    ///
    /// # Errors
    /// If the content cannot reach the disk or the rename fails; the unfinished file is removed.
    pub fn commit(mut self) -> Result<(), Error> {
        if let Some(writer) = self.writer.take() {
            let file = writer
                .into_inner()
                .map_err(|error| error.into_error())
                .map_err(Error::file("write", &self.path))?;
            file.sync_all().map_err(Error::file("write", &self.path))?;
        }
        fs::rename(&self.temporary, &self.path).map_err(Error::file("rename to", &self.path))?;
        sync_folder(self.path.parent().unwrap_or(Path::new("")))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.as_mut().map_or(Ok(0), |writer| writer.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit the temporary name no longer exists and the call does nothing.
        self.writer = None;
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes the names inside `folder` durable. Only Unix can open a folder; elsewhere the rename has to do.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) {
        File::open(folder).and_then(|file| file.sync_all()).map_err(Error::file("sync", folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("某.txt");
        write_atomic(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(&[b'x'; 1 << 18]).unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let message = write_atomic("/nowhere/at/all/file", b"").unwrap_err().to_string();
        assert!(message.contains("/nowhere/at/all/file"), "{message}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        // Every write to /dev/full fails with "no space left on device".
        let file = AtomicFile {
            writer: Some(BufWriter::new(File::options().write(true).open("/dev/full").unwrap())),
            temporary: PathBuf::from("/nowhere/temporary"),
            path: PathBuf::from("/nowhere/file"),
        };
        let mut file = file;
        file.write_all(b"some bytes").unwrap();
        let message = file.commit().unwrap_err().to_string();
        assert!(message.contains("No space left"), "{message}");
    }
}
