//! Perplexity of a text.

use model::LanguageModel;
use serde::{Deserialize, Serialize};
use statistics::Interval;

use crate::Error;

/// How well a model predicts a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// exp(nll).
    pub perplexity: f64,
    /// Number of scored tokens.
    pub tokens: usize,
    /// Mean negative log-likelihood of a scored token, natural log.
    pub nll: f64,
    /// Tokens in a window.
    pub window: usize,
    /// 95 % interval of the perplexity over the windows (Student's t on their mean log-likelihoods); none of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Mean negative log-likelihood of a token in every window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<f64>,
}

impl Perplexity {
    /// How much larger this perplexity is than `before`, measured on the same windows: the share by which it grew,
    /// and its 95 % interval over the windows, paired; none if the windows are not the same or only one.
    pub fn growth(&self, before: &Self) -> (f64, Option<Interval>) {
        let pairs = self.windows.iter().zip(&before.windows);
        let differences: Vec<f64> = pairs.map(|(after, before)| after - before).collect();
        let same = self.windows.len() == before.windows.len() && self.tokens == before.tokens;
        let ratio = exponential_interval(&differences).filter(|_| same);
        let interval = ratio.map(|ratio| Interval { low: ratio.low - 1.0, high: ratio.high - 1.0 });
        (self.perplexity / before.perplexity - 1.0, interval)
    }
}

/// The 95 % interval of exp(mean) of some values in nats; none of fewer than two.
fn exponential_interval(nats: &[f64]) -> Option<Interval> {
    let Interval { low, high } = statistics::mean_t(nats, 0.95).ok()?.interval;
    Some(Interval { low: low.exp(), high: high.exp() })
}

/// Perplexity of `text` in consecutive windows of `window` tokens, the second half of each scored.
///
/// # Errors
/// If the text is blank or shorter than two windows, or the window does not fit the model.
pub fn perplexity(model: &mut dyn LanguageModel, text: &str, window: usize) -> Result<Perplexity, Error> {
    if text.trim().is_empty() {
        return Err(Error::Request("the text is empty: there is nothing to score".into()));
    }
    if window < 4 || window > model.context_length() {
        return Err(Error::Request(format!(
            "a window of {window} tokens does not fit: `{}` takes 4 to {}",
            model.name(),
            model.context_length()
        )));
    }
    let available = model.count_tokens(text);
    // A beginning-of-text token may make up for one.
    if available + 1 < 2 * window {
        return Err(Error::Request(format!(
            "the text has {available} tokens, two windows of {window} need {}; give a longer text or a smaller window",
            2 * window
        )));
    }
    let rolled = model
        .rolling_log_likelihood(text, window)
        .map_err(|source| Error::Model { item: "perplexity".into(), source })?;
    if rolled.tokens == 0 || !rolled.sum.is_finite() {
        return Err(Error::Request(format!(
            "`{}` scored {} tokens with log-likelihood {}: no perplexity follows",
            model.name(),
            rolled.tokens,
            rolled.sum
        )));
    }
    let nll = -rolled.sum / rolled.tokens as f64;
    let scored = rolled.tokens as f64 / rolled.windows.len().max(1) as f64;
    let windows: Vec<f64> = rolled.windows.iter().map(|sum| -sum / scored).collect();
    let interval = exponential_interval(&windows);
    Ok(Perplexity { perplexity: nll.exp(), tokens: rolled.tokens, nll, window, interval, windows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(windows: &[f64]) -> Perplexity {
        let nll = statistics::mean(windows);
        let tokens = 7 * windows.len();
        Perplexity { perplexity: nll.exp(), tokens, nll, window: 16, interval: None, windows: windows.into() }
    }

    #[test]
    fn growth_is_paired_by_window() {
        // Windows differ among each other far more than before and after do.
        let before = of(&[1.0, 3.0, 2.0, 4.0]);
        let (growth, interval) = of(&[1.02, 3.01, 2.02, 4.03]).growth(&before);
        assert!((growth - (0.02_f64.exp() - 1.0)).abs() < 1e-12);
        let interval = interval.unwrap();
        // Student's t with three degrees of freedom: 0.02 ± 3.1824 · 0.008165 / 2.
        assert!((interval.low.ln_1p() - 0.007008).abs() < 1e-5, "{interval:?}");
        assert!((interval.high.ln_1p() - 0.032992).abs() < 1e-5, "{interval:?}");
        assert!(before.growth(&of(&[1.0])).1.is_none() && of(&[1.0]).growth(&of(&[1.0])).1.is_none());
    }
}
