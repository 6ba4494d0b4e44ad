//! What attention heads look at: prefix matching (induction), the previous token, entropy.
//!
//! Olsson et al. 2022, "In-context learning and induction heads" (arXiv:2209.11895).

use model::Transformer;
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::record::patterns;
use crate::{Error, Matrix};

/// The scores of one head on one text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadScore {
    /// Its block.
    pub layer: usize,
    /// Its number in the block.
    pub head: usize,
    /// Mean weight on the tokens that followed earlier occurrences of the current token.
    pub prefix_matching: f64,
    /// Mean weight on the token before.
    pub previous_token: f64,
    /// Mean entropy of the weights, in nats.
    pub entropy: f64,
}

/// Scores every head of `layers` on `tokens`. Prefix matching is averaged over the positions of `scored` whose
/// token occurred before (not right before: there the token that followed is the current one).
///
/// # Errors
/// [`Error::Request`] if no position of `scored` repeats an earlier token; [`Error::Model`] if a layer has no
/// attention pattern.
pub fn head_scores(
    transformer: &Transformer,
    tokens: &[u32],
    layers: impl IntoIterator<Item = usize>,
    scored: std::ops::Range<usize>,
) -> Result<Vec<HeadScore>, Error> {
    require(tokens.len() > 1 && scored.end <= tokens.len(), || {
        format!("positions {scored:?} of a text of {} tokens; at least two are needed", tokens.len())
    })?;
    let mut scores = Vec::new();
    for (layer, heads) in patterns(transformer, tokens, layers)? {
        for (head, pattern) in heads.iter().enumerate() {
            scores.push(HeadScore {
                layer,
                head,
                prefix_matching: prefix_matching(pattern, tokens, scored.clone())?,
                previous_token: previous_token(pattern),
                entropy: attention_entropy(pattern),
            });
        }
    }
    Ok(scores)
}

/// Mean weight of a `[T, T]` pattern on the tokens that followed earlier occurrences of the current token.
///
/// # Errors
/// [`Error::Request`] if no position of `scored` repeats an earlier token.
pub fn prefix_matching(
    pattern: &Matrix,
    tokens: &[u32],
    scored: std::ops::Range<usize>,
) -> Result<f64, Error> {
    let (mut sum, mut count) = (0.0, 0);
    for t in scored {
        let followers = (1..t).filter(|s| tokens[s - 1] == tokens[t]);
        let (weight, found) =
            followers.fold((0.0, false), |(weight, _), s| (weight + f64::from(pattern.row(t)[s]), true));
        sum += weight;
        count += usize::from(found);
    }
    require(count > 0, || {
        "no token of the text repeats an earlier one; prefix matching is undefined".into()
    })?;
    Ok(sum / count as f64)
}

/// Mean weight on the token before, over all positions but the first; 0 for fewer than two positions.
pub fn previous_token(pattern: &Matrix) -> f64 {
    let sum: f64 = (1..pattern.rows()).map(|t| f64::from(pattern.row(t)[t - 1])).sum();
    sum / pattern.rows().saturating_sub(1).max(1) as f64
}

/// Mean entropy of the rows, in nats; a row over `t + 1` positions has at most `ln(t + 1)`.
pub fn attention_entropy(pattern: &Matrix) -> f64 {
    let row = |row: &[f32]| -> f64 {
        row.iter().filter(|w| **w > 0.0).map(|w| -f64::from(*w) * f64::from(*w).ln()).sum()
    };
    (0..pattern.rows()).map(|t| row(pattern.row(t))).sum::<f64>() / pattern.rows().max(1) as f64
}
