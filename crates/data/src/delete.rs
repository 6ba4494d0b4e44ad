//! Deleting documents from everything derived, and proving it by reading every derived file again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
};

use ledger::{Artifact, Deletion, Derivation, DocumentRow, Ledger};
use regex::bytes::Regex;

use crate::{
    Document, Error,
    corpus::{self, Manifest, Shard},
    govern::{deleted_text, exact_hash, rewrite_shard},
};

/// Pieces of a deleted text that are looked for, at most, and their bytes.
const FRAGMENTS: usize = 24;
const FRAGMENT_BYTES: usize = 40;
const SHORTEST_FRAGMENT: usize = 16;

/// Bytes read at a time while scanning.
const WINDOW: usize = 16 << 20;

/// Something made from documents that is kept outside the corpus: an index, a pack.
pub trait Derived {
    /// What it is, for the proof: `index`.
    fn name(&self) -> String;
    /// Removes every entry made from the documents; returns how many entries went.
    ///
    /// # Errors
    /// What went wrong, in words; nothing may look finished then.
    fn remove(&mut self, ids: &[String]) -> Result<u64, String>;
    /// Every file it consists of; they are scanned byte by byte (`.zst` files unpacked).
    fn files(&self) -> Vec<PathBuf>;
    /// For packed formats a byte scan cannot see through: whether an entry still holds the id or one of the pieces
    /// of text.
    ///
    /// # Errors
    /// If it cannot be read.
    fn holds(&self, id: &str, fragments: &[String]) -> Result<bool, String>;
}

/// A derived file before and after a deletion.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileEvidence {
    /// The file.
    pub path: PathBuf,
    /// BLAKE3 before; `None`: it did not exist.
    pub before: Option<String>,
    /// BLAKE3 after; `None`: it is gone.
    pub after: Option<String>,
    /// Bytes scanned after, unpacked.
    pub scanned: u64,
    /// Ids of deleted documents of which something was still found.
    pub found: Vec<String>,
}

/// What a deletion did, and what a scan of every derived file found afterwards.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeletionProof {
    /// The documents.
    pub documents: Vec<String>,
    /// Lines removed from shards.
    pub shard_entries: u64,
    /// Entries removed from each derived artifact.
    pub derived_entries: BTreeMap<String, u64>,
    /// Pieces of text per document that were looked for: pieces no remaining document holds. 0: the document was not
    /// in the corpus, or all of its text remains in others, and only its id could be looked for.
    pub fragments: BTreeMap<String, usize>,
    /// Every file that was scanned.
    pub files: Vec<FileEvidence>,
    /// Whether nothing was found anywhere.
    pub clean: bool,
}

/// Removes documents from the corpus in `folder`, from every `derived` artifact and from the ledger's lineage (their
/// ids and decisions stay there, nothing else), then scans the corpus, the derived files and everything under
/// `also_scan` for ids and text. The ledger file is scanned for text only.
///
/// An interrupted deletion is finished by running it again. A governed-again source does not bring them back, nor does
/// the same text under another name: the ledger remembers their ids and a hash of each text. (The hash tells whether
/// somebody who has the text was asked to forget it; it does not tell the text.)
///
/// # Errors
/// If a document is unknown (nothing is changed then), or a file cannot be read or written. Traces that remain are
/// no error; see [`DeletionProof::clean`].
pub fn delete(
    folder: &Path,
    ids: &[String],
    reason: &str,
    ledger: &mut Ledger,
    derived: &mut [&mut dyn Derived],
    also_scan: &[PathBuf],
) -> Result<DeletionProof, Error> {
    let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    for id in &wanted {
        let trace = ledger.trace(id)?;
        if trace.document.is_none() {
            return Err(Error::UnknownDocument((*id).to_owned()));
        }
    }
    let manifest = Manifest::read(folder)?;
    let fragments = fragments(folder, &manifest, &wanted)?;
    let before = hashes(&files(folder, derived, also_scan, ledger));
    // First of all, for after the next step the texts are gone.
    forbid(folder, &manifest, &wanted, reason, ledger)?;

    let mut derived_entries = BTreeMap::new();
    for artifact in derived.iter_mut() {
        let name = artifact.name();
        let removed =
            artifact.remove(ids).map_err(|problem| Error::Derived { name: name.clone(), problem })?;
        *derived_entries.entry(name).or_default() += removed;
    }
    let (shards, shard_entries) = rewrite(folder, manifest, &wanted, ledger)?;
    Manifest::of(shards).write(folder)?;
    forget(ledger, &wanted)?;

    let evidence = scan(folder, &fragments, before, derived, also_scan, ledger)?;
    let clean = evidence.iter().all(|file| file.found.is_empty());
    let proof = DeletionProof {
        documents: wanted.iter().map(|id| (*id).to_owned()).collect(),
        shard_entries,
        derived_entries,
        fragments: fragments.iter().map(|(id, texts)| (id.clone(), texts.len())).collect(),
        files: evidence,
        clean,
    };
    let summary = format!(
        "{} shard lines and {} derived entries removed; {} files scanned, {}",
        proof.shard_entries,
        proof.derived_entries.values().sum::<u64>(),
        proof.files.len(),
        if clean { "nothing found" } else { "traces remain" }
    );
    let row =
        |id: &&str| Deletion { document: (*id).into(), reason: reason.into(), evidence: summary.clone() };
    ledger.add_deletions(&wanted.iter().map(row).collect::<Vec<_>>())?;
    Ok(proof)
}

/// Records the texts of the documents as deleted, unless a document that remains has the same text.
fn forbid(
    folder: &Path,
    manifest: &Manifest,
    wanted: &BTreeSet<&str>,
    reason: &str,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let (mut texts, mut remaining) = (BTreeSet::new(), BTreeSet::new());
    visit(folder, manifest, &mut |document| {
        let gone = wanted.contains(document.id.as_str());
        (if gone { &mut texts } else { &mut remaining }).insert(exact_hash(&document.text));
    })?;
    let mut rows = Vec::new();
    for text in texts.difference(&remaining) {
        let document = deleted_text(*text);
        if ledger.trace(&document)?.deletions.is_empty() {
            let evidence = "the text of a deleted document; it stays out under any name".into();
            rows.push(Deletion { document, reason: reason.into(), evidence });
        }
    }
    Ok(ledger.add_deletions(&rows)?)
}

/// Calls `step` on every document of the corpus.
fn visit(folder: &Path, manifest: &Manifest, step: &mut dyn FnMut(&Document)) -> Result<(), Error> {
    for shard in &manifest.shards {
        each(&folder.join(&shard.name), &mut |document, _| {
            step(&document);
            Ok(())
        })?;
    }
    Ok(())
}

/// Pieces of each document's text that no remaining document holds.
fn fragments(
    folder: &Path,
    manifest: &Manifest,
    wanted: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut pieces: BTreeMap<String, Vec<String>> =
        wanted.iter().map(|id| ((*id).to_owned(), Vec::new())).collect();
    visit(folder, manifest, &mut |document| {
        if let Some(list) = pieces.get_mut(&document.id) {
            *list = cut(&document.text);
        }
    })?;
    visit(folder, manifest, &mut |document| {
        if !wanted.contains(document.id.as_str()) {
            for list in pieces.values_mut() {
                list.retain(|piece| !document.text.contains(piece.as_str()));
            }
        }
    })?;
    Ok(pieces)
}

/// Evenly spread pieces of a text, free of characters that JSON or HTML would write differently.
fn cut(text: &str) -> Vec<String> {
    let escaped = |c: char| c.is_control() || matches!(c, '"' | '\\' | '<' | '>' | '&' | '\'');
    let mut pieces = Vec::new();
    for part in text.split(escaped).map(str::trim) {
        let mut start = 0;
        while part.len() - start >= SHORTEST_FRAGMENT {
            let mut end = (start + FRAGMENT_BYTES).min(part.len());
            while !part.is_char_boundary(end) {
                end -= 1;
            }
            pieces.push(part[start..end].to_owned());
            start = end;
        }
    }
    let step = pieces.len().div_ceil(FRAGMENTS).max(1);
    pieces.into_iter().step_by(step).collect()
}

/// Calls `visit` on each document of a shard with its line, without checking the shard's hash.
fn each(path: &Path, visit: &mut dyn FnMut(Document, Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
    for line in corpus::lines(path)? {
        let line = line.map_err(Error::io(path, "reading a shard"))?;
        let document = serde_json::from_slice(&line).map_err(|error| Error::Corpus {
            path: path.into(),
            problem: format!("{error}; govern again"),
        })?;
        visit(document, line)?;
    }
    Ok(())
}

/// Writes the shards without the documents, each replaced whole, and brings the ledger's line numbers up to date.
fn rewrite(
    folder: &Path,
    manifest: Manifest,
    wanted: &BTreeSet<&str>,
    ledger: &mut Ledger,
) -> Result<(Vec<Shard>, u64), Error> {
    let mut shards = Vec::new();
    let mut entries = 0;
    for mut shard in manifest.shards {
        let path = folder.join(&shard.name);
        let (mut lines, mut kept) = (Vec::new(), Vec::new());
        let mut removed = 0;
        each(&path, &mut |document, line| {
            if wanted.contains(document.id.as_str()) {
                removed += 1;
            } else {
                kept.push(document.id);
                lines.push(line);
            }
            Ok(())
        })?;
        entries += removed;
        let as_recorded = ledger::hash_file(&path)? == shard.hash;
        if removed > 0 || !as_recorded {
            ledger.remove_derivations(&[&shard.name])?;
            // A shard that lost all its lines stays, empty: an interrupted deletion then finds every file it expects.
            shard = rewrite_shard(folder, &shard.name, lines)?;
            let rows: Vec<Derivation> = kept
                .into_iter()
                .enumerate()
                .map(|(line, parent)| Derivation {
                    parent,
                    child: shard.name.clone(),
                    kind: "shard".into(),
                    location: format!("line {}", line + 1),
                })
                .collect();
            ledger.add_derivations(&rows)?;
            let (hash, path) = (shard.hash.clone(), shard.name.clone());
            ledger.add_artifacts(&[Artifact { hash, kind: "shard".into(), path, bytes: shard.bytes }])?;
        }
        shards.push(shard);
    }
    Ok((shards, entries))
}

/// Removes lineage and origin from the ledger; ids and decisions stay.
fn forget(ledger: &mut Ledger, wanted: &BTreeSet<&str>) -> Result<(), Error> {
    for id in wanted {
        let trace = ledger.trace(id)?;
        let children = trace.products.iter().map(|s| &s.derivation).filter(|d| d.kind != "shard");
        let mut gone: Vec<String> = children.map(|d| d.child.clone()).collect();
        gone.push((*id).to_owned());
        ledger.remove_derivations(&gone.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    let row = |id: &&str| DocumentRow {
        id: (*id).into(),
        language: "und".into(),
        licence: crate::licence::UNKNOWN.into(),
        ..DocumentRow::default()
    };
    Ok(ledger.add_documents(&wanted.iter().map(row).collect::<Vec<_>>())?)
}

/// Every file to scan, sorted, each once.
fn files(
    folder: &Path,
    derived: &[&mut dyn Derived],
    also_scan: &[PathBuf],
    ledger: &Ledger,
) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let roots = std::iter::once(folder.to_path_buf()).chain(also_scan.iter().cloned());
    for root in roots.chain(derived.iter().flat_map(|d| d.files())) {
        all_files(&root, &mut files);
    }
    all_files(ledger.path(), &mut files);
    files.into_iter().filter_map(|path| path.canonicalize().ok()).collect()
}

/// Regular files at or under a path, hidden ones too; links are not followed.
fn all_files(path: &Path, files: &mut BTreeSet<PathBuf>) {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return };
    if metadata.is_file() {
        files.insert(path.to_path_buf());
    } else if metadata.is_dir()
        && let Ok(entries) = std::fs::read_dir(path)
    {
        entries.flatten().for_each(|entry| all_files(&entry.path(), files));
    }
}

fn hashes(files: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, String> {
    files.iter().filter_map(|path| Some((path.clone(), ledger::hash_file(path).ok()?))).collect()
}

fn scan(
    folder: &Path,
    fragments: &BTreeMap<String, Vec<String>>,
    before: BTreeMap<PathBuf, String>,
    derived: &[&mut dyn Derived],
    also_scan: &[PathBuf],
    ledger: &Ledger,
) -> Result<Vec<FileEvidence>, Error> {
    let pattern = |id: Option<&str>, texts: &[String]| -> Result<Option<Regex>, Error> {
        let all: Vec<String> =
            id.into_iter().chain(texts.iter().map(String::as_str)).map(regex::escape).collect();
        if all.is_empty() {
            return Ok(None);
        }
        Regex::new(&all.join("|")).map(Some).map_err(|e| Error::Config(e.to_string()))
    };
    let mut anywhere = Vec::new();
    let mut text_only = Vec::new();
    for (id, texts) in fragments {
        anywhere.extend(pattern(Some(id), texts)?.map(|p| (id, p)));
        text_only.extend(pattern(None, texts)?.map(|p| (id, p)));
    }
    let ledger_file = ledger.path().canonicalize().unwrap_or_else(|_| ledger.path().to_path_buf());
    let mut evidence = Vec::new();
    for path in files(folder, derived, also_scan, ledger) {
        let patterns = if path == ledger_file { &text_only } else { &anywhere };
        let (scanned, found) = scan_file(&path, patterns)?;
        let after = Some(ledger::hash_file(&path)?);
        evidence.push(FileEvidence { before: before.get(&path).cloned(), path, after, scanned, found });
    }
    for (path, hash) in before.into_iter().filter(|(path, _)| !path.exists()) {
        evidence.push(FileEvidence { path, before: Some(hash), after: None, scanned: 0, found: Vec::new() });
    }
    for artifact in derived {
        let mut found = Vec::new();
        for (id, texts) in fragments {
            let held = artifact.holds(id, texts);
            if held.map_err(|problem| Error::Derived { name: artifact.name(), problem })? {
                found.push(id.clone());
            }
        }
        if !found.is_empty() {
            let path = PathBuf::from(artifact.name());
            evidence.push(FileEvidence { path, before: None, after: None, scanned: 0, found });
        }
    }
    Ok(evidence)
}

/// Looks for the patterns in a file, unpacked if it is zstd; returns the bytes read and the ids found.
fn scan_file(path: &Path, patterns: &[(&String, Regex)]) -> Result<(u64, Vec<String>), Error> {
    let failed = || Error::io(path, "scanning for traces");
    let file = std::fs::File::open(path).map_err(failed())?;
    let packed = path.extension().is_some_and(|e| e == "zst");
    let mut input: Box<dyn Read> =
        if packed { Box::new(zstd::Decoder::new(file).map_err(failed())?) } else { Box::new(file) };
    let mut found = BTreeSet::new();
    let mut window = Vec::new();
    let mut scanned = 0;
    loop {
        let carried = window.len();
        let read = (&mut input).take(WINDOW as u64).read_to_end(&mut window).map_err(failed())?;
        scanned += read as u64;
        for (id, pattern) in patterns {
            if pattern.is_match(&window) {
                found.insert((*id).clone());
            }
        }
        if read == 0 {
            return Ok((scanned, found.into_iter().collect()));
        }
        // The end of a window is kept, so that nothing hides on the border.
        let keep = (carried + read).saturating_sub(FRAGMENT_BYTES.max(64));
        window.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_characters_without_escapes() {
        let text =
            "格物致知，即物而穷其理也。\"quoted\" <b>plain text that is long enough to be cut</b>".repeat(40);
        let pieces = cut(&text);
        assert!(!pieces.is_empty() && pieces.len() <= FRAGMENTS);
        assert!(pieces.iter().all(|p| text.contains(p.as_str()) && !p.contains(['"', '<', '&'])));
        assert!(cut("short").is_empty());
    }

    #[test]
    fn nothing_hides_on_the_border_of_a_window() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        let mut bytes = vec![b'x'; WINDOW - 7];
        bytes.extend(b"the secret sentence");
        std::fs::write(&path, &bytes).unwrap();
        let id = "a".to_owned();
        let (scanned, found) =
            scan_file(&path, &[(&id, Regex::new("the secret sentence").unwrap())]).unwrap();
        assert_eq!((scanned, found), (bytes.len() as u64, vec![id]));
    }
}
