//! Multi-query associative recall (MQAR): pairs of key and value, then each key again, whose value is to be said.
//!
//! Arora et al. 2023, "Zoology: measuring and improving recall in efficient language models", arXiv:2312.04927.
//! As there: the pairs stand first, every key is asked for once, near places are likelier than far ones, and what
//! is left over holds random tokens. Other than there, no random token is one of the shown keys, so that every
//! question has one answer.

use crate::random::Random;

/// Distances of the queries follow `gap^(POWER - 1)`, as in the paper's experiments.
const POWER: f64 = 0.01;

/// One sequence of `length` tokens: `pairs` times key and value, then the queries between random tokens.
///
/// Vocabulary: keys are `0..keys`, values are `keys..keys + values`; there is no other token. Keys of a sequence
/// differ from each other; values may repeat. Returns the tokens and, for each query in the order of the sequence,
/// its row and the value that must be predicted after that row. The value itself is not shown after the query.
///
/// # Panics
/// If the pairs and their queries do not fit (`4 * pairs > length`), if there are fewer `keys` than `pairs`, or no
/// `values`.
pub fn sequence(
    pairs: usize,
    length: usize,
    keys: u32,
    values: u32,
    random: &mut Random,
) -> (Vec<u32>, Vec<(usize, u32)>) {
    assert!(4 * pairs <= length, "{pairs} pairs and their queries need {} tokens, not {length}", 4 * pairs);
    assert!(pairs <= keys as usize, "{pairs} pairs need as many keys, not {keys}");
    assert!(values > 0, "recall needs at least one value");

    let mut pool: Vec<u32> = (0..keys).collect();
    for place in 0..pairs {
        let other = place + random.below(pool.len() - place);
        pool.swap(place, other);
    }
    let (shown, unused) = pool.split_at(pairs);
    let told: Vec<u32> = (0..pairs).map(|_| keys + random.below(values as usize) as u32).collect();

    let mut tokens: Vec<u32> = shown.iter().zip(&told).flat_map(|(&key, &value)| [key, value]).collect();
    while tokens.len() < length {
        let choice = random.below(unused.len() + values as usize);
        tokens.push(unused.get(choice).copied().unwrap_or_else(|| keys + (choice - unused.len()) as u32));
    }

    let slots = (length - 2 * pairs) / 2;
    let mut queries: Vec<(usize, u32)> = distances(slots, pairs, random)
        .into_iter()
        .zip(shown.iter().zip(&told))
        .map(|(slot, (&key, &value))| {
            let row = 2 * pairs + 2 * slot;
            tokens[row] = key;
            (row, value)
        })
        .collect();
    queries.sort_unstable();
    (tokens, queries)
}

/// `count` different slots below `slots`, drawn one after the other with weight `(slot + 1)^(POWER - 1)`.
fn distances(slots: usize, count: usize, random: &mut Random) -> Vec<usize> {
    // Whole numbers, so that the draws do not depend on the last bit of a power.
    const UNIT: f64 = (1_u64 << 32) as f64;
    let mut weights: Vec<usize> =
        (1..=slots).map(|gap| ((gap as f64).powf(POWER - 1.0) * UNIT) as usize).collect();
    let mut total: usize = weights.iter().sum();
    (0..count)
        .map(|_| {
            let mut left = random.below(total);
            let mut slot = 0;
            while left >= weights[slot] {
                left -= weights[slot];
                slot += 1;
            }
            total -= std::mem::take(&mut weights[slot]);
            slot
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::sequence;
    use crate::random::Random;

    #[test]
    fn every_query_has_been_told_and_has_one_answer() {
        for (case, (pairs, length, keys, values)) in
            [(4, 64, 32, 32), (8, 128, 64, 64), (64, 256, 4096, 4096), (16, 64, 16, 1), (0, 5, 0, 3)]
                .into_iter()
                .enumerate()
        {
            let mut random = Random::new(case as u64, "recall");
            for _ in 0..50 {
                let (tokens, queries) = sequence(pairs, length, keys, values, &mut random);
                assert_eq!((tokens.len(), queries.len()), (length, pairs));
                assert!(tokens.iter().all(|token| *token < keys + values));
                let told: BTreeMap<u32, u32> =
                    tokens[..2 * pairs].chunks(2).map(|pair| (pair[0], pair[1])).collect();
                assert_eq!(told.len(), pairs, "keys differ");
                assert!(told.iter().all(|(key, value)| *key < keys && *value >= keys));
                let mut rows = BTreeSet::new();
                for &(row, value) in &queries {
                    assert!(row >= 2 * pairs && row < length);
                    assert_eq!(told[&tokens[row]], value, "row {row} of {tokens:?}");
                    rows.insert(row);
                }
                assert_eq!(rows.len(), pairs, "rows differ");
                assert!(queries.is_sorted());
                // Each shown key occurs twice: where it is told and where it is asked for.
                for key in told.keys() {
                    assert_eq!(tokens.iter().filter(|token| *token == key).count(), 2);
                }
            }
        }
    }

    #[test]
    fn near_queries_are_likelier_and_far_ones_occur() {
        let mut random = Random::new(1, "distances");
        let mut first = [0_usize; 124];
        for _ in 0..4000 {
            let (_, queries) = sequence(4, 256, 100, 100, &mut random);
            for (row, _) in queries {
                first[(row - 8) / 2] += 1;
            }
        }
        // Drawing four of 124 by 1 / gap: nearly always the first slot, every slot now and then.
        assert!(first[0] > 2000 && first[0] > 2 * first[3] && first[3] > 2 * first[20], "{first:?}");
        assert!(first.iter().filter(|count| **count == 0).count() == 0, "{first:?}");
    }

    #[test]
    fn the_stream_decides() {
        let make = |seed| sequence(8, 64, 32, 32, &mut Random::new(seed, "recall"));
        assert_eq!(make(3), make(3));
        assert_ne!(make(3), make(4));
    }

    #[test]
    #[should_panic(expected = "need 20 tokens")]
    fn what_does_not_fit_is_refused() {
        sequence(5, 19, 10, 10, &mut Random::new(0, ""));
    }
}
