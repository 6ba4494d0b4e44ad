//! Token sequences of preferences, scored in packed runs.

use std::ops::Range;

use burn::tensor::Tensor;
use model::template::ChatTemplate;
use model::tokenizer::Tokenizer;
use model::{Hooks, Message, Packed, Transformer, common_prefix};

use crate::Error;

/// A prompt with an answer, and the reference's losses of that answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<u32>,
    /// The tokens of the answer that count.
    pub(crate) scored: Range<usize>,
    /// −log p of each scored token under the reference; empty until it was asked.
    pub(crate) reference: Vec<f32>,
}

impl Sequence {
    /// A text of which every token but the first counts.
    pub(crate) fn text(tokenizer: &Tokenizer, text: &str) -> Self {
        let mut tokens: Vec<u32> = tokenizer.beginning().into_iter().collect();
        tokens.extend(tokenizer.encode(text));
        let scored = 1..tokens.len().max(1);
        Self { tokens, scored, reference: Vec::new() }
    }

    /// Leaves out all but the first `most` tokens that count.
    pub(crate) fn shorten(&mut self, most: usize) {
        self.scored.end = self.scored.end.min(self.scored.start + most);
        self.tokens.truncate(self.scored.end);
    }

    /// What stands before the answer.
    pub(crate) fn prompt(mut self) -> Vec<u32> {
        self.tokens.truncate(self.scored.start);
        self.tokens
    }

    /// Puts other tokens in the place of the answer.
    pub(crate) fn replace(&mut self, answer: &[u32]) {
        self.tokens.truncate(self.scored.start);
        self.tokens.extend_from_slice(answer);
        self.scored.end = self.tokens.len();
    }

    /// The sum of the reference's log-probabilities.
    pub(crate) fn reference_log_probability(&self) -> f64 {
        -self.reference.iter().map(|loss| f64::from(*loss)).sum::<f64>()
    }
}

/// How an answer is put into a sequence.
#[derive(Clone, Copy)]
pub(crate) struct Writing<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) template: &'a ChatTemplate,
}

impl Writing<'_> {
    /// An answer after the words `given`, which are read but not scored. Only a `complete` answer is followed by
    /// the end of the turn.
    pub(crate) fn answer(
        &self,
        prompt: &str,
        given: &str,
        answer: &str,
        complete: bool,
    ) -> Result<Sequence, Error> {
        let content = format!("{given}{answer}");
        let messages = [Message::new("user", prompt), Message::new("assistant", content.as_str())];
        let train::Example { mut tokens, mut scored } =
            train::chat_example(self.tokenizer, self.template, &messages)?;
        if !complete && tokens.last().is_some_and(|last| self.tokenizer.is_end(*last)) {
            tokens.pop();
            scored.end -= 1;
        }
        if !given.is_empty() {
            let given = self.tokenizer.encode(given);
            scored.start += common_prefix(&given, &tokens[scored.clone()]);
        }
        if scored.is_empty() {
            return Err(Error::Invalid(format!("the answer to `{prompt}` has no token; give it some text")));
        }
        Ok(Sequence { tokens, scored, reference: Vec::new() })
    }
}

/// Several sequences in one run, and where the losses of each stand.
pub(crate) struct Run {
    packed: Packed,
    rows: Vec<usize>,
    targets: Vec<u32>,
    /// For each sequence, its part of the losses.
    pub(crate) parts: Vec<Range<usize>>,
}

impl Run {
    pub(crate) fn new(sequences: &[&Sequence]) -> Self {
        let documents: Vec<Vec<u32>> = sequences.iter().map(|sequence| sequence.tokens.clone()).collect();
        let packed = Packed::new(&documents);
        let (mut rows, mut targets, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for sequence in sequences {
            let first = rows.len();
            rows.extend(sequence.scored.clone().map(|index| start + index - 1));
            targets.extend_from_slice(&sequence.tokens[sequence.scored.clone()]);
            parts.push(first..rows.len());
            start += sequence.tokens.len();
        }
        Self { packed, rows, targets, parts }
    }

    pub(crate) fn tokens(&self) -> usize {
        self.packed.len()
    }

    /// −log p of every scored token, and the stream before the head at the rows that predict them.
    pub(crate) fn losses(&self, transformer: &Transformer) -> Result<(Tensor<1>, Tensor<2>), model::Error> {
        let hidden = transformer.hidden(&self.packed, &mut Hooks::new())?;
        let losses = transformer.losses(hidden.clone(), &self.rows, &self.targets)?;
        Ok((losses, hidden))
    }

    /// The row of `hidden` that predicts the first scored token of a sequence.
    pub(crate) fn first_row(&self, sequence: usize) -> usize {
        self.rows[self.parts[sequence].start]
    }
}

/// The numbers of a tensor.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Error> {
    let data = tensor.into_data().convert::<f32>();
    data.try_to_vec::<f32>().map_err(|error| Error::Invalid(format!("a tensor cannot be read: {error:?}")))
}

/// Groups of sequences of at most `most` tokens together, in order; a longer one stands alone.
pub(crate) fn groups(lengths: &[usize], most: usize) -> Vec<Range<usize>> {
    let (mut groups, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (index, length) in lengths.iter().enumerate() {
        if index > start && tokens + length > most {
            groups.push(start..index);
            (start, tokens) = (index, 0);
        }
        tokens += length;
    }
    if start < lengths.len() {
        groups.push(start..lengths.len());
    }
    groups
}

/// Fills in the reference's losses, once and for all; returns the tokens read.
pub(crate) fn score(
    transformer: &Transformer,
    sequences: &mut [&mut Sequence],
    most: usize,
) -> Result<usize, Error> {
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
    for group in groups(&lengths, most) {
        let run = Run::new(&sequences[group.clone()].iter().map(|sequence| &**sequence).collect::<Vec<_>>());
        let losses = numbers(run.losses(transformer)?.0)?;
        for (sequence, part) in sequences[group].iter_mut().zip(run.parts) {
            sequence.reference = losses[part].to_vec();
        }
    }
    Ok(lengths.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_everything_once_and_stay_small() {
        assert_eq!(groups(&[3, 3, 3, 9, 1], 6), [0..2, 2..3, 3..4, 4..5]);
        assert!(groups(&[], 6).is_empty());
        assert_eq!(groups(&[10, 10], 6), [0..1, 1..2]);
    }

    #[test]
    fn a_run_scores_the_tokens_it_should() {
        let sequence =
            |tokens: &[u32], scored| Sequence { tokens: tokens.to_vec(), scored, reference: vec![] };
        let run = Run::new(&[&sequence(&[1, 2, 3, 4], 2..4), &sequence(&[5, 6, 7], 1..3)]);
        assert_eq!((run.rows.as_slice(), run.targets.as_slice()), (&[1, 2, 4, 5][..], &[3, 4, 6, 7][..]));
        assert_eq!((run.parts.clone(), run.first_row(1), run.tokens()), (vec![0..2, 2..4], 4, 7));
    }
}
