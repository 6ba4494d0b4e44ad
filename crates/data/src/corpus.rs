//! A governed corpus on disk: shards of JSON lines and a manifest with their hashes.

use std::{
    io::{BufRead, BufReader},
    path::Path,
};

use crate::{Document, Error};

/// Name of the manifest; a folder without one holds no finished corpus.
pub const MANIFEST: &str = "manifest.json";

/// One file of the corpus.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shard {
    /// File name.
    pub name: String,
    /// BLAKE3 of the file.
    pub hash: String,
    /// Documents in it.
    pub documents: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the JSON lines in it.
    pub unpacked_bytes: u64,
}

/// What a corpus consists of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Version of the layout: 1.
    pub format: u32,
    /// Documents in all shards.
    pub documents: u64,
    /// The shards, in order.
    pub shards: Vec<Shard>,
}

impl Manifest {
    pub(crate) fn of(shards: Vec<Shard>) -> Self {
        Self { format: 1, documents: shards.iter().map(|s| s.documents).sum(), shards }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        // Strings and integers always serialize.
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        Ok(ledger::write_atomic(folder.join(MANIFEST), &json)?)
    }

    /// Reads the manifest of the corpus in `folder`.
    ///
    /// # Errors
    /// If there is none (the corpus was never finished) or it cannot be understood.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST);
        let bad = |problem: String| Error::Corpus { path: path.clone(), problem };
        let bytes = std::fs::read(&path).map_err(|e| {
            bad(format!("no finished corpus here ({e}); run `gewu data govern` into this folder"))
        })?;
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|e| bad(format!("damaged manifest ({e}); govern again")))?;
        if manifest.format != 1 {
            return Err(bad(format!("layout {} is unknown; this program reads layout 1", manifest.format)));
        }
        Ok(manifest)
    }
}

/// Whether a file name is that of a shard.
pub(crate) fn is_shard(name: &str) -> bool {
    name.strip_prefix("documents-")
        .and_then(|rest| rest.strip_suffix(".jsonl.zst"))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Every document of a governed corpus, in order, after checking the hash of each shard.
///
/// # Errors
/// If the corpus is unfinished, a shard is missing or changed, or a line is no document.
pub fn read(folder: &Path) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    for_each(folder, &mut |document| {
        documents.push(document);
        Ok(())
    })?;
    Ok(documents)
}

/// Calls `visit` on every document of a governed corpus, in order, holding one at a time.
///
/// # Errors
/// As [`read`], and whatever `visit` returns.
pub fn for_each(folder: &Path, visit: &mut dyn FnMut(Document) -> Result<(), Error>) -> Result<(), Error> {
    for shard in Manifest::read(folder)?.shards {
        let path = folder.join(&shard.name);
        let hash = ledger::hash_file(&path)?;
        if hash != shard.hash {
            let problem =
                format!("hash {hash} instead of {}; the shard was changed, govern again", shard.hash);
            return Err(Error::Corpus { path, problem });
        }
        for (number, line) in lines(&path)?.enumerate() {
            let line = line.map_err(Error::io(&path, "reading a shard"))?;
            let document = serde_json::from_slice(&line).map_err(|error| Error::Corpus {
                path: path.clone(),
                problem: format!("line {}: {error}; govern again", number + 1),
            })?;
            visit(document)?;
        }
    }
    Ok(())
}

/// The lines of a shard, without their ends.
pub(crate) fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<Vec<u8>>>, Error> {
    let failed = || Error::io(path, "reading a shard");
    let file = std::fs::File::open(path).map_err(failed())?;
    let decoder = zstd::Decoder::new(file).map_err(failed())?;
    Ok(BufReader::with_capacity(1 << 18, decoder).split(b'\n'))
}
