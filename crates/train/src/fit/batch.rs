//! Examples as one packed run, and the loss of what counts in it.

use burn::tensor::Tensor;
use model::{Hooks, Packed, Transformer};

use crate::{Error, Example};

/// A document, and after which of its rows which token is expected.
pub type Sequence = (Vec<u32>, Vec<(usize, u32)>);

/// A document in which every token but the last, which is left out, expects the one after it.
pub fn next_tokens(tokens: &[u32]) -> Sequence {
    let length = tokens.len().saturating_sub(1);
    (tokens[..length].to_vec(), (0..length).map(|row| (row, tokens[row + 1])).collect())
}

/// A packed run: the tokens, and after which rows which tokens are expected.
pub struct Batch {
    packed: Packed,
    rows: Vec<usize>,
    targets: Vec<u32>,
}

impl Batch {
    /// Packs examples one after the other.
    pub fn new<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Self {
        let (mut documents, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for example in examples {
            let scored = example.scored.start.max(1)..example.scored.end.min(example.tokens.len());
            rows.extend(scored.clone().map(|at| first + at - 1));
            targets.extend_from_slice(example.tokens.get(scored).unwrap_or_default());
            first += example.tokens.len();
            documents.push(example.tokens.clone());
        }
        Self { packed: Packed::new(&documents), rows, targets }
    }

    /// Packs documents whose expected tokens are given apart: after which row (counted within the document)
    /// which token.
    pub fn of_queries(documents: &[Sequence]) -> Self {
        let (mut tokens, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for (document, queries) in documents {
            rows.extend(queries.iter().map(|(row, _)| first + row));
            targets.extend(queries.iter().map(|(_, target)| *target));
            first += document.len();
            tokens.push(document.clone());
        }
        Self { packed: Packed::new(&tokens), rows, targets }
    }

    /// The documents.
    pub(crate) fn packed(&self) -> &Packed {
        &self.packed
    }

    /// Number of tokens read.
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Number of tokens that count.
    pub fn scored(&self) -> usize {
        self.targets.len()
    }

    /// The rows that predict.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// The tokens expected after [`rows`](Self::rows).
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// What the model makes of the run, `[len, width]`.
    ///
    /// # Errors
    /// The model's.
    pub fn hidden(&self, transformer: &Transformer) -> Result<Tensor<2>, Error> {
        Ok(transformer.hidden(&self.packed, &mut Hooks::new())?)
    }

    /// −ln p of every token that counts, `[scored]`; differentiable.
    ///
    /// # Errors
    /// The model's.
    pub fn losses(&self, transformer: &Transformer) -> Result<Tensor<1>, Error> {
        let hidden = self.hidden(transformer)?;
        Ok(transformer.losses(hidden, &self.rows, &self.targets)?)
    }
}
