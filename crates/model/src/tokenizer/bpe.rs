//! Byte-pair merging inside one piece, and the printable stand-ins vocabularies use for bytes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Merge rules: a pair of tokens to its rank (lower merges first) and the token it becomes.
pub(crate) type Merges = HashMap<(u32, u32), (u32, u32)>;

const NONE: usize = usize::MAX;

#[derive(Clone, Copy)]
struct Symbol {
    token: u32,
    previous: usize,
    next: usize,
}

/// Reusable memory of the merging.
#[derive(Default)]
pub(crate) struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<(u32, usize, u32, u32)>>,
}

impl Merger {
    /// Merges `tokens` until no rule applies, always the lowest rank first and the leftmost of equals, and
    /// appends the result to `out`. Time is O(n log n), as a piece without spaces may be a whole text.
    pub(crate) fn merge(&mut self, merges: &Merges, tokens: impl Iterator<Item = u32>, out: &mut Vec<u32>) {
        self.symbols.clear();
        self.queue.clear();
        for (index, token) in tokens.enumerate() {
            let previous = index.checked_sub(1).unwrap_or(NONE);
            self.symbols.push(Symbol { token, previous, next: index + 1 });
        }
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        for index in 1..self.symbols.len() {
            self.offer(merges, index - 1, index);
        }
        while let Some(Reverse((_, left, left_token, right_token))) = self.queue.pop() {
            let right = self.symbols[left].next;
            // An entry is stale if either side has merged since; a merged-away symbol has no successor.
            if right == NONE
                || self.symbols[left].token != left_token
                || self.symbols[right].token != right_token
            {
                continue;
            }
            let Some(&(_, merged)) = merges.get(&(left_token, right_token)) else { continue };
            let after = self.symbols[right].next;
            self.symbols[left] = Symbol { token: merged, next: after, ..self.symbols[left] };
            self.symbols[right].next = NONE;
            if after != NONE {
                self.symbols[after].previous = left;
                self.offer(merges, left, after);
            }
            let before = self.symbols[left].previous;
            if before != NONE {
                self.offer(merges, before, left);
            }
        }
        let mut at = if self.symbols.is_empty() { NONE } else { 0 };
        while at != NONE {
            out.push(self.symbols[at].token);
            at = self.symbols[at].next;
        }
    }

    fn offer(&mut self, merges: &Merges, left: usize, right: usize) {
        let pair = (self.symbols[left].token, self.symbols[right].token);
        if let Some(&(rank, _)) = merges.get(&pair) {
            self.queue.push(Reverse((rank, left, pair.0, pair.1)));
        }
    }
}

/// The character that stands for `byte` in byte-level vocabularies: printable Latin-1 for itself, the others
/// from U+0100 on, in order (GPT-2's table).
pub(crate) fn byte_to_char(byte: u8) -> char {
    if printable(byte) {
        return char::from(byte);
    }
    let index = (0..byte).filter(|byte| !printable(*byte)).count() as u32;
    char::from_u32(0x100 + index).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// The inverse of [`byte_to_char`].
pub(crate) fn byte_table() -> HashMap<char, u8> {
    (0..=255).map(|byte| (byte_to_char(byte), byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: look for the lowest-ranked adjacent pair, merge its leftmost occurrence, repeat.
    fn twin(merges: &Merges, mut tokens: Vec<u32>) -> Vec<u32> {
        while let Some((_, at, merged)) = (1..tokens.len())
            .filter_map(|i| merges.get(&(tokens[i - 1], tokens[i])).map(|(rank, id)| (*rank, i - 1, *id)))
            .min()
        {
            tokens.splice(at..at + 2, [merged]);
        }
        tokens
    }

    proptest! {
        #[test]
        fn merging_equals_its_definition(
            rules in prop::collection::vec((0u32..12, 0u32..12), 0..12),
            tokens in prop::collection::vec(0u32..4, 0..60),
        ) {
            let mut merges = Merges::new();
            for (rank, pair) in rules.into_iter().enumerate() {
                merges.entry(pair).or_insert((rank as u32, 4 + rank as u32));
            }
            let mut out = Vec::new();
            Merger::default().merge(&merges, tokens.iter().copied(), &mut out);
            prop_assert_eq!(out, twin(&merges, tokens));
        }
    }

    #[test]
    fn every_byte_has_its_own_character() {
        assert_eq!(byte_table().len(), 256);
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert_eq!(byte_to_char(b'\n'), 'Ċ');
        assert_eq!(byte_to_char(0xad), 'Ń');
    }
}
