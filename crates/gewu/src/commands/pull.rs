//! `gewu pull`: fetch a source into the cache and print where it is.

use anyhow::Result;
use serde_json::json;

use super::options::{print_json, print_line};
use crate::home::home;
use crate::pull::{Source, pull};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// pypi:package, npm:package, hf:org/name, or a path to check
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let fetched = pull(&Source::parse(&arguments.source)?, &home()?)?;
    if arguments.json {
        return print_json(&json!({
            "source": fetched.source(),
            "path": fetched.place(),
            "hash": fetched.hash(),
            "version": fetched.lock().version,
            "licence": fetched.lock().licence,
            "files": fetched.lock().files,
        }));
    }
    print_line(&fetched.place().display().to_string())
}
