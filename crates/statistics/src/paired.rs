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
