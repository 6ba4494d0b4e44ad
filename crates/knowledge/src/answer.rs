//! An answer: its text, the spans it rests on, or why there is none.

use serde::{Deserialize, Serialize};

/// How to ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AskOptions {
    /// `false` asks the model alone: no support, no citation, no check, no abstention.
    pub retrieval: bool,
    /// Pieces of support the model reads.
    pub support: usize,
    /// Most new tokens of a generated answer.
    pub max_tokens: usize,
    /// Share of the question's weight that a passage must cover before a free question is answered, 0 to 1.
    pub coverage: f64,
    /// Documents to ignore, as if they had never been compiled.
    pub exclude: Vec<String>,
}

impl Default for AskOptions {
    fn default() -> Self {
        Self { retrieval: true, support: 3, max_tokens: 48, coverage: 0.6, exclude: Vec::new() }
    }
}

/// Where a part of an answer stands in the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The document.
    pub document: String,
    /// Path of its source file.
    pub path: String,
    /// Place inside the file: `elements row 79`; empty for a whole file.
    pub locator: String,
    /// First byte of the span in the governed document text.
    pub start: usize,
    /// First byte after the span.
    pub end: usize,
    /// The text of the span.
    pub quote: String,
    /// What it supports.
    pub role: Role,
    /// The literature the source itself cites, as written there; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cited: String,
}

/// What a citation supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The value of a table cell or definition.
    Value,
    /// The unit of that value.
    Unit,
    /// The cell that leads from the row asked about to the value in another table.
    Link,
    /// The passage that contains the answer.
    Passage,
}

/// A retrieved piece of support.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Support {
    /// What the model reads.
    pub text: String,
    /// The document it comes from.
    pub document: String,
    /// First byte in the document text.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
    /// `triple` or `passage`.
    pub kind: SupportKind,
    /// Fused score, higher is better.
    pub score: f64,
}

/// Which index a piece of support comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupportKind {
    /// A fact of a table or definition.
    Triple,
    /// A stretch of text.
    Passage,
}

/// The outcome of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What to show; empty if abstained.
    pub text: String,
    /// The spans that contain the answer; empty if abstained or asked without retrieval.
    pub citations: Vec<Citation>,
    /// Whether the system declined to answer.
    pub abstained: bool,
    /// How the answer was found, or why there is none.
    pub reason: String,
    /// What was retrieved, best first.
    pub support: Vec<Support>,
    /// From 0 to 1: how well the support fits the question.
    pub confidence: f64,
    /// Calls of the model.
    pub model_calls: usize,
}

impl Answer {
    /// No answer, and why.
    pub(crate) fn abstain(reason: impl Into<String>, support: Vec<Support>, confidence: f64) -> Self {
        Self {
            text: String::new(),
            citations: Vec::new(),
            abstained: true,
            reason: reason.into(),
            support,
            confidence,
            model_calls: 0,
        }
    }
}
