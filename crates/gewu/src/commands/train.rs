//! `gewu train`: continued training as a recipe, or with `--plan` what it would need.

use std::path::Path;

use anyhow::Result;
use model::{Checkpoint, Config};
use serde_json::json;
use train::OptimizerConfig;
use train::plan::{Plan, Setting, Shape, Thrift, Tuned, plan, ways};

use super::options::{print_json, print_line};
use super::run::{Settings, carry_out};
use crate::failure::bad_input;
use crate::pull::{self, DEFAULT_MODEL};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Only say what training needs: peak memory and time of a step, for every way to train
    #[arg(long, conflicts_with_all = ["docs", "out", "full", "seed", "set"])]
    plan: bool,
    #[command(flatten)]
    planned: Planned,
}

#[derive(clap::Args)]
#[command(next_help_heading = "With --plan")]
struct Planned {
    /// A known shape (tiny … qwen3-235b-a22b) or a configuration (.json, .toml); without it, --model counts
    #[arg(long, value_name = "SHAPE", requires = "plan", conflicts_with = "model")]
    shape: Option<String>,
    /// Tokens of a sequence
    #[arg(long, value_name = "N", default_value_t = 512, requires = "plan")]
    length: usize,
    /// Sequences of a step, over all devices
    #[arg(long, value_name = "N", default_value_t = 1, requires = "plan")]
    batch: usize,
    /// Devices that divide weights, gradients, state and batch
    #[arg(long, value_name = "N", default_value_t = 1, requires = "plan")]
    devices: usize,
    /// Rank of low-rank changes
    #[arg(long, value_name = "N", default_value_t = 16, requires = "plan")]
    rank: usize,
    /// Memory of a device in 10⁹ bytes; this machine's without it
    #[arg(long, value_name = "GB", requires = "plan")]
    memory: Option<f64>,
    /// 10⁹ operations per second of a device; without it, what this machine reaches in products, times 0.65
    #[arg(long, value_name = "N", requires = "plan")]
    gflops: Option<f64>,
    /// Print one JSON object
    #[arg(long, requires = "plan")]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match arguments.plan {
        true => print_plan(&arguments.planned, arguments.settings.model()),
        false => carry_out("train", &arguments.settings),
    }
}

/// The share of the machine's peak that training reaches here (BENCHMARKS: 0.6 to 0.78).
const REACHED: f64 = 0.65;

fn print_plan(planned: &Planned, model: Option<&str>) -> Result<()> {
    let (shape, frozen) = shape(planned.shape.as_deref(), model)?;
    if planned.memory.is_some_and(|gigabytes| !(gigabytes.is_finite() && gigabytes > 0.0)) {
        return Err(bad_input("--memory must be a number above 0"));
    }
    let memory = planned.memory.map(|gigabytes| gigabytes * 1e9).or_else(total_memory);
    let gflops = match planned.gflops {
        Some(gflops) if gflops > 0.0 => gflops,
        Some(_) => return Err(bad_input("--gflops must be above 0")),
        None => kernels::gemm::peak(kernels::gemm::Precision::BF16) / 1e9 * REACHED,
    };
    let Planned { length, batch, devices, rank, .. } = *planned;
    let mut rows = Vec::new();
    for (tuned, method, thrift) in ways() {
        let optimizer = OptimizerConfig { method, ..OptimizerConfig::default() };
        // A file's size is that of frozen weights as they are; trained ones are f32.
        let frozen_bytes = frozen.filter(|_| tuned == Tuned::Qlora);
        let setting = Setting { tuned, optimizer, rank, frozen_bytes, length, batch, thrift, devices };
        rows.push((
            (tuned, method, thrift),
            plan(&shape, &setting).map_err(|error| bad_input(error.to_string()))?,
        ));
    }
    let seconds = |plan: &Plan| plan.operations / (gflops * 1e9);
    if planned.json {
        let ways: Vec<_> = rows
            .iter()
            .map(|((tuned, method, thrift), plan)| {
                json!({
                    "tuned": tuned, "optimizer": method.to_string(), "thrift": thrift,
                    "bytes": plan, "step_seconds": seconds(plan),
                    "fits": memory.map(|memory| (plan.peak as f64) < memory),
                })
            })
            .collect();
        return print_json(&json!({
            "shape": shape, "parameters": shape.parameters(), "length": length, "batch": batch,
            "devices": devices, "gflops": gflops, "memory_bytes": memory, "ways": ways,
        }));
    }
    let billions = shape.parameters() as f64 / 1e9;
    print_line(&format!(
        "{}: {billions:.3} · 10⁹ parameters; {batch} sequences of {length} tokens a step; devices: {devices}, {gflops:.0} GFLOP/s each",
        shape.name
    ))?;
    if devices > 1 {
        print_line(
            "weights, gradients and state are divided; the time leaves out what devices send each other",
        )?;
    }
    print_line("GB on a device   peak  weights   state  gradients  activations   step")?;
    for ((tuned, method, thrift), plan) in &rows {
        let name = match tuned {
            Tuned::Full => format!("full, {method}"),
            Tuned::Lora => format!("lora {rank}, 16 bits"),
            Tuned::Qlora => format!("qlora {rank}, {}", if frozen.is_some() { "the file" } else { "4 bits" }),
        };
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let fits = match memory {
            Some(memory) if plan.peak as f64 >= memory => "does not fit",
            _ => "",
        };
        print_line(
            format!(
                "{:>21.2} {:>8.2} {:>7.2} {:>10.2} {:>12.2} {:>8}  {name}{} {fits}",
                gigabytes(plan.peak),
                gigabytes(plan.weights),
                gigabytes(plan.state),
                gigabytes(plan.gradients),
                gigabytes(plan.activations),
                time(seconds(plan)),
                saving(*thrift),
            )
            .trim_end(),
        )?;
    }
    Ok(())
}

/// How a way saves memory, in words.
fn saving(thrift: Thrift) -> String {
    let words = [
        (thrift.recompute, ", recomputing"),
        (thrift.at_once, ", every weight at once"),
        (thrift.state_in_files, ", state in files"),
    ];
    words.into_iter().filter(|(used, _)| *used).map(|(_, words)| words).collect()
}

/// The shape, and the bytes of the file if it is a checkpoint's.
fn shape(shape: Option<&str>, model: Option<&str>) -> Result<(Shape, Option<u64>)> {
    let Some(name) = shape else {
        let name = model.unwrap_or(DEFAULT_MODEL);
        let path = pull::model(name)?;
        let checkpoint = Checkpoint::open(&path)?;
        let bytes = std::fs::metadata(&path).ok().filter(|data| data.is_file()).map(|data| data.len());
        return Ok((Shape::of(name, checkpoint.config())?, bytes));
    };
    let unknown = match Shape::named(name) {
        Ok(shape) => return Ok((shape, None)),
        Err(error) => error,
    };
    if !Path::new(name).is_file() {
        return Err(bad_input(format!("{unknown}; nor is there a file of that name")));
    }
    let text = std::fs::read_to_string(name)?;
    let bad = |error: String| bad_input(format!("`{name}` is no configuration of a model: {error}"));
    let config: Config = match name.ends_with(".toml") {
        true => toml::from_str(&text).map_err(|error| bad(error.to_string()))?,
        false => serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?,
    };
    config.validate()?;
    Ok((Shape::of(name, &config)?, None))
}

/// Bytes of this machine's memory, where the system tells.
fn total_memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

/// Seconds in the unit that reads best.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(
            [0.25, 5.0, 300.0, 9000.0, 1e6].map(time),
            ["250 ms", "5.0 s", "5 min", "2.5 h", "11.6 d"]
        );
    }

    #[test]
    fn shapes_are_names_files_or_a_mistake() {
        let (known, bytes) = shape(Some("qwen2.5-7b"), None).unwrap();
        assert!(known.parameters() > 7_000_000_000 && bytes.is_none());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let config = train::speed::SETUPS[0].config();
        std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
        let file = path.to_str().unwrap();
        assert_eq!(shape(Some(file), None).unwrap().0.parameters(), 139_584);
        std::fs::write(&path, "{}").unwrap();
        assert!(shape(Some(file), None).unwrap_err().to_string().contains("no configuration"));
        assert!(shape(Some("gpt-9"), None).unwrap_err().to_string().contains("qwen2.5-7b"));
    }
}
