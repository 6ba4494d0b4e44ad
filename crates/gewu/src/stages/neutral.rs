//! The general text on which every change of a model is weighed: what it gains must not cost it this.

use anyhow::{Context, Result};
use eval::Perplexity;
use serde_json::{Value, json};
use tasks::Language;

/// Tokens of a perplexity window.
pub(super) const WINDOW: usize = 256;

/// The text in the file `path`, or the built-in one.
pub(super) fn text(path: &str) -> Result<String> {
    match path {
        "" => Ok(align::preferences::neutral_text(Language::En).to_owned()),
        path => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read the neutral text `{path}`"))
        }
    }
}

/// Perplexity before and after, for a stage's result.
pub(super) fn change(path: &str, before: &Perplexity, after: &Perplexity) -> Value {
    let name = if path.is_empty() { "built-in" } else { path.rsplit(['/', '\\']).next().unwrap_or(path) };
    let (change, interval) = after.growth(before);
    json!({
        "text": name,
        "tokens": after.tokens,
        "before": before.perplexity,
        "after": after.perplexity,
        "change": change,
        "interval": interval,
    })
}
