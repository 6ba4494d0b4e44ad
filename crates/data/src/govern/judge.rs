//! What is decided about one document by looking at it alone.

use std::sync::Arc;

use ledger::{Decision, DocumentRow, short_hash};

use super::source::{Item, Origin, Work};
use crate::{
    Document, GovernConfig, Source,
    figures::figures,
    language, licence,
    readers::{self, Draft},
    rules::{
        contamination::Index,
        near::{Signer, Sketch},
        privacy, quality,
    },
    tokens::{content_hashes, normalized},
};

pub(super) struct Judge<'a> {
    pub(super) config: &'a GovernConfig,
    pub(super) signer: Signer,
    pub(super) index: Option<Index>,
    pub(super) may_be_deleted: bool,
}

/// A document with what was decided.
pub(super) struct Judged {
    pub(super) row: DocumentRow,
    pub(super) decisions: Vec<Decision>,
    /// The rule that dropped it, if one did.
    pub(super) dropped: Option<String>,
    /// Personal data replaced, by kind.
    pub(super) redacted: Vec<(&'static str, u32)>,
    pub(super) kept: Option<Kept>,
}

/// A document that goes on.
pub(super) struct Kept {
    pub(super) line: Vec<u8>,
    pub(super) exact: u128,
    pub(super) sketch: Sketch,
    pub(super) may_be_deleted: bool,
}

/// Identity of a text up to case, spaces and the like: two documents with the same one are copies.
pub(crate) fn exact_hash(text: &str) -> u128 {
    let digest = blake3::hash(normalized(text).as_bytes());
    let mut exact = [0; 16];
    exact.copy_from_slice(&digest.as_bytes()[..16]);
    u128::from_le_bytes(exact)
}

impl Judge<'_> {
    /// Reads if need be, and judges.
    pub(super) fn work(&self, config: &GovernConfig, work: Work) -> Vec<Judged> {
        match work {
            Work::Item(item) => vec![self.judge(item)],
            Work::File { path, origin } => {
                let mut judged = Vec::new();
                let Some(options) = config.sources.get(origin.source) else { return judged };
                let mut shared: Option<Arc<Origin>> = None;
                readers::read(&path, options, &mut |hash, draft| {
                    let file = shared.get_or_insert_with(|| {
                        let (path, licence) = (origin.path.clone(), origin.licence.clone());
                        Arc::new(Origin { source: origin.source, path, hash: hash.to_owned(), licence })
                    });
                    judged.push(self.judge(Item { file: Arc::clone(file), draft }));
                });
                judged
            }
        }
    }

    fn judge(&self, item: Item) -> Judged {
        let file = item.file;
        let draft = match item.draft {
            Ok(draft) => draft,
            Err(refusal) => {
                let id = short_hash(&[&file.path, &refusal.locator, ""]);
                let rule = format!("read.{}", refusal.rule);
                let row = DocumentRow {
                    id: id.clone(),
                    path: file.path.clone(),
                    locator: refusal.locator,
                    hash: file.hash.clone(),
                    language: "und".into(),
                    licence: licence::UNKNOWN.into(),
                    ..DocumentRow::default()
                };
                let decision = Decision {
                    document: id,
                    rule: rule.clone(),
                    action: "drop".into(),
                    detail: refusal.detail,
                    ..Decision::default()
                };
                let decisions = vec![decision];
                return Judged { row, decisions, dropped: Some(rule), redacted: Vec::new(), kept: None };
            }
        };
        self.judge_draft(&file, draft)
    }

    fn judge_draft(&self, file: &Origin, mut draft: Draft) -> Judged {
        let redacted = if self.config.privacy.redact { self.redact(&mut draft) } else { Vec::new() };
        let id = short_hash(&[&file.path, &draft.locator, &draft.text]);
        let mut notes = Notes { id: &id, decisions: Vec::new(), dropped: None };

        let (spdx, stated_by) = self.licence(file, &draft);
        let allow = &self.config.licence.allow;
        let allowed = allow.is_empty() || allow.contains(&spdx);
        notes.add("licence", allowed, None, None, format!("{spdx}, stated by {stated_by}"));

        let language = language::identify(&draft.text);
        let keep = &self.config.language.keep;
        let wanted = keep.is_empty() || keep.contains(&language.code);
        notes.add("language", wanted, Some(language.confidence), None, language.code.clone());

        for (kind, count) in &redacted {
            notes.decisions.push(Decision {
                document: id.clone(),
                rule: format!("privacy.{kind}"),
                action: "redact".into(),
                value: Some(f64::from(*count)),
                threshold: Some(0.0),
                detail: String::new(),
            });
        }

        let content = content_hashes(&draft.text);
        // A row is short by nature, and differs from its neighbours in values by nature.
        let row = draft.record.is_some();
        if self.config.quality.enabled && !row {
            self.quality(&draft.text, &language.code, &content, &mut notes);
        }
        if let Some(index) = &self.index {
            self.contamination(index, &content, &mut notes);
        }

        let Notes { decisions, dropped, .. } = notes;
        let row_text = DocumentRow {
            id: id.clone(),
            path: file.path.clone(),
            locator: draft.locator.clone(),
            hash: file.hash.clone(),
            // The ledger outlives a deletion, so no word of the document goes into it.
            title: String::new(),
            language: language.code.clone(),
            licence: spdx.clone(),
            bytes: draft.text.len() as u64,
        };
        let kept = dropped.is_none().then(|| {
            let exact = exact_hash(&draft.text);
            let sketch = if self.config.near.enabled && !row {
                let found = figures(&draft.text);
                Sketch {
                    bands: self.signer.bands(&content),
                    figures: (found.count() as u32, found.hash()),
                    bytes: draft.text.len() as u32,
                }
            } else {
                Sketch::default()
            };
            let source = Source { path: file.path.clone(), locator: draft.locator, hash: file.hash.clone() };
            let document = Document {
                id,
                text: draft.text,
                source,
                title: draft.title,
                language: language.code,
                licence: spdx,
                record: draft.record,
                metadata: draft.metadata,
            };
            let mut line = Vec::with_capacity(document.text.len() + 512);
            // Writing strings and maps of strings into memory cannot fail.
            let _ = serde_json::to_writer(&mut line, &document);
            Kept { line, exact, sketch, may_be_deleted: self.may_be_deleted }
        });
        Judged { row: row_text, decisions, dropped, redacted, kept }
    }

    /// Replaces personal data in every string of a draft.
    fn redact(&self, draft: &mut Draft) -> Vec<(&'static str, u32)> {
        let mut counts: Vec<(&'static str, u32)> = Vec::new();
        let mut clean = |text: &mut String| {
            let findings = privacy::scan_without(text, &self.config.privacy.ignore);
            if findings.is_empty() {
                return false;
            }
            for finding in &findings {
                match counts.iter_mut().find(|(kind, _)| *kind == finding.kind) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((finding.kind, 1)),
                }
            }
            *text = privacy::redact(text, &findings);
            true
        };
        if let Some(record) = &mut draft.record {
            let mut changed = clean(&mut record.key);
            for field in &mut record.fields {
                changed |= clean(&mut field.value);
            }
            if changed {
                draft.text = readers::row_text(record);
            }
        } else {
            clean(&mut draft.text);
        }
        if let Some(title) = &mut draft.title {
            clean(title);
        }
        draft.metadata.values_mut().for_each(|value| {
            clean(value);
        });
        counts.sort_unstable();
        counts
    }

    /// The licence of a draft, and who says so.
    fn licence(&self, file: &Origin, draft: &Draft) -> (String, String) {
        if let Some(id) = licence::of_header(&draft.text) {
            return (id, "its header".into());
        }
        if let Some(id) = draft.licence.as_deref().and_then(licence::normalize) {
            return (id, "the document".into());
        }
        if let Some((id, by)) = &file.licence {
            return (id.clone(), by.clone());
        }
        match self.config.sources.get(file.source).and_then(|s| s.licence.clone()) {
            Some(id) => (licence::normalize(&id).unwrap_or(id), "the configuration".into()),
            None => (licence::UNKNOWN.into(), "nobody".into()),
        }
    }

    fn quality(&self, text: &str, language: &str, content: &[u64], notes: &mut Notes<'_>) {
        let measured = quality::measure(text, content);
        let verdicts = quality::judge(&measured, language, &self.config.quality);
        let mut failed = false;
        for verdict in verdicts.iter().filter(|v| !v.pass) {
            let ignored = self.config.quality.ignore.iter().any(|name| name == verdict.rule);
            let action = if ignored { "flag" } else { "drop" };
            failed |= !ignored;
            notes.decisions.push(Decision {
                document: notes.id.to_owned(),
                rule: format!("quality.{}", verdict.rule),
                action: action.into(),
                value: Some(verdict.value),
                threshold: Some(verdict.limit),
                detail: String::new(),
            });
            if failed && notes.dropped.is_none() {
                notes.dropped = Some(format!("quality.{}", verdict.rule));
            }
        }
        if !failed {
            let values: Vec<String> = verdicts.iter().map(|v| format!("{}={:.4}", v.rule, v.value)).collect();
            notes.add("quality", true, None, None, values.join(" "));
        }
    }

    fn contamination(&self, index: &Index, content: &[u64], notes: &mut Notes<'_>) {
        let config = &self.config.contamination;
        let leaks = index.leaks_of(content);
        for leak in &leaks {
            let drop = config.drop && !leak.numbers_differ;
            let rule = if leak.numbers_differ { "contamination.other_numbers" } else { "contamination" };
            notes.decisions.push(Decision {
                document: notes.id.to_owned(),
                rule: rule.into(),
                action: if drop { "drop" } else { "flag" }.into(),
                value: Some(leak.containment),
                threshold: Some(config.threshold),
                detail: leak.item.clone(),
            });
            if drop && notes.dropped.is_none() {
                notes.dropped = Some("contamination".into());
            }
        }
        if leaks.is_empty() {
            notes.add("contamination", true, Some(0.0), Some(config.threshold), String::new());
        }
    }
}

/// The decisions about a document so far.
struct Notes<'a> {
    id: &'a str,
    decisions: Vec<Decision>,
    dropped: Option<String>,
}

impl Notes<'_> {
    fn add(&mut self, rule: &str, pass: bool, value: Option<f64>, threshold: Option<f64>, detail: String) {
        let action = if pass { "keep" } else { "drop" }.to_owned();
        let decision =
            Decision { document: self.id.to_owned(), rule: rule.into(), action, value, threshold, detail };
        self.decisions.push(decision);
        if !pass && self.dropped.is_none() {
            self.dropped = Some(rule.into());
        }
    }
}
