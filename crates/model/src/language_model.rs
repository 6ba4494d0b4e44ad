//! The one interface through which evaluation, retrieval and applications see a language model.
//!
//! Three request kinds cover every use: log-likelihood of continuations, rolling log-likelihood of a text,
//! and generation. A local checkpoint implements it here; a remote endpoint or a test double may too.

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text of the turn.
    pub content: String,
}

impl Message {
    /// A turn with the given role and content.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// How to choose each next token and when to stop.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerateOptions {
    /// At most this many new tokens.
    pub max_tokens: usize,
    /// 0 is greedy decoding.
    pub temperature: f32,
    /// Keep only the `top_k` most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of tokens whose probability reaches `top_p`; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than `min_p` times the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Divide (multiply, if negative) the logits of tokens already present by this; 1 does nothing.
    pub repetition_penalty: f32,
    /// Seed of the sampler; the same seed gives the same text.
    pub seed: u64,
    /// Generation ends before the first of these strings.
    pub stop: Vec<String>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: 256,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
            stop: Vec::new(),
        }
    }
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// An end-of-text token or a stop string.
    Stop,
    /// `max_tokens` or the context is used up.
    Length,
    /// The receiver of the text asked to stop.
    Cancelled,
}

/// A generated text.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Generation {
    /// The text, without the stop string.
    pub text: String,
    /// The generated token ids, without the end-of-text token.
    pub tokens: Vec<u32>,
    /// Natural-log probability of each generated token under the unmodified distribution.
    pub log_probabilities: Vec<f32>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}

/// Log-likelihood of one continuation given its context.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LogLikelihood {
    /// Sum of the natural-log probabilities of the continuation's tokens.
    pub sum: f64,
    /// Number of tokens of the continuation.
    pub tokens: usize,
    /// Whether greedy decoding would have produced exactly this continuation.
    pub greedy: bool,
}

/// Log-likelihood of a whole text, by windows.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RollingLogLikelihood {
    /// Sum of the natural-log probabilities of the scored tokens.
    pub sum: f64,
    /// Number of scored tokens.
    pub tokens: usize,
    /// The sum of every window, each over as many tokens.
    pub windows: Vec<f64>,
}

/// A language model, seen from outside.
pub trait LanguageModel {
    /// A short name for reports.
    fn name(&self) -> &str;

    /// Largest number of tokens of prompt and generation together.
    fn context_length(&self) -> usize;

    /// Number of tokens `text` takes, without a beginning-of-text token.
    fn count_tokens(&self, text: &str) -> usize;

    /// The prompt that the model's chat template makes of a conversation, ready for the assistant's turn.
    fn chat_prompt(&self, messages: &[Message]) -> Result<String, crate::Error>;

    /// Log-likelihood of each continuation after the same `context`, which is processed once.
    fn log_likelihood(
        &mut self,
        context: &str,
        continuations: &[&str],
    ) -> Result<Vec<LogLikelihood>, crate::Error>;

    /// Log-likelihood of `text` in consecutive windows of `window` tokens, the second half of each scored
    /// (the windows of llama.cpp's perplexity tool). Errors if the text is shorter than two windows.
    fn rolling_log_likelihood(
        &mut self,
        text: &str,
        window: usize,
    ) -> Result<RollingLogLikelihood, crate::Error>;

    /// Continues `prompt`. `on_text` receives each new piece of text and returns `false` to stop.
    fn generate(
        &mut self,
        prompt: &str,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, crate::Error>;
}
