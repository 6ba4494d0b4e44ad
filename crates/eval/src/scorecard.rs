//! The scorecard: scores with intervals for each dimension and language.

use serde::{Deserialize, Serialize};
use statistics::{Interval, Resampling};
use tasks::{Dimension, Language, Verdict};

use crate::Error;
use crate::run::{RunOptions, grouped};

/// The graded answer to one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemResult {
    /// The item's identity.
    pub id: String,
    /// BLAKE3 of the item (prompt, choices, reference), hexadecimal, 16 digits: two runs are comparable on an
    /// item only if this is the same.
    pub hash: String,
    /// Name of the task.
    pub task: String,
    /// What the item measures.
    pub dimension: Dimension,
    /// Its language.
    pub language: Language,
    /// From 0 to 1.
    pub score: f64,
    /// For multiple choice: the score by log-likelihood for each character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized: Option<f64>,
    /// Expected score of an answer that ignores the question, where that is defined.
    pub chance: Option<f64>,
    /// The outcome in one word.
    pub verdict: Verdict,
}

/// An answer that did not get full marks, for a reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The item's identity.
    pub id: String,
    /// The prompt, shortened.
    pub prompt: String,
    /// The response, shortened; for multiple choice, the chosen text.
    pub response: String,
    /// Why it failed.
    pub reason: String,
}

/// One line of a scorecard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What is measured.
    pub dimension: Dimension,
    /// In which language.
    pub language: Language,
    /// By which task; absent in the line of a whole dimension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Number of items.
    pub n: usize,
    /// Mean score, from 0 to 1.
    pub score: f64,
    /// Interval of the score at the scorecard's confidence; absent for a single item that is not 0 or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// How the interval was made: `wilson` (all scores 0 or 1) or `bootstrap` (BCa).
    pub method: String,
    /// Mean score by log-likelihood for each character, where every item is multiple choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized: Option<f64>,
    /// Mean expected score of answers that ignore the questions, where defined for every item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// Whether the interval lies wholly above chance; absent where chance is undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_chance: Option<bool>,
    /// Items where nothing that could be an answer was found.
    pub no_answer: usize,
    /// A few answers that did not get full marks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

/// What a model scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scorecard {
    /// The model's name.
    pub model: String,
    /// Content hash of the model, as the caller gave it.
    pub model_hash: String,
    /// Version of the grading rules ([`tasks::RULES_VERSION`]).
    pub rules: u32,
    /// Seed of the items.
    pub seed: u64,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// One line for each dimension and language.
    pub dimensions: Vec<Cell>,
    /// One line for each task and language.
    pub tasks: Vec<Cell>,
    /// Every graded answer.
    pub items: Vec<ItemResult>,
    /// What a reader should know before quoting a number.
    pub notes: Vec<String>,
}

/// A graded answer with what a reader wants to see of it.
pub(crate) struct Graded {
    pub(crate) result: ItemResult,
    pub(crate) prompt: String,
    pub(crate) response: String,
    pub(crate) reason: String,
}

impl Scorecard {
    /// Sums up graded answers.
    pub(crate) fn new(model: &str, options: &RunOptions, graded: &[Graded]) -> Result<Self, Error> {
        let mut dimensions = Vec::new();
        for ((dimension, language), group) in
            grouped(graded, |entry| (entry.result.dimension, entry.result.language))
        {
            dimensions.push(cell((dimension, language, None), &group, options)?);
        }
        dimensions.sort_by_key(|cell| (cell.dimension, cell.language));
        let mut tasks = Vec::new();
        for ((task, language), group) in
            grouped(graded, |entry| (entry.result.task.clone(), entry.result.language))
        {
            let dimension = group[0].result.dimension;
            tasks.push(cell((dimension, language, Some(task)), &group, options)?);
        }
        let notes = notes(&dimensions);
        Ok(Self {
            model: model.to_owned(),
            model_hash: options.model_hash.clone(),
            rules: tasks::RULES_VERSION,
            seed: options.seed,
            confidence: options.confidence,
            dimensions,
            tasks,
            items: graded.iter().map(|entry| entry.result.clone()).collect(),
            notes,
        })
    }
}

/// Number of failures shown in a line.
const SHOWN_FAILURES: usize = 3;

fn cell(
    (dimension, language, task): (Dimension, Language, Option<String>),
    group: &[&Graded],
    options: &RunOptions,
) -> Result<Cell, Error> {
    let scores: Vec<f64> = group.iter().map(|entry| entry.result.score).collect();
    let (interval, method) = interval(&scores, options)?;
    let mean_of = |value: fn(&ItemResult) -> Option<f64>| {
        let values: Option<Vec<f64>> = group.iter().map(|entry| value(&entry.result)).collect();
        values.map(|values| statistics::mean(&values))
    };
    let chance = mean_of(|result| result.chance);
    let failures = group
        .iter()
        .filter(|entry| entry.result.verdict != Verdict::Pass)
        .take(SHOWN_FAILURES)
        .map(|entry| Failure {
            id: entry.result.id.clone(),
            prompt: shorten(&entry.prompt),
            response: shorten(&entry.response),
            reason: entry.reason.clone(),
        })
        .collect();
    Ok(Cell {
        dimension,
        language,
        task,
        n: group.len(),
        score: statistics::mean(&scores),
        interval,
        method: method.to_owned(),
        normalized: mean_of(|result| result.normalized),
        chance,
        above_chance: chance.zip(interval).map(|(chance, interval)| interval.low > chance),
        no_answer: group.iter().filter(|entry| entry.result.verdict == Verdict::NoAnswer).count(),
        failures,
    })
}

fn interval(scores: &[f64], options: &RunOptions) -> Result<(Option<Interval>, &'static str), Error> {
    if scores.iter().all(|score| *score == 0.0 || *score == 1.0) {
        let passed = scores.iter().filter(|score| **score == 1.0).count();
        return Ok((Some(statistics::wilson(passed, scores.len(), options.confidence)?), "wilson"));
    }
    if scores.len() < 2 {
        return Ok((None, "none"));
    }
    let resampling =
        Resampling { confidence: options.confidence, seed: options.seed, ..Resampling::default() };
    Ok((Some(statistics::bootstrap_mean(scores, &resampling)?.interval), "bootstrap"))
}

/// The beginning and end of a text that is too long to show.
fn shorten(text: &str) -> String {
    const HALF: usize = 200;
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= 2 * HALF {
        return text.to_owned();
    }
    let start: String = characters[..HALF].iter().collect();
    let end: String = characters[characters.len() - HALF..].iter().collect();
    format!("{start} … {end}")
}

fn notes(dimensions: &[Cell]) -> Vec<String> {
    let mut notes = vec![
        "Items are generated and graded by rules; scores compare models and versions, they are not those of any public benchmark.".to_owned(),
    ];
    if dimensions.iter().any(|cell| cell.language == Language::Zh) {
        notes.push(
            "Chinese items exercise the whole path; the Chinese scores of a model trained on English mean little.".to_owned(),
        );
    }
    let unsettled: Vec<String> = dimensions
        .iter()
        .filter(|cell| cell.above_chance == Some(false))
        .map(|cell| format!("{} ({})", cell.dimension.name(), cell.language.code()))
        .collect();
    if !unsettled.is_empty() {
        notes.push(format!("Not distinguishable from ignoring the questions: {}.", unsettled.join(", ")));
    }
    notes
}
