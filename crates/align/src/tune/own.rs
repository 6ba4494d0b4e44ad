//! What the first model answers by itself.

use std::collections::HashMap;

use model::{Transformer, Want, common_prefix};

use super::*;
use crate::sequence::numbers;

/// The first tokens of the first model's own answers, by prompt.
pub(crate) type Own = HashMap<String, Vec<u32>>;

/// The first `most` tokens of the greedy answer to every request that a phase of `options` selects, an end token
/// included; none for a request that the model refuses already.
pub(crate) fn own_answers(
    transformer: &Transformer,
    writing: &Writing<'_>,
    options: &Options,
) -> Result<Own, Error> {
    let mut own = Own::new();
    let Some(most) = options.own_tokens.checked_sub(1) else { return Ok(own) };
    let pairs = [Phase::Supervised, Phase::Preference]
        .into_iter()
        .filter(|&phase| options.course(phase).epochs > 0)
        .flat_map(|phase| selected(phase, options).into_iter().filter(move |p| reads(phase, p.side)))
        .map(|preference| preference.prompt.clone());
    // The template opens all prompts alike: what the cache holds of that is not read again, to the same bits.
    let mut cache = transformer.cache(usize::MAX);
    let mut read: Vec<u32> = Vec::new();
    for request in pairs.chain(ordinary(options)) {
        if own.contains_key(&request) {
            continue;
        }
        let prompt = writing.answer(&request, "", "…", false)?.prompt();
        // The last token is read in any case: what follows it is asked for.
        let shared = cache.reachable(common_prefix(&read, &prompt[..prompt.len().saturating_sub(1)]));
        cache.truncate(shared)?;
        let mut answer = vec![next(transformer, &prompt[shared..], &mut cache)?];
        read = prompt;
        for _ in 0..most {
            let last = answer[answer.len() - 1];
            if writing.tokenizer.is_end(last) {
                break;
            }
            answer.push(next(transformer, &[last], &mut cache)?);
        }
        if !tasks::is_refusal(&writing.tokenizer.decode(&answer)) {
            own.insert(request, answer);
        }
    }
    Ok(own)
}

/// Whether a phase has a use for the own answer to a request.
fn reads(phase: Phase, side: Side) -> bool {
    phase == Phase::Preference || side == Side::Harmless
}

/// The most likely token after `tokens`.
fn next(transformer: &Transformer, tokens: &[u32], cache: &mut model::Cache) -> Result<u32, Error> {
    let logits = numbers(transformer.forward(tokens, Some(cache), Want::Last)?)?;
    let best = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (id, &logit)| if logit > best.1 { (id, logit) } else { best });
    Ok(best.0 as u32)
}
