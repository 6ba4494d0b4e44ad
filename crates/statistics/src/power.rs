//! How many items a comparison needs.

use crate::distribution::normal_quantile;
use crate::{Error, Interval, PairedDifference};

/// The smallest true mean that `n` observations of standard deviation `deviation` detect with probability
/// `power` at two-sided level `alpha`: (z₁₋α⁄₂ + z_power) · deviation / √n.
///
/// # Errors
/// If `n` is 0, the deviation is negative, or `alpha` or `power` is not between 0 and 1.
pub fn minimum_detectable_effect(n: usize, deviation: f64, alpha: f64, power: f64) -> Result<f64, Error> {
    if n == 0 {
        return Err(Error::TooFew { what: "the minimum detectable effect", needed: 1, got: 0 });
    }
    Ok(factor(deviation, alpha, power)? / (n as f64).sqrt())
}

/// How many observations of standard deviation `deviation` detect a true mean `effect` with probability `power`
/// at two-sided level `alpha`.
///
/// # Errors
/// If the effect is 0 or not finite, the deviation is negative, or `alpha` or `power` is not between 0 and 1.
pub fn required_n(effect: f64, deviation: f64, alpha: f64, power: f64) -> Result<usize, Error> {
    if effect == 0.0 || !effect.is_finite() {
        return Err(Error::Argument(format!("the effect to detect must be finite and not 0, got {effect}")));
    }
    Ok((factor(deviation, alpha, power)? / effect).powi(2).ceil().max(1.0) as usize)
}

fn factor(deviation: f64, alpha: f64, power: f64) -> Result<f64, Error> {
    let proper = |probability: f64| probability > 0.0 && probability < 1.0;
    if !(proper(alpha) && proper(power) && deviation >= 0.0 && deviation.is_finite()) {
        return Err(Error::Argument(format!(
            "alpha and power must lie between 0 and 1 and the deviation must not be negative; got {alpha}, {power}, {deviation}"
        )));
    }
    Ok((normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)) * deviation)
}

/// Whether a comparison is settled.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The second run is better: the interval lies above 0.
    Better,
    /// The second run is worse: the interval lies below 0.
    Worse,
    /// Cannot tell yet.
    NotYet {
        /// About this many more items would settle a difference of the observed size with power 0.8; absent
        /// if no difference was seen.
        more: Option<usize>,
    },
}

/// Reads the verdict off a paired comparison; `deviation` is the standard deviation of the differences.
pub fn settle(comparison: &PairedDifference, deviation: f64) -> Settled {
    let Interval { low, high } = comparison.interval;
    // Both the interval and the exact test must agree; with few items the bootstrap alone is too eager.
    if low > 0.0 && comparison.p_value <= 0.05 {
        return Settled::Better;
    }
    if high < 0.0 && comparison.p_value <= 0.05 {
        return Settled::Worse;
    }
    let needed = required_n(comparison.difference, deviation, 0.05, 0.8).ok();
    Settled::NotYet { more: needed.map(|needed| needed.saturating_sub(comparison.n).max(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_formulas_invert_each_other() {
        // (1.959964 + 0.841621)² · 1 / 0.5² = 31.396, so 32 observations.
        assert_eq!(required_n(0.5, 1.0, 0.05, 0.8).unwrap(), 32);
        let effect = minimum_detectable_effect(100, 0.5, 0.05, 0.8).unwrap();
        assert!((effect - 0.140_079).abs() < 1e-5, "{effect}");
        assert_eq!(required_n(effect, 0.5, 0.05, 0.8).unwrap(), 100);
        assert!(required_n(0.0, 1.0, 0.05, 0.8).is_err());
        assert!(minimum_detectable_effect(0, 1.0, 0.05, 0.8).is_err());
        assert!(minimum_detectable_effect(5, 1.0, 0.0, 0.8).is_err());
    }

    #[test]
    fn verdicts_follow_interval_and_test() {
        let comparison = |low, high, p_value| PairedDifference {
            n: 40,
            difference: (low + high) / 2.0,
            interval: Interval { low, high },
            p_value,
        };
        assert_eq!(settle(&comparison(0.1, 0.3, 0.01), 0.4), Settled::Better);
        assert_eq!(settle(&comparison(-0.3, -0.1, 0.01), 0.4), Settled::Worse);
        // (2.801585 · 0.5 / 0.1)² = 196.2: 197 needed, 157 more.
        assert_eq!(settle(&comparison(-0.05, 0.25, 0.2), 0.5), Settled::NotYet { more: Some(157) });
        assert_eq!(settle(&comparison(-0.1, 0.1, 1.0), 0.5), Settled::NotYet { more: None });
    }
}
