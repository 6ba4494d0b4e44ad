//! Recipes: a TOML file that lists stages and their settings.
//!
//! The resolved recipe is the defaults, overlaid by the file, by its `[full]` table if `--full` is given, and by each
//! `--set key=value`. Every key must exist in the defaults; a wrong one is named with its nearest neighbors.

mod keys;
mod list;
mod tuning;

use ::align::guard::GuardOptions;
use ::probe::induction::InductionOptions;
use anyhow::{Context, Result};
use knowledge::specialize::SpecializeOptions;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use train::study::text::TextOptions;

pub(crate) use list::EMBEDDED;
pub(crate) use tuning::Tuning;

use crate::failure::bad_input;
use crate::pull::DEFAULT_MODEL;

/// A resolved recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Part of the run folder's name.
    pub(crate) name: String,
    /// One line for `gewu list recipes`.
    pub(crate) about: String,
    /// Names from the table of stages, in order.
    pub(crate) stages: Vec<String>,
    /// Seed of every random stream.
    pub(crate) seed: u64,
    pub(crate) pull: Pull,
    /// Settings of `data::GovernConfig`, without its sources.
    pub(crate) govern: Table,
    /// File of the general text on which every change of the model is weighed; empty takes the built-in one.
    pub(crate) neutral: String,
    pub(crate) specialize: Specialize,
    pub(crate) merge: Merge,
    pub(crate) align: Align,
    pub(crate) probe: Probe,
    pub(crate) train: Training,
    /// A small model from scratch.
    pub(crate) text: TextOptions,
    pub(crate) mixers: Mixers,
    pub(crate) induction: InductionOptions,
    pub(crate) ask: Ask,
    pub(crate) evaluate: Evaluate,
}

/// Stages that work on a model.
const NEED_A_MODEL: [&str; 6] = ["specialize", "train", "align", "probe", "ask", "evaluate"];

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pull {
    /// Source of the model; empty for none.
    pub(crate) model: String,
    /// Source of the documents; empty for none.
    pub(crate) source: String,
    /// The folder or file below the source to govern; empty for all of it.
    pub(crate) part: String,
    /// The field of a JSON object that holds a document's text.
    pub(crate) text_field: String,
}

/// Learning the documents' facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Specialize {
    /// What is compiled from the documents; its seed is the recipe's.
    pub(crate) items: SpecializeOptions,
    pub(crate) tuning: Tuning,
    /// General texts that the model itself writes first, to be held in place while it learns (replay).
    pub(crate) passages: usize,
    /// Tokens of one such text.
    pub(crate) passage_length: usize,
    /// Most growth of the perplexity of such text, untrained; the update is scaled down until it holds.
    pub(crate) cost: f64,
}

/// The specialized model mixed back into the one as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Merge {
    /// Shares of the specialized model that are tried, from 0 (as it came) to 1.
    pub(crate) shares: Vec<f64>,
    /// Most questions on trained facts, in unseen wordings.
    pub(crate) questions: usize,
}

/// Refusal of unsafe requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Align {
    /// What is trained; its seed is the recipe's.
    pub(crate) options: ::align::Options,
    /// Rank of the low-rank update of every projection.
    pub(crate) rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub(crate) alpha: f32,
    /// Most held-out requests of each side and language.
    pub(crate) requests: usize,
    /// Most held-out acts of each attack and language; 0 leaves the attacks out.
    pub(crate) attacked: usize,
    /// Tokens generated per request.
    pub(crate) max_tokens: usize,
    /// How the serving-time guard is fitted.
    pub(crate) guard: GuardOptions,
}

/// A look inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Probe {
    /// Prompts on which activations before and after are compared.
    pub(crate) prompts: usize,
    /// Prompts of each side that make the refusal direction.
    pub(crate) fit: usize,
    /// Prompts of each side that choose its layer.
    pub(crate) choose: usize,
    /// Held-out prompts of each side on which its effect is measured.
    pub(crate) test: usize,
    /// Every so many layers are tried.
    pub(crate) stride: usize,
    /// Random directions to compare with.
    pub(crate) controls: usize,
    /// Tokens of an answer that is judged.
    pub(crate) answer_tokens: usize,
}

/// Associative recall and parity by mixer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mixers {
    /// Number of seeds, from the recipe's.
    pub(crate) seeds: usize,
    /// Whether associative recall is learned.
    pub(crate) recall: bool,
    /// Whether parity is learned.
    pub(crate) parity: bool,
}

/// Continued training on the documents' text, on conversations, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Training {
    /// File of conversations, one JSON object per line with `messages` of `role` and `content`; only the last
    /// answer is learned. Empty for none.
    pub(crate) conversations: String,
    /// Whether the governed documents are learned as running text.
    pub(crate) documents: bool,
    pub(crate) tuning: Tuning,
    /// One example in so many is held out and measured.
    pub(crate) held_out_one_in: usize,
    /// Number type of the model that is written.
    pub(crate) format: String,
}

/// Questions to the pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ask {
    /// How many generated questions; half as many are asked again with their source removed.
    pub(crate) questions: usize,
    /// How many answers the report shows.
    pub(crate) samples: usize,
    /// Pieces of support the model reads.
    pub(crate) support: usize,
    /// Most new tokens of a generated answer.
    pub(crate) max_tokens: usize,
    /// Share of a free question that its support must cover.
    pub(crate) coverage: f64,
}

/// Items to grade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Evaluate {
    /// Names of the tasks; empty for all.
    pub(crate) tasks: Vec<String>,
    /// `en`, `zh`; empty for all.
    pub(crate) languages: Vec<String>,
    /// `quick` or `full`.
    pub(crate) profile: String,
    /// At most this many items of each task and language; 0 for no limit.
    pub(crate) limit: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "unnamed".into(),
            about: String::new(),
            stages: Vec::new(),
            seed: 0,
            pull: Pull::default(),
            govern: govern_defaults(),
            neutral: String::new(),
            specialize: Specialize::default(),
            merge: Merge::default(),
            align: Align::default(),
            probe: Probe::default(),
            train: Training::default(),
            text: TextOptions::default(),
            mixers: Mixers::default(),
            induction: InductionOptions::default(),
            ask: Ask::default(),
            evaluate: Evaluate::default(),
        }
    }
}

impl Default for Specialize {
    fn default() -> Self {
        Self {
            items: SpecializeOptions::default(),
            tuning: Tuning::default(),
            passages: 48,
            passage_length: 96,
            cost: 0.01,
        }
    }
}

impl Default for Merge {
    fn default() -> Self {
        Self { shares: vec![0.0, 0.25, 0.5, 0.75, 1.0], questions: 100 }
    }
}

impl Default for Align {
    fn default() -> Self {
        let options = ::align::Options::default();
        Self {
            options,
            rank: 16,
            alpha: 32.0,
            requests: 60,
            attacked: 8,
            max_tokens: 12,
            guard: GuardOptions::default(),
        }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self { prompts: 16, fit: 32, choose: 12, test: 24, stride: 2, controls: 2, answer_tokens: 16 }
    }
}

impl Default for Mixers {
    fn default() -> Self {
        Self { seeds: 1, recall: true, parity: true }
    }
}

impl Default for Training {
    fn default() -> Self {
        Self {
            conversations: String::new(),
            documents: true,
            tuning: Tuning { epochs: 1, ..Tuning::default() },
            held_out_one_in: 20,
            format: "Q8_0".into(),
        }
    }
}

impl Default for Pull {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.into(),
            source: "pypi:mendeleev".into(),
            part: String::new(),
            text_field: "text".into(),
        }
    }
}

impl Default for Ask {
    fn default() -> Self {
        let options = knowledge::AskOptions::default();
        Self {
            questions: 60,
            samples: 6,
            support: options.support,
            max_tokens: options.max_tokens,
            coverage: options.coverage,
        }
    }
}

impl Default for Evaluate {
    fn default() -> Self {
        Self { tasks: Vec::new(), languages: Vec::new(), profile: "quick".into(), limit: 0 }
    }
}

/// What the command line says beside the recipe's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides<'a> {
    pub(crate) full: bool,
    pub(crate) seed: Option<u64>,
    pub(crate) model: Option<&'a str>,
    pub(crate) docs: Option<&'a str>,
    pub(crate) set: &'a [String],
}

impl Recipe {
    /// Finds, overlays and checks a recipe: an embedded name, or a path to a TOML file.
    pub(crate) fn load(name: &str, overrides: &Overrides) -> Result<Self> {
        let text = match list::find(name) {
            Some(embedded) => embedded.text.to_owned(),
            None => read(name)?,
        };
        Self::resolve(&text, name, overrides)
    }

    fn resolve(text: &str, name: &str, overrides: &Overrides) -> Result<Self> {
        let mut file: Table = toml::from_str(text).with_context(|| format!("recipe `{name}`"))?;
        let full = file.remove("full");
        let mut resolved = Table::try_from(Recipe::default()).context("default recipe")?;
        keys::overlay(&mut resolved, file)
            .map_err(|problem| bad_input(format!("recipe `{name}`: {problem}")))?;
        match full {
            Some(Value::Table(full)) => {
                // Checked whether wanted or not, so that a typing error shows before the long run.
                let mut trial = resolved.clone();
                keys::overlay(&mut trial, full)
                    .map_err(|problem| bad_input(format!("recipe `{name}`, [full]: {problem}")))?;
                if overrides.full {
                    resolved = trial;
                }
            }
            Some(_) => return Err(bad_input(format!("recipe `{name}`: `full` must be a table"))),
            None => {}
        }
        for assignment in overrides.set {
            keys::assign(&mut resolved, assignment)
                .map_err(|problem| bad_input(format!("--set: {problem}")))?;
        }
        let mut recipe: Recipe = resolved.try_into().with_context(|| format!("recipe `{name}`"))?;
        if let Some(seed) = overrides.seed {
            recipe.seed = seed;
        }
        if let Some(model) = overrides.model {
            recipe.pull.model = model.to_owned();
        }
        if let Some(docs) = overrides.docs {
            recipe.pull.source = docs.to_owned();
        }
        recipe.check(name)?;
        Ok(recipe)
    }

    fn check(&self, name: &str) -> Result<()> {
        let fail = |problem: String| Err(bad_input(format!("recipe `{name}`: {problem}")));
        if self.stages.is_empty() {
            return fail("`stages` is empty".into());
        }
        let known = crate::stages::STAGES.iter().map(|stage| stage.name);
        for stage in &self.stages {
            if !known.clone().any(|known| known == stage) {
                let nearest = keys::nearest(stage, known.clone());
                return fail(format!("there is no stage `{stage}`; nearest: {}", nearest.join(", ")));
            }
        }
        crate::stages::check_order(&self.stages).or_else(fail)?;
        for (key, tuning) in [("specialize", &self.specialize.tuning), ("train", &self.train.tuning)] {
            if let Err(problem) = tuning.check() {
                return fail(format!("{key}.tuning: {problem}"));
            }
        }
        let specialize = &self.specialize.tuning;
        if specialize.keep_best || (specialize.recompute && specialize.anchor > 0.0) {
            return fail(
                "specialize.tuning: keep_best has nothing held out there, and recompute needs anchor = 0"
                    .into(),
            );
        }
        let plain = self.name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
        if self.name.is_empty() || !plain {
            return fail(format!(
                "`name` is `{}`; it names a folder: letters, digits, - and _ only",
                self.name
            ));
        }
        if !["quick", "full"].contains(&self.evaluate.profile.as_str()) {
            return fail(format!(
                "`evaluate.profile` is `{}`; it must be quick or full",
                self.evaluate.profile
            ));
        }
        for task in &self.evaluate.tasks {
            if tasks::find(task).is_none() {
                let nearest = keys::nearest(task, tasks::tasks().map(|task| task.name()));
                return fail(format!("there is no task `{task}`; nearest: {}", nearest.join(", ")));
            }
        }
        crate::stages::evaluate_options(&self.evaluate, self.seed)?;
        if self.pull.model.is_empty()
            && let Some(stage) = self.stages.iter().find(|stage| NEED_A_MODEL.contains(&stage.as_str()))
        {
            return fail(format!("stage `{stage}` needs a model, but `pull.model` is empty"));
        }
        self.govern_config(Vec::new())?;
        Ok(())
    }

    /// The governance settings with the given sources.
    pub(crate) fn govern_config(&self, sources: Vec<data::SourceConfig>) -> Result<data::GovernConfig> {
        let mut table = self.govern.clone();
        table.insert("sources".into(), Value::Array(Vec::new()));
        let mut config: data::GovernConfig = table.try_into().context("recipe table [govern]")?;
        config.sources = sources;
        Ok(config)
    }
}

/// Every key of the governance settings with its default.
fn govern_defaults() -> Table {
    let mut table = Table::try_from(data::GovernConfig::default()).unwrap_or_default();
    table.remove("sources");
    table
}

fn read(name: &str) -> Result<String> {
    let is_path = name.ends_with(".toml") || name.contains(['/', '\\']);
    if !is_path {
        let names = EMBEDDED.iter().map(|embedded| embedded.name);
        let nearest = keys::nearest(name, names).join(", ");
        return Err(bad_input(format!(
            "there is no recipe `{name}`; nearest: {nearest} (or give a path ending in .toml)"
        )));
    }
    std::fs::read_to_string(name).with_context(|| format!("cannot read recipe `{name}`"))
}

#[cfg(test)]
mod tests;
