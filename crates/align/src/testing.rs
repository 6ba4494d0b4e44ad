//! A language model that answers by a rule, for tests.

use model::{
    Error, Finish, GenerateOptions, Generation, LanguageModel, LogLikelihood, Message, RollingLogLikelihood,
};

/// Answers with what the rule makes of the prompt, word by word.
pub(crate) struct Scripted {
    rule: Box<dyn Fn(&str) -> String>,
}

impl Scripted {
    pub(crate) fn new(rule: impl Fn(&str) -> String + 'static) -> Self {
        Self { rule: Box::new(rule) }
    }
}

impl LanguageModel for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn context_length(&self) -> usize {
        1024
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn chat_prompt(&self, messages: &[Message]) -> Result<String, Error> {
        Ok(messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n") + "\n")
    }

    fn log_likelihood(&mut self, _: &str, continuations: &[&str]) -> Result<Vec<LogLikelihood>, Error> {
        Ok(continuations.iter().map(|_| LogLikelihood { sum: 0.0, tokens: 1, greedy: true }).collect())
    }

    fn rolling_log_likelihood(&mut self, text: &str, _: usize) -> Result<RollingLogLikelihood, Error> {
        Ok(RollingLogLikelihood { sum: -1.0, tokens: text.len(), windows: vec![-1.0] })
    }

    fn generate(
        &mut self,
        prompt: &str,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, Error> {
        let mut text = String::new();
        let mut finish = Finish::Stop;
        for (index, piece) in (self.rule)(prompt).split_inclusive(' ').enumerate() {
            if index == options.max_tokens {
                finish = Finish::Length;
                break;
            }
            text.push_str(piece);
            if !on_text(piece) {
                finish = Finish::Cancelled;
                break;
            }
        }
        Ok(Generation { text, tokens: Vec::new(), log_probabilities: Vec::new(), prompt_tokens: 0, finish })
    }
}
