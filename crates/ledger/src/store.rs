//! The ledger's file: SQLite with a rollback journal, so the file is complete after every call.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ToSql, params};

use crate::{AnswerRow, Artifact, Decision, Deletion, Derivation, DocumentRow, Error};

const SCHEMA_VERSION: i64 = 1;

/// Every row carries the stage that wrote it, so that a stage started again first removes what it wrote before.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, path TEXT NOT NULL, locator TEXT NOT NULL,
  hash TEXT NOT NULL, title TEXT NOT NULL, language TEXT NOT NULL, licence TEXT NOT NULL, bytes INTEGER NOT NULL,
  stage TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (sequence INTEGER PRIMARY KEY, document TEXT NOT NULL, rule TEXT NOT NULL,
  action TEXT NOT NULL, value REAL, threshold REAL, detail TEXT NOT NULL, stage TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS derivations (sequence INTEGER PRIMARY KEY, parent TEXT NOT NULL, child TEXT NOT NULL,
  kind TEXT NOT NULL, location TEXT NOT NULL, stage TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deletions (sequence INTEGER PRIMARY KEY, document TEXT NOT NULL, reason TEXT NOT NULL,
  evidence TEXT NOT NULL, stage TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS artifacts (sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, kind TEXT NOT NULL,
  path TEXT NOT NULL, bytes INTEGER NOT NULL, stage TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (id TEXT PRIMARY KEY, question TEXT NOT NULL, answer TEXT NOT NULL,
  outcome TEXT NOT NULL, stage TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS decisions_by_document ON decisions (document);
CREATE INDEX IF NOT EXISTS derivations_by_parent ON derivations (parent);
CREATE INDEX IF NOT EXISTS derivations_by_child ON derivations (child);
CREATE INDEX IF NOT EXISTS deletions_by_document ON deletions (document);
CREATE INDEX IF NOT EXISTS artifacts_by_hash ON artifacts (hash);
";

const TABLES: [&str; 6] = ["documents", "decisions", "derivations", "deletions", "artifacts", "answers"];

/// Lineage records in one SQLite file. Every inserting call is one transaction; pass many rows at once.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    stage: String,
}

impl Ledger {
    /// Opens or creates the ledger at `path`.
    ///
    /// # Errors
    /// If the file cannot be opened, is not a ledger, or has another schema version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let prepare = || -> rusqlite::Result<(Connection, i64)> {
            let connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "TRUNCATE")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            // Answers quote documents: what is removed is overwritten, not just unlinked.
            connection.pragma_update(None, "secure_delete", "ON")?;
            connection.execute_batch(SCHEMA)?;
            let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if found == 0 {
                connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            Ok((connection, if found == 0 { SCHEMA_VERSION } else { found }))
        };
        let (connection, found) =
            prepare().map_err(|source| Error::Database { path: path.to_owned(), source })?;
        if found != SCHEMA_VERSION {
            return Err(Error::Schema { path: path.to_owned(), found, expected: SCHEMA_VERSION });
        }
        Ok(Self { connection, path: path.to_owned(), stage: String::new() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names the stage of the rows that follow and removes the rows an earlier, interrupted start of it left.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn begin_stage(&mut self, stage: &str) -> Result<(), Error> {
        self.stage = stage.to_owned();
        self.transaction(|connection, stage| {
            for table in TABLES {
                connection.execute(&format!("DELETE FROM {table} WHERE stage = ?1"), [stage])?;
            }
            Ok(())
        })
    }

    /// Rows that follow belong to no stage: no later start of one removes them.
    pub(crate) fn leave_stage(&mut self) {
        self.stage.clear();
    }

    /// Records documents; a document already known is replaced.
    ///
    /// # Errors
    /// If the database cannot be written; then none of `rows` is recorded. The same holds for the other `add_…`.
    pub fn add_documents(&mut self, rows: &[DocumentRow]) -> Result<(), Error> {
        self.insert("documents", 9, rows, |r, stage, insert| {
            insert(params![
                r.id,
                r.path,
                r.locator,
                r.hash,
                r.title,
                r.language,
                r.licence,
                r.bytes as i64,
                stage
            ])
        })
    }

    /// Records decisions, in order.
    ///
    /// # Errors
    /// See [`Ledger::add_documents`].
    pub fn add_decisions(&mut self, rows: &[Decision]) -> Result<(), Error> {
        self.insert("decisions", 8, rows, |r, stage, insert| {
            insert(params![None::<i64>, r.document, r.rule, r.action, r.value, r.threshold, r.detail, stage])
        })
    }

    /// Records derivations, in order.
    ///
    /// # Errors
    /// See [`Ledger::add_documents`].
    pub fn add_derivations(&mut self, rows: &[Derivation]) -> Result<(), Error> {
        self.insert("derivations", 6, rows, |r, stage, insert| {
            insert(params![None::<i64>, r.parent, r.child, r.kind, r.location, stage])
        })
    }

    /// Records deletions, in order.
    ///
    /// # Errors
    /// See [`Ledger::add_documents`].
    pub fn add_deletions(&mut self, rows: &[Deletion]) -> Result<(), Error> {
        self.insert("deletions", 5, rows, |r, stage, insert| {
            insert(params![None::<i64>, r.document, r.reason, r.evidence, stage])
        })
    }

    /// Records artifacts, in order.
    ///
    /// # Errors
    /// See [`Ledger::add_documents`].
    pub fn add_artifacts(&mut self, rows: &[Artifact]) -> Result<(), Error> {
        self.insert("artifacts", 6, rows, |r, stage, insert| {
            insert(params![None::<i64>, r.hash, r.kind, r.path, r.bytes as i64, stage])
        })
    }

    /// Records answers; an answer already known is replaced.
    ///
    /// # Errors
    /// See [`Ledger::add_documents`].
    pub fn add_answers(&mut self, rows: &[AnswerRow]) -> Result<(), Error> {
        self.insert("answers", 5, rows, |r, stage, insert| {
            insert(params![r.id, r.question, r.answer, r.outcome, stage])
        })
    }

    /// Removes every derivation that starts from `parents` or leads to one of them; returns how many.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn remove_derivations(&mut self, parents: &[&str]) -> Result<usize, Error> {
        self.transaction(|connection, _| {
            let mut statement =
                connection.prepare_cached("DELETE FROM derivations WHERE parent = ?1 OR child = ?1")?;
            parents.iter().map(|parent| statement.execute([parent])).sum()
        })
    }

    /// Number of rows of `documents`, `decisions`, `derivations`, `deletions`, `artifacts` and `answers`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn counts(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        TABLES
            .iter()
            .map(|table| {
                let sql = format!("SELECT COUNT(*) FROM {table}");
                let count: i64 = self.read(|c| c.query_row(&sql, [], |row| row.get(0)))?;
                Ok((*table, count as u64))
            })
            .collect()
    }

    /// How many documents each rule and action decided on, in rule order: `(rule, action, documents)`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decision_counts(&self) -> Result<Vec<(String, String, u64)>, Error> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT rule, action, COUNT(DISTINCT document) FROM decisions
                     GROUP BY rule, action ORDER BY rule, action",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64)))?
                .collect()
        })
    }

    /// BLAKE3 over all rows in insertion order: equal for equal histories, whatever the file's layout.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn content_hash(&self) -> Result<String, Error> {
        let mut hasher = blake3::Hasher::new();
        for table in TABLES {
            self.read(|connection| {
                let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1"))?;
                let columns = statement.column_count();
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    for column in 0..columns {
                        let text = format!("{:?}", row.get_ref(column)?);
                        hasher.update(&(text.len() as u64).to_le_bytes());
                        hasher.update(text.as_bytes());
                    }
                }
                Ok(())
            })?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Runs a reading query, naming the file in errors.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        query(&self.connection).map_err(|source| Error::Database { path: self.path.clone(), source })
    }

    fn insert<R>(
        &mut self,
        table: &str,
        columns: usize,
        rows: &[R],
        bind: impl Fn(&R, &str, &mut dyn FnMut(&[&dyn ToSql]) -> rusqlite::Result<()>) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let places = vec!["?"; columns].join(", ");
        let sql = format!("INSERT OR REPLACE INTO {table} VALUES ({places})");
        self.transaction(|connection, stage| {
            let mut statement = connection.prepare_cached(&sql)?;
            for row in rows {
                bind(row, stage, &mut |values| statement.execute(values).map(|_| ()))?;
            }
            Ok(())
        })
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &str) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let stage = &self.stage;
        let connection = &mut self.connection;
        let run = || {
            let transaction = connection.transaction()?;
            let value = work(&transaction, stage)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|source| Error::Database { path: self.path.clone(), source })
    }
}
