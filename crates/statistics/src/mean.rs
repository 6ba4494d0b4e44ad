//! Means: Student's interval, the bootstrap, and means of clustered observations.

use crate::distribution::{normal_cdf, normal_quantile, student_quantile};
use crate::{Error, Estimate, Interval, Stream, check_confidence, check_lengths, check_values};

/// Arithmetic mean; 0 for no values.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Sample variance (divisor n − 1); 0 for fewer than two values.
pub fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let center = mean(values);
    values.iter().map(|value| (value - center).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// The mean with Student's t interval.
///
/// # Errors
/// If there are fewer than two values, one is not finite, or the confidence is not between 0 and 1.
pub fn mean_t(values: &[f64], confidence: f64) -> Result<Estimate, Error> {
    check_confidence(confidence)?;
    check_values("Student's interval", values, 2)?;
    let n = values.len() as f64;
    let value = mean(values);
    let half = student_quantile(0.5 + confidence / 2.0, n - 1.0) * (variance(values) / n).sqrt();
    Ok(Estimate { n: values.len(), value, interval: Interval { low: value - half, high: value + half } })
}

/// Which bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// Quantiles of the resampled means.
    Percentile,
    /// Bias-corrected and accelerated (Efron 1987).
    Bca,
}

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Which interval.
    pub method: Bootstrap,
    /// Number of resamples; 2,000 settle the ends of a 95 % interval well enough.
    pub resamples: usize,
    /// Confidence, such as 0.95.
    pub confidence: f64,
    /// Seed of the resampling.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self { method: Bootstrap::Bca, resamples: 2000, confidence: 0.95, seed: 0 }
    }
}

/// The mean with a bootstrap interval.
///
/// # Errors
/// If there are fewer than two values, one is not finite, `resamples` is below 100, or the confidence is not
/// between 0 and 1.
pub fn bootstrap_mean(values: &[f64], resampling: &Resampling) -> Result<Estimate, Error> {
    check_confidence(resampling.confidence)?;
    check_values("the bootstrap", values, 2)?;
    if resampling.resamples < 100 {
        return Err(Error::Argument(format!(
            "the bootstrap needs 100 resamples or more, got {}",
            resampling.resamples
        )));
    }
    let n = values.len();
    let value = mean(values);
    let mut stream = Stream::new(resampling.seed);
    let mut means: Vec<f64> = (0..resampling.resamples)
        .map(|_| (0..n).map(|_| values[stream.below(n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);

    let tail = (1.0 - resampling.confidence) / 2.0;
    let (low, high) = match resampling.method {
        Bootstrap::Percentile => (tail, 1.0 - tail),
        Bootstrap::Bca => bca_levels(values, &means, value, tail),
    };
    Ok(Estimate { n, value, interval: Interval { low: quantile(&means, low), high: quantile(&means, high) } })
}

/// The levels at which BCa reads the resampled means. For the mean, the jackknife influence of a value is
/// proportional to its deviation, so the acceleration is skewness / (6 √n).
fn bca_levels(values: &[f64], sorted_means: &[f64], value: f64, tail: f64) -> (f64, f64) {
    let resamples = sorted_means.len() as f64;
    let below = sorted_means.iter().filter(|mean| **mean < value).count() as f64;
    let equal = sorted_means.iter().filter(|mean| **mean == value).count() as f64;
    // Ties count half, so discrete data (0/1 scores) are not taken for biased.
    let share = ((below + equal / 2.0) / resamples).clamp(1.0 / resamples, 1.0 - 1.0 / resamples);
    let bias = normal_quantile(share);
    let squares: f64 = values.iter().map(|x| (x - value).powi(2)).sum();
    let cubes: f64 = values.iter().map(|x| (x - value).powi(3)).sum();
    let acceleration = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };
    let level = |probability: f64| {
        let z = bias + normal_quantile(probability);
        normal_cdf(bias + z / (1.0 - acceleration * z))
    };
    (level(tail), level(1.0 - tail))
}

/// The quantile of sorted values by linear interpolation (definition 7 of Hyndman and Fan 1996).
pub(crate) fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let place = probability.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (floor, share) = (place.floor() as usize, place.fract());
    let next = sorted[(floor + 1).min(sorted.len() - 1)];
    sorted[floor] + share * (next - sorted[floor])
}

/// The mean of observations that come in clusters, such as several items about one passage, with a
/// cluster-robust t interval (n of the estimate is the number of clusters). `clusters` names each
/// observation's cluster.
///
/// # Errors
/// If the slices differ in length, there are fewer than two clusters, a value is not finite, or the confidence
/// is not between 0 and 1.
pub fn cluster_mean<K: Ord>(values: &[f64], clusters: &[K], confidence: f64) -> Result<Estimate, Error> {
    check_confidence(confidence)?;
    check_lengths("the cluster mean", values.len(), clusters.len())?;
    check_values("the cluster mean", values, 2)?;
    let value = mean(values);
    let mut sums = std::collections::BTreeMap::new();
    for (x, cluster) in values.iter().zip(clusters) {
        *sums.entry(cluster).or_insert(0.0) += x - value;
    }
    let groups = sums.len();
    if groups < 2 {
        return Err(Error::TooFew { what: "the cluster mean (clusters)", needed: 2, got: groups });
    }
    let squares: f64 = sums.values().map(|sum: &f64| sum * sum).sum();
    let g = groups as f64;
    let error = (g / (g - 1.0) * squares).sqrt() / values.len() as f64;
    let half = student_quantile(0.5 + confidence / 2.0, g - 1.0) * error;
    Ok(Estimate { n: groups, value, interval: Interval { low: value - half, high: value + half } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Interval, low: f64, high: f64, tolerance: f64) {
        let near = (found.low - low).abs() < tolerance && (found.high - high).abs() < tolerance;
        assert!(near, "{found:?}, wanted [{low}, {high}]");
    }

    const SAMPLE: [f64; 10] = [2.1, 3.4, 1.9, 5.6, 4.4, 2.8, 3.9, 4.1, 0.7, 6.2];

    #[test]
    fn intervals_of_a_known_sample() {
        // Reference: SciPy's t.interval, and its bootstrap with 200,000 resamples.
        close(mean_t(&SAMPLE, 0.95).unwrap().interval, 2.296_725_256, 4.723_274_744, 1e-7);
        for method in [Bootstrap::Percentile, Bootstrap::Bca] {
            let resampling = Resampling { method, resamples: 50_000, ..Resampling::default() };
            close(bootstrap_mean(&SAMPLE, &resampling).unwrap().interval, 2.52, 4.51, 0.03);
        }
        // A skewed sample, where BCa moves the interval up: the percentile ends are about 0.035 and 0.265.
        let mut skewed = vec![0.0; 14];
        skewed.extend([0.2, 0.1, 0.9, 1.0, 0.5, 0.05]);
        let resampling = Resampling { resamples: 50_000, ..Resampling::default() };
        close(bootstrap_mean(&skewed, &resampling).unwrap().interval, 0.045, 0.3275, 0.012);
        let clusters = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3];
        let values = [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0];
        close(cluster_mean(&values, &clusters, 0.95).unwrap().interval, -0.032_231_760, 1.232_231_760, 1e-7);
    }

    #[test]
    fn the_seed_decides_the_bootstrap() {
        let bootstrap =
            |seed| bootstrap_mean(&SAMPLE, &Resampling { seed, ..Resampling::default() }).unwrap();
        assert_eq!(bootstrap(3), bootstrap(3));
        assert_ne!(bootstrap(3).interval, bootstrap(4).interval);
    }

    fn normal(stream: &mut Stream) -> f64 {
        normal_quantile(stream.unit().max(1e-12))
    }

    #[test]
    fn student_interval_covers_at_its_nominal_rate() {
        let mut stream = Stream::new(11);
        let trials = 10_000;
        let covered = (0..trials)
            .filter(|_| {
                let values: Vec<f64> = (0..8).map(|_| normal(&mut stream) * 2.0 + 1.0).collect();
                mean_t(&values, 0.95).unwrap().interval.contains(1.0)
            })
            .count() as f64
            / f64::from(trials);
        // Standard error of the rate: 0.0022.
        assert!((0.943..=0.957).contains(&covered), "covers {covered}");
    }

    #[test]
    fn bootstrap_covers_nearly_at_its_nominal_rate() {
        let mut stream = Stream::new(12);
        let trials = 1_000;
        let covered = (0..trials)
            .filter(|trial| {
                let values: Vec<f64> = (0..60).map(|_| -(1.0 - stream.unit()).ln()).collect();
                let resampling = Resampling { resamples: 500, seed: *trial, ..Resampling::default() };
                bootstrap_mean(&values, &resampling).unwrap().interval.contains(1.0)
            })
            .count() as f64
            / trials as f64;
        // Exponential data of 60: theory and simulation elsewhere give 0.93–0.95.
        assert!((0.91..=0.97).contains(&covered), "covers {covered}");
    }

    #[test]
    fn cluster_interval_covers_where_the_plain_one_fails() {
        let mut stream = Stream::new(13);
        let trials = 2_000;
        let (mut robust, mut plain) = (0, 0);
        for _ in 0..trials {
            let mut values = Vec::new();
            let mut clusters = Vec::new();
            for cluster in 0..50 {
                // Intraclass correlation 0.7.
                let shared = normal(&mut stream) * 0.7_f64.sqrt();
                for _ in 0..10 {
                    values.push(shared + normal(&mut stream) * 0.3_f64.sqrt());
                    clusters.push(cluster);
                }
            }
            robust += usize::from(cluster_mean(&values, &clusters, 0.95).unwrap().interval.contains(0.0));
            plain += usize::from(mean_t(&values, 0.95).unwrap().interval.contains(0.0));
        }
        let rate = |count: usize| count as f64 / f64::from(trials);
        assert!((0.935..=0.965).contains(&rate(robust)), "robust covers {}", rate(robust));
        assert!(rate(plain) < 0.65, "plain covers {}", rate(plain));
    }

    #[test]
    fn impossible_samples_are_errors() {
        assert!(mean_t(&[1.0], 0.95).is_err());
        assert!(mean_t(&[1.0, f64::NAN], 0.95).is_err());
        assert!(bootstrap_mean(&[], &Resampling::default()).is_err());
        assert!(bootstrap_mean(&SAMPLE, &Resampling { resamples: 3, ..Resampling::default() }).is_err());
        assert!(cluster_mean(&[1.0, 2.0], &[1, 1], 0.95).is_err());
        assert!(cluster_mean(&[1.0, 2.0], &[1], 0.95).is_err());
        // No variation: the interval is the value, not a NaN.
        let constant = bootstrap_mean(&[0.5; 6], &Resampling::default()).unwrap();
        assert_eq!(constant.interval, Interval { low: 0.5, high: 0.5 });
    }
}
