//! What can go wrong with an instrument.

/// Why an instrument gave no reading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model refused: a point that does not exist or did not fire, a token outside the vocabulary.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A training step failed.
    #[error(transparent)]
    Train(#[from] train::Error),
    /// A statistic is undefined for the numbers at hand.
    #[error(transparent)]
    Statistics(#[from] statistics::Error),
    /// The request does not fit the model or the data; the message says what to change.
    #[error("{0}")]
    Request(String),
}

/// An [`Error::Request`] unless `condition` holds.
pub(crate) fn require(condition: bool, message: impl FnOnce() -> String) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Request(message())) }
}
