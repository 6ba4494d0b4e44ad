//! Checks of an answer against its source: numbers, units, words, spans.

use crate::{
    Answer, Error, Pack, Role,
    number::{agree, is_number, numbers, same_unit},
    support::Candidate,
    terms::{is_han, runs},
};

/// What a candidate claims.
pub(crate) struct Claim<'a> {
    pub(crate) value: &'a str,
    pub(crate) unit: &'a str,
}

impl<'a> Claim<'a> {
    pub(crate) fn of(candidate: &'a Candidate) -> Self {
        Self { value: &candidate.fact.value, unit: &candidate.fact.unit }
    }
}

/// A word or ideograph with its bytes.
pub(crate) fn tokens(text: &str) -> Vec<(String, usize, usize)> {
    let mut out = Vec::new();
    for (start, end, han) in runs(text) {
        if han {
            for (at, c) in text[start..end].char_indices().filter(|(_, c)| is_han(*c)) {
                out.push((c.to_string(), start + at, start + at + c.len_utf8()));
            }
        } else {
            out.push((text[start..end].to_lowercase(), start, end));
        }
    }
    out
}

/// Whether an answer says the same as a claim: the same number with the right unit or none, or the same words.
pub(crate) fn says(answer: &str, claim: &Claim<'_>) -> bool {
    if is_number(claim.value) {
        let (said, meant) = (numbers(answer), numbers(claim.value));
        let (Some(said), Some(meant)) = (said.first(), meant.first()) else { return false };
        if !agree(said, meant) {
            return false;
        }
        let unit = answer[said.end..].trim_matches(|c: char| c.is_whitespace() || ".。，,;".contains(c));
        return unit.is_empty() || claim.unit.is_empty() || same_unit(unit, claim.unit);
    }
    let words = |text: &str| tokens(text).into_iter().map(|t| t.0).collect::<Vec<_>>();
    let (mut said, meant) = (words(answer), words(claim.value));
    while said.first().is_some_and(|w| ["the", "a", "an"].contains(&w.as_str())) && said.len() > meant.len() {
        said.remove(0);
    }
    !meant.is_empty()
        && (said == meant || (meant.len() > 6 && said.len() > 2 && find(answer, claim.value).is_some()))
}

/// The bytes of `text` that hold the words of `wanted` in order, without a gap.
pub(crate) fn find(wanted: &str, text: &str) -> Option<(usize, usize)> {
    let wanted = tokens(wanted);
    let held = tokens(text);
    if wanted.is_empty() {
        return None;
    }
    let at = held.windows(wanted.len()).position(|w| w.iter().zip(&wanted).all(|(a, b)| a.0 == b.0))?;
    Some((held[at].1, held[at + wanted.len() - 1].2))
}

/// Whether a sentence holds the words of an answer.
pub(crate) fn stands_in(answer: &str, sentence: &str) -> bool {
    find(answer, sentence).is_some()
}

/// Whether every citation of an answer is exactly what its document says at that place, and the spans contain the
/// answer: its number and its words in the value or passage, its unit in the span cited for the unit.
///
/// # Errors
/// If the pack cannot be read.
pub fn resolves(pack: &Pack, answer: &Answer) -> Result<bool, Error> {
    if answer.citations.is_empty() {
        return Ok(false);
    }
    let mut rest = answer.text.trim().to_owned();
    for citation in &answer.citations {
        let Some(number) = pack.number_of(&citation.document)? else { return Ok(false) };
        let document = pack.document(number)?;
        if document.text.get(citation.start..citation.end) != Some(citation.quote.as_str()) {
            return Ok(false);
        }
        if citation.role == Role::Unit {
            let Some(value) = rest.strip_suffix(citation.quote.trim()) else { return Ok(false) };
            rest = value.trim().to_owned();
        }
    }
    let holds = |quote: &str| {
        if is_number(&rest) { crate::number::all_occur(&rest, quote) } else { quote.contains(rest.as_str()) }
    };
    Ok(answer.citations.iter().any(|c| matches!(c.role, Role::Value | Role::Passage) && holds(&c.quote)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_units_and_words() {
        let claim = Claim { value: "1337.33", unit: "K" };
        assert!(says("1337.33 K", &claim) && says("1337.33", &claim) && says("1337.33 kelvin.", &claim));
        assert!(!says("1337.33 kPa", &claim) && !says("1338 K", &claim) && !says("about", &claim));
        let claim = Claim { value: "Marie Curie", unit: "" };
        assert!(says("marie curie.", &claim) && !says("Pierre Curie", &claim));
        assert_eq!(find("水银 很重", "因为水银，很重。"), Some((6, 21)));
        assert_eq!(find("", "x"), None);
    }
}
