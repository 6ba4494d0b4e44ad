//! Readers: files to drafts of documents. One table registers each; `walk` finds the files.

mod cnxml;
mod encoding;
mod html;
mod json;
mod jsonl;
mod markdown;
mod pdf;
mod sqlite;
mod table;
mod text;
mod walk;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub use encoding::decode;
pub use walk::{Found, walk};

use crate::{Record, SourceConfig};

/// A document as a reader hands it over: no identity, language or decision yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Place inside the file; empty for a whole file.
    pub locator: String,
    /// The text.
    pub text: String,
    /// Title, if the source has one.
    pub title: Option<String>,
    /// Licence the document itself names: an SPDX expression, a name or an address, as written.
    pub licence: Option<String>,
    /// The row, if the source is a table.
    pub record: Option<Record>,
    /// Anything else.
    pub metadata: BTreeMap<String, String>,
}

/// A file, or a place inside one, that gives no document, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Place inside the file; empty for a whole file.
    pub locator: String,
    /// Name of the reason: `binary`, `encoding`, `empty`, `unreadable`, `malformed`, `unsupported`.
    pub rule: &'static str,
    /// What was wrong.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn whole(rule: &'static str, detail: impl Into<String>) -> Self {
        Self { locator: String::new(), rule, detail: detail.into() }
    }

    pub(crate) fn at(locator: String, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { locator, rule, detail: detail.into() }
    }
}

/// Where a reader puts what it found, in the order of the file.
pub type Emit<'a> = dyn FnMut(Result<Draft, Refusal>) + 'a;

/// How a reader takes its file.
#[derive(Clone, Copy)]
pub enum Access {
    /// The bytes of the whole file.
    Bytes(fn(&[u8], &mut Emit<'_>) -> Result<(), Refusal>),
    /// The path: the file may be larger than memory.
    Path(fn(&Path, &SourceConfig, &mut Emit<'_>) -> Result<(), Refusal>),
}

/// A registered reader.
pub struct Reader {
    /// Name.
    pub name: &'static str,
    /// Ends of file names it takes, lower case.
    pub endings: &'static [&'static str],
    /// What it makes of the file.
    pub about: &'static str,
    /// The reader itself.
    pub access: Access,
}

/// Every reader. A file goes to the first whose ending fits; a name without an ending is read as text.
pub const READERS: &[Reader] = &[
    Reader {
        name: "jsonl",
        endings: &[".jsonl", ".ndjson", ".jsonl.zst", ".ndjson.zst"],
        about: "one document per line, field `text` (or `text_field`), other fields to metadata",
        access: Access::Path(jsonl::read),
    },
    Reader {
        name: "json",
        endings: &[".json"],
        about: "one document per object of a list, field `text` (or `text_field`), a string or a list of lines",
        access: Access::Path(json::read),
    },
    Reader {
        name: "table",
        endings: &[".csv", ".tsv"],
        about: "one record document per row; the first row names the columns",
        access: Access::Path(table::read),
    },
    Reader {
        name: "sqlite",
        endings: &[".sqlite", ".sqlite3", ".db"],
        about: "one record document per row of the chosen tables",
        access: Access::Path(sqlite::read),
    },
    Reader {
        name: "cnxml",
        endings: &[".cnxml"],
        about: "OpenStax module: title, paragraphs, lists, tables, glossary",
        access: Access::Bytes(cnxml::read),
    },
    Reader {
        name: "html",
        endings: &[".html", ".htm", ".xhtml"],
        about: "visible text of a page without navigation, scripts and forms",
        access: Access::Bytes(html::read),
    },
    Reader {
        name: "markdown",
        endings: &[".md", ".markdown"],
        about: "text as written; front matter to metadata",
        access: Access::Bytes(markdown::read),
    },
    Reader {
        name: "pdf",
        endings: &[".pdf"],
        about: "text of the pages, where the file has text",
        access: Access::Bytes(pdf::read),
    },
    Reader {
        name: "text",
        endings: &[".txt", ".text", ".rst", ".org", ".adoc", ".tex", ".log"],
        about: "plain text in UTF-8, UTF-16 or GB18030",
        access: Access::Bytes(text::read),
    },
];

/// The reader of a file name, if there is one.
pub fn reader_of(path: &Path) -> Option<&'static Reader> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    if let Some(reader) = READERS.iter().find(|r| r.endings.iter().any(|e| name.ends_with(e))) {
        return Some(reader);
    }
    let plain = !name.contains('.');
    READERS.iter().find(|r| plain && r.name == "text")
}

/// Reads a file. `emit` gets, in order, every draft and refusal with the BLAKE3 of the file's bytes (empty if the file
/// could not be read); a fault that ends the file is the last of them.
pub fn read(path: &Path, options: &SourceConfig, emit: &mut dyn FnMut(&str, Result<Draft, Refusal>)) {
    let mut hash = String::new();
    if let Err(refusal) = read_inner(path, options, &mut hash, emit) {
        emit(&hash, Err(refusal));
    }
}

fn read_inner(
    path: &Path,
    options: &SourceConfig,
    hash: &mut String,
    emit: &mut dyn FnMut(&str, Result<Draft, Refusal>),
) -> Result<(), Refusal> {
    let Some(reader) = reader_of(path) else {
        let ending = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        return Err(Refusal::whole("unsupported", format!("no reader for `.{ending}` files")));
    };
    let unreadable = |e: std::io::Error| Refusal::whole("unreadable", e.to_string());
    let bytes = match reader.access {
        Access::Bytes(_) => std::fs::read(path).map_err(unreadable)?,
        Access::Path(_) => Vec::new(),
    };
    *hash = match reader.access {
        Access::Bytes(_) => blake3::hash(&bytes).to_hex().to_string(),
        Access::Path(_) => {
            ledger::hash_file(path).map_err(|e| Refusal::whole("unreadable", e.to_string()))?
        }
    };
    let mut found = 0_usize;
    let mut count = |item: Result<Draft, Refusal>| {
        found += 1;
        match item {
            Ok(draft) if draft.text.trim().is_empty() => {
                emit(hash, Err(Refusal::at(draft.locator, "empty", "no text")));
            }
            other => emit(hash, other),
        }
    };
    match reader.access {
        Access::Bytes(read) => read(&bytes, &mut count)?,
        Access::Path(read) => read(path, options, &mut count)?,
    }
    if found == 0 { Err(Refusal::whole("empty", "no text")) } else { Ok(()) }
}

/// A row as text: one `column: value` line per non-null column, in order.
pub(crate) fn row_text(record: &Record) -> String {
    record.fields.iter().map(|f| format!("{}: {}", f.name, f.value)).collect::<Vec<_>>().join("\n")
}

/// The value of the first column that looks like a name or title.
pub(crate) fn row_title(record: &Record) -> Option<String> {
    ["title", "name", "名称", "标题", "题名"].iter().find_map(|wanted| {
        record.fields.iter().find(|f| f.name.eq_ignore_ascii_case(wanted)).map(|f| f.value.clone())
    })
}

/// Path of a file relative to the corpus root, with `/` between parts.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(root).map_or_else(|_| path.to_path_buf(), Path::to_path_buf);
    inside.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_choose_readers() {
        for (name, reader) in [
            ("a/B.JSONL.ZST", Some("jsonl")),
            ("a.db", Some("sqlite")),
            ("README", Some("text")),
            ("笔记.md", Some("markdown")),
            ("a.exe", None),
        ] {
            assert_eq!(reader_of(Path::new(name)).map(|r| r.name), reader, "{name}");
        }
    }

    #[test]
    fn names_and_endings_are_unique() {
        let mut endings: Vec<&str> = READERS.iter().flat_map(|r| r.endings).copied().collect();
        let count = endings.len();
        endings.sort_unstable();
        endings.dedup();
        assert_eq!(endings.len(), count);
    }
}
