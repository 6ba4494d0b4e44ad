//! Examples packed into runs of at most so many tokens, in an order that a seed decides for every epoch.
//!
//! A run holds whole examples one after the other; where each begins is passed on, so no operation looks across.
//! Nothing is padded.

use ledger::Stream;

use crate::{Error, Example};

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
    /// Runs of this epoch that were used.
    pub run: usize,
}

/// The endless stream of runs: epoch after epoch, each in its own order.
#[derive(Clone, Debug)]
pub struct Packing {
    lengths: Vec<usize>,
    most: usize,
    seed: u64,
    position: Position,
    /// The runs of the current epoch: indices of examples.
    runs: Vec<Vec<usize>>,
}

impl Packing {
    /// Packs examples (already cut by [`windows`]) into runs of at most `most` tokens, starting at `position`.
    ///
    /// # Errors
    /// [`Error::Request`] if there is no example, or one is longer than a run.
    pub fn new(examples: &[Example], most: usize, seed: u64, position: Position) -> Result<Self, Error> {
        let lengths: Vec<usize> = examples.iter().map(|example| example.tokens.len()).collect();
        if lengths.is_empty() {
            return Err(Error::Request("there is nothing to train on: no example has a scored token".into()));
        }
        if let Some(length) = lengths.iter().find(|length| **length > most) {
            return Err(Error::Request(format!(
                "an example has {length} tokens but a run holds {most}; cut it or choose longer runs"
            )));
        }
        let mut packing = Self { lengths, most, seed, position, runs: Vec::new() };
        packing.runs = packing.epoch(position.epoch);
        packing.advance(0);
        Ok(packing)
    }

    /// Where the next run stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Number of runs of one epoch.
    pub fn runs_in(&self, epoch: u64) -> usize {
        self.epoch(epoch).len()
    }

    /// The examples of the next run.
    pub fn next_run(&mut self) -> Vec<usize> {
        let run = self.runs[self.position.run].clone();
        self.advance(1);
        run
    }

    fn advance(&mut self, runs: usize) {
        self.position.run += runs;
        while self.position.run >= self.runs.len() {
            self.position.run -= self.runs.len();
            self.position.epoch += 1;
            self.runs = self.epoch(self.position.epoch);
        }
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        Stream::new(self.seed, &format!("packing, epoch {epoch}")).shuffle(&mut order);
        let (mut runs, mut tokens) = (Vec::<Vec<usize>>::new(), usize::MAX);
        for index in order {
            let length = self.lengths[index];
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
        fn an_epoch_uses_every_example_once(lengths in prop::collection::vec(2usize..9, 1..40), seed: u64) {
            let examples: Vec<Example> =
                lengths.iter().map(|n| Example::whole(vec![0; *n])).collect();
            let mut packing = Packing::new(&examples, 10, seed, Position::default()).unwrap();
            for epoch in 0..2u64 {
                let mut seen = Vec::new();
                for _ in 0..packing.runs_in(epoch) {
                    prop_assert_eq!(packing.position().epoch, epoch);
                    let run = packing.next_run();
                    prop_assert!(run.iter().map(|i| lengths[*i]).sum::<usize>() <= 10);
                    seen.extend(run);
                }
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_position_continues_the_stream(skip in 0usize..40) {
            let examples: Vec<Example> = (0..17).map(|n| Example::whole(vec![0; 2 + n % 5])).collect();
            let mut packing = Packing::new(&examples, 12, 5, Position::default()).unwrap();
            for _ in 0..skip {
                packing.next_run();
            }
            let mut again = Packing::new(&examples, 12, 5, packing.position()).unwrap();
            for _ in 0..20 {
                prop_assert_eq!(packing.next_run(), again.next_run());
            }
        }
    }

    #[test]
    fn epochs_differ_and_seeds_differ() {
        let examples: Vec<Example> = (0..30).map(|_| Example::whole(vec![0; 3])).collect();
        let order = |seed, epoch| {
            let position = Position { epoch, run: 0 };
            let mut packing = Packing::new(&examples, 3, seed, position).unwrap();
            (0..30).flat_map(|_| packing.next_run()).collect::<Vec<_>>()
        };
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
        assert_eq!(order(1, 3), order(1, 3));
    }

    #[test]
    fn nothing_to_train_on_is_an_error() {
        assert!(Packing::new(&[], 8, 0, Position::default()).is_err());
        let long = [Example::whole(vec![0; 9])];
        assert!(Packing::new(&long, 8, 0, Position::default()).unwrap_err().to_string().contains('9'));
        assert!(windows(&[Example::whole(vec![1])], 8).is_empty());
    }
}
