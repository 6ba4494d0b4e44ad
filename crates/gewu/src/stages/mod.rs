//! The stages of a recipe: one table, one file each. To add one: a file here and a line in [`STAGES`].

mod align;
mod ask;
mod evaluate;
mod govern;
mod index;
mod inputs;
mod merge;
mod neutral;
mod probe;
mod report;
mod specialize;
mod studies;
mod text;
mod train;
mod tuning;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
pub(crate) use evaluate::{hash_of, options as evaluate_options};
use ledger::{Manifest, Run};
use model::{LoadOptions, Local};

use crate::home::home;
use crate::progress::say;
use crate::pull::{Fetched, Source, pull};
use crate::recipe::Recipe;

/// A registered stage.
pub(crate) struct Kind {
    /// Its name in recipes and its folder's.
    pub(crate) name: &'static str,
    /// One line for `gewu list stages`.
    pub(crate) about: &'static str,
    /// Stages that must come before it.
    needs: &'static [&'static str],
    run: fn(&mut Job) -> Result<()>,
}

/// Every stage, in the order of a life cycle.
pub(crate) const STAGES: &[Kind] = &[
    Kind {
        name: "pull",
        about: "fetch model and documents, record their hashes",
        needs: &[],
        run: inputs::run,
    },
    Kind {
        name: "govern",
        about: "read, judge, deduplicate and redact the documents; every decision goes to the ledger",
        needs: &["pull"],
        run: govern::run,
    },
    Kind {
        name: "index",
        about: "compile the governed documents into passages and facts",
        needs: &["govern"],
        run: index::run,
    },
    Kind {
        name: "specialize",
        about: "the model learns the documents: items of facts and prose, low-rank tuning, closed-book answers before and after",
        needs: &["index"],
        run: specialize::run,
    },
    Kind {
        name: "merge",
        about: "the specialized model mixed back into the one as it came: facts and general text by share",
        needs: &["specialize"],
        run: merge::run,
    },
    Kind {
        name: "align",
        about: "unsafe requests are refused and harmless look-alikes answered; refusals and attacks before and after",
        needs: &["pull"],
        run: align::run,
    },
    Kind {
        name: "probe",
        about: "what tuning changed inside the model, which heads copy, which direction carries refusal",
        needs: &["pull"],
        run: probe::run,
    },
    Kind {
        name: "train",
        about: "continue the training of a model on the documents' text and on conversations",
        needs: &["pull"],
        run: train::run,
    },
    Kind {
        name: "text",
        about: "a small model from scratch on the documents, its bits per character and samples",
        needs: &["govern"],
        run: text::run,
    },
    Kind {
        name: "mixers",
        about: "associative recall and parity, learned from scratch by each mixer, by seed",
        needs: &[],
        run: studies::mixers,
    },
    Kind {
        name: "induction",
        about: "an attention-only model learns to copy: change point, ablation of heads, one-layer control",
        needs: &[],
        run: studies::induction,
    },
    Kind {
        name: "ask",
        about: "generated questions, answered from the index with citations, by the model alone, and without the source",
        needs: &["index"],
        run: ask::run,
    },
    Kind {
        name: "evaluate",
        about: "score the model on the built-in tasks",
        needs: &["pull"],
        run: evaluate::run,
    },
    Kind { name: "report", about: "scorecard.json and report.html", needs: &[], run: report::run },
];

/// Refuses an order in which a stage comes before what it needs.
pub(crate) fn check_order(names: &[String]) -> Result<(), String> {
    for (position, name) in names.iter().enumerate() {
        let (before, _) = names.split_at(position);
        if before.contains(name) {
            return Err(format!("stage `{name}` occurs twice"));
        }
        let needs = STAGES.iter().filter(|stage| stage.name == name).flat_map(|stage| stage.needs);
        for need in needs {
            if !before.iter().any(|before| before == need) {
                return Err(format!("stage `{name}` needs `{need}` before it"));
            }
        }
    }
    Ok(())
}

/// What the results of a run depend on.
pub(crate) fn manifest(recipe: &Recipe) -> Result<Manifest> {
    let environment = BTreeMap::from([
        ("gewu".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("cpu".to_owned(), kernels::cpu::chosen()?.name().to_owned()),
        ("rules".to_owned(), tasks::RULES_VERSION.to_string()),
    ]);
    Ok(Manifest {
        recipe: recipe.name.clone(),
        seed: recipe.seed,
        configuration: serde_json::to_value(recipe).context("recipe as JSON")?,
        environment,
    })
}

/// A run under way.
pub(crate) struct Job {
    recipe: Recipe,
    run: Run,
    /// `None` if the recipe names no model.
    model: Option<Fetched>,
    /// `None` if the recipe names no documents.
    source: Option<Fetched>,
    /// The model that is loaded, and where it came from.
    loaded: Option<(PathBuf, Local)>,
}

/// Stages that make a model; each leaves it in its folder under [`MODEL`].
const MAKERS: [&str; 3] = ["align", "train", "specialize"];

/// File of a model that a stage made.
pub(crate) const MODEL: &str = "model.gguf";

impl Job {
    /// Fetches the inputs and opens the run folder.
    pub(crate) fn open(folder: &Path, recipe: Recipe, manifest: &Manifest) -> Result<Self> {
        let run = Run::open(folder, manifest)?;
        let home = home()?;
        let fetch = |name: &str| match name {
            "" => Ok(None),
            name => pull(&Source::parse(name)?, &home).map(Some),
        };
        let (model, source) = (fetch(&recipe.pull.model)?, fetch(&recipe.pull.source)?);
        Ok(Self { recipe, run, model, source, loaded: None })
    }

    /// Runs the stages that have not finished, in order.
    pub(crate) fn carry_out(&mut self) -> Result<()> {
        for name in self.recipe.stages.clone() {
            let Some(kind) = STAGES.iter().find(|kind| kind.name == name) else { continue };
            let finished = self.run.stages().iter().any(|stage| stage.name == name);
            say(format!("{name}: {}", if finished { "already finished" } else { kind.about }));
            (kind.run)(self).with_context(|| format!("stage `{name}`"))?;
        }
        Ok(self.run.finish()?)
    }

    /// Hash of everything that came from outside.
    fn inputs(&self) -> String {
        let hash = |input: &Option<Fetched>| input.as_ref().map(Fetched::hash).unwrap_or_default();
        ledger::short_hash(&[&hash(&self.model), &hash(&self.source)])
    }

    /// Where the documents are.
    fn documents(&self) -> Result<&Fetched> {
        self.source.as_ref().context("the recipe names no documents: set `pull.source`")
    }

    /// The model as it came.
    fn base(&self) -> Result<PathBuf> {
        self.model.as_ref().context("the recipe names no model: set `pull.model`")?.model()
    }

    /// The model as the stages before `stage` left it.
    fn model_before(&self, stage: &str) -> Result<PathBuf> {
        let before = self.recipe.stages.iter().take_while(|name| *name != stage);
        let makers = before.filter(|name| MAKERS.contains(&name.as_str()));
        // A stage that found nothing to learn leaves no model.
        let made = makers.map(|maker| self.run.folder().join(maker).join(MODEL)).filter(|path| path.exists());
        made.last().map_or_else(|| self.base(), Ok)
    }
}

/// A count as a share with its Wilson interval.
fn share(part: usize, whole: usize) -> Result<serde_json::Value> {
    if whole == 0 {
        return Ok(serde_json::json!({"n": 0}));
    }
    let interval = statistics::wilson(part, whole, 0.95)?;
    Ok(serde_json::json!({"n": whole, "share": part as f64 / whole as f64, "interval": interval}))
}

/// The model at `path`, loaded unless it already is.
fn load<'l>(loaded: &'l mut Option<(PathBuf, Local)>, path: &Path) -> Result<&'l mut Local> {
    if loaded.as_ref().is_none_or(|(known, _)| known != path) {
        *loaded = None;
        let local = Local::open(path, &LoadOptions::default())
            .with_context(|| format!("cannot load `{}`", path.display()))?;
        *loaded = Some((path.to_owned(), local));
    }
    loaded.as_mut().map(|(_, local)| local).context("the model is not loaded")
}
