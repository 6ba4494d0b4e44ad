//! The learning rate over the steps of a training.

use serde::{Deserialize, Serialize};

/// How the rate changes: a linear warm-up, then a shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Steps over which the rate rises linearly to its peak.
    pub warmup: usize,
    /// What follows.
    pub shape: Shape,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { warmup: 0, shape: Shape::Cosine { floor: 0.1 } }
    }
}

/// The course of the rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Shape {
    /// The peak to the end.
    Constant,
    /// Half a cosine from the peak to `floor · peak` (Loshchilov and Hutter 2017, arXiv:1608.03983).
    Cosine {
        /// The share of the peak that remains at the end.
        floor: f32,
    },
    /// Warm-up, stable, decay: the peak, then a line down to `floor · peak` over the last `decay` share of the
    /// steps (Hu et al. 2024, arXiv:2404.06395).
    Wsd {
        /// The share of all steps in which the rate falls.
        decay: f32,
        /// The share of the peak that remains at the end.
        floor: f32,
    },
}

impl Schedule {
    /// The peak rate at every step.
    pub fn constant() -> Self {
        Self { warmup: 0, shape: Shape::Constant }
    }

    /// The rate of step `step` (from 0) of `steps`, as a share of the peak.
    pub fn share(&self, step: usize, steps: usize) -> f32 {
        if step < self.warmup {
            return (step + 1) as f32 / self.warmup as f32;
        }
        let (step, steps) = (step as f64, steps.max(1) as f64);
        let after = |start: f64| ((step - start) / (steps - start).max(1.0)).clamp(0.0, 1.0);
        let share = match self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine { floor } => {
                let turn = std::f64::consts::PI * after(self.warmup as f64);
                let floor = f64::from(floor);
                floor + (1.0 - floor) * 0.5 * (1.0 + turn.cos())
            }
            Shape::Wsd { decay, floor } => {
                let start = (steps * (1.0 - f64::from(decay))).max(self.warmup as f64);
                1.0 - (1.0 - f64::from(floor)) * after(start)
            }
        };
        share as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_rises_to_the_peak() {
        let schedule = Schedule { warmup: 4, shape: Shape::Constant };
        let shares: Vec<f32> = (0..6).map(|step| schedule.share(step, 6)).collect();
        assert_eq!(shares, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn shapes_start_at_the_peak_and_end_at_the_floor() {
        let cosine = Schedule { warmup: 0, shape: Shape::Cosine { floor: 0.1 } };
        assert_eq!(cosine.share(0, 100), 1.0);
        assert!((cosine.share(50, 100) - 0.55).abs() < 1e-6);
        assert!((cosine.share(100, 100) - 0.1).abs() < 1e-6);
        let wsd = Schedule { warmup: 10, shape: Shape::Wsd { decay: 0.2, floor: 0.0 } };
        assert_eq!((wsd.share(10, 100), wsd.share(80, 100)), (1.0, 1.0));
        assert!((wsd.share(90, 100) - 0.5).abs() < 1e-6);
        assert!(wsd.share(99, 100) > 0.0);
    }

    #[test]
    fn a_warm_up_longer_than_the_training_is_harmless() {
        let schedule = Schedule { warmup: 50, shape: Shape::Cosine { floor: 0.0 } };
        assert!((0..20).all(|step| schedule.share(step, 20) == (step + 1) as f32 / 50.0));
        assert!(schedule.share(60, 20).is_finite());
    }
}
