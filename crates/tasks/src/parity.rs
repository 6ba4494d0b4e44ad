//! Parity: whether the number of ones so far is odd, the smallest task that needs a state.
//!
//! The running parity of random bits tells mixers that can follow a state from those that cannot: a recurrence
//! with transitions in (0, 1) and a transformer of fixed depth fail beyond the length they were trained on.

use crate::random::Random;

/// Number of tokens of the vocabulary: the bits 0 and 1.
pub const VOCABULARY: u32 = 2;

/// `length` random bits, and for every row the parity of the bits up to and with it.
///
/// Vocabulary: token 0 is the bit 0, token 1 the bit 1; targets use the same two tokens, 1 for an odd number of
/// ones. Returns the tokens and, for each row from 0 on, the row and the target after it.
pub fn sequence(length: usize, random: &mut Random) -> (Vec<u32>, Vec<(usize, u32)>) {
    let tokens: Vec<u32> = (0..length).map(|_| random.below(2) as u32).collect();
    let mut odd = 0;
    let targets = tokens
        .iter()
        .enumerate()
        .map(|(row, bit)| {
            odd ^= bit;
            (row, odd)
        })
        .collect();
    (tokens, targets)
}

#[cfg(test)]
mod tests {
    use super::sequence;
    use crate::random::Random;

    #[test]
    fn targets_count_the_ones() {
        let mut random = Random::new(1, "parity");
        for length in [0, 1, 2, 40, 256] {
            let (tokens, targets) = sequence(length, &mut random);
            assert_eq!((tokens.len(), targets.len()), (length, length));
            for (place, (row, target)) in targets.into_iter().enumerate() {
                assert_eq!(row, place);
                assert_eq!(target, tokens[..=row].iter().sum::<u32>() % 2);
            }
        }
    }

    #[test]
    fn no_bit_and_no_target_is_a_good_guess() {
        let (tokens, targets) = sequence(10_000, &mut Random::new(2, "parity"));
        let ones: u32 = tokens.iter().sum();
        let odd: u32 = targets.iter().map(|(_, target)| target).sum();
        let same = targets.iter().zip(&tokens).filter(|((_, target), bit)| target == *bit).count();
        // Four standard deviations of 10,000 fair coins are 200.
        for count in [ones as usize, odd as usize, same] {
            assert!((4800..5200).contains(&count), "{ones} ones, {odd} odd, {same} equal");
        }
    }
}
