//! Whether a training step was healthy: judged after every step, before the next.
//!
//! A step whose loss or gradient is not finite was skipped by the learner. A step whose gradient norm or loss stands
//! far outside the recent ones is taken back; so is one on pairs of which many are as wrong as others are right, as
//! flipped labels are, and so is a course of steps that moved general language too far.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// When a step counts as runaway.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Healthy steps that are remembered.
    pub window: usize,
    /// Healthy steps before anything is called runaway.
    pub warmup: usize,
    /// A gradient norm beyond this multiple of the median is runaway.
    pub norm_factor: f64,
    /// A loss this many deviations above the median is runaway (deviation: 1.4826 times the median absolute one).
    pub loss_deviations: f64,
    /// A share of pairs this large whose preference is reversed (below minus half the usual margin) is runaway.
    pub reversed: f64,
    /// Divergence from the first model on general text, in nats per token, that is runaway.
    pub drift: f64,
    /// Snapshots kept to go back to, beside the one before each step.
    pub snapshots: usize,
    /// Steps between those snapshots, and between measurements of the drift.
    pub spacing: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: 24,
            warmup: 4,
            norm_factor: 10.0,
            loss_deviations: 8.0,
            reversed: 0.25,
            drift: 0.25,
            snapshots: 2,
            spacing: 24,
        }
    }
}

/// What the monitor hears of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts<'a> {
    /// The loss.
    pub loss: f64,
    /// The global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// The learner skipped the step because something was not finite.
    pub skipped: bool,
    /// Divergence on general text, if it was measured.
    pub drift: Option<f64>,
    /// How much the preference of every pair changed since the reference, in nats; empty without pairs.
    pub margins: &'a [f64],
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "reason")]
pub enum Verdict {
    /// Go on.
    Healthy,
    /// Nothing was changed; go on with the next batch.
    Skipped(String),
    /// Take back this step.
    TakeBack(String),
    /// Take back to the oldest snapshot and learn more slowly.
    TakeFarBack(String),
}

/// The memory of recent healthy steps.
#[derive(Clone, Debug)]
pub struct Monitor {
    limits: Limits,
    losses: VecDeque<f64>,
    norms: VecDeque<f64>,
    /// Mean margins of healthy steps on pairs.
    margins: VecDeque<f64>,
    taken_back: usize,
}

/// Steps taken back one after the other before the monitor goes farther back: two batches, each tried twice.
const PATIENCE: usize = 4;

impl Monitor {
    /// Nothing seen yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            losses: VecDeque::new(),
            norms: VecDeque::new(),
            margins: VecDeque::new(),
            taken_back: 0,
        }
    }

    /// Judges a step; a healthy one is remembered.
    pub fn judge(&mut self, facts: &Facts<'_>) -> Verdict {
        if facts.skipped || !facts.loss.is_finite() || !facts.gradient_norm.is_finite() {
            return Verdict::Skipped(format!(
                "not finite: loss {}, gradient norm {}",
                facts.loss, facts.gradient_norm
            ));
        }
        if let Some(drift) = facts.drift
            && (drift > self.limits.drift || drift.is_nan())
        {
            self.taken_back = 0;
            return Verdict::TakeFarBack(format!(
                "divergence on general text {drift:.3} nats per token is above {}",
                self.limits.drift
            ));
        }
        if let Some(reason) = self.outlier(facts) {
            self.taken_back += 1;
            if self.taken_back < PATIENCE {
                return Verdict::TakeBack(reason);
            }
            // Several outliers in a row are no outliers: the past is a bad measure by now.
            self.taken_back = 0;
            self.losses.clear();
            self.norms.clear();
            return Verdict::TakeFarBack(format!("{reason}, {PATIENCE} times in a row"));
        }
        self.taken_back = 0;
        let margin = mean(facts.margins);
        for (values, value) in [
            (&mut self.losses, Some(facts.loss)),
            (&mut self.norms, Some(facts.gradient_norm)),
            (&mut self.margins, margin),
        ] {
            values.extend(value);
            if values.len() > self.limits.window {
                values.pop_front();
            }
        }
        Verdict::Healthy
    }

    fn outlier(&self, facts: &Facts<'_>) -> Option<String> {
        if self.losses.len() < self.limits.warmup.max(2) {
            return None;
        }
        let norm = median(self.norms.iter().copied());
        if facts.gradient_norm > self.limits.norm_factor * norm.max(f64::MIN_POSITIVE) {
            return Some(format!(
                "gradient norm {:.3} is more than {} times the median {norm:.3}",
                facts.gradient_norm, self.limits.norm_factor
            ));
        }
        // The latest margins: they grow all the time.
        let usual = median(self.margins.iter().rev().take(self.limits.warmup.max(2)).copied());
        let reversed = facts.margins.iter().filter(|margin| **margin < -0.5 * usual).count();
        if usual >= LEARNED
            && reversed as f64 >= self.limits.reversed * facts.margins.len() as f64
            && reversed > 0
        {
            return Some(format!(
                "{reversed} of {} pairs are reversed against a usual margin of {usual:.2} nats; are labels flipped?",
                facts.margins.len()
            ));
        }
        let center = median(self.losses.iter().copied());
        let deviation = 1.4826 * median(self.losses.iter().map(|loss| (loss - center).abs()));
        // Losses that hardly vary must not make a tiny rise an outlier.
        let deviation = deviation.max(0.02 * center.abs()).max(1e-3);
        let limit = center + self.limits.loss_deviations * deviation;
        (facts.loss > limit).then(|| {
            format!(
                "loss {:.3} is above {limit:.3}, far outside the recent ones around {center:.3}",
                facts.loss
            )
        })
    }
}

/// The usual margin in nats from which a reversed pair says something about its label.
const LEARNED: f64 = 1.0;

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => (values[(n - 1) / 2] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use statistics::Stream;

    use super::*;

    fn facts(loss: f64, gradient_norm: f64) -> Facts<'static> {
        Facts { loss, gradient_norm, skipped: false, drift: None, margins: &[] }
    }

    /// A falling loss with noise, as training has it.
    fn healthy(step: usize, random: &mut Stream) -> Facts<'static> {
        let noise = 0.8 + 0.4 * random.unit();
        facts((0.4 + 2.0 * (-(step as f64) / 20.0).exp()) * noise, 3.0 * noise)
    }

    #[test]
    fn a_noisy_course_raises_no_alarm() {
        for seed in 0..50 {
            let (mut monitor, mut random) = (Monitor::new(Limits::default()), Stream::new(seed));
            for step in 0..100 {
                assert_eq!(monitor.judge(&healthy(step, &mut random)), Verdict::Healthy, "{seed} {step}");
            }
        }
    }

    #[test]
    fn planted_faults_are_found_and_leave_no_trace() {
        let (mut monitor, mut random) = (Monitor::new(Limits::default()), Stream::new(3));
        for step in 0..60 {
            let fact = healthy(step, &mut random);
            match step {
                20 => {
                    let verdict = monitor.judge(&Facts { skipped: true, loss: f64::NAN, ..fact });
                    assert!(matches!(verdict, Verdict::Skipped(_)), "{verdict:?}");
                }
                30 => {
                    let verdict = monitor.judge(&facts(fact.loss, 100.0 * fact.gradient_norm));
                    assert!(matches!(verdict, Verdict::TakeBack(_)), "{verdict:?}");
                }
                40 => {
                    let verdict = monitor.judge(&facts(fact.loss + 3.0, fact.gradient_norm));
                    assert!(matches!(verdict, Verdict::TakeBack(_)), "{verdict:?}");
                }
                50 => {
                    let verdict = monitor.judge(&Facts { drift: Some(0.9), ..fact });
                    assert!(matches!(verdict, Verdict::TakeFarBack(_)), "{verdict:?}");
                }
                _ => assert_eq!(monitor.judge(&fact), Verdict::Healthy, "{step}"),
            }
        }
    }

    #[test]
    fn flipped_labels_are_seen_in_the_margins() {
        let mut monitor = Monitor::new(Limits::default());
        let with = |margins: &'static [f64]| Facts { margins, ..facts(1.0, 1.0) };
        // A margin that is still small, or a single pair that lags behind, is no alarm.
        for margins in
            [&[0.1, -0.3, 0.0, 0.2][..], &[0.2, -0.4, 0.3, -0.4], &[1.0, 3.0, 2.0, -0.5], &[4.0; 4]]
        {
            assert_eq!(monitor.judge(&with(margins)), Verdict::Healthy);
        }
        (0..4).for_each(|_| assert_eq!(monitor.judge(&with(&[4.0, 3.0, 5.0, -1.0])), Verdict::Healthy));
        let verdict = monitor.judge(&with(&[4.0, 3.0, -5.0, -4.0]));
        assert!(matches!(&verdict, Verdict::TakeBack(why) if why.contains("2 of 4")), "{verdict:?}");
    }

    #[test]
    fn it_does_not_take_back_forever() {
        let mut monitor = Monitor::new(Limits::default());
        (0..10).for_each(|step| {
            monitor.judge(&facts(1.0 + 0.01 * f64::from(step % 3), 1.0));
        });
        let verdicts: Vec<Verdict> = (0..6).map(|_| monitor.judge(&facts(50.0, 1.0))).collect();
        assert!(verdicts[..3].iter().all(|verdict| matches!(verdict, Verdict::TakeBack(_))));
        assert!(matches!(verdicts[3], Verdict::TakeFarBack(_)));
        assert_eq!(verdicts[4..], [Verdict::Healthy, Verdict::Healthy]);
    }

    #[test]
    fn nothing_is_judged_before_there_is_a_measure() {
        let mut monitor = Monitor::new(Limits::default());
        for loss in [1.0, 900.0, 2.0, 1e6] {
            assert_eq!(monitor.judge(&facts(loss, loss)), Verdict::Healthy);
        }
    }
}
