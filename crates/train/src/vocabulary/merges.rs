//! Learning byte-pair merges with counts that are kept up to date, so that a merge touches only what it changes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

type Pair = (u32, u32);

/// A pair that occurs less often is no token.
const LEAST: i64 = 2;

/// At most `most` merges over `pieces` and their counts. Symbols `0..256` are bytes; merge `i` makes symbol
/// `256 + i`. The most frequent pair merges first, of equals the smaller one.
pub(super) fn learn(pieces: &[(&[u8], u64)], most: usize) -> Vec<Pair> {
    let mut words: Vec<Vec<u32>> =
        pieces.iter().map(|(bytes, _)| bytes.iter().map(|byte| u32::from(*byte)).collect()).collect();
    let weight = |word: usize| pieces[word].1 as i64;
    let mut counts: HashMap<Pair, i64> = HashMap::new();
    // Where a pair occurs, or occurred: entries are never removed, stale ones do nothing.
    let mut places: HashMap<Pair, Vec<u32>> = HashMap::new();
    for (index, word) in words.iter().enumerate() {
        for pair in word.windows(2).map(|pair| (pair[0], pair[1])) {
            *counts.entry(pair).or_default() += weight(index);
            note(&mut places, pair, index);
        }
    }
    let mut queue: BinaryHeap<(i64, Reverse<Pair>)> =
        counts.iter().map(|(pair, count)| (*count, Reverse(*pair))).collect();
    let mut merges = Vec::new();
    while let Some((count, Reverse(pair))) = queue.pop() {
        if merges.len() == most || count < LEAST {
            break;
        }
        let current = counts.get(&pair).copied().unwrap_or(0);
        if current != count {
            // The count fell since; counts of a pair rise only in the merge that makes its symbol.
            if current >= LEAST {
                queue.push((current, Reverse(pair)));
            }
            continue;
        }
        let symbol = 256 + merges.len() as u32;
        merges.push(pair);
        let mut changed: Vec<Pair> = Vec::new();
        for index in places.remove(&pair).unwrap_or_default() {
            let index = index as usize;
            let weight = weight(index);
            merge_in(&mut words[index], pair, symbol, |old, new| {
                *counts.entry(old).or_default() -= weight;
                if let Some(new) = new {
                    *counts.entry(new).or_default() += weight;
                    note(&mut places, new, index);
                    changed.push(new);
                }
            });
        }
        counts.remove(&pair);
        changed.sort_unstable();
        changed.dedup();
        queue.extend(changed.into_iter().filter_map(|pair| {
            counts.get(&pair).filter(|count| **count >= LEAST).map(|count| (*count, Reverse(pair)))
        }));
    }
    merges
}

fn note(places: &mut HashMap<Pair, Vec<u32>>, pair: Pair, word: usize) {
    let list = places.entry(pair).or_default();
    if list.last() != Some(&(word as u32)) {
        list.push(word as u32);
    }
}

/// Replaces every `pair` in `word`, from left to right, by `symbol`; `change(old, new)` is told of each neighbor
/// pair that vanished and what took its place.
fn merge_in(word: &mut Vec<u32>, pair: Pair, symbol: u32, mut change: impl FnMut(Pair, Option<Pair>)) {
    let (mut read, mut write) = (0, 0);
    while read < word.len() {
        let here = word[read];
        if read + 1 < word.len() && (here, word[read + 1]) == pair {
            change(pair, None);
            if write > 0 {
                let left = word[write - 1];
                change((left, here), Some((left, symbol)));
            }
            if read + 2 < word.len() {
                let right = word[read + 2];
                change((pair.1, right), Some((symbol, right)));
            }
            word[write] = symbol;
            read += 2;
        } else {
            word[write] = here;
            read += 1;
        }
        write += 1;
    }
    word.truncate(write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: count all pairs anew, merge the best everywhere, repeat.
    fn twin(pieces: &[(&[u8], u64)], most: usize) -> Vec<Pair> {
        let mut words: Vec<(Vec<u32>, i64)> = pieces
            .iter()
            .map(|(bytes, count)| (bytes.iter().map(|b| u32::from(*b)).collect(), *count as i64))
            .collect();
        let mut merges = Vec::new();
        while merges.len() < most {
            let mut counts = std::collections::BTreeMap::<Pair, i64>::new();
            for (word, count) in &words {
                for pair in word.windows(2) {
                    *counts.entry((pair[0], pair[1])).or_default() += count;
                }
            }
            let Some((count, Reverse(pair))) = counts.iter().map(|(p, c)| (*c, Reverse(*p))).max() else {
                break;
            };
            if count < LEAST {
                break;
            }
            let symbol = 256 + merges.len() as u32;
            merges.push(pair);
            for (word, _) in &mut words {
                let mut out = Vec::new();
                let mut at = 0;
                while at < word.len() {
                    if at + 1 < word.len() && (word[at], word[at + 1]) == pair {
                        out.push(symbol);
                        at += 2;
                    } else {
                        out.push(word[at]);
                        at += 1;
                    }
                }
                *word = out;
            }
        }
        merges
    }

    proptest! {
        #[test]
        fn learning_equals_its_definition(
            words in prop::collection::vec((prop::collection::vec(0u8..4, 1..14), 1u64..5), 0..12),
            most in 0usize..30,
        ) {
            let pieces: Vec<(&[u8], u64)> = words.iter().map(|(w, count)| (w.as_slice(), *count)).collect();
            prop_assert_eq!(learn(&pieces, most), twin(&pieces, most));
        }
    }

    #[test]
    fn the_textbook_example() {
        // Sennrich et al. 2016: low ×5, lower ×2, newest ×6, widest ×3: first e s, then es t.
        let pieces: [(&[u8], u64); 4] = [(b"low", 5), (b"lower", 2), (b"newest", 6), (b"widest", 3)];
        let merges = learn(&pieces, 3);
        let byte = |b: u8| u32::from(b);
        assert_eq!(merges[0], (byte(b'e'), byte(b's')));
        assert_eq!(merges[1], (256, byte(b't')));
        assert_eq!(merges[2], (byte(b'l'), byte(b'o')));
    }
}
