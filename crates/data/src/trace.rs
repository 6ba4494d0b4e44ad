//! Explains a document: where it came from, what was decided and why, what it resembles, what was made of it.

use std::{collections::BTreeMap, fmt, path::Path};

use ledger::{Ledger, Trace};

use crate::{Document, Error, corpus, readers, tokens::normalized};

/// Words shown on each side of a difference.
const SHOWN: usize = 8;

/// All that is known about a document.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Explanation {
    /// What the ledger holds: origin, decisions, deletions, derived things.
    pub ledger: Trace,
    /// The document as kept; `None` if it was dropped or deleted.
    pub document: Option<Document>,
    /// Documents of its duplicate cluster that decisions about it name.
    pub related: Vec<Related>,
}

/// Another document of the same duplicate cluster.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Related {
    /// Its identity.
    pub id: String,
    /// Its path and place.
    pub place: String,
    /// What differs, if both texts can still be read: from the corpus, or from the unchanged source file.
    pub difference: Option<String>,
}

/// Explains the document `id`. `corpus` is the governed corpus, `sources` the folders its paths are relative to; both
/// serve to show texts and differences (the ledger itself holds no text).
///
/// # Errors
/// If the ledger cannot be read or does not know the document, or the corpus is damaged.
pub fn trace(
    ledger: &Ledger,
    id: &str,
    corpus: Option<&Path>,
    sources: &[&Path],
) -> Result<Explanation, Error> {
    let found = ledger.trace(id)?;
    if found.is_unknown() {
        return Err(Error::UnknownDocument(id.to_owned()));
    }
    let mut wanted: Vec<String> = found
        .decisions
        .iter()
        .filter(|d| d.rule.starts_with("duplicate."))
        .flat_map(|d| d.detail.split_whitespace().filter(|w| is_id(w)).map(str::to_owned))
        .collect();
    wanted.dedup();
    let mut texts: BTreeMap<String, Document> = BTreeMap::new();
    if let Some(folder) = corpus {
        corpus::for_each(folder, &mut |document| {
            if document.id == id || wanted.contains(&document.id) {
                texts.insert(document.id.clone(), document);
            }
            Ok(())
        })?;
    }
    let deleted = |trace: &Trace| !trace.deletions.is_empty();
    let text_of = |trace: &Trace| match texts.get(&trace.id) {
        Some(document) => Some(document.text.clone()),
        None if deleted(trace) => None,
        None => from_source(trace, sources),
    };
    let mine = text_of(&found);
    let mut related = Vec::new();
    for other in wanted {
        let theirs = ledger.trace(&other)?;
        let place = theirs.document.as_ref().map(|d| format!("{} {}", d.path, d.locator).trim().to_owned());
        let difference = mine.as_deref().zip(text_of(&theirs).as_deref()).map(|(a, b)| difference(b, a));
        related.push(Related { id: other, place: place.unwrap_or_default(), difference });
    }
    Ok(Explanation { document: texts.remove(id), ledger: found, related })
}

fn is_id(word: &str) -> bool {
    word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The text of a document that is not in the corpus, from its source file if that still has the recorded hash.
fn from_source(trace: &Trace, sources: &[&Path]) -> Option<String> {
    let row = trace.document.as_ref()?;
    sources.iter().find_map(|source| {
        let path = if source.is_dir() { source.join(&row.path) } else { source.to_path_buf() };
        let mut text = None;
        readers::read(&path, &crate::SourceConfig::of(&path), &mut |hash, draft| {
            if let Ok(draft) = draft
                && hash == row.hash
                && draft.locator == row.locator
            {
                text = Some(draft.text);
            }
        });
        text
    })
}

/// Summary of what `b` has instead of `a`: the words between their common beginning and end.
fn difference(a: &str, b: &str) -> String {
    let (a, b) = (normalized(a), normalized(b));
    let split =
        |text: &str| crate::tokens::tokens(text).map(|t| text[t.start..t.end].to_owned()).collect::<Vec<_>>();
    let (a, b) = (split(&a), split(&b));
    let prefix = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a_rest, b_rest) = (&a[prefix..], &b[prefix..]);
    let suffix = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(x, y)| x == y).count();
    let (gone, come) = (&a_rest[..a_rest.len() - suffix], &b_rest[..b_rest.len() - suffix]);
    if gone.is_empty() && come.is_empty() {
        return "the same words".into();
    }
    let show = |words: &[String]| {
        let shown = words.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ");
        if words.len() > SHOWN { format!("{shown} … ({} words)", words.len()) } else { shown }
    };
    format!("{prefix} words alike, then `{}` became `{}`, then {suffix} words alike", show(gone), show(come))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = &self.ledger;
        writeln!(f, "{}", trace.id)?;
        if let Some(row) = &trace.document {
            writeln!(f, "  origin    {} {} (BLAKE3 {})", row.path, row.locator, row.hash)?;
            writeln!(f, "  language  {}, licence {}, {} bytes", row.language, row.licence, row.bytes)?;
        }
        if let Some(title) = self.document.as_ref().and_then(|d| d.title.as_ref()) {
            writeln!(f, "  title     {title}")?;
        }
        for decision in &trace.decisions {
            write!(f, "  {:<8}  {}", decision.action, decision.rule)?;
            if let Some(value) = decision.value {
                write!(f, " value {value:.4}")?;
            }
            if let Some(threshold) = decision.threshold {
                write!(f, " threshold {threshold}")?;
            }
            writeln!(f, " {}", decision.detail)?;
        }
        for other in &self.related {
            writeln!(f, "  related   {} {}", other.id, other.place)?;
            if let Some(difference) = &other.difference {
                writeln!(f, "            {difference}")?;
            }
        }
        for step in &trace.products {
            writeln!(
                f,
                "  made      {} {} {}",
                step.derivation.kind, step.derivation.child, step.derivation.location
            )?;
        }
        for deletion in &trace.deletions {
            writeln!(f, "  deleted   {}: {}", deletion.reason, deletion.evidence)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_in_both_languages() {
        assert_eq!(
            difference("the price rose by five percent today", "the price fell by five percent today"),
            "2 words alike, then `rose` became `fell`, then 4 words alike"
        );
        assert_eq!(
            difference("价格上涨了", "价格下跌了"),
            "2 words alike, then `上 涨` became `下 跌`, then 1 words alike"
        );
        assert_eq!(difference("a  b", "a b"), "the same words");
    }
}
