//! What a training reads: examples that are ready, or documents that are tokenized while it runs.

use ledger::Stream;

use crate::Example;

/// Where examples come from.
pub enum Source<'a> {
    /// They are at hand.
    Ready(&'a [Example]),
    /// They are made of documents, block by block, shortly before they are needed.
    Documents(Documents<'a>),
}

/// Documents that become examples while a training runs. An epoch takes them in an order of its own, in blocks of
/// about [`block`](Self::block) bytes, each tokenized when the one before it is packed (the first before the first
/// step); the examples of a block are shuffled among each other. Fewer bytes than that are one block, and come as if
/// they had been tokenized beforehand.
pub struct Documents<'a> {
    /// Bytes of every document.
    pub sizes: Vec<usize>,
    /// The examples of the document of that index.
    pub read: &'a (dyn Fn(usize) -> Vec<Example> + Sync),
    /// A hash of the documents: a saved state continues only on the same.
    pub identity: String,
    /// Bytes of a block.
    pub block: usize,
}

/// Bytes of a block: about a second of tokenizing, thousands of steps of training.
const BLOCK: usize = 8 << 20;

impl<'a> Documents<'a> {
    /// Documents in blocks of the usual size.
    pub fn new(
        sizes: Vec<usize>,
        read: &'a (dyn Fn(usize) -> Vec<Example> + Sync),
        identity: String,
    ) -> Self {
        Self { sizes, read, identity, block: BLOCK }
    }

    /// The documents of every block of an epoch; every epoch has as many blocks, some of them empty where a document
    /// is longer than a block.
    pub(crate) fn blocks(&self, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.sizes.len()).collect();
        let whole = self.bytes(&order);
        let count = whole.div_ceil(self.block.max(1)).max(1);
        if count == 1 {
            return vec![order];
        }
        Stream::new(seed, &format!("documents, epoch {epoch}")).shuffle(&mut order);
        let (mut blocks, mut before) = (vec![Vec::new(); count], 0);
        for index in order {
            // Wide, since a corpus may be large: where in the epoch the document begins.
            let block = (before as u128 * count as u128 / whole as u128) as usize;
            blocks[block].push(index);
            before += self.bytes(&[index]);
        }
        blocks
    }

    /// Bytes of some documents, one more for the end of each.
    fn bytes(&self, documents: &[usize]) -> usize {
        documents.iter().map(|index| self.sizes[*index] + 1).sum()
    }

    /// The examples of a block.
    pub(crate) fn examples(&self, block: &[usize]) -> Vec<Example> {
        block.iter().flat_map(|index| (self.read)(*index)).collect()
    }
}

impl Source<'_> {
    /// Bytes of a block; ready examples are one block, which counts as one.
    pub(crate) fn bytes(&self, block: &[usize]) -> usize {
        match self {
            Self::Ready(_) => 1,
            Self::Documents(documents) => documents.bytes(block),
        }
    }

    /// A hash of all examples; of documents their own, and what the first becomes, since that shows the tokenizer.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Ready(examples) => Example::hash(examples),
            Self::Documents(documents) => {
                let first = documents.sizes.first().map_or_else(Vec::new, |_| (documents.read)(0));
                let blocks = format!("{} {:?}", documents.block, documents.sizes);
                ledger::short_hash(&[&documents.identity, &blocks, &Example::hash(&first)])
            }
        }
    }
}

impl<'a> From<&'a [Example]> for Source<'a> {
    fn from(examples: &'a [Example]) -> Self {
        Self::Ready(examples)
    }
}

impl<'a> From<&'a Vec<Example>> for Source<'a> {
    fn from(examples: &'a Vec<Example>) -> Self {
        Self::Ready(examples)
    }
}

impl<'a, const N: usize> From<&'a [Example; N]> for Source<'a> {
    fn from(examples: &'a [Example; N]) -> Self {
        Self::Ready(examples)
    }
}

impl<'a> From<Documents<'a>> for Source<'a> {
    fn from(documents: Documents<'a>) -> Self {
        Self::Documents(documents)
    }
}
