//! What a task asks and what counts as an answer: the item, the response, the grade.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::constraint::Constraint;

/// What an item measures; a scorecard has one line for each of the six.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Stating what is true.
    Factuality,
    /// Getting small useful jobs done.
    Helpfulness,
    /// Drawing the right conclusion.
    Logic,
    /// Refusing what is harmful, and only that.
    Safety,
    /// Doing exactly what the form of the request demands.
    InstructionFollowing,
    /// Using what stands far back in a long text.
    LongDocuments,
}

impl Dimension {
    /// Every dimension, in the order of a scorecard.
    pub const ALL: [Self; 6] = [
        Self::Factuality,
        Self::Helpfulness,
        Self::Logic,
        Self::Safety,
        Self::InstructionFollowing,
        Self::LongDocuments,
    ];

    /// The name used in files and on the command line, such as `long_documents`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Factuality => "factuality",
            Self::Helpfulness => "helpfulness",
            Self::Logic => "logic",
            Self::Safety => "safety",
            Self::InstructionFollowing => "instruction_following",
            Self::LongDocuments => "long_documents",
        }
    }
}

/// The language an item is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// Every language, in the order of a scorecard.
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// ISO 639-1 code: `en` or `zh`.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text of the turn.
    pub content: String,
}

/// How the model is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Which of the choices does the model find likeliest after `context`?
    Choice {
        /// Raw text before the choice; no chat template is applied.
        context: String,
        /// What stands between context and choice; not counted in a choice's length.
        delimiter: String,
        /// At least two choices, all different.
        choices: Vec<String>,
    },
    /// What does the model write in answer to the conversation?
    Generate {
        /// The conversation; ends with a user's turn.
        turns: Vec<Turn>,
        /// At most this many new tokens.
        max_tokens: usize,
        /// Generation ends before the first of these strings.
        stop: Vec<String>,
    },
}

/// What a right answer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The choice of this index.
    Choice(usize),
    /// The last number of the response has this value.
    Number(f64),
    /// The response names one of `accepted` and none of `rejected`.
    Text {
        /// Names of the right answer.
        accepted: Vec<String>,
        /// Wrong answers; naming one as well fails, so that listing everything does not pass.
        rejected: Vec<String>,
    },
    /// The response contains all of these; the score is the fraction found.
    All(Vec<String>),
    /// The response contains all of these, each first mentioned in this order.
    Ordered(Vec<String>),
    /// The response contains a JSON value equal to this one.
    Json(serde_json::Value),
    /// The response meets all of these; the score is the fraction met.
    Constraints(Vec<Constraint>),
    /// The response refuses (`true`) or answers (`false`).
    Refusal(bool),
}

/// One question with everything needed to grade an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// `task/language/number`; the same seed gives the same item under the same identity.
    pub id: String,
    /// Name of the task.
    pub task: String,
    /// What it measures.
    pub dimension: Dimension,
    /// What it is written in.
    pub language: Language,
    /// How the model is asked.
    pub request: Request,
    /// What a right answer is.
    pub reference: Reference,
    /// Expected score of an answer that ignores the question, where that is defined.
    pub chance: Option<f64>,
    /// Anything else: `kind`, `level`, `length`, ….
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Item {
    /// The text a model reads: the context, or the turns joined by newlines.
    pub fn prompt(&self) -> String {
        match &self.request {
            Request::Choice { context, .. } => context.clone(),
            Request::Generate { turns, .. } => {
                turns.iter().map(|turn| turn.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// Grades a response. The score is also the reward of the item.
    pub fn grade(&self, response: &Response) -> Grade {
        crate::grade::grade(&self.request, &self.reference, response)
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Log-likelihood of each choice, natural log, in the order of the choices.
    LogLikelihoods(Vec<f64>),
    /// Generated text.
    Text(String),
}

/// The outcome in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Right in full.
    Pass,
    /// Right in part.
    Partial,
    /// Wrong.
    Fail,
    /// Nothing that could be an answer was found.
    NoAnswer,
}

/// How good a response is, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// From 0 (wrong) to 1 (right); also the reward.
    pub score: f64,
    /// The outcome in one word.
    pub verdict: Verdict,
    /// What was found and what was wanted, for a reader.
    pub reason: String,
    /// For a choice: the score with log-likelihoods divided by the characters of the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized: Option<f64>,
}
