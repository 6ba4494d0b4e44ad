//! Induction: a random segment that comes a second time, so that it can be predicted by copying.
//!
//! The setting of the induction heads (Olsson et al. 2022, "In-context learning and induction heads"): length of the
//! segment, where it stands and how far off it is repeated are random, so that no fixed distance solves it.

use std::ops::Range;

use crate::random::Random;

/// One sequence of `length` tokens below `vocabulary`, in which a segment occurs twice; everything else is random.
///
/// The segment's length is drawn evenly from `segment` (`8..25` for 8 to 24), then the gap between its occurrences
/// from all that fit, then the place. Returns the tokens, the row at which the second occurrence begins, and the
/// segment's length. With `(tokens, start, n)`, rows `start..start + n - 1` are those whose next token can be
/// copied; the second occurrence's first token cannot be known.
///
/// Tokens of the vocabulary come evenly and independently, so one may stand several times before its copy: copying
/// by a single token is ambiguous now and then, by two tokens hardly ever.
///
/// # Panics
/// If `vocabulary` is 0, `segment` is empty, or its longest length does not fit twice into `length`.
pub fn sequence(
    vocabulary: u32,
    length: usize,
    segment: Range<usize>,
    random: &mut Random,
) -> (Vec<u32>, usize, usize) {
    assert!(vocabulary > 0, "induction needs at least one token");
    assert!(!segment.is_empty(), "the range {segment:?} of lengths is empty");
    let longest = segment.end - 1;
    assert!(2 * longest <= length, "a segment of {longest} does not fit twice into {length} tokens");

    let mut tokens: Vec<u32> = (0..length).map(|_| random.below(vocabulary as usize) as u32).collect();
    let size = segment.start + random.below(segment.len());
    let gap = random.below(length - 2 * size + 1);
    let first = random.below(length - 2 * size - gap + 1);
    let second = first + size + gap;
    tokens.copy_within(first..first + size, second);
    (tokens, second, size)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::sequence;
    use crate::random::Random;

    /// Start of an earlier run equal to the `size` tokens at `second`.
    fn earlier(tokens: &[u32], second: usize, size: usize) -> Option<usize> {
        (0..=second.checked_sub(size)?).find(|&at| tokens[at..at + size] == tokens[second..second + size])
    }

    #[test]
    fn the_segment_comes_twice_without_overlap() {
        let mut random = Random::new(1, "induction");
        let (mut sizes, mut gaps, mut starts) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for _ in 0..3000 {
            let (tokens, second, size) = sequence(64, 64, 8..25, &mut random);
            assert_eq!(tokens.len(), 64);
            assert!(tokens.iter().all(|token| *token < 64));
            assert!((8..25).contains(&size) && second + size <= 64);
            let first = earlier(&tokens, second, size).expect("the first occurrence");
            sizes.insert(size);
            gaps.insert(second - first - size);
            starts.insert(second);
        }
        assert_eq!(sizes.len(), 17, "every length occurs");
        assert!(gaps.len() > 40, "gaps vary: {gaps:?}");
        assert!(starts.len() > 40, "places vary: {starts:?}");
    }

    #[test]
    fn no_fixed_distance_and_no_place_solves_it() {
        // The best constant distance: copying from d tokens before is right for few of the repeated rows.
        let mut random = Random::new(2, "induction");
        let mut right = [0_usize; 64];
        let mut rows = 0;
        for _ in 0..2000 {
            let (tokens, second, size) = sequence(64, 64, 8..25, &mut random);
            for row in second + 1..second + size {
                rows += 1;
                for distance in 1..=row {
                    right[distance] += usize::from(tokens[row - distance] == tokens[row]);
                }
            }
        }
        let best = right.iter().max().unwrap();
        assert!(best * 10 < rows, "a fixed distance predicts {best} of {rows}");
    }

    #[test]
    fn copying_after_the_last_match_of_two_tokens_solves_it() {
        let mut random = Random::new(3, "induction");
        let (mut right, mut rows) = (0, 0);
        for _ in 0..1000 {
            let (tokens, second, size) = sequence(64, 64, 8..25, &mut random);
            for row in second + 1..second + size - 1 {
                let pair = &tokens[row - 1..=row];
                let guess = (1..row).rev().find(|&at| tokens[at - 1..=at] == *pair).map(|at| tokens[at + 1]);
                rows += 1;
                right += usize::from(guess == Some(tokens[row + 1]));
            }
        }
        assert!(right * 100 > rows * 97, "{right} of {rows}");
    }

    #[test]
    fn a_segment_may_fill_the_sequence() {
        let (tokens, second, size) = sequence(9, 10, 5..6, &mut Random::new(4, "induction"));
        assert_eq!((second, size), (5, 5));
        assert_eq!(tokens[..5], tokens[5..]);
    }

    #[test]
    #[should_panic(expected = "does not fit twice")]
    fn what_does_not_fit_is_refused() {
        sequence(9, 10, 5..7, &mut Random::new(0, ""));
    }
}
