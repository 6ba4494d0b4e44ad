//! `gewu ask`: one question to a run's index.

use std::path::PathBuf;

use anyhow::Result;
use knowledge::{Answer, AskOptions, Pack};

use super::options::{ModelArguments, print_json, print_line};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The question, in English or Chinese
    #[arg(value_name = "QUESTION")]
    question: String,
    /// A run folder, or a pack
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    model: ModelArguments,
    /// Ask the model alone: no support, no citation, no abstention
    #[arg(long)]
    closed_book: bool,
    /// Look the answer up without a model
    #[arg(long, conflicts_with = "closed_book")]
    no_model: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let inner = arguments.run.join("index");
    let pack = Pack::open(if inner.is_dir() { &inner } else { &arguments.run })?;
    let options = AskOptions { retrieval: !arguments.closed_book, ..AskOptions::default() };
    let answer = if arguments.no_model {
        knowledge::look_up(&pack, &arguments.question, &options)?
    } else {
        knowledge::ask(&pack, &mut arguments.model.open()?, &arguments.question, &options)?
    };
    if arguments.json { print_json(&answer) } else { print(&answer) }
}

fn print(answer: &Answer) -> Result<()> {
    if answer.abstained {
        return print_line(&format!("No answer: {}", answer.reason));
    }
    print_line(&answer.text)?;
    for citation in &answer.citations {
        let place = [citation.path.as_str(), citation.locator.as_str()].join(" ");
        print_line(&format!(
            "  [{}] {}, bytes {}..{}: {}",
            &citation.document.get(..8).unwrap_or(&citation.document),
            place.trim(),
            citation.start,
            citation.end,
            citation.quote
        ))?;
        if !citation.cited.is_empty() {
            print_line(&format!("      the source cites {}", citation.cited))?;
        }
    }
    Ok(())
}
