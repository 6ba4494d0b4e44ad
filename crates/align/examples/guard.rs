//! Fits a guard and measures it on prompts from other sources, and what it costs:
//! `cargo run --release -p align --example guard -- MODEL.gguf DATA [BLOCK …]`, DATA being the folder of public test data.
//!
//! Positives: `refusal_direction` harmful (test, train and validation splits). Negatives: safe XSTest prompts, and
//! ordinary instructions (LLMBar inputs, GSM8K questions, IFEval prompts). Nothing of it is trained on.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use align::guard::{Decision, Guard, GuardOptions, Reading, above_middle};
use align::preferences::{Side, split};
use model::config::Layers;
use model::{Activation, Checkpoint, Hooks, Message, Transformer, Want};
use serde_json::Value;
use statistics::auroc;
use tasks::Language;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Source {
    name: &'static str,
    harmful: bool,
    prompts: Vec<String>,
}

fn json(path: &Path) -> Outcome<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

fn strings(values: &Value, field: &str) -> Vec<String> {
    let each = |value: &Value| value[field].as_str().map(str::to_string);
    values.as_array().map(|all| all.iter().filter_map(each).collect()).unwrap_or_default()
}

fn lines(path: &Path, field: &str, most: usize) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(path)?;
    let all: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let step = all.len().div_ceil(most.max(1)).max(1);
    Ok(all.iter().step_by(step).filter_map(|line| line[field].as_str().map(str::to_string)).collect())
}

/// The safe or unsafe prompts of XSTest: `id,prompt,type,label,…`, where a prompt with a comma is quoted.
fn xstest(path: &Path, label: &str) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(path)?;
    let mut prompts = Vec::new();
    for line in text.lines().skip(1) {
        let Some((_, rest)) = line.split_once(',') else { continue };
        let (prompt, rest) = match rest.strip_prefix('"').and_then(|rest| rest.split_once("\",")) {
            Some((prompt, rest)) => (prompt.replace("\"\"", "\""), rest),
            None => rest.split_once(',').map(|(p, r)| (p.to_string(), r)).unwrap_or_default(),
        };
        if rest.split(',').nth(1) == Some(label) {
            prompts.push(prompt);
        }
    }
    Ok(prompts)
}

fn sources(data: &Path) -> Outcome<Vec<Source>> {
    let mut harmful = Vec::new();
    for part in ["test", "train", "val"] {
        let file = data.join(format!("refusal_direction/harmful_{part}.json"));
        harmful.extend(strings(&json(&file)?, "instruction"));
    }
    let natural = json(&data.join("llmbar/LLMBar/Natural/dataset.json")).unwrap_or_default();
    Ok(vec![
        Source { name: "refusal_direction harmful", harmful: true, prompts: harmful },
        Source {
            name: "xstest unsafe",
            harmful: true,
            prompts: xstest(&data.join("xstest/xstest_prompts.csv"), "unsafe")?,
        },
        Source {
            name: "xstest safe",
            harmful: false,
            prompts: xstest(&data.join("xstest/xstest_prompts.csv"), "safe")?,
        },
        Source { name: "llmbar", harmful: false, prompts: strings(&natural, "input") },
        Source {
            name: "gsm8k",
            harmful: false,
            prompts: lines(&data.join("gsm8k/test.jsonl"), "question", 100)?,
        },
        Source {
            name: "ifeval",
            harmful: false,
            prompts: lines(&data.join("ifeval/input_data.jsonl"), "prompt", 100)?,
        },
    ])
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(path), Some(data)) = (args.first(), args.get(1)) else {
        return Err("name a checkpoint and the data".into());
    };
    let checkpoint = Checkpoint::open(Path::new(path))?;
    let tokenizer = checkpoint.tokenizer()?;
    let template = checkpoint.chat_template(&tokenizer)?;
    let transformer = Transformer::load(checkpoint.config(), &mut &checkpoint, Activation::Int8)?;
    let sources = sources(Path::new(data))?;
    let mut blocks: Vec<usize> = args[2..].iter().filter_map(|block| block.parse().ok()).collect();
    if blocks.is_empty() {
        blocks.push(above_middle(&transformer));
    }
    for block in blocks {
        // The blocks above the guard's make no difference to it; without them, reading takes half as long.
        let mut config = checkpoint.config().clone();
        config.layers = Layers::parse(&format!("{} x [attention]", block + 1))?;
        let lower = Transformer::load(&config, &mut &checkpoint, Activation::Int8)?;
        let options = GuardOptions { block: Some(block), ..GuardOptions::default() };
        let Some(guard) = Guard::fit(&lower, &tokenizer, &template, &options, &mut |done, of| {
            eprintln!("{done} of {of}");
            true
        })?
        else {
            continue;
        };
        let judge = |prompts: &[&str]| guard.judge_all(&lower, &tokenizer, &template, prompts);
        let mut scored = Vec::new();
        for source in &sources {
            let judged = judge(&source.prompts.iter().map(String::as_str).collect::<Vec<_>>())?;
            let risky = judged.iter().filter(|judgment| judgment.risky).count();
            println!("block {block}: {}: {risky} of {} risky", source.name, judged.len());
            scored.push((source, judged));
        }
        let own = judge(&split(true).map(|p| p.prompt.as_str()).collect::<Vec<_>>())?;
        let own: Vec<_> = split(true).zip(own).collect();
        let area = |of: &dyn Fn(&align::guard::Judgment) -> f64, negatives: &[&str], positives: &[&str]| {
            let chosen = scored.iter().filter(|(s, _)| {
                if s.harmful {
                    positives.contains(&s.name)
                } else {
                    negatives.is_empty() || negatives.contains(&s.name)
                }
            });
            let rows: Vec<(f64, bool)> = chosen
                .flat_map(|(s, judged)| judged.iter().map(|j| (of(j), s.harmful)).collect::<Vec<_>>())
                .collect();
            let (scores, labels): (Vec<f64>, Vec<bool>) = rows.into_iter().unzip();
            auroc(&scores, &labels).ok().flatten().unwrap_or(f64::NAN)
        };
        for (name, of) in [
            ("together", &(|j: &align::guard::Judgment| j.score) as &dyn Fn(&align::guard::Judgment) -> f64),
            ("probe", &|j| j.probe.unwrap_or(0.0)),
            ("letters", &|j| j.letters),
        ] {
            let held_out = |languages: &[Language]| {
                let chosen = own.iter().filter(|(p, _)| languages.contains(&p.language));
                let (scores, labels): (Vec<f64>, Vec<bool>) =
                    chosen.map(|(p, j)| (of(j), p.side == Side::Unsafe)).unzip();
                auroc(&scores, &labels).ok().flatten().unwrap_or(f64::NAN)
            };
            let harmful = &["refusal_direction harmful"];
            print!("block {block} {name}: AUROC against all {:.4}", area(of, &[], harmful));
            for source in scored.iter().map(|(source, _)| source).filter(|source| !source.harmful) {
                print!(", {} {:.4}", source.name, area(of, &[source.name], harmful));
            }
            println!(
                "; xstest alone {:.4}; own held-out {:.4}, English {:.4}, Chinese {:.4}",
                area(of, &["xstest safe"], &["xstest unsafe"]),
                held_out(&Language::ALL),
                held_out(&[Language::En]),
                held_out(&[Language::Zh]),
            );
        }
        cost(&transformer, &tokenizer, &template, &guard)?;
    }
    Ok(())
}

/// Generates with and without the guard in turn and compares the time.
fn cost(
    transformer: &Transformer,
    tokenizer: &model::tokenizer::Tokenizer,
    template: &model::template::ChatTemplate,
    guard: &Guard,
) -> Outcome<()> {
    let prompts: Vec<&str> =
        split(true).filter(|p| p.side == Side::Harmless).map(|p| p.prompt.as_str()).take(6).collect();
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 0..4 {
        for guarded in [round % 2 == 0, round % 2 != 0] {
            let start = Instant::now();
            for prompt in &prompts {
                let text = template.render(&[Message::new("user", *prompt)])?;
                let tokens = tokenizer.encode_prompt(&text);
                let mut cache = transformer.cache(512);
                let reading = RefCell::new(Reading::default());
                let mut hooks = Hooks::new();
                if guarded {
                    guard.listen(&mut hooks, &reading);
                }
                let mut logits =
                    transformer.forward_with(&tokens, Some(&mut cache), Want::Last, &mut hooks)?;
                drop(hooks);
                let judgment = guarded.then(|| guard.judge(prompt, Some(&reading.borrow())));
                let mut check = judgment.as_ref().map(|judgment| guard.watch(judgment));
                for _ in 0..48 {
                    let row = logits.into_data().try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
                    let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u32;
                    if let Some(check) = &mut check {
                        // The cost is that of reading on, whatever it decides.
                        let _: Decision = check.push(&tokenizer.decode(&[best]));
                    }
                    logits = transformer.forward(&[best], Some(&mut cache), Want::Last)?;
                }
            }
            seconds[usize::from(guarded)].push(start.elapsed().as_secs_f64());
        }
    }
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let (without, with) = (least(&seconds[0]), least(&seconds[1]));
    println!(
        "throughput: {without:.3} s without, {with:.3} s with the guard: {:+.2} %",
        100.0 * (with / without - 1.0)
    );
    Ok(())
}
