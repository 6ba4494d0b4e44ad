//! Perplexity of a text.

use model::LanguageModel;
use serde::{Deserialize, Serialize};
use statistics::Interval;

use crate::Error;

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// exp(nll).
    pub perplexity: f64,
    /// Number of scored tokens.
    pub tokens: usize,
    /// Mean negative log-likelihood of a scored token, natural log.
    pub nll: f64,
    /// Tokens in a window.
    pub window: usize,
    /// 95 % interval of the perplexity over the windows, where the parts of the text could be told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
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
    Ok(Perplexity { perplexity: nll.exp(), tokens: rolled.tokens, nll, window, interval: None })
}
