//! Which layer's difference of means to take, decided on prompts that did not make it.

use model::Transformer;
use serde::{Deserialize, Serialize};

use super::{Direction, addition, last_logits, refusal_score, removal};
use crate::Error;
use crate::distribution::{divergence, log_softmax};
use crate::error::require;

/// How to choose (the filters of Arditi et al. 2024, appendix C).
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Removal may move the next-token distribution of answered prompts by this much, in nats.
    pub most_divergence: f64,
    /// Only layers before this share of the depth.
    pub deepest: f64,
    /// Try every so many layers; 1 tries all.
    pub stride: usize,
}

impl Default for Selection {
    fn default() -> Self {
        Self { most_divergence: 0.1, deepest: 0.8, stride: 1 }
    }
}

/// One layer's direction on the validation prompts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The layer.
    pub layer: usize,
    /// Mean refusal score of refused prompts with the direction removed: the lower, the better.
    pub removed: f64,
    /// Mean refusal score of answered prompts with the direction added.
    pub added: f64,
    /// Mean divergence of the next token of answered prompts under removal, in nats.
    pub divergence: f64,
    /// Whether it passes the filters.
    pub passes: bool,
}

/// The chosen direction and how it was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    /// The direction.
    pub direction: Direction,
    /// Mean refusal score of the refused validation prompts without intervention.
    pub baseline: f64,
    /// Every layer tried.
    pub candidates: Vec<Candidate>,
    /// Whether the choice passes the filters; otherwise it is the best compromise of all that were tried, and a
    /// report must say so.
    pub passes: bool,
}

/// Chooses among `directions` (of [`differences`](super::differences)): the one whose removal lowers the refusal
/// score of `refused` the most, among those that leave `answered` prompts alone when removed, cause refusal when
/// added, and lie before the last layers.
///
/// # Errors
/// [`Error::Request`] if a set of prompts is empty or no layer can be tried.
pub fn select(
    transformer: &Transformer,
    directions: &[Direction],
    refused: &[Vec<u32>],
    answered: &[Vec<u32>],
    openings: &[u32],
    selection: &Selection,
) -> Result<Selected, Error> {
    require(!refused.is_empty() && !answered.is_empty(), || {
        "choosing a direction needs validation prompts of both kinds".into()
    })?;
    let deepest = selection.deepest * transformer.config().layers.len() as f64;
    let tried = directions.iter().filter(|direction| {
        // The embedding of the last token is the template's, the same for every prompt: no direction there.
        direction.layer > 0
            && direction.layer.is_multiple_of(selection.stride.max(1))
            && (direction.layer as f64) < deepest.max(2.0)
            && direction.unit().is_ok()
    });
    let clean = answered.iter().map(|prompt| Ok(log_softmax(last_logits(transformer, prompt, &[])?.last())));
    let clean = clean.collect::<Result<Vec<_>, Error>>()?;
    let mean_score = |prompts: &[Vec<u32>], changes: &[crate::intervene::Change]| -> Result<f64, Error> {
        let mut sum = 0.0;
        for prompt in prompts {
            sum += refusal_score(last_logits(transformer, prompt, changes)?.last(), openings);
        }
        Ok(sum / prompts.len() as f64)
    };
    let baseline = mean_score(refused, &[])?;
    let mut candidates = Vec::new();
    for direction in tried {
        let unit = direction.unit()?;
        let removed = removal(transformer, &unit, &unit);
        let added = addition(transformer, direction.layer, direction.vector.clone())?;
        let mut moved = 0.0;
        for (prompt, clean) in answered.iter().zip(&clean) {
            moved += divergence(clean, &log_softmax(last_logits(transformer, prompt, &removed)?.last()));
        }
        let moved = moved / answered.len() as f64;
        let added = mean_score(answered, &[added])?;
        candidates.push(Candidate {
            layer: direction.layer,
            removed: mean_score(refused, &removed)?,
            added,
            divergence: moved,
            passes: moved <= selection.most_divergence && added > 0.0,
        });
    }
    // Without one that passes, what the removal breaks counts against what it does: a tenth of a nat of
    // divergence beyond the filter as much as one of the score.
    let cost = |candidate: &Candidate| {
        candidate.removed + 10.0 * (candidate.divergence - selection.most_divergence).max(0.0)
    };
    let best = candidates
        .iter()
        .min_by(|a, b| b.passes.cmp(&a.passes).then(cost(a).total_cmp(&cost(b))).then(a.layer.cmp(&b.layer)));
    let best = best.copied().ok_or_else(|| {
        Error::Request("no layer's difference of means could be tried; give prompts of both kinds".into())
    })?;
    let direction = directions.iter().find(|direction| direction.layer == best.layer).cloned();
    let direction = direction.ok_or_else(|| Error::Request("the chosen layer has no direction".into()))?;
    Ok(Selected { direction, baseline, candidates, passes: best.passes })
}
