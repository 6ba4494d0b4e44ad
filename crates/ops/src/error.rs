//! What can be wrong with data handed to an operation.

/// Bad data; wrong shapes between operations are faults of the program and panic instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bad bytes or shapes of a weight.
    #[error(transparent)]
    Kernel(#[from] kernels::Error),
    /// A token id outside the embedding table.
    #[error("token id {id} (number {index} of the sequence) is outside the table of {rows} rows")]
    Token {
        /// The id.
        id: u32,
        /// Its place in the sequence.
        index: usize,
        /// Rows of the table.
        rows: usize,
    },
    /// An operation without a backward met a tracked tensor.
    #[error("{operation} has no backward: run it untracked, or without a cache to train")]
    Tracked {
        /// What it was.
        operation: &'static str,
    },
}
