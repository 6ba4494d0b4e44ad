//! A guard while serving: judges the request from the model's own hidden states and from its letters, and the
//! response while it is written.
//!
//! The probe is a logistic regression on a middle block's residual stream, which the prefill computes anyway: a hook
//! reads it, so a judgment costs one dot product (linear probes as in Alain and Bengio 2016). Character n-grams and a
//! list of phrases stand beside it. How much each counts is learned from scores on topics each was not fitted on.
//!
//! It is fitted on the trained split of the preference set without its innocently worded topics, on further plain
//! requests of both sides in many wordings, and on ordinary requests of any length (questions of the built-in tasks,
//! texts to work on), so that neither length nor the wording of a request is a sign of harm.

mod cases;
mod letters;
mod logistic;
mod output;

use std::cell::RefCell;
use std::path::Path;

use model::template::ChatTemplate;
use model::tokenizer::Tokenizer;
use model::{Cache, Hooks, Message, Transformer, Want, common_prefix};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::measure::evenly;
use crate::preferences::{Side, split};
use crate::sequence::numbers;
use cases::{Case, cases};
use letters::{Letters, grams, phrases};
pub use logistic::Logistic;
pub use output::{Decision, OutputCheck};

/// The stream of a prompt at the guard's block: what a judgment needs of the prefill.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    sum: Vec<f64>,
    last: Vec<f64>,
    tokens: usize,
}

impl Reading {
    /// Adds the rows of a chunk `[tokens, width]`, row-major.
    fn add(&mut self, rows: &[f32], width: usize) {
        self.sum.resize(width, 0.0);
        for row in rows.chunks_exact(width) {
            self.sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            self.tokens += 1;
        }
        if let Some(last) = rows.chunks_exact(width).next_back() {
            self.last = last.iter().map(|value| f64::from(*value)).collect();
        }
    }

    /// The last row and the mean of all.
    fn features(&self) -> Vec<f64> {
        let n = self.tokens.max(1) as f64;
        self.last.iter().copied().chain(self.sum.iter().map(|sum| sum / n)).collect()
    }
}

/// What the guard thinks of a request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgment {
    /// Log-odds of being harmful, everything together.
    pub score: f64,
    /// The probe's own log-odds, if it read the prefill.
    pub probe: Option<f64>,
    /// The letters' own log-odds.
    pub letters: f64,
    /// Phrases found.
    pub phrases: usize,
    /// Whether the score is above the guard's limit.
    pub risky: bool,
}

/// How to fit a guard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardOptions {
    /// The block whose output is read; `None` is the one above the middle.
    pub block: Option<usize>,
    /// Penalty of the probe.
    pub penalty: f64,
    /// Penalty of the letters.
    pub letters_penalty: f64,
    /// Share of harmless requests of unseen topics that the limit may call risky.
    pub false_alarms: f64,
    /// Most requests to fit on, evenly spread over all; 0 for no limit. Each takes a forward pass.
    pub requests: usize,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self { block: None, penalty: 5e-5, letters_penalty: 1e-4, false_alarms: 0.05, requests: 0 }
    }
}

/// A fitted guard; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    block: usize,
    /// Mean and inverse deviation of every feature of the probe.
    center: Vec<f32>,
    scale: Vec<f32>,
    probe: Logistic,
    letters: Letters,
    /// Log-odds from the scores of probe, letters and phrases.
    together: Logistic,
    /// The same without the probe.
    without_probe: Logistic,
    limit: f32,
    /// Letters of harmful requests against those of answers.
    output: Letters,
    output_limit: f32,
}

/// Groups of topics; each is scored by what was fitted on the others.
const FOLDS: usize = 5;

impl Guard {
    /// Fits a guard to a model on the trained requests. `progress` hears of every request read and stops by returning
    /// `false`; then the result is `None`.
    ///
    /// # Errors
    /// The model has no such block, or refuses a request.
    pub fn fit(
        transformer: &Transformer,
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        options: &GuardOptions,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Self>, Error> {
        let block = options.block.unwrap_or_else(|| above_middle(transformer));
        let mut cases = cases();
        if options.requests > 0 {
            let mut wanted = evenly(cases.len(), options.requests).peekable();
            let mut index = 0..;
            cases.retain(|_| index.next().is_some_and(|index| wanted.next_if_eq(&index).is_some()));
        }
        let mut readings = Vec::with_capacity(cases.len());
        for some in cases.chunks(AT_ONCE) {
            let prompts: Vec<&str> = some.iter().map(|case| case.prompt.as_str()).collect();
            let read = read(transformer, tokenizer, template, block, &prompts)?;
            readings.extend(read.iter().map(Reading::features));
            if !progress(readings.len(), cases.len()) {
                return Ok(None);
            }
        }
        Ok(Some(Self::fit_readings(block, &cases, readings, options)))
    }

    fn fit_readings(
        block: usize,
        cases: &[Case],
        mut readings: Vec<Vec<f64>>,
        options: &GuardOptions,
    ) -> Self {
        let width = readings.first().map_or(0, Vec::len);
        let n = readings.len().max(1) as f64;
        let center: Vec<f32> =
            (0..width).map(|f| (readings.iter().map(|r| r[f]).sum::<f64>() / n) as f32).collect();
        let scale: Vec<f32> = (0..width)
            .map(|f| {
                let square = readings.iter().map(|r| (r[f] - f64::from(center[f])).powi(2)).sum::<f64>() / n;
                // Rows of length near 1, whatever the width; a feature that never changes says nothing.
                if square > 1e-12 { (1.0 / (square * width as f64).sqrt()) as f32 } else { 0.0 }
            })
            .collect();
        readings.iter_mut().for_each(|reading| standardize(reading, &center, &scale));
        let letters: Vec<Vec<usize>> = cases.iter().map(|case| grams(&case.prompt)).collect();
        let positive: Vec<bool> = cases.iter().map(|case| case.harmful).collect();
        let mut evidence = vec![vec![0.0; 3]; cases.len()];
        for fold in 0..FOLDS {
            let inside: Vec<usize> = (0..cases.len()).filter(|&i| cases[i].fold != fold).collect();
            let labels: Vec<bool> = inside.iter().map(|&i| positive[i]).collect();
            let rows: Vec<Vec<f64>> = inside.iter().map(|&i| readings[i].clone()).collect();
            let probe = Logistic::fit(&rows, &labels, width, options.penalty);
            let rows: Vec<&[usize]> = inside.iter().map(|&i| letters[i].as_slice()).collect();
            let by_letters = Letters::fit(&rows, &labels, options.letters_penalty);
            for i in (0..cases.len()).filter(|&i| cases[i].fold == fold) {
                evidence[i] = vec![
                    probe.score(&readings[i]),
                    by_letters.score(&letters[i]),
                    phrases(&cases[i].prompt).min(2) as f64,
                ];
            }
        }
        let together = Logistic::fit(&evidence, &positive, 3, 1e-2);
        let without: Vec<Vec<f64>> = evidence.iter().map(|row| row[1..].to_vec()).collect();
        let without_probe = Logistic::fit(&without, &positive, 2, 1e-2);
        let harmless: Vec<f64> = evidence
            .iter()
            .zip(&positive)
            .filter(|(_, is)| !**is)
            .map(|(row, _)| together.score(row))
            .collect();
        let limit = quantile(harmless, 1.0 - options.false_alarms).max(0.0) as f32;
        let probe = Logistic::fit(&readings, &positive, width, options.penalty);
        let letters: Vec<&[usize]> = letters.iter().map(Vec::as_slice).collect();
        let letters = Letters::fit(&letters, &positive, options.letters_penalty);
        let (output, output_limit) = output(options.letters_penalty);
        Self { block, center, scale, probe, letters, together, without_probe, limit, output, output_limit }
    }

    /// The block whose output is read.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Lets `hooks` fill `reading` during the prefill of a prompt, in one pass or in chunks.
    pub fn listen<'a>(&self, hooks: &mut Hooks<'a>, reading: &'a RefCell<Reading>) {
        listen(self.block, hooks, reading);
    }

    /// Judges a request from its text and, if the prefill was read, from the hidden states.
    pub fn judge(&self, request: &str, reading: Option<&Reading>) -> Judgment {
        let (letters, phrases) = (self.letters(request), phrases(request));
        let found = phrases.min(2) as f64;
        let mut row = reading.filter(|r| r.tokens > 0 && 2 * r.last.len() == self.center.len());
        let probe = row.take().map(|reading| {
            let mut features = reading.features();
            standardize(&mut features, &self.center, &self.scale);
            self.probe.score(&features)
        });
        let score = match probe {
            Some(probe) => self.together.score(&vec![probe, letters, found]),
            None => self.without_probe.score(&vec![letters, found]),
        };
        Judgment { score, probe, letters, phrases, risky: score > f64::from(self.limit) }
    }

    /// As [`judge`](Self::judge), with a forward pass of its own.
    ///
    /// # Errors
    /// The model has no such block, or refuses the request.
    pub fn judge_alone(
        &self,
        transformer: &Transformer,
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        request: &str,
    ) -> Result<Judgment, Error> {
        let readings = read(transformer, tokenizer, template, self.block, &[request])?;
        Ok(self.judge(request, readings.first()))
    }

    /// As [`judge_alone`](Self::judge_alone), several requests at a time.
    ///
    /// # Errors
    /// The model has no such block, or refuses a request.
    pub fn judge_all(
        &self,
        transformer: &Transformer,
        tokenizer: &Tokenizer,
        template: &ChatTemplate,
        requests: &[&str],
    ) -> Result<Vec<Judgment>, Error> {
        let mut judgments = Vec::with_capacity(requests.len());
        for some in requests.chunks(AT_ONCE) {
            let readings = read(transformer, tokenizer, template, self.block, some)?;
            judgments
                .extend(some.iter().zip(&readings).map(|(text, reading)| self.judge(text, Some(reading))));
        }
        Ok(judgments)
    }

    /// A check of the response to a judged request.
    pub fn watch(&self, request: &Judgment) -> OutputCheck<'_> {
        OutputCheck::new(self, request)
    }

    fn letters(&self, text: &str) -> f64 {
        self.letters.score(&grams(text))
    }

    /// Writes the guard as JSON.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(self).map_err(|error| Error::Invalid(format!("guard: {error}")))?;
        ledger::write_atomic(path, &text)
            .map_err(|error| Error::Invalid(format!("guard `{}`: {error}", path.display())))
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file is absent, damaged, or its parts do not fit together.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: path.to_path_buf(), source })?;
        let invalid = |reason: String| {
            Error::Invalid(format!("`{}` is not a guard: {reason}; fit it again", path.display()))
        };
        let guard: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        let width = guard.center.len();
        let fits = guard.scale.len() == width
            && guard.probe.weights.len() == width
            && guard.letters.fits()
            && guard.output.fits()
            && guard.together.weights.len() == 3
            && guard.without_probe.weights.len() == 2;
        if fits { Ok(guard) } else { Err(invalid("its parts differ in size".into())) }
    }
}

fn listen<'a>(block: usize, hooks: &mut Hooks<'a>, reading: &'a RefCell<Reading>) {
    hooks.read(&format!("blocks.{block}.residual.post"), |stream| {
        let [_, width] = stream.dims();
        // A stream that cannot be read leaves the reading empty, and the judgment goes without the probe.
        if let Ok(rows) = numbers(stream) {
            reading.borrow_mut().add(&rows, width);
        }
    });
}

/// The block above the middle: on requests of kinds left out of the fit, blocks 14 to 18 of 30 did equally well.
pub fn above_middle(transformer: &Transformer) -> usize {
    let blocks = transformer.config().layers.len();
    (blocks / 2 + 1).min(blocks.saturating_sub(1))
}

/// Requests that share the reading of what they begin with, which is the template's system message.
const AT_ONCE: usize = 32;

/// Reads requests in passes of their own.
fn read(
    transformer: &Transformer,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    block: usize,
    requests: &[&str],
) -> Result<Vec<Reading>, Error> {
    let mut prompts = Vec::with_capacity(requests.len());
    for request in requests {
        let prompt = template.render(&[Message::new("user", tokenizer.quote(request))])?;
        prompts.push(tokenizer.encode_prompt(&prompt));
    }
    let [first, others @ ..] = prompts.as_slice() else { return Ok(Vec::new()) };
    // At least one token stays for each request.
    let shared = others.iter().fold(first.len().saturating_sub(1), |shared, other| {
        shared.min(common_prefix(first, other)).min(other.len().saturating_sub(1))
    });
    let pass = |tokens: &[u32], cache: &mut Cache, reading: &RefCell<Reading>| {
        let mut hooks = Hooks::new();
        listen(block, &mut hooks, reading);
        transformer.forward_with(tokens, Some(cache), Want::Hidden, &mut hooks).map(drop)
    };
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let (mut beginning, reading) = (transformer.cache(longest), RefCell::default());
    if !others.is_empty() && shared > 0 {
        pass(&first[..shared], &mut beginning, &reading)?;
    }
    let read = beginning.positions();
    let mut readings = Vec::with_capacity(prompts.len());
    for prompt in &prompts {
        let (mut cache, reading) = (beginning.clone(), reading.clone());
        pass(&prompt[read..], &mut cache, &reading)?;
        readings.push(reading.into_inner());
    }
    Ok(readings)
}

fn standardize(features: &mut [f64], center: &[f32], scale: &[f32]) {
    for ((feature, center), scale) in features.iter_mut().zip(center).zip(scale) {
        *feature = (*feature - f64::from(*center)) * f64::from(*scale);
    }
}

/// What tells a harmful request from an answer by its letters, and the score that a text may reach: that of nearly
/// every answer that was left out of the fit.
fn output(penalty: f64) -> (Letters, f32) {
    let (mut rows, mut harmful, mut folds) = (Vec::new(), Vec::new(), Vec::new());
    let count = split(false).count();
    for (index, request) in split(false).enumerate() {
        let harm = request.side == Side::Unsafe;
        rows.push(grams(if harm { &request.prompt } else { &request.chosen }));
        harmful.push(harm);
        folds.push(index * 2 * FOLDS / count % 2);
    }
    let fit = |inside: &dyn Fn(usize) -> bool| {
        let chosen: Vec<usize> = (0..rows.len()).filter(|&i| inside(i)).collect();
        let labels: Vec<bool> = chosen.iter().map(|&i| harmful[i]).collect();
        let rows: Vec<&[usize]> = chosen.iter().map(|&i| rows[i].as_slice()).collect();
        Letters::fit(&rows, &labels, penalty)
    };
    let mut answers = Vec::new();
    for fold in 0..2 {
        let fitted = fit(&|i| folds[i] != fold);
        let left_out = (0..rows.len()).filter(|&i| folds[i] == fold && !harmful[i]);
        answers.extend(left_out.map(|i| fitted.score(&rows[i])));
    }
    // A margin for the beginnings of answers, which are judged too.
    (fit(&|_| true), quantile(answers, 1.0 - FALSE_STOPS).max(0.0) as f32 + 0.5)
}

/// Share of the set's own answers that may read like a harmful request: answers about law, history and medicine do.
const FALSE_STOPS: f64 = 0.01;

/// The value below which a share of `values` lies.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (share * values.len() as f64).ceil() as usize;
    values.get(index.saturating_sub(1).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
