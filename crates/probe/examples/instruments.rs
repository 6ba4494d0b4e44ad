//! The instruments on a checkpoint: `instruments MODEL [TEXT [TUNED]]`; what each reads, the two identities that must
//! hold, and what changed from the model to a tuned one.

use std::path::Path;
use std::time::Instant;

use model::{Activation, Checkpoint, LoadOptions, Local};
use probe::Matrix;
use probe::account::checkpoint_changes;
use probe::decompose::{components, decompose, direct_logit_attribution};
use probe::gradient::{agreement, attribution_patching};
use probe::heads::head_scores;
use probe::lens::logit_lens;
use probe::patch::{identity_error, patch_sweep};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("instruments MODEL [TEXT]")?;
    let text = arguments.next().unwrap_or_else(|| "The capital of France is".into());
    let options = LoadOptions { activation: Activation::F32, ..LoadOptions::default() };
    let local = Local::open(Path::new(&path), &options)?;
    let (model, tokenizer) = (local.transformer(), local.tokenizer());
    let tokens = tokenizer.encode(&text);
    let start = Instant::now();
    let timed = |what: &str| println!("{:6.2} s  {what}", start.elapsed().as_secs_f64());

    let points: Vec<String> =
        model::hooks::points(model.config()).into_iter().filter(|p| !p.ends_with("pattern")).collect();
    println!("clean into clean, all {} points: {}", points.len(), identity_error(model, &tokens, &points)?);
    println!("components against the stream: {:.1e} of its largest value", decompose(model, &tokens)?.error);
    timed("identities");

    let last = tokens.len() - 1;
    let target = logit_lens(model, &tokens, last, 0, 1)?.last().map_or(0, |row| row.top[0].0);
    for row in logit_lens(model, &tokens, last, target, 3)?.iter().step_by(5) {
        let top: Vec<String> =
            row.top.iter().map(|(token, p)| format!("{:?} {p:.2}", tokenizer.decode(&[*token]))).collect();
        println!(
            "  layer {:2}: rank {:5}, divergence {:6.2}; {}",
            row.layer,
            row.rank,
            row.divergence,
            top.join(", ")
        );
    }
    timed("logit lens");

    let mut parts = direct_logit_attribution(model, &tokens, target, None)?;
    parts.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
    for part in parts.iter().take(4) {
        println!("  {:28} {:+.2}", part.component, part.value);
    }
    timed("direct logit attribution");

    // A text of random tokens twice: what the heads do with a repetition.
    let mut stream = ledger::Stream::new(1, "repeat");
    let once: Vec<u32> = (0..32).map(|_| stream.below(model.config().vocabulary) as u32).collect();
    let mut scores = head_scores(model, &once.repeat(2), 0..model.config().layers.len(), 32..64)?;
    scores.sort_by(|a, b| b.prefix_matching.total_cmp(&a.prefix_matching));
    for score in scores.iter().take(3) {
        println!("  head {}.{} prefix matching {:.2}", score.layer, score.head, score.prefix_matching);
    }
    scores.sort_by(|a, b| b.previous_token.total_cmp(&a.previous_token));
    println!("  head {}.{} previous token {:.2}", scores[0].layer, scores[0].head, scores[0].previous_token);
    timed("heads");

    let corrupted = tokenizer.encode(&text.replace("France", "Italy"));
    if corrupted.len() == tokens.len() && corrupted != tokens {
        let number = |logits: &Matrix| f64::from(logits.last()[target as usize]);
        let (row, column) = (last, target as usize);
        let points: Vec<String> = components(model).into_iter().skip(1).step_by(6).collect();
        let measure =
            |logits: burn::tensor::Tensor<2>| logits.slice([row..row + 1, column..column + 1]).sum();
        let sweep = patch_sweep(model, &tokens, &corrupted, &points, true, &number)?;
        timed("patching");
        let estimates = attribution_patching(model, &tokens, &corrupted, &points, measure)?;
        timed("attribution patching");
        println!("  {:?}", agreement(&estimates, &sweep)?);
    }
    if let Some(tuned) = arguments.next() {
        let changes =
            checkpoint_changes(&Checkpoint::open(Path::new(&path))?, &Checkpoint::open(Path::new(&tuned))?)?;
        for change in changes.iter().filter(|change| change.name.contains("blocks.15.")) {
            let spectrum = &change.spectrum;
            println!(
                "  {:24} relative {:.4}, effective rank {:.1}, shares {:.2?}, rest {:.3}",
                change.name, change.relative, spectrum.effective_rank, spectrum.shares, spectrum.rest
            );
        }
        timed("account of tuning");
    }
    Ok(())
}
