//! A checkpoint on this machine, as a language model.

use std::path::Path;

use ops::Activation;

use crate::language_model::{
    Finish, GenerateOptions, Generation, LanguageModel, LogLikelihood, Message, RollingLogLikelihood,
};
use crate::sampling::{Sampler, log_probability, most_likely};
use crate::stream::Stream;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::transformer::{Transformer, Want};
use crate::{Cache, Checkpoint, Config, Error};

/// Tokens per forward pass over a prompt; bounds the memory of activations, changes no result.
const CHUNK: usize = 256;

/// How to load a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// How linear operations treat their input: F32 is the reference, Int8 is faster.
    pub activation: Activation,
    /// Use at most this many tokens of context; `None` is all the model was made for.
    pub context: Option<usize>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { activation: Activation::Int8, context: None }
    }
}

/// A loaded checkpoint. It keeps what it computed for the last prompt and reuses the longest common prefix.
pub struct Local {
    name: String,
    transformer: Transformer,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    cache: Cache,
    /// The tokens `cache` has read.
    read: Vec<u32>,
}

impl Local {
    /// Loads a `.gguf` file, or a folder with `config.json`, safetensors and `tokenizer.json`.
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        let checkpoint = Checkpoint::open(path)?;
        let tokenizer = checkpoint.tokenizer()?;
        let template = checkpoint.chat_template(&tokenizer)?;
        let config = checkpoint.config();
        let context = options.context.unwrap_or(config.context).min(config.context);
        let transformer = Transformer::load(config, &mut &checkpoint, options.activation)?;
        let mut local = Self::new(checkpoint.name(), transformer, tokenizer, template)?;
        local.cache = Cache::new(local.config(), context);
        Ok(local)
    }

    /// A model that is already in memory, such as one in training (`Parameters::freeze`).
    ///
    /// # Errors
    /// The tokenizer has more tokens than the model.
    pub fn new(
        name: impl Into<String>,
        transformer: Transformer,
        tokenizer: Tokenizer,
        template: ChatTemplate,
    ) -> Result<Self, Error> {
        let (tokens, rows) = (tokenizer.len(), transformer.config().vocabulary);
        if tokens > rows {
            return Err(Error::Request(format!(
                "the tokenizer has {tokens} tokens but the model's embedding has {rows} rows"
            )));
        }
        let cache = transformer.cache(usize::MAX);
        Ok(Self { name: name.into(), transformer, tokenizer, template, cache, read: Vec::new() })
    }

    /// Puts other weights in place of the model's, keeping name, tokenizer and template; what was read is
    /// forgotten.
    ///
    /// # Errors
    /// The configurations differ.
    pub fn replace(&mut self, transformer: Transformer) -> Result<(), Error> {
        if transformer.config() != self.transformer.config() {
            return Err(Error::Request("the weights belong to another configuration".into()));
        }
        self.transformer = transformer;
        self.reset();
        Ok(())
    }

    /// Everything about the model except its weights.
    pub fn config(&self) -> &Config {
        self.transformer.config()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The forward pass, for instruments.
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    /// Logits after each of `tokens`, `[tokens, vocabulary]` row-major, in a fresh context.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        self.forget(0)?;
        let mut logits = Vec::new();
        self.rows(tokens, &mut |row| logits.extend_from_slice(row))?;
        Ok(logits)
    }

    /// Forgets all but the first `keep` tokens, or fewer if a recurrent block cannot return there.
    fn forget(&mut self, keep: usize) -> Result<(), Error> {
        let keep = self.cache.reachable(keep);
        self.cache.truncate(keep)?;
        self.read.truncate(keep);
        Ok(())
    }

    fn forward(&mut self, tokens: &[u32], want: Want) -> Result<Vec<f32>, Error> {
        // If the pass fails half-way, the cache is not what `read` says; nothing of it is used again.
        let before = std::mem::take(&mut self.read);
        let logits = self.transformer.forward(tokens, Some(&mut self.cache), want)?;
        self.read = before;
        self.read.extend_from_slice(tokens);
        Ok(ops::values_of(logits))
    }

    /// Reads `tokens` (all of them from the start), reusing the common prefix with what was read before, and
    /// returns the logits after the last.
    fn last(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        self.admit(tokens.len())?;
        let (Some((_, all_but_last)), true) =
            (tokens.split_last(), self.cache.positions() == self.read.len())
        else {
            self.reset();
            return if tokens.is_empty() { Ok(Vec::new()) } else { self.last(tokens) };
        };
        self.forget(common_prefix(&self.read, all_but_last))?;
        // A recurrent state is marked where a call ends: before the last token is where the next text that shares
        // this prefix will return to.
        let end = if self.cache.is_recurrent() { all_but_last.len() } else { tokens.len() };
        let mut logits = Vec::new();
        for part in [self.read.len()..end, end..tokens.len()] {
            for chunk in tokens.get(part).unwrap_or_default().chunks(CHUNK) {
                logits = self.forward(chunk, Want::Last)?;
            }
        }
        Ok(logits)
    }

    /// Reads `tokens` after what was read before and calls `each` with the logits after each of them.
    fn rows(&mut self, tokens: &[u32], each: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        self.admit(self.read.len() + tokens.len())?;
        let vocabulary = self.config().vocabulary;
        for chunk in tokens.chunks(CHUNK) {
            self.forward(chunk, Want::All)?.chunks_exact(vocabulary).for_each(&mut *each);
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.cache = Cache::new(self.transformer.config(), self.cache.limit());
        self.read.clear();
    }

    fn admit(&self, tokens: usize) -> Result<(), Error> {
        let limit = self.context_length();
        if tokens <= limit {
            return Ok(());
        }
        Err(Error::Request(format!(
            "the text takes {tokens} tokens but the context holds {limit}; shorten it or load with a larger context"
        )))
    }

    /// The tokens of a prompt, with the beginning token if the model wants one and the text lacks it.
    fn prompt_tokens(&self, prompt: &str) -> Vec<u32> {
        let mut tokens = self.tokenizer.encode_prompt(prompt);
        if let Some(beginning) = self.tokenizer.beginning()
            && tokens.first() != Some(&beginning)
        {
            tokens.insert(0, beginning);
        }
        tokens
    }

    fn continuation(&mut self, context: &str, continuation: &str) -> Result<LogLikelihood, Error> {
        // White space between the two belongs to the continuation's first token, as in running text.
        let start = context.trim_end().len();
        let whole = format!("{context}{}", self.tokenizer.quote(continuation));
        let mut tokens = self.prompt_tokens(&whole);
        let mut scored_from = common_prefix(&tokens, &self.prompt_tokens(&context[..start]));
        if scored_from == 0 && !tokens.is_empty() {
            // The first token needs something before it to be predicted from.
            let vocabulary = self.tokenizer.vocabulary();
            let first = vocabulary.bos.or(vocabulary.eos).ok_or_else(|| {
                Error::Request(
                    "the context is empty and the model has no beginning token; give some context".into(),
                )
            })?;
            tokens.insert(0, first);
            scored_from = 1;
        }
        self.admit(tokens.len())?;
        let (Some((_, input)), scored) = (tokens.split_last(), tokens.get(scored_from..).unwrap_or_default())
        else {
            return Ok(LogLikelihood { sum: 0.0, tokens: 0, greedy: true });
        };
        let mut result = LogLikelihood { sum: 0.0, tokens: scored.len(), greedy: true };
        if scored.is_empty() {
            return Ok(result);
        }
        let mut targets = scored.iter();
        let mut score = |row: &[f32]| {
            if let Some(target) = targets.next() {
                result.sum += log_probability(row, *target);
                result.greedy &= most_likely(row) == *target;
            }
        };
        score(&self.last(&tokens[..scored_from])?);
        self.rows(&input[scored_from..], &mut score)?;
        Ok(result)
    }
}

/// How many tokens two sequences begin with alike.
pub fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl LanguageModel for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_length(&self) -> usize {
        self.cache.limit()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.encode(text).len()
    }

    /// Markers inside the messages are guarded (see [`Tokenizer::quote`]): only the template's count.
    fn chat_prompt(&self, messages: &[Message]) -> Result<String, Error> {
        let quote = |text: &str| self.tokenizer.quote(text).into_owned();
        let messages: Vec<_> = messages
            .iter()
            .map(|message| Message::new(quote(&message.role), quote(&message.content)))
            .collect();
        self.template.render(&messages)
    }

    fn log_likelihood(&mut self, context: &str, continuations: &[&str]) -> Result<Vec<LogLikelihood>, Error> {
        continuations.iter().map(|continuation| self.continuation(context, continuation)).collect()
    }

    fn rolling_log_likelihood(&mut self, text: &str, window: usize) -> Result<RollingLogLikelihood, Error> {
        let mut tokens: Vec<u32> = self.tokenizer.beginning().into_iter().collect();
        tokens.extend(self.tokenizer.encode(text));
        self.admit(window)?;
        if window < 4 || tokens.len() < 2 * window {
            return Err(Error::Request(format!(
                "the text has {} tokens; at least two windows of at least 4 tokens are needed, and the window is {window}",
                tokens.len()
            )));
        }
        let mut result = RollingLogLikelihood::default();
        for chunk in tokens.chunks_exact(window) {
            let mut chunk = chunk.to_vec();
            if let (Some(first), Some(beginning)) = (chunk.first_mut(), self.tokenizer.beginning()) {
                *first = beginning;
            }
            let first = window / 2;
            self.reset();
            let mut targets = chunk[first + 1..].iter();
            let mut sum = 0.0;
            let mut score = |row: &[f32]| {
                if let Some(target) = targets.next() {
                    let log_probability = log_probability(row, *target);
                    sum += log_probability;
                    result.sum += log_probability;
                    result.tokens += 1;
                }
            };
            score(&self.last(&chunk[..=first])?);
            self.rows(&chunk[first + 1..window - 1], &mut score)?;
            result.windows.push(sum);
        }
        Ok(result)
    }

    fn generate(
        &mut self,
        prompt: &str,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generation, Error> {
        let mut sampler = Sampler::new(options, self.config().vocabulary).map_err(Error::Request)?;
        if options.stop.iter().any(String::is_empty) {
            return Err(Error::Request("a stop string is empty; leave it out".into()));
        }
        let prompt = self.prompt_tokens(prompt);
        if prompt.is_empty() {
            return Err(Error::Request("the prompt is empty; give at least one token".into()));
        }
        self.admit(prompt.len())?;
        prompt.iter().for_each(|token| sampler.observe(*token));
        let mut stream = Stream::new(&options.stop);
        let (mut tokens, mut log_probabilities) = (Vec::new(), Vec::new());
        let mut logits = if options.max_tokens > 0 { self.last(&prompt)? } else { Vec::new() };
        let mut finish = Finish::Length;
        while tokens.len() < options.max_tokens {
            let choice = sampler.choose(&logits, (prompt.len() + tokens.len()) as u64);
            if self.tokenizer.is_end(choice.token) {
                finish = Finish::Stop;
                break;
            }
            sampler.observe(choice.token);
            tokens.push(choice.token);
            log_probabilities.push(choice.log_probability);
            let text = stream.push(self.tokenizer.printed(choice.token));
            let goes_on = text.is_empty() || on_text(text);
            if stream.stopped() || !goes_on {
                finish = if stream.stopped() { Finish::Stop } else { Finish::Cancelled };
                break;
            }
            if tokens.len() == options.max_tokens || self.read.len() == self.context_length() {
                break;
            }
            logits = self.forward(&[choice.token], Want::Last)?;
        }
        let rest = stream.finish();
        if !rest.is_empty() && finish != Finish::Cancelled {
            on_text(rest);
        }
        let text = stream.into_text();
        Ok(Generation { text, tokens, log_probabilities, prompt_tokens: prompt.len(), finish })
    }
}
