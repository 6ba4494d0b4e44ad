//! A guard while serving: judges the request from the model's own hidden states and from its letters, and the
//! response while it is written.
//!
//! The probe is a logistic regression on a middle block's residual stream, which the prefill computes anyway: a hook
//! reads it, so a judgment costs one dot product (linear probes as in Alain and Bengio 2016). Character n-grams and a
//! list of phrases stand beside it. How much each counts is learned from scores on topics each was not fitted on.
//!
//! It is fitted on the trained split of the preference set only.

mod characters;
mod logistic;
mod output;

use std::cell::RefCell;
use std::path::Path;

use model::template::ChatTemplate;
use model::tokenizer::Tokenizer;
use model::{Hooks, Message, Packed, Transformer};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::preferences::{Preference, Side, split};
use crate::sequence::numbers;
use characters::{BUCKETS, features, phrases};
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
    /// The block whose output is read; `None` is the middle one.
    pub block: Option<usize>,
    /// Penalty of the probe.
    pub penalty: f64,
    /// Penalty of the letters.
    pub letters_penalty: f64,
    /// Share of harmless requests of unseen topics that the limit may call risky.
    pub false_alarms: f64,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self { block: None, penalty: 3e-4, letters_penalty: 1e-3, false_alarms: 0.05 }
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
    letters: Logistic,
    /// Log-odds from the scores of probe, letters and phrases.
    together: Logistic,
    /// The same without the probe.
    without_probe: Logistic,
    limit: f32,
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
        let block = options.block.unwrap_or(transformer.config().layers.len() / 2);
        let requests: Vec<&Preference> = split(false).collect();
        let mut readings = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            readings.push(read(transformer, tokenizer, template, block, &request.prompt)?.features());
            if !progress(index + 1, requests.len()) {
                return Ok(None);
            }
        }
        Ok(Some(Self::fit_readings(block, &requests, readings, options)))
    }

    fn fit_readings(
        block: usize,
        requests: &[&Preference],
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
        let letters: Vec<Vec<(usize, f64)>> = requests.iter().map(|p| features(&p.prompt)).collect();
        let positive: Vec<bool> = requests.iter().map(|p| p.side == Side::Unsafe).collect();
        let folds = folds(requests);
        let mut evidence = vec![vec![0.0; 3]; requests.len()];
        for fold in 0..FOLDS {
            let inside: Vec<usize> = (0..requests.len()).filter(|&i| folds[i] != fold).collect();
            let labels: Vec<bool> = inside.iter().map(|&i| positive[i]).collect();
            let rows: Vec<Vec<f64>> = inside.iter().map(|&i| readings[i].clone()).collect();
            let probe = Logistic::fit(&rows, &labels, width, options.penalty);
            let rows: Vec<_> = inside.iter().map(|&i| letters[i].clone()).collect();
            let by_letters = Logistic::fit(&rows, &labels, BUCKETS, options.letters_penalty);
            for i in (0..requests.len()).filter(|&i| folds[i] == fold) {
                evidence[i] = vec![
                    probe.score(&readings[i]),
                    by_letters.score(&letters[i]),
                    phrases(&requests[i].prompt).min(2) as f64,
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
        let letters = Logistic::fit(&letters, &positive, BUCKETS, options.letters_penalty);
        let mut guard =
            Self { block, center, scale, probe, letters, together, without_probe, limit, output_limit: 0.0 };
        // No answer of the set may be stopped; a margin for answers it has not seen.
        let answers =
            requests.iter().filter(|p| p.side == Side::Harmless).map(|p| guard.judge(&p.chosen, None).score);
        guard.output_limit = answers.fold(0.0, f64::max) as f32 + 0.5;
        guard
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
        Ok(self.judge(request, Some(&read(transformer, tokenizer, template, self.block, request)?)))
    }

    /// A check of the response to a judged request.
    pub fn watch(&self, request: &Judgment) -> OutputCheck<'_> {
        OutputCheck::new(self, request)
    }

    fn letters(&self, text: &str) -> f64 {
        self.letters.score(&features(text))
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
            && guard.letters.weights.len() == BUCKETS
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

/// Reads a request in a pass of its own.
fn read(
    transformer: &Transformer,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    block: usize,
    request: &str,
) -> Result<Reading, Error> {
    let prompt = template.render(&[Message::new("user", tokenizer.quote(request))])?;
    let reading = RefCell::new(Reading::default());
    let mut hooks = Hooks::new();
    listen(block, &mut hooks, &reading);
    transformer.hidden(&Packed::one(tokenizer.encode_prompt(&prompt)), &mut hooks)?;
    drop(hooks);
    Ok(reading.into_inner())
}

fn standardize(features: &mut [f64], center: &[f32], scale: &[f32]) {
    for ((feature, center), scale) in features.iter_mut().zip(center).zip(scale) {
        *feature = (*feature - f64::from(*center)) * f64::from(*scale);
    }
}

/// The fold of every request: topics are dealt out in turn, so that a fold holds whole topics of both sides.
fn folds(requests: &[&Preference]) -> Vec<usize> {
    let (mut folds, mut before, mut fold) = (Vec::with_capacity(requests.len()), None, 0);
    for request in requests {
        let topic = (request.side, request.language, request.topic);
        if before.is_some_and(|before| before != topic) {
            fold = (fold + 1) % FOLDS;
        }
        before = Some(topic);
        folds.push(fold);
    }
    folds
}

/// The value below which a share of `values` lies.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (share * values.len() as f64).ceil() as usize;
    values.get(index.saturating_sub(1).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
