//! IFEval (Zhou et al. 2023, arXiv 2311.07911): its file format and its 25 verifiable instructions.
//!
//! A response is judged strictly, as it stands, or loosely, in eight variants (first or last line dropped,
//! asterisks deleted) of which one must do. Where the published rule is an accident it is followed all the
//! same, so that published numbers come out; each such place says so.

mod checks;
mod sentences;

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Error;

/// One prompt of the public file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Prompt {
    /// The prompt's number.
    pub key: u64,
    /// The request.
    pub prompt: String,
    /// Instructions such as `punctuation:no_comma`.
    pub instruction_id_list: Vec<String>,
    /// The arguments of each instruction.
    pub kwargs: Vec<Map<String, Value>>,
}

/// How a response is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it stands.
    Strict,
    /// In any of eight variants.
    Loose,
}

/// Reads the public file, one JSON object on each line.
///
/// # Errors
/// If the file cannot be read or a line is not a prompt with as many arguments as instructions.
pub fn read(path: &Path) -> Result<Vec<Prompt>, Error> {
    let prompts: Vec<Prompt> = crate::lines::read(path)?;
    for (index, prompt) in prompts.iter().enumerate() {
        if prompt.instruction_id_list.len() != prompt.kwargs.len() {
            return Err(Error::Line {
                path: path.to_owned(),
                line: index + 1,
                reason: format!(
                    "{} instructions with {} arguments",
                    prompt.instruction_id_list.len(),
                    prompt.kwargs.len()
                ),
            });
        }
    }
    Ok(prompts)
}

/// Whether `response` follows each instruction of `prompt`; `None` for an instruction or argument that is not
/// among the known ones, or that the public rule decides by a random number.
pub fn judge(prompt: &Prompt, response: &str, mode: Mode) -> Vec<Option<bool>> {
    let variants = match mode {
        Mode::Strict => vec![response.to_owned()],
        Mode::Loose => loose_variants(response),
    };
    prompt
        .instruction_id_list
        .iter()
        .zip(&prompt.kwargs)
        .map(|(instruction, arguments)| {
            let mut followed = false;
            for variant in &variants {
                // A blank response follows nothing, whatever the rule would say.
                followed |= !variant.trim().is_empty() && checks::check(instruction, arguments, variant)?;
            }
            // A response of blanks only never reached the rule; an unknown instruction is unknown all the same.
            checks::check(instruction, arguments, "x").map(|_| followed)
        })
        .collect()
}

fn loose_variants(response: &str) -> Vec<String> {
    let lines: Vec<&str> = response.split('\n').collect();
    let part = |from: usize, to: usize| {
        lines.get(from..to).map_or(String::new(), |part| part.join("\n").trim().to_owned())
    };
    let end = lines.len();
    let mut variants = vec![
        response.to_owned(),
        part(1, end),
        part(0, end.saturating_sub(1)),
        part(1, end.saturating_sub(1)),
    ];
    let bare: Vec<String> = variants.iter().map(|variant| variant.replace('*', "")).collect();
    variants.extend(bare);
    variants
}
