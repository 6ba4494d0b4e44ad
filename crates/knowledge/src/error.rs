//! What can go wrong with a pack or a question.

use std::path::PathBuf;

/// An error of this crate. The text says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to compile.
    #[error("the corpus has no text to compile into a pack; check the sources and what governance dropped")]
    EmptyCorpus,
    /// Two documents carry the same identity.
    #[error("document `{0}` occurs twice in the corpus; govern it again")]
    RepeatedDocument(String),
    /// A file could not be read or written.
    #[error("cannot access `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a pack: missing, truncated, corrupted, or of another version.
    #[error("`{path}` is not a valid knowledge pack: {reason}; build it again")]
    Pack {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The database engine refused an operation.
    #[error("knowledge pack `{path}`: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        source: rusqlite::Error,
    },
    /// A deletion left something behind.
    #[error(
        "deletion is not complete: `{path}` still holds {what}; delete the file and build the pack again"
    )]
    NotDeleted {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The request makes no sense: an empty question, no support wanted.
    #[error("{0}")]
    Request(String),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}
