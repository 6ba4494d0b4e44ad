//! What can go wrong with a checkpoint or a request to a model.

/// An error of this crate. The text says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot access `{path}`: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it claims to be: truncated, corrupted, or of an unknown version.
    #[error("`{path}` is not a valid {format} file: {reason}")]
    Format {
        /// The file.
        path: std::path::PathBuf,
        /// The format that was expected.
        format: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// The checkpoint is valid but describes a model that is not supported.
    #[error("unsupported model: {0}")]
    Unsupported(String),
    /// A tensor's bytes or format do not fit its shape.
    #[error(transparent)]
    Kernel(#[from] kernels::Error),
    /// Data handed to an operation does not fit it.
    #[error(transparent)]
    Operation(#[from] ops::Error),
    /// The request does not fit the model: too long, empty, or out of range.
    #[error("{0}")]
    Request(String),
}
