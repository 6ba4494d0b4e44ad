//! From the configured sources to batches of work, in order.

use std::{
    path::Path,
    sync::{Arc, mpsc::SyncSender},
};

use crate::{
    Error, GovernConfig,
    licence::{Folders, is_licence_file},
    readers::{self, Access, Draft, Found, Refusal},
};

/// A batch is sent when it holds this much.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_ITEMS: usize = 1024;

/// A file to read.
pub(super) struct File {
    pub(super) source: usize,
    pub(super) found: Found,
    /// Path relative to the source's folder.
    pub(super) relative: String,
    /// Licence stated beside it, and by which file.
    pub(super) licence: Option<(String, String)>,
}

/// A draft or refusal with what is known of its file.
pub(super) struct Item {
    pub(super) file: Arc<Origin>,
    pub(super) draft: Result<Draft, Refusal>,
}

/// What the documents of a file share.
pub(super) struct Origin {
    pub(super) source: usize,
    pub(super) path: String,
    pub(super) hash: String,
    pub(super) licence: Option<(String, String)>,
}

/// What a judging thread gets.
pub(super) enum Work {
    /// A file small enough to be read by the thread itself.
    File { path: std::path::PathBuf, origin: Origin },
    /// Something already read from a larger one.
    Item(Item),
}

#[derive(Default)]
pub(super) struct Batch {
    pub(super) work: Vec<Work>,
    /// Bytes of source files.
    pub(super) bytes: u64,
}

/// The files of every source, sorted within each; the output folder is none of them.
pub(super) fn list(config: &GovernConfig, out: &Path) -> Result<Vec<File>, Error> {
    let out = out.canonicalize().unwrap_or_else(|_| out.to_path_buf());
    let mut files = Vec::new();
    for (source, options) in config.sources.iter().enumerate() {
        std::fs::metadata(&options.path).map_err(Error::io(&options.path, "opening a source"))?;
        let root = options.root();
        let mut folders = Folders::default();
        for mut found in readers::walk(&options.path) {
            if found.path.canonicalize().is_ok_and(|path| path.starts_with(&out)) {
                continue;
            }
            if found.refusal.is_none() && is_licence_file(&found.path) {
                let refusal = Refusal::whole("licence-text", "stands for the licence of the files beside it");
                found.refusal = Some(refusal);
            }
            let folder = found.path.parent().unwrap_or(root);
            let licence = folders.licence(folder, root);
            let relative = readers::relative(root, &found.path);
            files.push(File { source, found, relative, licence });
        }
    }
    if files.is_empty() {
        let names: Vec<String> = config.sources.iter().map(|s| s.path.display().to_string()).collect();
        return Err(Error::Empty(format!(
            "no file in {}; name a file, or a folder that holds some",
            names.join(", ")
        )));
    }
    Ok(files)
}

/// Reads the large files and groups everything into batches, until done or nobody listens.
pub(super) fn batches(config: &GovernConfig, files: &[File], send: &SyncSender<Batch>) {
    let mut batch = Batch::default();
    let mut weight = 0_u64;
    let mut listening = true;
    let mut push = |work: Work, bytes: u64, listening: &mut bool, batch: &mut Batch| {
        batch.work.push(work);
        weight += bytes;
        if weight >= BATCH_BYTES || batch.work.len() >= BATCH_ITEMS {
            weight = 0;
            *listening = send.send(std::mem::take(batch)).is_ok();
        }
    };
    for file in files {
        if !listening {
            return;
        }
        let origin = |hash: &str| Origin {
            source: file.source,
            path: file.relative.clone(),
            hash: hash.to_owned(),
            licence: file.licence.clone(),
        };
        let path = &file.found.path;
        batch.bytes += file.found.bytes;
        if let Some(refusal) = &file.found.refusal {
            let item = Item { file: Arc::new(origin("")), draft: Err(refusal.clone()) };
            push(Work::Item(item), 0, &mut listening, &mut batch);
            continue;
        }
        let streamed = readers::reader_of(path).is_some_and(|r| matches!(r.access, Access::Path(_)));
        let Some(options) = config.sources.get(file.source).filter(|_| streamed) else {
            let work = Work::File { path: path.clone(), origin: origin("") };
            push(work, file.found.bytes, &mut listening, &mut batch);
            continue;
        };
        let mut shared: Option<Arc<Origin>> = None;
        readers::read(path, options, &mut |hash, draft| {
            if listening {
                let file = Arc::clone(shared.get_or_insert_with(|| Arc::new(origin(hash))));
                let bytes = draft.as_ref().map_or(0, |d| d.text.len() as u64);
                push(Work::Item(Item { file, draft }), bytes, &mut listening, &mut batch);
            }
        });
    }
    if listening && !batch.work.is_empty() {
        let _ = send.send(batch);
    }
}
