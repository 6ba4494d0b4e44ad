//! Which rows of a packed run belong together: several documents concatenated, none of which sees another.

use std::ops::Range;
use std::sync::Arc;

/// Boundaries of the documents in a run of tokens; cloning shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    starts: Arc<[usize]>,
    tokens: usize,
}

impl Documents {
    /// One document of `tokens` tokens.
    pub fn single(tokens: usize) -> Self {
        Self { starts: if tokens == 0 { [].into() } else { [0].into() }, tokens }
    }

    /// Documents that begin at `starts`, ascending from 0; the last ends at `tokens`.
    ///
    /// # Panics
    /// If the starts are not so, or a document is empty: a fault of the caller, not of user input.
    pub fn new(starts: &[usize], tokens: usize) -> Self {
        assert!(
            starts.first() == (tokens > 0).then_some(&0)
                && starts.windows(2).all(|pair| pair[0] < pair[1])
                && starts.last().is_none_or(|&last| last < tokens),
            "documents: starts {starts:?} of a run of {tokens} tokens"
        );
        Self { starts: starts.into(), tokens }
    }

    /// Tokens of the run.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// First token of each document.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The tokens of each document.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        (0..self.starts.len()).map(|i| self.starts[i]..self.starts.get(i + 1).copied().unwrap_or(self.tokens))
    }

    /// The position of each token in its document, which is what a [`crate::Rotation`] wants.
    pub fn positions(&self) -> impl Iterator<Item = u32> {
        self.ranges().flat_map(|range| 0..range.len() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_restart() {
        let documents = Documents::new(&[0, 3, 4], 6);
        assert_eq!(documents.positions().collect::<Vec<_>>(), [0, 1, 2, 0, 0, 1]);
        assert_eq!(documents.ranges().collect::<Vec<_>>(), [0..3, 3..4, 4..6]);
        assert_eq!(Documents::new(&[0], 5), Documents::single(5));
        assert_eq!(Documents::single(0), Documents::new(&[], 0));
    }

    #[test]
    #[should_panic(expected = "starts [0, 3, 3]")]
    fn an_empty_document_is_a_fault() {
        Documents::new(&[0, 3, 3], 6);
    }
}
