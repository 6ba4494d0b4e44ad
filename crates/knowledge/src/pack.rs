//! The pack: one SQLite file with the governed texts, their passages (full-text index) and their facts.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::{
    Error,
    lexicon::Lexicon,
    terms::{is_stop, terms},
};

/// Name of the file inside a pack's folder.
pub const FILE_NAME: &str = "pack.sqlite";
const APPLICATION_ID: i64 = 0x4757_5041;
const VERSION: i64 = 1;

/// Every row that repeats or points into a document carries the document's number, so that a deletion reaches it.
const SCHEMA: &str = "
CREATE TABLE documents (id INTEGER PRIMARY KEY, document TEXT NOT NULL UNIQUE, path TEXT NOT NULL,
  locator TEXT NOT NULL, title TEXT NOT NULL, language TEXT NOT NULL, licence TEXT NOT NULL, text TEXT NOT NULL,
  digest TEXT NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, owner INTEGER, first INTEGER NOT NULL,
  last INTEGER NOT NULL, heading TEXT NOT NULL,
  cells INTEGER NOT NULL);
CREATE INDEX passages_by_document ON passages (document);
CREATE VIRTUAL TABLE passage_index USING fts5(terms, tokenize = \"unicode61 remove_diacritics 0\");
CREATE TABLE entities (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, name TEXT NOT NULL);
CREATE TABLE aliases (entity INTEGER NOT NULL, alias TEXT NOT NULL, kind INTEGER NOT NULL);
CREATE INDEX aliases_by_entity ON aliases (entity);
CREATE TABLE relations (id INTEGER PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, zh TEXT NOT NULL);
CREATE TABLE phrases (relation INTEGER NOT NULL, phrase TEXT NOT NULL);
CREATE TABLE facts (id INTEGER PRIMARY KEY, entity INTEGER NOT NULL, relation INTEGER NOT NULL,
  qualifier TEXT NOT NULL, value TEXT NOT NULL, document INTEGER NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, unit TEXT NOT NULL, second INTEGER, second_first INTEGER, second_last INTEGER,
  cited TEXT NOT NULL);
CREATE INDEX facts_by_entity ON facts (entity, relation);
CREATE INDEX facts_by_document ON facts (document);
CREATE INDEX facts_by_second ON facts (second);
";

/// A compiled body of knowledge, open for questions.
#[derive(Debug)]
pub struct Pack {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) lexicon: Lexicon,
}

/// A passage found by [`Pack::search`].
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hit {
    /// Document id.
    pub document: String,
    /// Path of its source file.
    pub path: String,
    /// Place inside that file.
    pub locator: String,
    /// First byte of the passage in the governed document text.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
    /// The heading it stands under; for a table row what the row is about.
    pub heading: String,
    /// The passage.
    pub text: String,
    /// Whether it consists of `column: value` lines of a table row rather than sentences.
    pub cells: bool,
    /// BM25 (k1 1.2, b 0.75), higher is better.
    pub score: f64,
}

/// What a pack holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Documents.
    pub documents: usize,
    /// Passages in the full-text index.
    pub passages: usize,
    /// Named entities.
    pub entities: usize,
    /// Facts: entity, relation, value.
    pub facts: usize,
}

/// A fact as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredFact {
    pub(crate) id: i64,
    pub(crate) entity: i64,
    pub(crate) relation: i64,
    pub(crate) qualifier: String,
    pub(crate) value: String,
    pub(crate) unit: String,
    pub(crate) cited: String,
    pub(crate) place: Span,
    pub(crate) second: Option<Span>,
}

/// Bytes of one document of the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) document: i64,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A document as it is read back.
#[derive(Clone, Debug)]
pub(crate) struct StoredDocument {
    pub(crate) document: String,
    pub(crate) path: String,
    pub(crate) locator: String,
    pub(crate) text: String,
}

impl Pack {
    /// Opens a pack: the folder it was built in, or the file itself.
    ///
    /// # Errors
    /// [`Error::Pack`] if there is none, or it is damaged or of another version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        let bad = |reason: String| Error::Pack { path: path.clone(), reason };
        if !path.is_file() {
            return Err(bad("there is no such file".into()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| bad(e.to_string()))?;
        let number = |name: &str| -> Result<i64, Error> {
            connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|e| bad(e.to_string()))
        };
        if number("application_id")? != APPLICATION_ID {
            return Err(bad("the file is a database, but not a knowledge pack".into()));
        }
        let version = number("user_version")?;
        if version != VERSION {
            return Err(bad(format!("it has version {version}, this program reads version {VERSION}")));
        }
        let check: String = connection
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(|e| bad(e.to_string()))?;
        if check != "ok" {
            return Err(bad(check.lines().next().unwrap_or("damaged").to_owned()));
        }
        // Deleted bytes are overwritten, not just unlinked.
        connection.pragma_update(None, "secure_delete", "ON").map_err(|e| bad(e.to_string()))?;
        let lexicon = Lexicon::load(&connection).map_err(|e| bad(e.to_string()))?;
        Ok(Self { connection, path, lexicon })
    }

    /// Creates the empty tables of a pack.
    pub(crate) fn create(path: &Path) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        connection.execute_batch(SCHEMA)?;
        // Entries of the full-text index are removed for good when their passage is.
        connection
            .execute("INSERT INTO passage_index(passage_index, rank) VALUES ('secure-delete', 1)", [])?;
        Ok(connection)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much the pack holds.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn size(&self) -> Result<Size, Error> {
        let count = |table: &str| -> Result<usize, Error> {
            self.read(|c| {
                c.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
            })
            .map(|n| n as usize)
        };
        Ok(Size {
            documents: count("documents")?,
            passages: count("passages")?,
            entities: count("entities")?,
            facts: count("facts")?,
        })
    }

    /// The `k` best passages for a query, best first.
    ///
    /// # Errors
    /// If the file cannot be read. A query without a word finds nothing.
    pub fn search(&self, query: &str, k: usize) -> Result<Vec<Hit>, Error> {
        self.search_without(query, k, &[])
    }

    /// The same, without the passages that come from some documents.
    pub(crate) fn search_without(&self, query: &str, k: usize, exclude: &[i64]) -> Result<Vec<Hit>, Error> {
        let Some(expression) = expression(query) else { return Ok(Vec::new()) };
        self.read(|connection| {
            let mut ranked = connection.prepare_cached(
                "SELECT rowid, -bm25(passage_index) FROM passage_index WHERE passage_index MATCH ?1
                 ORDER BY bm25(passage_index), rowid",
            )?;
            let mut passage = connection.prepare_cached(
                "SELECT d.document, d.path, d.locator, p.first, p.last, p.heading,
                   substr(CAST(d.text AS BLOB), p.first + 1, p.last - p.first), d.id, p.owner, p.cells
                 FROM passages p JOIN documents d ON d.id = p.document WHERE p.id = ?1",
            )?;
            let mut rows = ranked.query([&expression])?;
            let mut out = Vec::new();
            while out.len() < k
                && let Some(row) = rows.next()?
            {
                let (id, score): (i64, f64) = (row.get(0)?, row.get(1)?);
                let (number, owner, hit) = passage.query_row([id], |row| {
                    let hit = Hit {
                        document: row.get(0)?,
                        path: row.get(1)?,
                        locator: row.get(2)?,
                        start: row.get::<_, i64>(3)? as usize,
                        end: row.get::<_, i64>(4)? as usize,
                        heading: row.get(5)?,
                        text: String::from_utf8_lossy(&row.get::<_, Vec<u8>>(6)?).into_owned(),
                        cells: row.get(9)?,
                        score,
                    };
                    Ok((row.get::<_, i64>(7)?, row.get::<_, Option<i64>>(8)?, hit))
                })?;
                if !exclude.contains(&number) && !owner.is_some_and(|o| exclude.contains(&o)) {
                    out.push(hit);
                }
            }
            Ok(out)
        })
    }

    /// The facts of an entity, of one relation or of all, in the order of the source.
    pub(crate) fn facts(&self, entity: i64, relation: Option<i64>) -> Result<Vec<StoredFact>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, entity, relation, qualifier, value, unit, cited, document, first, last, second,
                       second_first, second_last
                     FROM facts WHERE entity = ?1 AND (?2 IS NULL OR relation = ?2) ORDER BY id",
                )?
                .query_map(params![entity, relation], read_fact)?
                .collect()
        })
    }

    /// Every fact, in the order of the source.
    pub(crate) fn all_facts(&self) -> Result<Vec<StoredFact>, Error> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT id, entity, relation, qualifier, value, unit, cited, document, first, last, second,
                       second_first, second_last FROM facts ORDER BY id",
                )?
                .query_map([], read_fact)?
                .collect()
        })
    }

    /// The number of a document id.
    pub(crate) fn number_of(&self, document: &str) -> Result<Option<i64>, Error> {
        self.read(|c| {
            c.prepare_cached("SELECT id FROM documents WHERE document = ?1")?
                .query_row([document], |row| row.get(0))
                .optional()
        })
    }

    /// A document, checked against the digest it was stored with.
    pub(crate) fn document(&self, number: i64) -> Result<StoredDocument, Error> {
        let (document, digest) = self.read(|c| {
            c.prepare_cached("SELECT document, path, locator, text, digest FROM documents WHERE id = ?1")?
                .query_row([number], |row| {
                    let document = StoredDocument {
                        document: row.get(0)?,
                        path: row.get(1)?,
                        locator: row.get(2)?,
                        text: row.get(3)?,
                    };
                    Ok((document, row.get::<_, String>(4)?))
                })
        })?;
        if ledger::hash_bytes(&document.text) != digest {
            let reason =
                format!("the text of document `{}` is not the one that was stored", document.document);
            return Err(Error::Pack { path: self.path.clone(), reason });
        }
        Ok(document)
    }

    pub(crate) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        query(&self.connection).map_err(|source| Error::Database { path: self.path.clone(), source })
    }
}

fn read_fact(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredFact> {
    let size = |i: usize| row.get::<_, i64>(i).map(|v| v as usize);
    let second = match row.get::<_, Option<i64>>(10)? {
        Some(document) => Some(Span { document, start: size(11)?, end: size(12)? }),
        None => None,
    };
    Ok(StoredFact {
        id: row.get(0)?,
        entity: row.get(1)?,
        relation: row.get(2)?,
        qualifier: row.get(3)?,
        value: row.get(4)?,
        unit: row.get(5)?,
        cited: row.get(6)?,
        place: Span { document: row.get(7)?, start: size(8)?, end: size(9)? },
        second,
    })
}

/// The full-text query of a question: any of its words, each quoted.
fn expression(query: &str) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for term in terms(query) {
        if !is_stop(&term.text) && !words.contains(&term.text) && words.len() < 64 {
            words.push(term.text);
        }
    }
    let quoted: Vec<String> = words.iter().map(|w| format!("\"{}\"", w.replace('"', "\"\""))).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}
