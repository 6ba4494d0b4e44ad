//! `gewu convert`: a checkpoint in another format or number type.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::options::{print_json, print_line};
use crate::failure::bad_input;
use crate::pull;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A .gguf file, a folder with safetensors, or a source
    #[arg(value_name = "IN")]
    input: String,
    /// The new .gguf file, or folder for safetensors
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// F32, F16, BF16, Q8_0 or Q4_0
    #[arg(long = "type", value_name = "T")]
    kind: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let format = model::convert::type_named(&arguments.kind)?;
    let input = pull::model(&arguments.input)?;
    if !input.exists() {
        return Err(bad_input(format!("`{}` does not exist", input.display())));
    }
    let done = model::convert::convert(&input, &arguments.output, format)?;
    if arguments.json {
        return print_json(&json!({
            "output": arguments.output,
            "type": format.name(),
            "tensors": done.tensors,
            "bytes": done.bytes,
        }));
    }
    print_line(&format!("{}: {} tensors, {} bytes", arguments.output.display(), done.tensors, done.bytes))
}
