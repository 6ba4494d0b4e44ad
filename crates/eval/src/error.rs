//! What can go wrong in an evaluation.

/// An error of this crate. The text says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request makes no sense: an unknown task, an empty text, a limit of 0.
    #[error("{0}")]
    Request(String),
    /// The model could not answer an item.
    #[error("{item}: {source}")]
    Model {
        /// The item's identity, or what was being scored.
        item: String,
        /// What the model said.
        source: model::Error,
    },
    /// The log could not be read or written.
    #[error("cannot access the log `{path}`: {source}")]
    Log {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of the log is not a record of this program.
    #[error("the log `{path}` is damaged at line {line}: {reason}; delete the file to start afresh")]
    DamagedLog {
        /// The file.
        path: std::path::PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A statistic is undefined.
    #[error(transparent)]
    Statistics(#[from] statistics::Error),
}
