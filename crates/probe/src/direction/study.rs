//! The whole study of a refusal direction: find it, choose its layer, measure it on prompts of its own.

use model::Transformer;
use serde::{Deserialize, Serialize};

use super::{
    Effect, EffectOptions, Reading, Selected, Selection, differences, last_logits, measure_effect,
    refusal_openings, refusal_score, select,
};
use crate::Error;

/// Prompts of two kinds, as tokens ready for the assistant's answer (see [`chat_tokens`](super::chat_tokens)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptSet {
    /// Prompts the model should refuse.
    pub refused: Vec<Vec<u32>>,
    /// Prompts it should answer.
    pub answered: Vec<Vec<u32>>,
}

/// How to run the study.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusalOptions {
    /// The tokens refusals open with, if they are known; otherwise they are found on the prompts.
    pub openings: Option<Vec<u32>>,
    /// Found: a token whose mean probability after refused prompts is at least this.
    pub opening: f64,
    /// How the layer is chosen.
    pub selection: Selection,
    /// How the effect is measured.
    pub effect: EffectOptions,
}

impl Default for RefusalOptions {
    fn default() -> Self {
        Self {
            openings: None,
            opening: 0.02,
            selection: Selection::default(),
            effect: EffectOptions::default(),
        }
    }
}

/// What the study found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalStudy {
    /// The tokens refusals open with.
    pub openings: Vec<u32>,
    /// Prompts that made the direction: those refused and answered in fact.
    pub fit: [usize; 2],
    /// Prompts that chose its layer, likewise.
    pub choose: [usize; 2],
    /// The direction and how it was chosen.
    pub selected: Selected,
    /// What it does on the test prompts.
    pub effect: Effect,
    /// Whether removing it moves refusal at least 30 points more than the mean control does.
    pub holds: bool,
}

/// Finds the direction on `fit`, chooses its layer on `choose`, measures it on `test`. The three sets must not
/// share prompts. Of the first two, only prompts count that the model refuses or answers as it should (by the
/// sign of the refusal score); the test prompts all count.
///
/// # Errors
/// [`Error::Request`] if they do, a set is empty, or the model does not refuse; otherwise as the parts.
pub fn refusal_study(
    transformer: &Transformer,
    [fit, choose, test]: [&PromptSet; 3],
    reading: &Reading<'_>,
    options: &RefusalOptions,
) -> Result<RefusalStudy, Error> {
    let shared = |a: &PromptSet, b: &PromptSet| {
        a.refused.iter().any(|prompt| b.refused.contains(prompt))
            || a.answered.iter().any(|prompt| b.answered.contains(prompt))
    };
    crate::error::require(!shared(fit, choose) && !shared(fit, test) && !shared(choose, test), || {
        "the sets that make, choose and test the direction share prompts; split them".into()
    })?;
    let openings = match &options.openings {
        Some(openings) => openings.clone(),
        None => refusal_openings(transformer, &fit.refused, &fit.answered, options.opening)?,
    };
    let fit = in_fact(transformer, fit, &openings)?;
    let choose = in_fact(transformer, choose, &openings)?;
    let directions = differences(transformer, &fit.refused, &fit.answered)?;
    let selected =
        select(transformer, &directions, &choose.refused, &choose.answered, &openings, &options.selection)?;
    let effect = measure_effect(
        transformer,
        &selected.direction,
        &test.refused,
        &test.answered,
        &openings,
        reading,
        &options.effect,
    )?;
    let holds = effect.beyond_control.value >= 0.3;
    let sizes = |set: &PromptSet| [set.refused.len(), set.answered.len()];
    let (fit, choose) = (sizes(&fit), sizes(&choose));
    Ok(RefusalStudy { openings, fit, choose, selected, effect, holds })
}

/// The prompts the model refuses and answers in fact.
fn in_fact(transformer: &Transformer, set: &PromptSet, openings: &[u32]) -> Result<PromptSet, Error> {
    let keep = |prompts: &[Vec<u32>], refuses: bool| -> Result<Vec<Vec<u32>>, Error> {
        let mut kept = Vec::new();
        for prompt in prompts {
            let score = refusal_score(last_logits(transformer, prompt, &[])?.last(), openings);
            if (score > 0.0) == refuses {
                kept.push(prompt.clone());
            }
        }
        Ok(kept)
    };
    let kept = PromptSet { refused: keep(&set.refused, true)?, answered: keep(&set.answered, false)? };
    crate::error::require(!kept.refused.is_empty() && !kept.answered.is_empty(), || {
        format!(
            "of {} prompts to refuse the model refuses {}, of {} to answer it answers {}; a direction needs both",
            set.refused.len(),
            kept.refused.len(),
            set.answered.len(),
            kept.answered.len()
        )
    })?;
    Ok(kept)
}
