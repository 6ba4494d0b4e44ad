//! Several documents in one run of tokens: what a training step reads.

/// Documents one after the other, without padding. Nothing looks across their boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    tokens: Vec<u32>,
    starts: Vec<usize>,
}

impl Packed {
    /// One document.
    pub fn one(tokens: Vec<u32>) -> Self {
        Self { tokens, starts: vec![0] }
    }

    /// Several documents, in this order; empty ones are left out.
    pub fn new(documents: &[Vec<u32>]) -> Self {
        let mut packed = Self { tokens: Vec::new(), starts: Vec::new() };
        for document in documents.iter().filter(|document| !document.is_empty()) {
            packed.starts.push(packed.tokens.len());
            packed.tokens.extend_from_slice(document);
        }
        if packed.starts.is_empty() {
            packed.starts.push(0);
        }
        packed
    }

    /// The tokens of all documents.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Where each document begins; the first is 0.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The range of each document.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let ends = self.starts.iter().skip(1).copied().chain([self.tokens.len()]);
        self.starts.iter().zip(ends).map(|(&start, end)| start..end)
    }

    /// Every prediction of a next token inside a document: the rows that make it, and the tokens that follow.
    pub fn predictions(&self) -> (Vec<usize>, Vec<u32>) {
        let rows = self.ranges().flat_map(|range| range.start..range.end.saturating_sub(1));
        rows.map(|row| (row, self.tokens[row + 1])).unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_stay_inside_their_document() {
        let packed = Packed::new(&[vec![1, 2, 3], vec![], vec![4], vec![5, 6]]);
        assert_eq!((packed.tokens(), packed.starts()), (&[1, 2, 3, 4, 5, 6][..], &[0, 3, 4][..]));
        assert_eq!(packed.predictions(), (vec![0, 1, 4], vec![2, 3, 6]));
        assert!(Packed::new(&[]).is_empty() && Packed::one(vec![7]).predictions().0.is_empty());
    }
}
