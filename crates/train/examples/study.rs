//! Runs one study and prints its result as JSON, with progress and times on the way.
//!
//! ```text
//! study recall  <variant> <seed> [options.json]
//! study parity  <variant> <seed> [options.json]
//! study text    <folder of poem JSON> <work folder> <seed> [options.json]
//! ```

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use train::Progress;
use train::study::{Variant, parity, recall, text};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let started = Instant::now();
    let mut show = |progress: &Progress| {
        let seconds = started.elapsed().as_secs_f64();
        if progress.step.is_multiple_of(25) || progress.held_out.is_some() {
            println!(
                "{seconds:7.1} s  step {:5} of {}  loss {:.4}  rate {:.5}  norm {:.3}  {:.0} tokens/s{}{}",
                progress.step,
                progress.steps,
                progress.loss,
                progress.rate,
                progress.gradient_norm,
                progress.tokens as f64 / seconds,
                if progress.skipped { "  skipped" } else { "" },
                progress.held_out.map_or(String::new(), |loss| format!("  held out {loss:.4}")),
            );
        }
        true
    };
    match words[..] {
        ["recall", name, seed, ref rest @ ..] => {
            let variant = named(&recall::variants(), name);
            print(&recall::recall(&variant, &options(rest)?, seed.parse()?, &mut show)?)
        }
        ["parity", name, seed, ref rest @ ..] => {
            let variant = named(&parity::variants(), name);
            print(&parity::parity(&variant, &options(rest)?, seed.parse()?, &mut show)?)
        }
        ["text", poems, work, seed, ref rest @ ..] => {
            let documents = read_poems(Path::new(poems))?;
            println!("{} documents", documents.len());
            let (result, ..) =
                text::text(&documents, &options(rest)?, seed.parse()?, Path::new(work), &mut show)?;
            print(&result)
        }
        _ => Err("usage: study recall|parity VARIANT SEED [OPTIONS] | study text FOLDER WORK SEED [OPTIONS]"
            .into()),
    }
}

/// The variant of that name; any other text is a list of layers.
fn named(known: &[Variant], name: &str) -> Variant {
    known.iter().find(|variant| variant.name == name).cloned().unwrap_or_else(|| Variant::new(name, name))
}

fn options<T: DeserializeOwned + Default>(rest: &[&str]) -> Result<T, Failure> {
    match rest.first() {
        Some(path) => Ok(serde_json::from_slice(&std::fs::read(path)?)?),
        None => Ok(T::default()),
    }
}

fn print(result: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(result)?);
    Ok(())
}

/// Title and lines of every poem in the folder's `poet.tang.*.json`.
fn read_poems(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    let mut documents = Vec::new();
    for path in paths {
        let poems: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&path)?)?;
        for poem in poems {
            let lines = poem["paragraphs"].as_array().into_iter().flatten().filter_map(|line| line.as_str());
            let lines: Vec<&str> = lines.collect();
            if !lines.is_empty() {
                let title = poem["title"].as_str().or(poem["rhythmic"].as_str()).unwrap_or_default();
                documents.push(format!("{title}\n{}", lines.join("\n")));
            }
        }
    }
    Ok(documents)
}
