//! Examples packed into runs of at most so many tokens, in an order that a seed decides for every epoch.
//!
//! A run holds whole examples one after the other; where each begins is passed on, so no operation looks across.
//! Nothing is padded.

use ledger::Stream;

use crate::{Error, Example, Source};

/// Examples longer than `most` tokens cut into windows of at most `most`, the others as they are; windows overlap
/// in one token, so that every scored token is still predicted exactly once. What has no scored token is left out.
pub fn windows(examples: &[Example], most: usize) -> Vec<Example> {
    let most = most.max(2);
    let mut out = Vec::with_capacity(examples.len());
    for example in examples {
        let length = example.tokens.len();
        let mut start = 0;
        while start + 1 < length {
            let end = length.min(start + most);
            // The first token of a window is only read.
            let scored = example.scored.start.max(start + 1)..example.scored.end.min(end);
            if scored.start < scored.end {
                let tokens = example.tokens[start..end].to_vec();
                out.push(Example { tokens, scored: scored.start - start..scored.end - start });
            }
            start = end - 1;
        }
    }
    out
}

/// Where a training is in its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// How many times every example has been used.
    pub epoch: u64,
    /// Blocks of this epoch that were used.
    #[serde(default)]
    pub block: usize,
    /// Runs of this block that were used.
    pub run: usize,
}

/// The endless stream of runs: epoch after epoch, each in its own order.
pub struct Packing<'a> {
    source: &'a Source<'a>,
    most: usize,
    seed: u64,
    position: Position,
    /// The blocks of the current epoch: indices of documents. One without any stands for ready examples.
    blocks: Vec<Vec<usize>>,
    /// Bytes of each.
    bytes: Vec<usize>,
    /// The documents that `examples` were made of.
    opened: Option<Vec<usize>>,
    /// The examples of the current block.
    examples: Vec<Example>,
    /// Its runs: indices of examples.
    runs: Vec<Vec<usize>>,
}

impl<'a> Packing<'a> {
    /// Packs what `source` holds into runs of at most `most` tokens, longer examples cut by [`windows`]; starts at
    /// `position`.
    ///
    /// # Errors
    /// [`Error::Request`] if there is nothing to learn from.
    pub fn new(source: &'a Source<'a>, most: usize, seed: u64, position: Position) -> Result<Self, Error> {
        let (blocks, bytes, opened) = (Vec::new(), Vec::new(), None);
        let (examples, runs) = (Vec::new(), Vec::new());
        let mut packing = Self { source, most, seed, position, blocks, bytes, opened, examples, runs };
        packing.begin_epoch();
        // An epoch, and what is left of the one it begins in, tell whether there is anything at all.
        let tries = packing.blocks.len() * 2;
        packing.open();
        for _ in 0..tries {
            if packing.position.run < packing.runs.len() {
                return Ok(packing);
            }
            packing.leave();
        }
        Err(Error::Request("there is nothing to train on: no example has a scored token".into()))
    }

    /// Where the next run stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Number of runs of so many epochs, where that is known before they are read: where an epoch is one block.
    pub fn runs_in(&self, epochs: u64) -> Option<usize> {
        (self.blocks.len() == 1).then(|| (0..epochs).map(|epoch| self.pack(epoch, 0).len()).sum())
    }

    /// Number of runs left of so many epochs; an estimate as long as blocks are left that were not read.
    pub fn runs_left(&self, epochs: u64) -> usize {
        let Position { epoch, block, run } = self.position;
        if epoch >= epochs {
            return 0;
        }
        let bytes = |blocks: &[usize]| blocks.iter().sum::<usize>() as f64;
        let later = bytes(&self.bytes[block + 1..]) + bytes(&self.bytes) * (epochs - epoch - 1) as f64;
        // The last run of a block is rarely full; of a small block it may be the only one.
        let last: usize = self
            .runs
            .last()
            .map_or(0, |run| run.iter().map(|index| self.examples[*index].tokens.len()).sum());
        let full = self.runs.len().saturating_sub(1) as f64 + last as f64 / self.most as f64;
        let per_byte = full / self.bytes[block].max(1) as f64;
        self.runs.len() - run + (later * per_byte).ceil() as usize
    }

    /// How many times the examples were used so far.
    pub fn epochs(&self) -> f64 {
        let Position { epoch, block, run } = self.position;
        let before = self.bytes[..block].iter().sum::<usize>() as f64;
        let here = self.bytes[block] as f64 * run as f64 / self.runs.len().max(1) as f64;
        epoch as f64 + (before + here) / self.bytes.iter().sum::<usize>().max(1) as f64
    }

    /// The examples of the next run.
    pub fn next_run(&mut self) -> Vec<Example> {
        let run = &self.runs[self.position.run];
        let examples = run.iter().map(|index| self.examples[*index].clone()).collect();
        self.position.run += 1;
        while self.position.run >= self.runs.len() {
            self.leave();
        }
        examples
    }

    /// Goes on to the next block.
    fn leave(&mut self) {
        self.position.run -= self.runs.len().min(self.position.run);
        self.position.block += 1;
        if self.position.block >= self.blocks.len() {
            self.position = Position { epoch: self.position.epoch + 1, block: 0, ..self.position };
            self.begin_epoch();
        }
        self.open();
    }

    fn begin_epoch(&mut self) {
        self.blocks = match self.source {
            Source::Ready(_) => vec![Vec::new()],
            Source::Documents(documents) => documents.blocks(self.seed, self.position.epoch),
        };
        self.bytes = self.blocks.iter().map(|block| self.source.bytes(block)).collect();
        // A state of other documents is refused before; this only keeps the index within bounds.
        self.position.block = self.position.block.min(self.blocks.len().saturating_sub(1));
    }

    /// Makes the examples of the block at the position, if they are not those at hand, and orders them.
    fn open(&mut self) {
        let block = self.blocks.get(self.position.block);
        if self.opened.as_ref() != block {
            self.examples = match (self.source, block) {
                (Source::Ready(examples), _) => windows(examples, self.most),
                (Source::Documents(documents), Some(block)) => windows(&documents.examples(block), self.most),
                (Source::Documents(_), None) => Vec::new(),
            };
            self.opened = block.cloned();
        }
        self.runs = self.pack(self.position.epoch, self.position.block);
    }

    fn pack(&self, epoch: u64, block: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        let purpose = match self.blocks.len() {
            1 => format!("packing, epoch {epoch}"),
            _ => format!("packing, epoch {epoch}, block {block}"),
        };
        Stream::new(self.seed, &purpose).shuffle(&mut order);
        let (mut runs, mut tokens) = (Vec::<Vec<usize>>::new(), usize::MAX);
        for index in order {
            let length = self.examples[index].tokens.len();
            match runs.last_mut() {
                Some(run) if tokens + length <= self.most => {
                    run.push(index);
                    tokens += length;
                }
                _ => {
                    runs.push(vec![index]);
                    tokens = length;
                }
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Documents;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_score_every_token_once(length in 2usize..60, most in 2usize..20, from in 1usize..30) {
            let tokens: Vec<u32> = (0..length as u32).collect();
            let from = from.min(length);
            let whole = Example { tokens, scored: from..length };
            let cut = windows(&[whole], most);
            let scored: Vec<u32> =
                cut.iter().flat_map(|w| w.tokens[w.scored.clone()].to_vec()).collect();
            prop_assert_eq!(scored, (from as u32..length as u32).collect::<Vec<_>>());
            for window in &cut {
                prop_assert!(window.tokens.len() <= most && window.scored.start > 0);
                // The token before a scored one is the one it follows in the text.
                let at = window.scored.start;
                prop_assert_eq!(window.tokens[at - 1] + 1, window.tokens[at]);
            }
        }

        #[test]
        fn an_epoch_uses_every_example_once(lengths in prop::collection::vec(2usize..9, 1..40), seed: u64, block in 1usize..60) {
            let example = |index: usize| Example::whole(vec![index as u32; lengths[index]]);
            let ready: Vec<Example> = (0..lengths.len()).map(example).collect();
            let read = |index: usize| vec![example(index)];
            let documents = Documents { block, ..Documents::new(lengths.clone(), &read, String::new()) };
            for source in [Source::Ready(&ready), Source::Documents(documents)] {
                let mut packing = Packing::new(&source, 10, seed, Position::default()).unwrap();
                for epoch in 0..2u64 {
                    let mut seen = Vec::new();
                    while packing.position().epoch == epoch {
                        prop_assert!(packing.runs_left(epoch + 1) > 0);
                        prop_assert!((epoch as f64..epoch as f64 + 1.0).contains(&packing.epochs()));
                        let run = packing.next_run();
                        prop_assert!(run.iter().map(|example| example.tokens.len()).sum::<usize>() <= 10);
                        seen.extend(run.iter().map(|example| example.tokens[0] as usize));
                    }
                    prop_assert_eq!(packing.runs_left(epoch + 1), 0);
                    seen.sort_unstable();
                    prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
                }
            }
        }

        #[test]
        fn a_position_continues_the_stream(skip in 0usize..40, block in 1usize..80) {
            let read = |index: usize| vec![Example::whole(vec![index as u32; 2 + index % 5])];
            let documents = Documents::new((0..17).map(|n| 2 + n % 5).collect(), &read, String::new());
            let source = Source::Documents(Documents { block, ..documents });
            let mut packing = Packing::new(&source, 12, 5, Position::default()).unwrap();
            for _ in 0..skip {
                packing.next_run();
            }
            let mut again = Packing::new(&source, 12, 5, packing.position()).unwrap();
            for _ in 0..20 {
                prop_assert_eq!(packing.next_run(), again.next_run());
            }
        }
    }

    fn numbered(count: u32, length: usize) -> Vec<Example> {
        (0..count).map(|index| Example::whole(vec![index; length])).collect()
    }

    #[test]
    fn documents_of_one_block_come_as_ready_examples_do() {
        let examples = numbered(20, 3);
        let read = |index: usize| vec![examples[index].clone()];
        let documents = Source::Documents(Documents::new(vec![3; 20], &read, String::new()));
        let ready = Source::Ready(&examples);
        let mut a = Packing::new(&ready, 7, 3, Position::default()).unwrap();
        let mut b = Packing::new(&documents, 7, 3, Position::default()).unwrap();
        assert_eq!(a.runs_in(2), Some(20));
        assert_eq!(a.runs_in(2), b.runs_in(2));
        (0..20).for_each(|_| assert_eq!(a.next_run(), b.next_run()));
    }

    #[test]
    fn the_runs_left_are_estimated_by_bytes() {
        let read = |index: usize| numbered(index as u32 % 2 + 1, 4);
        let documents =
            Documents::new((0..60).map(|index| 4 * (index % 2 + 1)).collect(), &read, String::new());
        let source = Source::Documents(Documents { block: 60, ..documents });
        let mut packing = Packing::new(&source, 8, 1, Position::default()).unwrap();
        assert_eq!(packing.runs_in(1), None);
        let estimate = packing.runs_left(3);
        let mut runs = 0;
        while packing.position().epoch < 3 {
            packing.next_run();
            runs += 1;
        }
        assert!(runs > 100 && estimate.abs_diff(runs) < runs / 10, "{estimate} {runs}");
    }

    #[test]
    fn epochs_differ_and_seeds_differ() {
        let examples = numbered(30, 3);
        let source = Source::Ready(&examples);
        let order = |seed, epoch| {
            let position = Position { epoch, ..Position::default() };
            let mut packing = Packing::new(&source, 3, seed, position).unwrap();
            (0..30).flat_map(|_| packing.next_run()).collect::<Vec<_>>()
        };
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_eq!(order(1, 3), order(1, 3));
    }

    #[test]
    fn nothing_to_train_on_is_an_error() {
        let new = |source: &Source| Packing::new(source, 8, 0, Position::default()).map(|_| ());
        assert!(new(&Source::Ready(&[])).is_err());
        let nothing = |_: usize| Vec::new();
        let documents = |block| {
            Source::Documents(Documents { block, ..Documents::new(vec![5; 9], &nothing, String::new()) })
        };
        assert!(new(&documents(100)).is_err() && new(&documents(10)).is_err());
        let last = |index: usize| numbered(u32::from(index == 8), 4);
        assert!(
            new(&Source::Documents(Documents {
                block: 5,
                ..Documents::new(vec![5; 9], &last, String::new())
            }))
            .is_ok()
        );
        assert!(windows(&[Example::whole(vec![1])], 8).is_empty());
    }

    #[test]
    fn an_example_longer_than_a_run_is_cut() {
        let long = numbered(1, 9);
        let source = Source::Ready(&long);
        let mut packing = Packing::new(&source, 8, 0, Position::default()).unwrap();
        assert_eq!(packing.runs_in(1), Some(2));
        let runs: Vec<Example> = (0..2).flat_map(|_| packing.next_run()).collect();
        assert_eq!(runs.iter().map(|example| example.scored.len()).sum::<usize>(), 8);
        assert!(runs.iter().all(|example| example.tokens.len() <= 8));
    }
}
