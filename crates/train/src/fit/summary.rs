//! What a training did, and what can be read off it.

use serde::{Deserialize, Deserializer, Serialize};

/// What a training did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Steps done.
    pub steps: usize,
    /// Whether all steps were done; otherwise the caller stopped it.
    pub finished: bool,
    /// Tokens read.
    pub tokens: u64,
    /// Tokens that counted.
    pub scored: u64,
    /// How many times the examples were used.
    #[serde(default)]
    pub epochs: f32,
    /// Steps left out because something was not finite or a gradient too large.
    pub skipped: usize,
    /// Loss of every step.
    #[serde(deserialize_with = "numbers")]
    pub losses: Vec<f32>,
    /// Global norm of the gradients of every step, before clipping.
    #[serde(default, deserialize_with = "numbers")]
    pub gradient_norms: Vec<f32>,
    /// Held-out loss, with the number of steps before it.
    #[serde(deserialize_with = "measurements")]
    pub held_out: Vec<(usize, f32)>,
    /// Saved states that were found damaged, and what was wrong; the training went on from the one before.
    #[serde(default)]
    pub recovered: Vec<String>,
}

impl Summary {
    /// Mean loss of the last `count` steps.
    pub fn recent(&self, count: usize) -> f32 {
        let last = &self.losses[self.losses.len().saturating_sub(count)..];
        last.iter().sum::<f32>() / last.len().max(1) as f32
    }

    /// The lowest held-out loss, the first of equal ones, with the number of steps before it.
    pub fn best(&self) -> Option<(usize, f32)> {
        let measured = self.held_out.iter().copied().filter(|(_, loss)| loss.is_finite());
        measured.reduce(|best, at| if at.1 < best.1 { at } else { best })
    }
}

/// Steps whose gradient norms say what is usual.
pub(super) const RECENT: usize = 50;

impl Summary {
    /// The gradient norm above which a step is left out; infinite while too few are known.
    pub(super) fn norm_limit(&self, spike: f32) -> f64 {
        let from = self.gradient_norms.len().saturating_sub(RECENT);
        let mut recent: Vec<f32> =
            self.gradient_norms[from..].iter().copied().filter(|n| n.is_finite()).collect();
        if spike <= 0.0 || recent.len() < RECENT / 2 {
            return f64::INFINITY;
        }
        recent.sort_by(f32::total_cmp);
        f64::from(spike) * f64::from(recent[recent.len() / 2])
    }
}

/// JSON has no word for a number that is not finite: `null` stands for it.
fn numbers<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<f32>, D::Error> {
    let numbers = Vec::<Option<f32>>::deserialize(source)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f32::NAN)).collect())
}

fn measurements<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<(usize, f32)>, D::Error> {
    let numbers = Vec::<(usize, Option<f32>)>::deserialize(source)?;
    Ok(numbers.into_iter().map(|(step, number)| (step, number.unwrap_or(f32::NAN))).collect())
}
