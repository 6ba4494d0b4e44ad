//! Errors of data governance: what was wrong, where, what to do.

use std::path::PathBuf;

/// Why a job on a corpus could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {source} ({action})")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The system's message.
        source: std::io::Error,
    },
    /// The configuration cannot be used.
    #[error("governance configuration: {0}")]
    Config(String),
    /// No document was found, or none was left.
    #[error("{0}")]
    Empty(String),
    /// A governed corpus is missing, unfinished or damaged.
    #[error("{path}: {problem}")]
    Corpus {
        /// The corpus folder or shard.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// A document is unknown.
    #[error("no document `{0}` in the ledger; `gewu data report` lists what was governed")]
    UnknownDocument(String),
    /// A derived artifact could not be changed or checked.
    #[error("{name}: {problem}")]
    Derived {
        /// Name of the artifact.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl Error {
    /// Wraps an input/output error with its file and the action.
    pub(crate) fn io(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }
}
