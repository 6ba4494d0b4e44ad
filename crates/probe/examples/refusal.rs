//! The refusal study on a tuned checkpoint: `refusal BASE ADAPTER|- RANK ALPHA PROMPTS [TOKENS [FIRST_BLOCK]]`.
//!
//! `PROMPTS` has lines `fit|choose|test <tab> refused|answered <tab> text`. With `-` the base itself is studied. The
//! result goes to standard output, a summary and the account of tuning to standard error.

use std::path::Path;
use std::time::Instant;

use model::{Activation, Checkpoint, LoadOptions, Local, LowRank, Parameters, Train, Transformer};
use probe::account::{activation_changes, groups, parameter_changes};
use probe::direction::{PromptSet, Reading, RefusalOptions, Selection, chat_tokens, judge, refusal_study};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, adapter, rank, alpha, prompts, rest @ ..] = &arguments[..] else {
        return Err("refusal BASE ADAPTER|- RANK ALPHA PROMPTS [TOKENS [FIRST_BLOCK]]".into());
    };
    let start = Instant::now();
    let local = Local::open(Path::new(base), &LoadOptions::default())?;
    let checkpoint = Checkpoint::open(Path::new(base))?;
    let first_block = rest.get(1).map_or(Ok(0), |block| block.parse())?;
    let low_rank = LowRank { rank: rank.parse()?, alpha: alpha.parse()?, first_block, ..LowRank::default() };
    let mut parameters = Parameters::open(&checkpoint, &Train::LowRank(low_rank.clone()), 0)?;
    if adapter != "-" {
        parameters.load(Path::new(adapter))?;
    }
    let tuned: Transformer = parameters.freeze(Activation::Int8)?;

    let mut sets = [const { (Vec::new(), Vec::new()) }; 3];
    for line in std::fs::read_to_string(prompts)?.lines() {
        let [set, kind, text] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else {
            return Err(format!("`{line}` is not set, kind and text").into());
        };
        let index = ["fit", "choose", "test"].iter().position(|known| *known == set);
        let (refused, answered) = &mut sets[index.ok_or("a set is fit, choose or test")?];
        let tokens = chat_tokens(&local, text)?;
        if kind == "refused" { refused.push(tokens) } else { answered.push(tokens) }
    }
    let [fit, choose, test] = sets.map(|(refused, answered)| PromptSet { refused, answered });
    eprintln!("{:6.1} s  loaded", start.elapsed().as_secs_f64());

    let changes = parameter_changes(&checkpoint, &parameters, Some(&low_rank))?;
    for group in groups(&changes) {
        eprintln!(
            "  {:16} relative {:.4} effective rank {:.1}",
            group.name, group.relative, group.effective_rank
        );
    }
    let watched: Vec<Vec<u32>> = test.refused.iter().chain(&test.answered).take(16).cloned().collect();
    let activations = activation_changes(local.transformer(), &tuned, &watched)?;
    for layer in activations.layers.iter().step_by(5) {
        eprintln!(
            "  layer {:2} cosine {:.3} relative {:.3} lens {:.3}",
            layer.layer, layer.cosine, layer.relative, layer.lens_divergence
        );
    }
    eprintln!("  output divergence {:?}, changed {:.2}", activations.divergence, activations.changed);
    eprintln!("{:6.1} s  account", start.elapsed().as_secs_f64());

    let end = |token: u32| local.tokenizer().is_end(token);
    let verdict = |tokens: &[u32]| judge(local.tokenizer(), tokens);
    let tokens = rest.first().map_or(Ok(16), |tokens| tokens.parse())?;
    let reading = Reading::Answer { tokens, end: &end, judge: &verdict };
    let options = RefusalOptions {
        selection: Selection { stride: 2, ..Selection::default() },
        ..RefusalOptions::default()
    };
    let study = refusal_study(&tuned, [&fit, &choose, &test], &reading, &options)?;
    eprintln!("{:6.1} s  study", start.elapsed().as_secs_f64());
    eprintln!("  made by {:?} prompts, chosen by {:?}", study.fit, study.choose);
    for candidate in &study.selected.candidates {
        eprintln!("  {candidate:?}");
    }
    let effect = &study.effect;
    let rates: Vec<f64> = effect.controls.iter().map(|arm| arm.rate).collect();
    let opening = local.tokenizer().decode(&study.openings);
    eprintln!(
        "layer {} (filters {}), openings {opening:?}: refusal {:.2} → {:.2} removed (degenerate {:.2}), controls \
         {rates:.2?}, projected {:.2}; beyond control {:?}",
        effect.layer,
        study.selected.passes,
        effect.baseline.rate,
        effect.removed.rate,
        effect.removed.degenerate,
        effect.projected.rate,
        effect.beyond_control
    );
    if let Some(addition) = &effect.addition {
        let rates: Vec<f64> = addition.controls.iter().map(|arm| arm.rate).collect();
        eprintln!(
            "added on answered prompts: {:.2} → {:.2}, controls {rates:.2?}; beyond control {:?}",
            addition.baseline.rate, addition.added.rate, addition.beyond_control
        );
    }
    println!("{}", serde_json::to_string_pretty(&study)?);
    Ok(())
}
