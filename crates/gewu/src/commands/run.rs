//! `gewu run`: carry out a recipe in a run folder; `train`, `align` and `probe` are recipes with a verb of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use ledger::{Manifest, Run};

use super::options::print_line;
use crate::progress::say;
use crate::recipe::{EMBEDDED, Overrides, Recipe};
use crate::stages::{Job, manifest};

/// Folder of the runs that name no folder of their own.
const RUNS: &str = "runs";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A recipe by name (`gewu list recipes`) or a path to a .toml file
    #[arg(value_name = "RECIPE", default_value = EMBEDDED[0].name)]
    recipe: String,
    #[command(flatten)]
    settings: Settings,
}

/// What changes a recipe, and where its run goes.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Use this model instead of the recipe's
    #[arg(long, value_name = "FILE")]
    model: Option<String>,
    /// Use the documents in this folder or file instead of the recipe's source
    #[arg(long, value_name = "FOLDER")]
    docs: Option<String>,
    /// The run folder; an interrupted run in it continues
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Everything the recipe can do, not a sample
    #[arg(long)]
    full: bool,
    /// Seed of every random choice
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Change a setting of the recipe, such as ask.questions=100; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The model that was asked for.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    carry_out(&arguments.recipe, &arguments.settings)
}

/// Carries out a recipe with changed settings.
pub(crate) fn carry_out(recipe: &str, settings: &Settings) -> Result<()> {
    let overrides = Overrides {
        full: settings.full,
        seed: settings.seed,
        model: settings.model.as_deref(),
        docs: settings.docs.as_deref(),
        set: &settings.set,
    };
    let recipe = Recipe::load(recipe, &overrides)?;
    let manifest = manifest(&recipe)?;
    let folder = match &settings.out {
        Some(folder) => folder.clone(),
        None => default_folder(Path::new(RUNS), &recipe.name, &manifest)?,
    };
    let mut job = Job::open(&folder, recipe, &manifest)?;
    say(format!("run folder: {}", folder.display()));
    job.carry_out()?;
    print_line(&folder.display().to_string())
}

/// The latest unfinished run of the same settings, or a new folder named after recipe and time.
fn default_folder(runs: &Path, name: &str, manifest: &Manifest) -> Result<PathBuf> {
    let mut unfinished: Vec<PathBuf> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| Run::continues(path, manifest))
        .collect();
    unfinished.sort();
    if let Some(folder) = unfinished.pop() {
        say(format!("continuing `{}`", folder.display()));
        return Ok(folder);
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let time = time_name(seconds);
    let mut folder = runs.join(format!("{name}-{time}"));
    for count in 2.. {
        if !folder.exists() {
            break;
        }
        folder = runs.join(format!("{name}-{time}-{count}"));
    }
    Ok(folder)
}

/// `20261124-001530` of seconds since 1970, in UTC.
fn time_name(seconds: u64) -> String {
    // Days to year, month and day: Howard Hinnant's `civil_from_days`.
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_names() {
        assert_eq!(time_name(0), "19700101-000000");
        assert_eq!(time_name(951_782_400), "20000229-000000");
        assert_eq!(time_name(1_795_479_330), "20261124-001530");
    }
}
