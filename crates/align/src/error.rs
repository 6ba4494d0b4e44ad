//! What can go wrong in alignment.

/// An error of this crate. The text says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model refused a request or could not be read.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Training refused.
    #[error(transparent)]
    Train(#[from] train::Error),
    /// A statistic is undefined for the numbers.
    #[error(transparent)]
    Statistics(#[from] statistics::Error),
    /// A file could not be read or written.
    #[error("cannot access `{path}`: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or an option is not what it must be.
    #[error("{0}")]
    Invalid(String),
}
