//! Intervals, tests and resampling for small samples.
//!
//! Plain functions on slices of `f64`; every interval is two-sided at a given confidence such as 0.95; every
//! resampling takes a seed and gives the same result on every machine. This crate knows nothing of models.
//!
//! - a proportion: [`wilson`], [`clopper_pearson`]
//! - a mean: [`mean_t`], [`bootstrap_mean`], [`cluster_mean`]
//! - two runs on the same items: [`paired_difference`], [`mcnemar_exact`], [`sign_test`], [`permutation_test`]
//! - many comparisons: [`holm`], [`benjamini_hochberg`]
//! - how many items are needed: [`minimum_detectable_effect`], [`required_n`], [`settle`]
//! - agreement and association: [`cohen_kappa`], [`pearson`], [`spearman`], [`auroc`]
//!
//! To add a method: one function in the module of its subject, with a known answer and, for an interval, a
//! coverage simulation in its tests.

#![forbid(unsafe_code)]

mod association;
mod distribution;
mod mean;
mod multiple;
mod paired;
mod power;
mod proportion;
mod random;

pub use association::{Agreement, auroc, cohen_kappa, pearson, spearman};
pub use distribution::{normal_cdf, normal_quantile, student_quantile};
pub use mean::{Bootstrap, Resampling, bootstrap_mean, cluster_mean, mean, mean_t, variance};
pub use multiple::{benjamini_hochberg, holm};
pub use paired::{PairedDifference, mcnemar_exact, paired_difference, permutation_test, sign_test};
pub use power::{Settled, minimum_detectable_effect, required_n, settle};
pub use proportion::{clopper_pearson, wilson};
pub use random::Stream;

/// A two-sided interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies inside, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Half the width.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// An estimated quantity with its interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Estimate {
    /// Number of observations (of clusters for a cluster mean).
    pub n: usize,
    /// The estimate.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
}

/// Why a statistic is undefined for the given numbers.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too few observations.
    #[error("{what} needs at least {needed} observations, got {got}")]
    TooFew {
        /// The statistic.
        what: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        got: usize,
    },
    /// Two slices that belong together differ in length.
    #[error("{what} needs two slices of the same length, got {left} and {right}")]
    Lengths {
        /// The statistic.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// An argument is out of its range.
    #[error("{0}")]
    Argument(String),
}

fn check_confidence(confidence: f64) -> Result<(), Error> {
    if confidence > 0.0 && confidence < 1.0 {
        Ok(())
    } else {
        Err(Error::Argument(format!("confidence must lie between 0 and 1, such as 0.95; got {confidence}")))
    }
}

fn check_values(what: &'static str, values: &[f64], needed: usize) -> Result<(), Error> {
    if values.len() < needed {
        return Err(Error::TooFew { what, needed, got: values.len() });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::Argument(format!(
            "{what}: observation {index} is {}, not a finite number",
            values[index]
        ))),
        None => Ok(()),
    }
}

fn check_lengths(what: &'static str, left: usize, right: usize) -> Result<(), Error> {
    if left == right { Ok(()) } else { Err(Error::Lengths { what, left, right }) }
}
