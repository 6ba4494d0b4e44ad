//! What can be wrong with data handed to a kernel.

/// Bad data or a bad setting; the message says what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `GEWU_CPU` (or [`crate::cpu::Level::parse`]) names no level.
    #[error("unknown CPU level {word:?}: choose scalar, avx2 or avx512")]
    UnknownLevel {
        /// What was asked for.
        word: String,
    },
    /// The level exists but this processor lacks its instructions.
    #[error("this processor cannot run level {word}: choose one of {available}")]
    UnavailableLevel {
        /// What was asked for.
        word: String,
        /// The levels this machine has.
        available: String,
    },
    /// A GGUF tensor type this crate has no format for.
    #[error("tensor type {id} is not supported: the known types are {known}")]
    UnknownFormat {
        /// The GGUF type id, or the name that was asked for.
        id: String,
        /// Names of all registered formats.
        known: String,
    },
    /// The number of bytes does not match the shape.
    #[error("{what}: {got} bytes where the shape needs {expected}")]
    Bytes {
        /// Which buffer.
        what: String,
        /// How many bytes it has.
        got: usize,
        /// How many the shape needs.
        expected: usize,
    },
    /// A row does not hold a whole number of blocks.
    #[error("a row of {columns} weights is not a whole number of {format} blocks of {block}")]
    Blocks {
        /// Weights in a row.
        columns: usize,
        /// The format's name.
        format: &'static str,
        /// Weights in a block.
        block: usize,
    },
    /// A shape whose size does not fit in memory.
    #[error("a weight of {rows} × {columns} is too large for this machine's address space")]
    TooLarge {
        /// Output rows.
        rows: usize,
        /// Input columns.
        columns: usize,
    },
    /// The format can be read but not written.
    #[error("{format} can be read but not written: write F32, F16, BF16, Q8_0 or Q4_0")]
    ReadOnly {
        /// The format's name.
        format: &'static str,
    },
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
}
