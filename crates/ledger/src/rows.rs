//! What the ledger records: one type per table.

/// A document as the ledger knows it; the text itself stays in the corpus.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DocumentRow {
    /// The document's identity.
    pub id: String,
    /// Path of its source file.
    pub path: String,
    /// Place inside the file; empty for the whole.
    pub locator: String,
    /// BLAKE3 of the source file.
    pub hash: String,
    /// Title, or empty.
    pub title: String,
    /// Language code.
    pub language: String,
    /// SPDX expression, or `unknown`.
    pub licence: String,
    /// Length of the text in bytes.
    pub bytes: u64,
}

/// What one rule decided about one document.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Decision {
    /// The document.
    pub document: String,
    /// The rule: `quality.symbol_ratio`, `duplicate.near`, …
    pub rule: String,
    /// `keep`, `drop`, `redact`, `flag`.
    pub action: String,
    /// The measured value, if the rule measures one.
    pub value: Option<f64>,
    /// The limit it was compared with.
    pub threshold: Option<f64>,
    /// Anything that explains the decision: the other document, the matched kind, the item.
    pub detail: String,
}

/// That `child` was made from `parent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Derivation {
    /// Id of what it was made from: a document, a shard, a passage.
    pub parent: String,
    /// Id of what was made.
    pub child: String,
    /// What the child is: `shard`, `passage`, `triple`, `citation`, …
    pub kind: String,
    /// Where in the parent or child: `bytes 120..184`, `line 7`.
    pub location: String,
}

/// That a document was removed on request.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deletion {
    /// The document.
    pub document: String,
    /// Why.
    pub reason: String,
    /// What was removed and how its absence was checked.
    pub evidence: String,
}

/// A file with its content hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Artifact {
    /// BLAKE3 of the content.
    pub hash: String,
    /// `model`, `corpus`, `shard`, `pack`, `report`, …
    pub kind: String,
    /// Path, relative to the run folder where it is inside.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// An answer given from retrieved support; its citations are [`Derivation`]s of kind `citation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AnswerRow {
    /// The answer's identity.
    pub id: String,
    /// The question.
    pub question: String,
    /// The text shown; empty if the system abstained.
    pub answer: String,
    /// `answered`, `abstained`, or why not.
    pub outcome: String,
}
