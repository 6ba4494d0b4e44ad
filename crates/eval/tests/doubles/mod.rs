//! Language models whose answers are known beforehand.

use std::collections::HashMap;

use model::{
    Error, Finish, GenerateOptions, Generation, LanguageModel, LogLikelihood, Message, RollingLogLikelihood,
};
use tasks::{Response, Setting, approximate_tokens};

const CONTEXT: usize = 8192;

fn joined(messages: &[Message]) -> String {
    messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
}

fn generation(text: &str) -> Generation {
    Generation {
        text: text.to_owned(),
        tokens: Vec::new(),
        log_probabilities: Vec::new(),
        prompt_tokens: 0,
        finish: Finish::Stop,
    }
}

fn log_likelihood(sum: f64) -> LogLikelihood {
    LogLikelihood { sum, tokens: 1, greedy: false }
}

fn unsupported<T>() -> Result<T, Error> {
    Err(Error::Request("this double does not roll".into()))
}

/// Knows the answer to every built-in item of a seed.
pub(crate) struct Oracle {
    solutions: HashMap<String, Response>,
}

impl Oracle {
    pub(crate) fn new(seed: u64) -> Self {
        let setting = Setting { seed, count_tokens: &approximate_tokens, max_tokens: CONTEXT - 512 };
        let solutions = tasks::tasks()
            .flat_map(|task| {
                task.languages().iter().flat_map(move |&language| task.items(language, &setting))
            })
            .map(|item| (key(&item), item.solution()))
            .collect();
        Self { solutions }
    }

    fn solution(&self, prompt: &str) -> Result<&Response, Error> {
        self.solutions.get(prompt).ok_or_else(|| Error::Request(format!("unknown prompt: {prompt}")))
    }
}

/// Two choice items may share a context and differ in their choices.
fn key(item: &tasks::Item) -> String {
    match &item.request {
        tasks::Request::Choice { context, delimiter, choices } => {
            choices.iter().fold(context.clone(), |key, choice| key + delimiter + choice)
        }
        tasks::Request::Generate { .. } => item.prompt(),
    }
}

impl LanguageModel for Oracle {
    fn name(&self) -> &str {
        "oracle"
    }

    fn context_length(&self) -> usize {
        CONTEXT
    }

    fn count_tokens(&self, text: &str) -> usize {
        approximate_tokens(text)
    }

    fn chat_prompt(&self, messages: &[Message]) -> Result<String, Error> {
        Ok(joined(messages))
    }

    fn log_likelihood(&mut self, context: &str, continuations: &[&str]) -> Result<Vec<LogLikelihood>, Error> {
        let key = continuations.iter().fold(context.to_owned(), |key, continuation| key + continuation);
        match self.solution(&key)? {
            Response::LogLikelihoods(values) => Ok(values.iter().copied().map(log_likelihood).collect()),
            Response::Text(_) => Err(Error::Request("not a choice item".into())),
        }
    }

    fn rolling_log_likelihood(&mut self, _: &str, _: usize) -> Result<RollingLogLikelihood, Error> {
        unsupported()
    }

    fn generate(
        &mut self,
        prompt: &str,
        _: &GenerateOptions,
        _: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, Error> {
        match self.solution(prompt)? {
            Response::Text(text) => Ok(generation(text)),
            Response::LogLikelihoods(_) => Err(Error::Request("a choice item".into())),
        }
    }
}

/// Says the same whatever is asked, and finds every choice equally likely.
pub(crate) struct Constant {
    pub(crate) text: &'static str,
    pub(crate) context: usize,
}

impl Constant {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, context: CONTEXT }
    }
}

impl LanguageModel for Constant {
    fn name(&self) -> &str {
        "constant"
    }

    fn context_length(&self) -> usize {
        self.context
    }

    fn count_tokens(&self, text: &str) -> usize {
        approximate_tokens(text)
    }

    fn chat_prompt(&self, messages: &[Message]) -> Result<String, Error> {
        Ok(joined(messages))
    }

    fn log_likelihood(&mut self, _: &str, continuations: &[&str]) -> Result<Vec<LogLikelihood>, Error> {
        Ok(continuations.iter().map(|_| log_likelihood(-1.0)).collect())
    }

    fn rolling_log_likelihood(&mut self, _: &str, _: usize) -> Result<RollingLogLikelihood, Error> {
        unsupported()
    }

    fn generate(
        &mut self,
        _: &str,
        _: &GenerateOptions,
        _: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, Error> {
        Ok(generation(self.text))
    }
}

/// Every token has probability 1/50; counts what it is asked. Its log-likelihoods have many digits, so a log
/// that lost one would show.
pub(crate) struct Uniform {
    pub(crate) asked: usize,
    pub(crate) prompt_tokens: usize,
    pub(crate) new_tokens: usize,
}

impl Uniform {
    pub(crate) fn new() -> Self {
        Self { asked: 0, prompt_tokens: 0, new_tokens: 0 }
    }
}

impl LanguageModel for Uniform {
    fn name(&self) -> &str {
        "uniform"
    }

    fn context_length(&self) -> usize {
        CONTEXT
    }

    fn count_tokens(&self, text: &str) -> usize {
        approximate_tokens(text)
    }

    fn chat_prompt(&self, messages: &[Message]) -> Result<String, Error> {
        Ok(joined(messages))
    }

    fn log_likelihood(&mut self, context: &str, continuations: &[&str]) -> Result<Vec<LogLikelihood>, Error> {
        self.asked += 1;
        self.prompt_tokens += approximate_tokens(context)
            + continuations.iter().map(|text| approximate_tokens(text)).sum::<usize>();
        Ok(continuations
            .iter()
            .map(|text| log_likelihood(-(text.len() as f64) * 50.0_f64.ln() / 3.0))
            .collect())
    }

    fn rolling_log_likelihood(&mut self, text: &str, window: usize) -> Result<RollingLogLikelihood, Error> {
        let words = text.split_whitespace().count();
        let (windows, scored) = (words / window, window - window / 2 - 1);
        let nats = |tokens: usize| -(tokens as f64) * 50.0_f64.ln();
        let tokens = windows * scored;
        Ok(RollingLogLikelihood { sum: nats(tokens), tokens, windows: vec![nats(scored); windows] })
    }

    fn generate(
        &mut self,
        prompt: &str,
        options: &GenerateOptions,
        _: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, Error> {
        self.asked += 1;
        self.prompt_tokens += approximate_tokens(prompt);
        self.new_tokens += options.max_tokens;
        Ok(generation(&format!("The answer is {}.", prompt.len() % 10)))
    }
}

/// Answers a number of items and then fails, as a killed process does.
pub(crate) struct Failing<M> {
    inner: M,
    left: usize,
}

impl<M> Failing<M> {
    pub(crate) fn new(inner: M, left: usize) -> Self {
        Self { inner, left }
    }

    fn spend(&mut self) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| Error::Request("killed".into()))?;
        Ok(())
    }
}

impl<M: LanguageModel> LanguageModel for Failing<M> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn context_length(&self) -> usize {
        self.inner.context_length()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn chat_prompt(&self, messages: &[Message]) -> Result<String, Error> {
        self.inner.chat_prompt(messages)
    }

    fn log_likelihood(&mut self, context: &str, continuations: &[&str]) -> Result<Vec<LogLikelihood>, Error> {
        self.spend()?;
        self.inner.log_likelihood(context, continuations)
    }

    fn rolling_log_likelihood(&mut self, text: &str, window: usize) -> Result<RollingLogLikelihood, Error> {
        self.inner.rolling_log_likelihood(text, window)
    }

    fn generate(
        &mut self,
        prompt: &str,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, Error> {
        self.spend()?;
        self.inner.generate(prompt, options, on_text)
    }
}

/// Computes no numbers.
pub(crate) struct Broken;

impl LanguageModel for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn context_length(&self) -> usize {
        CONTEXT
    }

    fn count_tokens(&self, text: &str) -> usize {
        approximate_tokens(text)
    }

    fn chat_prompt(&self, messages: &[Message]) -> Result<String, Error> {
        Ok(joined(messages))
    }

    fn log_likelihood(&mut self, _: &str, continuations: &[&str]) -> Result<Vec<LogLikelihood>, Error> {
        Ok(continuations.iter().map(|_| log_likelihood(f64::NAN)).collect())
    }

    fn rolling_log_likelihood(&mut self, _: &str, _: usize) -> Result<RollingLogLikelihood, Error> {
        Ok(RollingLogLikelihood { sum: f64::NAN, tokens: 10, windows: vec![f64::NAN] })
    }

    fn generate(
        &mut self,
        _: &str,
        _: &GenerateOptions,
        _: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, Error> {
        Ok(generation(""))
    }
}
