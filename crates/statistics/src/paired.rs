//! Two runs on the same items.

use crate::{Error, Interval, Resampling, Stream, bootstrap_mean, check_lengths, check_values};

/// The mean difference of two runs on the same items.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairedDifference {
    /// Number of pairs.
    pub n: usize,
    /// Mean of second minus first.
    pub difference: f64,
    /// Bootstrap interval of the mean difference.
    pub interval: Interval,
    /// Two-sided p: exact McNemar if all values are 0 or 1, else a sign-flip permutation test.
    pub p_value: f64,
}

/// Mean of `second` − `first` over the same items.
///
/// # Errors
/// If the slices differ in length, hold fewer than two values or one that is not finite, or the resampling is
/// impossible.
pub fn paired_difference(
    first: &[f64],
    second: &[f64],
    resampling: &Resampling,
) -> Result<PairedDifference, Error> {
    check_lengths("the paired difference", first.len(), second.len())?;
    check_values("the paired difference", first, 2)?;
    check_values("the paired difference", second, 2)?;
    let differences: Vec<f64> = first.iter().zip(second).map(|(first, second)| second - first).collect();
    let estimate = bootstrap_mean(&differences, resampling)?;
    let binary = first.iter().chain(second).all(|value| *value == 0.0 || *value == 1.0);
    let p_value = if binary {
        let gained = differences.iter().filter(|difference| **difference > 0.0).count();
        let lost = differences.iter().filter(|difference| **difference < 0.0).count();
        mcnemar_exact(gained, lost)
    } else {
        permutation_test(&differences, resampling.resamples, resampling.seed)?
    };
    Ok(PairedDifference { n: first.len(), difference: estimate.value, interval: estimate.interval, p_value })
}

/// Two-sided exact McNemar test: `gained` items only the second run solves, `lost` only the first.
pub fn mcnemar_exact(gained: usize, lost: usize) -> f64 {
    let n = gained + lost;
    if n == 0 {
        return 1.0;
    }
    // Twice the lower tail of Binomial(n, 1/2), summed in logarithms so that large n does not underflow.
    let smaller = gained.min(lost);
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=smaller {
        tail += log_term.exp();
        log_term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// Two-sided sign test of differences; zeros are left out.
pub fn sign_test(differences: &[f64]) -> f64 {
    let positive = differences.iter().filter(|difference| **difference > 0.0).count();
    let negative = differences.iter().filter(|difference| **difference < 0.0).count();
    mcnemar_exact(positive, negative)
}

/// Two-sided sign-flip permutation test of the mean of paired differences. Up to 12 differences other than zero
/// all sign patterns are tried, which is exact; above, `permutations` random ones, with the observed one
/// counted among them.
///
/// # Errors
/// If there are no differences, one is not finite, or `permutations` is 0 where it is needed.
pub fn permutation_test(differences: &[f64], permutations: usize, seed: u64) -> Result<f64, Error> {
    check_values("the permutation test", differences, 1)?;
    let nonzero: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let observed = nonzero.iter().sum::<f64>().abs();
    // Sums that differ by rounding only count as equal.
    let threshold = observed - 1e-12 * nonzero.iter().map(|difference| difference.abs()).sum::<f64>();
    if nonzero.len() <= 12 {
        let patterns = 1_u32 << nonzero.len();
        let extreme =
            (0..patterns).filter(|pattern| flipped(&nonzero, u64::from(*pattern)).abs() >= threshold).count();
        return Ok(extreme as f64 / f64::from(patterns));
    }
    if permutations == 0 {
        return Err(Error::Argument("the permutation test needs at least one permutation".into()));
    }
    let mut stream = Stream::new(seed);
    let mut extreme = 1;
    for _ in 0..permutations {
        let sum: f64 = nonzero.chunks(64).map(|chunk| flipped(chunk, stream.bits())).sum();
        extreme += usize::from(sum.abs() >= threshold);
    }
    Ok(extreme as f64 / (permutations + 1) as f64)
}

/// The sum of at most 64 values, those with a set bit in `pattern` negated.
fn flipped(values: &[f64], pattern: u64) -> f64 {
    values.iter().enumerate().map(|(bit, value)| if pattern >> bit & 1 == 1 { -value } else { *value }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_tests_have_known_values() {
        // Binomial(15, 1/2): twice (1 + 15 + 105 + 455) / 32768.
        assert!((mcnemar_exact(3, 12) - 0.035_156_25).abs() < 1e-12);
        assert!((mcnemar_exact(300, 400) - 0.000_178_476_314_9).abs() < 1e-10);
        assert_eq!(mcnemar_exact(0, 0), 1.0);
        assert_eq!(mcnemar_exact(4, 4), 1.0);
        assert!((sign_test(&[1.0, 2.0, 0.0, 0.5]) - 0.25).abs() < 1e-12);
        // All 256 sign patterns, as SciPy's permutation_test.
        let differences = [1.2, -0.4, 0.8, 0.3, -0.1, 0.9, 1.5, 0.2];
        assert!((permutation_test(&differences, 0, 0).unwrap() - 0.070_312_5).abs() < 1e-12);
    }

    #[test]
    fn random_permutations_approach_the_exact_test() {
        // Two groups of differences whose exact p is that of a sign test with 5 of 20 negative: 0.0414.
        let mut differences = vec![1.0; 15];
        differences.extend([-1.0; 5]);
        let p = permutation_test(&differences, 20_000, 1).unwrap();
        assert!((p - 0.0414).abs() < 0.005, "{p}");
        assert!(permutation_test(&differences, 0, 1).is_err());
    }

    #[test]
    fn paired_runs_are_compared_pair_by_pair() {
        let first = [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let second = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0];
        let result = paired_difference(&first, &second, &Resampling::default()).unwrap();
        assert_eq!(result.n, 10);
        assert!((result.difference - 0.5).abs() < 1e-12);
        assert!((result.p_value - 0.0625).abs() < 1e-12);
        let same = paired_difference(&first, &first, &Resampling::default()).unwrap();
        assert_eq!((same.difference, same.p_value), (0.0, 1.0));
        assert!(paired_difference(&first, &second[..9], &Resampling::default()).is_err());
    }

    #[test]
    fn equal_runs_are_rarely_called_different_and_detectable_ones_often() {
        let mut stream = Stream::new(5);
        let trials = 1_000;
        let rejected = |shift: f64, stream: &mut Stream| {
            let mut count = 0;
            for trial in 0..trials {
                let first: Vec<f64> = (0..40).map(|_| stream.unit()).collect();
                let second: Vec<f64> =
                    first.iter().map(|value| value + shift + stream.unit() - 0.5).collect();
                let resampling = Resampling { resamples: 400, seed: trial, ..Resampling::default() };
                count +=
                    usize::from(paired_difference(&first, &second, &resampling).unwrap().p_value <= 0.05);
            }
            f64::from(u32::try_from(count).unwrap()) / trials as f64
        };
        // Standard error of the rates: 0.007 and 0.013. Differences deviate by √(1/12).
        let false_alarms = rejected(0.0, &mut stream);
        assert!((0.03..=0.075).contains(&false_alarms), "{false_alarms}");
        let effect = crate::minimum_detectable_effect(40, (1.0_f64 / 12.0).sqrt(), 0.05, 0.8).unwrap();
        let power = rejected(effect, &mut stream);
        assert!((0.75..=0.87).contains(&power), "{power}");
    }
}
