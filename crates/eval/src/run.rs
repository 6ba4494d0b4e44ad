//! Asking a model the items of tasks, with a log to resume from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::{GenerateOptions, LanguageModel, Message};
use serde::{Deserialize, Serialize};
use tasks::{Grade, Item, Language, Request, Response, Setting};

use crate::Error;
use crate::log::{Log, Record, as_read};
use crate::scorecard::{Graded, ItemResult, Scorecard};

/// How many items of each task and language to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A seeded sample of each task; about two minutes for a model of 135 M parameters on two cores.
    #[default]
    Quick,
    /// Every item.
    Full,
}

/// What to ask and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Names of the tasks; empty for all.
    pub tasks: Vec<String>,
    /// Languages of the items; empty for all.
    pub languages: Vec<Language>,
    /// How many items.
    pub profile: Profile,
    /// At most this many items of each task and language, whatever the profile says.
    pub limit: Option<usize>,
    /// Seed of the items and of the sample.
    pub seed: u64,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Content hash of the model; a logged answer is reused only for the same model.
    pub model_hash: String,
    /// The log to write, and to continue if it exists; nothing is logged without it.
    pub log: Option<PathBuf>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            languages: Vec::new(),
            profile: Profile::Quick,
            limit: None,
            seed: 0,
            confidence: 0.95,
            model_hash: String::new(),
            log: None,
        }
    }
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress<'a> {
    /// Items answered so far.
    pub done: usize,
    /// Items in all.
    pub total: usize,
    /// The item just answered.
    pub item: &'a str,
    /// Whether the answer came from the log.
    pub from_log: bool,
}

/// Asks the model the items of the registered tasks.
///
/// # Errors
/// If a task is unknown, the limit is 0, the log cannot be used, or the model fails on an item.
pub fn run(
    model: &mut dyn LanguageModel,
    options: &RunOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Scorecard, Error> {
    let items = choose_items(model, options)?;
    let mut card = run_items(model, &items, options, progress)?;
    for task in tasks::tasks()
        .filter(|task| options.tasks.is_empty() || options.tasks.iter().any(|name| name == task.name()))
    {
        if !items.iter().any(|item| item.task == task.name()) {
            card.notes.push(format!(
                "`{}` was left out: its items do not fit the context of {} tokens.",
                task.name(),
                model.context_length()
            ));
        }
    }
    Ok(card)
}

/// The items a run asks: of each chosen task and language all, or a seeded sample in their own order.
fn choose_items(model: &dyn LanguageModel, options: &RunOptions) -> Result<Vec<Item>, Error> {
    if options.limit == Some(0) {
        return Err(Error::Request("a limit of 0 leaves no items to ask".into()));
    }
    let chosen: Vec<&dyn tasks::Task> = if options.tasks.is_empty() {
        tasks::tasks().collect()
    } else {
        options.tasks.iter().map(|name| find(name)).collect::<Result<_, _>>()?
    };
    let languages: &[Language] =
        if options.languages.is_empty() { &Language::ALL } else { &options.languages };
    let count_tokens = |text: &str| model.count_tokens(text);
    // Room for the chat template and the answer.
    let setting = Setting {
        seed: options.seed,
        count_tokens: &count_tokens,
        max_tokens: model.context_length().saturating_sub(512),
    };
    let mut items = Vec::new();
    for task in chosen {
        let wanted = match options.profile {
            Profile::Quick => task.quick(),
            Profile::Full => task.count(),
        };
        let wanted = options.limit.map_or(wanted, |limit| limit.min(wanted));
        for &language in languages {
            let all = task.items(language, &setting);
            let random =
                tasks::Random::new(options.seed, &format!("sample/{}/{}", task.name(), language.code()));
            let indices = sample(&all, wanted, random);
            items.extend(indices.into_iter().map(|index| all[index].clone()));
        }
    }
    Ok(items)
}

/// Indices of `count` items in their own order, the kinds of a task represented as evenly as can be.
fn sample(items: &[Item], count: usize, mut random: tasks::Random) -> Vec<usize> {
    let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        kinds.entry(item.metadata.get("kind").map_or("", String::as_str)).or_default().push(index);
    }
    let mut kinds: Vec<Vec<usize>> = kinds.into_values().collect();
    random.shuffle(&mut kinds);
    kinds.iter_mut().for_each(|kind| random.shuffle(kind));
    let rounds = kinds.iter().map(Vec::len).max().unwrap_or(0);
    let mut indices: Vec<usize> =
        (0..rounds).flat_map(|round| kinds.iter().filter_map(move |kind| kind.get(round)).copied()).collect();
    indices.truncate(count);
    indices.sort_unstable();
    indices
}

fn find(name: &str) -> Result<&'static dyn tasks::Task, Error> {
    tasks::find(name).ok_or_else(|| {
        let known: Vec<&str> = tasks::tasks().map(|task| task.name()).collect();
        Error::Request(format!("there is no task `{name}`; there are: {}", known.join(", ")))
    })
}

/// Asks the model the given items; only `seed`, `confidence`, `model_hash` and `log` of the options count.
///
/// # Errors
/// If there are no items, the log cannot be used, or the model fails on an item.
pub fn run_items(
    model: &mut dyn LanguageModel,
    items: &[Item],
    options: &RunOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Scorecard, Error> {
    if items.is_empty() {
        return Err(Error::Request(
            "there are no items to ask: no chosen task has any in the chosen languages".into(),
        ));
    }
    let mut log = options.log.as_deref().map(Log::open).transpose()?;
    let mut graded = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let fail = |source| Error::Model { item: item.id.clone(), source };
        let content = serde_json::to_string(item).map_err(|error| Error::Request(error.to_string()))?;
        let prompt = prompt(model, item).map_err(fail)?;
        let rules = tasks::RULES_VERSION.to_string();
        let key = ledger::short_hash(&[&content, &prompt, model.name(), &options.model_hash, &rules]);
        let logged = log.as_ref().and_then(|log| log.answer(&key)).cloned();
        let from_log = logged.is_some();
        let response = match logged {
            Some(response) => response,
            None => {
                let response = ask(model, item, &prompt).map_err(fail)?;
                if let Some(log) = &mut log {
                    log.append(&Record { key, id: item.id.clone(), response: response.clone() })?;
                }
                as_read(response)
            }
        };
        let grade = item.grade(&response);
        let hash = ledger::short_hash(&[&content]);
        graded.push(Graded {
            result: result(item, hash, &grade),
            prompt: item.prompt(),
            response: shown(&response),
            reason: grade.reason,
        });
        progress(&Progress { done: index + 1, total: items.len(), item: &item.id, from_log });
    }
    Scorecard::new(model.name(), options, &graded)
}

/// The text sent to the model.
fn prompt(model: &dyn LanguageModel, item: &Item) -> Result<String, model::Error> {
    match &item.request {
        Request::Choice { context, .. } => Ok(context.clone()),
        Request::Generate { turns, .. } => {
            let messages: Vec<Message> =
                turns.iter().map(|turn| Message::new(turn.role.as_str(), turn.content.as_str())).collect();
            model.chat_prompt(&messages)
        }
    }
}

fn ask(model: &mut dyn LanguageModel, item: &Item, prompt: &str) -> Result<Response, model::Error> {
    match &item.request {
        Request::Choice { delimiter, choices, .. } => {
            let continuations: Vec<String> =
                choices.iter().map(|choice| format!("{delimiter}{choice}")).collect();
            let continuations: Vec<&str> = continuations.iter().map(String::as_str).collect();
            let scores = model.log_likelihood(prompt, &continuations)?;
            if scores.len() != choices.len() || scores.iter().any(|score| !score.sum.is_finite()) {
                return Err(model::Error::Request(format!(
                    "{} choices need as many finite log-likelihoods, got {scores:?}",
                    choices.len()
                )));
            }
            Ok(Response::LogLikelihoods(scores.iter().map(|score| score.sum).collect()))
        }
        Request::Generate { max_tokens, stop, .. } => {
            let options =
                GenerateOptions { max_tokens: *max_tokens, stop: stop.clone(), ..GenerateOptions::default() };
            Ok(Response::Text(model.generate(prompt, &options, &mut |_| true)?.text))
        }
    }
}

fn result(item: &Item, hash: String, grade: &Grade) -> ItemResult {
    ItemResult {
        id: item.id.clone(),
        hash,
        task: item.task.clone(),
        dimension: item.dimension,
        language: item.language,
        score: grade.score,
        normalized: grade.normalized,
        chance: item.chance,
        verdict: grade.verdict,
    }
}

fn shown(response: &Response) -> String {
    match response {
        Response::Text(text) => text.clone(),
        Response::LogLikelihoods(values) => {
            values.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Groups in the order of their first member.
pub(crate) fn grouped<K: Ord + Clone>(
    graded: &[Graded],
    key: impl Fn(&Graded) -> K,
) -> Vec<(K, Vec<&Graded>)> {
    let mut places: BTreeMap<K, usize> = BTreeMap::new();
    let mut groups: Vec<(K, Vec<&Graded>)> = Vec::new();
    for entry in graded {
        let key = key(entry);
        let place = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(entry);
    }
    groups
}
