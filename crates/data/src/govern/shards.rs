//! Writing the governed corpus: zstd shards that appear whole or not at all.

use std::{io::Write, ops::Range, path::Path};

use ledger::AtomicFile;
use rayon::prelude::*;

use super::spool::Spool;
use crate::{
    Error,
    corpus::{MANIFEST, Shard, is_shard},
};

/// Makes the folder and removes a corpus that was in it, its manifest first: an interrupted job leaves none. Returns
/// the names of the shards that went.
pub(super) fn clear(out: &Path) -> Result<Vec<String>, Error> {
    std::fs::create_dir_all(out).map_err(Error::io(out, "making the corpus folder"))?;
    let manifest = out.join(MANIFEST);
    if manifest.exists() {
        std::fs::remove_file(&manifest).map_err(Error::io(&manifest, "removing the previous corpus"))?;
    }
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(out).map_err(Error::io(out, "listing the corpus folder"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_shard(&name) {
            std::fs::remove_file(entry.path())
                .map_err(Error::io(entry.path(), "removing the previous corpus"))?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Writes the kept documents in order, a new shard after every `limit` bytes.
pub(super) fn write(out: &Path, limit: u64, spool: &Spool, kept: &[u32]) -> Result<Vec<Shard>, Error> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (i, document) in kept.iter().enumerate() {
        bytes += spool.bytes(*document) + 1;
        if bytes >= limit || i + 1 == kept.len() {
            ranges.push(start..i + 1);
            (start, bytes) = (i + 1, 0);
        }
    }
    ranges
        .into_par_iter()
        .enumerate()
        .map(|(number, range)| {
            let name = format!("documents-{number:05}.jsonl.zst");
            write_shard(out, name, kept[range].iter().map(|document| spool.line(*document)))
        })
        .collect()
}

/// Writes one shard from lines of JSON without their ends.
fn write_shard(
    out: &Path,
    name: String,
    lines: impl Iterator<Item = Result<Vec<u8>, Error>>,
) -> Result<Shard, Error> {
    let path = out.join(&name);
    let failed = || Error::io(&path, "writing a shard; is there space?");
    let mut encoder = zstd::Encoder::new(AtomicFile::create(&path)?, 3).map_err(failed())?;
    let (mut documents, mut text_bytes) = (0, 0);
    for line in lines {
        let line = line?;
        encoder.write_all(&line).and_then(|()| encoder.write_all(b"\n")).map_err(failed())?;
        documents += 1;
        text_bytes += line.len() as u64 + 1;
    }
    encoder.finish().map_err(failed())?.commit()?;
    let bytes = std::fs::metadata(&path).map_err(failed())?.len();
    Ok(Shard { hash: ledger::hash_file(&path)?, name, documents, bytes, unpacked_bytes: text_bytes })
}

/// Replaces a shard by one of these lines.
pub(crate) fn rewrite_shard(out: &Path, name: &str, lines: Vec<Vec<u8>>) -> Result<Shard, Error> {
    write_shard(out, name.to_owned(), lines.into_iter().map(Ok))
}
