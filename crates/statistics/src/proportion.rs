//! Intervals for a proportion.

use crate::distribution::{beta_quantile, normal_quantile};
use crate::{Error, Interval, check_confidence};

/// Wilson's score interval (Wilson 1927) for `successes` of `n`.
///
/// # Errors
/// If `n` is 0, `successes` exceeds `n`, or the confidence is not between 0 and 1.
pub fn wilson(successes: usize, n: usize, confidence: f64) -> Result<Interval, Error> {
    check(successes, n, confidence)?;
    let (n, z) = (n as f64, normal_quantile(0.5 + confidence / 2.0));
    let p = successes as f64 / n;
    let center = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // Rounding must not push the ends past an observed 0 or 1.
    Ok(Interval { low: (center - half).clamp(0.0, p), high: (center + half).clamp(p, 1.0) })
}

/// The exact interval of Clopper and Pearson (1934) for `successes` of `n`; covers at least at the nominal rate.
///
/// # Errors
/// As for [`wilson`].
pub fn clopper_pearson(successes: usize, n: usize, confidence: f64) -> Result<Interval, Error> {
    check(successes, n, confidence)?;
    let tail = (1.0 - confidence) / 2.0;
    let (k, n) = (successes as f64, n as f64);
    let low = if successes == 0 { 0.0 } else { beta_quantile(tail, k, n - k + 1.0) };
    let high = if k == n { 1.0 } else { beta_quantile(1.0 - tail, k + 1.0, n - k) };
    Ok(Interval { low, high })
}

fn check(successes: usize, n: usize, confidence: f64) -> Result<(), Error> {
    check_confidence(confidence)?;
    if n == 0 {
        return Err(Error::TooFew { what: "the interval of a proportion", needed: 1, got: 0 });
    }
    if successes > n {
        return Err(Error::Argument(format!("{successes} successes of {n} trials are too many")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Interval, low: f64, high: f64) {
        assert!(
            (found.low - low).abs() < 1e-6 && (found.high - high).abs() < 1e-6,
            "{found:?}, wanted [{low}, {high}]"
        );
    }

    /// Exact coverage: the sum over all outcomes of their probability where the interval holds the truth.
    fn coverage(method: fn(usize, usize, f64) -> Result<Interval, Error>, n: usize, p: f64) -> f64 {
        // In logarithms: 0.05 to the power of 300 is no f64.
        let mut log_probability = n as f64 * (1.0 - p).ln();
        let mut covered = 0.0;
        for successes in 0..=n {
            if method(successes, n, 0.95).unwrap().contains(p) {
                covered += log_probability.exp();
            }
            log_probability += ((n - successes) as f64 / (successes + 1) as f64 * p / (1.0 - p)).ln();
        }
        covered
    }

    fn plain(successes: usize, n: usize, _: f64) -> Result<Interval, Error> {
        let p = successes as f64 / n as f64;
        let half = 1.959_964 * (p * (1.0 - p) / (n - 1) as f64).sqrt();
        Ok(Interval { low: p - half, high: p + half })
    }

    #[test]
    fn known_answers() {
        // Reference values: R's prop.test(correct = FALSE) and binom.test.
        close(wilson(15, 50, 0.95).unwrap(), 0.191_035_535_0, 0.437_503_504_6);
        close(clopper_pearson(15, 50, 0.95).unwrap(), 0.178_617_845_7, 0.446_082_324_7);
        close(clopper_pearson(0, 10, 0.95).unwrap(), 0.0, 0.308_497_107_8);
        close(clopper_pearson(10, 10, 0.95).unwrap(), 0.691_502_892_2, 1.0);
    }

    #[test]
    fn intervals_cover_at_their_nominal_rate() {
        let mut sum = 0.0;
        let mut cells = 0;
        for n in [20, 30, 50, 100, 300] {
            for p in [0.02, 0.05, 0.1, 0.5, 0.9, 0.95, 0.98] {
                let exact = coverage(clopper_pearson, n, p);
                let score = coverage(wilson, n, p);
                assert!(exact >= 0.95 - 1e-9, "Clopper-Pearson covers {exact} at n {n}, p {p}");
                assert!(score >= 0.917, "Wilson covers {score} at n {n}, p {p}");
                sum += score;
                cells += 1;
            }
        }
        let mean = sum / f64::from(cells);
        assert!((0.94..0.965).contains(&mean), "Wilson covers {mean} on average");
        // The interval everybody writes first fails; this is why the others exist.
        assert!((coverage(plain, 30, 0.95) - 0.782).abs() < 0.005);
        assert!((coverage(plain, 20, 0.98) - 0.332).abs() < 0.005);
    }

    #[test]
    fn impossible_counts_are_errors() {
        assert!(wilson(0, 0, 0.95).is_err());
        assert!(wilson(3, 2, 0.95).is_err());
        assert!(clopper_pearson(1, 2, 1.0).is_err());
        assert!(wilson(1, 2, f64::NAN).is_err());
    }
}
