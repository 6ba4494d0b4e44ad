//! `gewu merge`: several checkpoints into one.

use std::path::PathBuf;

use anyhow::Result;
use knowledge::merge::{MergeRequest, Method, merge};

use super::options::{print_json, print_line};
use crate::failure::bad_input;
use crate::progress;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The models (GGUF files or folders); FILE=WEIGHT gives one a weight other than 1
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<String>,
    /// linear, slerp, task_arithmetic, ties, dare_linear or dare_ties
    #[arg(long, value_name = "NAME")]
    method: String,
    /// The model the others were tuned from, for the methods that need one
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// The new .gguf file, or folder for safetensors
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Number type of the matrices: F32, F16, BF16, and for GGUF Q8_0, Q4_0
    #[arg(long = "type", value_name = "T", default_value = "F16")]
    kind: String,
    /// Share of entries kept (ties, dare)
    #[arg(long, value_name = "SHARE")]
    density: Option<f64>,
    /// Position on the arc (slerp)
    #[arg(long, value_name = "T")]
    t: Option<f64>,
    /// Scale of the merged difference
    #[arg(long, value_name = "SCALE")]
    lambda: Option<f64>,
    /// Seed of what DARE drops
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let request = MergeRequest {
        method: Method::named(&arguments.method)?,
        base: arguments.base.clone(),
        models: arguments.models.iter().map(|model| weighted(model)).collect::<Result<_>>()?,
        density: arguments.density,
        t: arguments.t,
        lambda: arguments.lambda,
        normalize: None,
        seed: arguments.seed,
        format: arguments.kind.clone(),
        output: arguments.out.clone(),
    };
    let bar = progress::bar(0, "merge");
    let summary = merge(&request, &mut |_| bar.inc(1))?;
    bar.finish_and_clear();
    if arguments.json {
        return print_json(&summary);
    }
    print_line(&format!("{}: {} tensors, {} bytes", arguments.out.display(), summary.tensors, summary.bytes))
}

/// `FILE` or `FILE=WEIGHT`.
fn weighted(text: &str) -> Result<(PathBuf, f64)> {
    match text.rsplit_once('=') {
        None => Ok((text.into(), 1.0)),
        Some((file, weight)) => {
            let weight = weight.parse().map_err(|_| {
                bad_input(format!("`{weight}` is no weight of `{file}`; give a number, as in model.gguf=0.5"))
            })?;
            Ok((file.into(), weight))
        }
    }
}
