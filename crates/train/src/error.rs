//! What can go wrong while training.

use std::path::{Path, PathBuf};

/// An error of this crate; the message says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model refused: a wrong shape, a token outside the vocabulary, a file.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// An atomic file or a hash failed.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// `read`, `write`, `rename`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A saved training state is damaged or belongs to other settings.
    #[error("training state `{path}`: {reason}")]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The request makes no sense: no examples, a rate that is not a number, and so on.
    #[error("{0}")]
    Request(String),
}

impl Error {
    /// A `map_err` argument that names the action and the path.
    pub(crate) fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::File { action, path: path.to_owned(), source }
    }

    /// A `map_err` argument for anything that says why a saved state is not valid.
    pub(crate) fn state<'a, E: std::fmt::Display>(path: &'a Path) -> impl FnOnce(E) -> Self + 'a {
        move |reason| Self::State { path: path.to_owned(), reason: reason.to_string() }
    }
}
