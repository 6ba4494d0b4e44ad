//! Where refusal begins: how far the log-odds of refusing have to move, and the pairs that move them.
//!
//! A model that opens with a refusal on too many harmless look-alikes need not learn to tell requests apart any
//! better: the line can be moved. The log-odds of refusing are a score; the look-alikes and unsafe requests of the
//! validation topics say by how many nats in each language. Pairs of every kind of request, each asked to change by
//! that same amount ([`Kind::Shift`]), move the line and leave the order of requests as it was learned.

use model::{Hooks, Packed};

use super::*;
use crate::preferences::refusals;

/// The line of one language as it was moved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What the requests are written in.
    pub language: Language,
    /// By how many nats the log-odds of refusing have to fall.
    pub shift: f64,
    /// Share of the validation look-alikes that open with a refusal before.
    pub look_alikes: f64,
    /// Share of them that would after exactly this shift.
    pub look_alikes_after: f64,
    /// Share of the unsafe validation requests that do.
    pub refused: f64,
    /// Share of them that would after exactly this shift.
    pub refused_after: f64,
}

/// The first tokens that open a refusal of a request.
fn first_tokens(writing: &Writing<'_>, preference: &Preference) -> Result<Vec<u32>, Error> {
    let first = |refusal: &&str| {
        let sequence = writing.answer(&preference.prompt, "", refusal, true)?;
        Ok(sequence.tokens[sequence.scored.start])
    };
    refusals(preference.language).iter().map(first).collect()
}

/// Log-odds of the likeliest token that opens a refusal against the likeliest other one, for each request.
pub(crate) fn log_odds(
    transformer: &Transformer,
    writing: &Writing<'_>,
    requests: &[&Preference],
    most: usize,
) -> Result<Vec<f64>, Error> {
    let prompts =
        requests.iter().map(|request| Ok(writing.answer(&request.prompt, "", "…", false)?.prompt()));
    let prompts: Vec<Vec<u32>> = prompts.collect::<Result<_, Error>>()?;
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let mut odds = Vec::with_capacity(requests.len());
    for group in groups(&lengths, most) {
        let packed = Packed::new(&prompts[group.clone()]);
        let hidden = transformer.hidden(&packed, &mut Hooks::new())?;
        for (range, request) in packed.ranges().zip(&requests[group]) {
            let logits = numbers(transformer.logits(hidden.clone().slice(range.end - 1..range.end)))?;
            let refusing = first_tokens(writing, request)?;
            let (mut refusal, mut other) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
            for (id, &logit) in logits.iter().enumerate() {
                let best = if refusing.contains(&(id as u32)) { &mut refusal } else { &mut other };
                *best = best.max(logit);
            }
            odds.push(f64::from(refusal - other));
        }
    }
    Ok(odds)
}

/// Half-way between the `above` highest of `descending` and the rest.
fn cut(descending: &[f64], above: usize) -> f64 {
    match (above.checked_sub(1).and_then(|last| descending.get(last)), descending.get(above)) {
        (Some(last), Some(next)) => (last + next) / 2.0,
        (Some(end), None) | (None, Some(end)) => *end,
        (None, None) => 0.0,
    }
}

/// What has to be subtracted of the odds of each language (look-alikes, unsafe requests) for most unsafe requests to
/// lie above 0, while at most `share` of all look-alikes do. Where a language tells the two apart badly, its share of
/// look-alikes may be larger than another's, or smaller: wherever one more costs the fewest.
pub(crate) fn shifts(odds: &[[Vec<f64>; 2]], share: f64) -> Vec<f64> {
    let all: usize = odds.iter().map(|[harmless, _]| harmless.len()).sum();
    let most = (share * all as f64).floor() as usize;
    // By number of look-alikes above the cuts so far: most unsafe requests above them, and the cuts.
    let mut best: Vec<Option<(usize, Vec<f64>)>> = vec![None; most + 1];
    best[0] = Some((0, Vec::new()));
    for [harmless, unsafe_] in odds {
        let mut descending = harmless.clone();
        descending.sort_by(|a, b| b.total_cmp(a));
        let mut next: Vec<Option<(usize, Vec<f64>)>> = vec![None; most + 1];
        for above in 0..=descending.len().min(most) {
            let line = cut(&descending, above);
            // Equal odds may put fewer above the line.
            let above = harmless.iter().filter(|odds| **odds > line).count();
            let refused = unsafe_.iter().filter(|odds| **odds > line).count();
            for used in 0..=most - above {
                let Some((before, cuts)) = &best[used] else { continue };
                let place = &mut next[used + above];
                if place.as_ref().is_none_or(|(refusals, _)| before + refused > *refusals) {
                    *place = Some((before + refused, [cuts.as_slice(), &[line]].concat()));
                }
            }
        }
        best = next;
    }
    // The last of equals, from the end: the one with the fewest look-alikes.
    let found = best.into_iter().flatten().rev().max_by_key(|(refused, _)| *refused);
    found.map(|(_, cuts)| cuts).unwrap_or_default()
}

fn share_above(odds: &[f64], line: f64) -> f64 {
    odds.iter().filter(|odds| **odds > line).count() as f64 / odds.len().max(1) as f64
}

/// The line of each language, together for at most `share` refused look-alikes, on the validation topics.
pub(crate) fn lines(
    transformer: &Transformer,
    writing: &Writing<'_>,
    share: f64,
    most: usize,
) -> Result<Vec<Line>, Error> {
    let mut odds = Vec::new();
    for language in Language::ALL {
        let of = |side| {
            let all = split(false).filter(|p| p.validation && p.side == side && p.language == language);
            log_odds(transformer, writing, &all.collect::<Vec<_>>(), most)
        };
        odds.push([of(Side::Harmless)?, of(Side::Unsafe)?]);
    }
    let of_language = Language::ALL.into_iter().zip(shifts(&odds, share)).zip(&odds);
    let lines = of_language.map(|((language, shift), [harmless, unsafe_])| Line {
        language,
        shift,
        look_alikes: share_above(harmless, 0.0),
        look_alikes_after: share_above(harmless, shift),
        refused: share_above(unsafe_, 0.0),
        refused_after: share_above(unsafe_, shift),
    });
    Ok(lines.collect())
}

/// The pairs of the preference phase that move the lines: the first model's own opening against a refusal, for
/// requests of both sides alike. Requests whose own opening begins with the token of a refusal say nothing.
pub(crate) fn pairs(
    writing: &Writing<'_>,
    options: &Options,
    own: &Own,
    lines: &[Line],
) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    for (index, preference) in selected(Phase::Preference, options).into_iter().enumerate() {
        let Some(line) = lines.iter().find(|line| line.language == preference.language) else { continue };
        let Some(tokens) = own.get(&preference.prompt) else { continue };
        let refusals = refusals(preference.language);
        let refusal = writing.answer(&preference.prompt, "", refusals[index % refusals.len()], true)?;
        let mut answer = refusal.clone();
        answer.replace(tokens);
        if first_tokens(writing, preference)?.contains(&tokens[0]) {
            continue;
        }
        // A line that has to go the other way prefers the refusal.
        let (mut chosen, mut rejected) = if line.shift < 0.0 { (refusal, answer) } else { (answer, refusal) };
        chosen.shorten(1);
        rejected.shorten(1);
        let margin = Some(line.shift.abs());
        items.push(Item { chosen, rejected: Some(rejected), mismatched: None, weight: 1.0, margin });
    }
    Ok(items)
}
