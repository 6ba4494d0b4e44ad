//! The induction study from the command line: `induction [options as JSON]`; the curve of each seed to standard
//! error, the whole result to standard output.

use probe::induction::{InductionOptions, induction};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = std::env::args().nth(1).unwrap_or_else(|| "{}".into());
    let options: InductionOptions = serde_json::from_str(&options)?;
    let start = std::time::Instant::now();
    let study = induction(&options, &mut |progress| {
        if progress.step % 100 == 0 {
            let kind = if progress.control { "control" } else { "two blocks" };
            eprintln!(
                "{:7.1} s  seed {} {kind} step {} loss {:.3}",
                start.elapsed().as_secs_f64(),
                progress.seed,
                progress.step,
                progress.loss
            );
        }
        true
    })?;
    for seed in &study.seeds {
        eprintln!(
            "seed {}: copied {:.3} ln V, gain {:.2}, score {:.2}, changes {:?} and {:?}, apart {:?}",
            seed.seed,
            seed.copied_loss,
            seed.gain,
            seed.prefix_matching,
            seed.loss_change.map(|change| change.index),
            seed.score_change.map(|change| change.index),
            seed.apart
        );
        eprintln!(
            "  top loses {:.2}, others {:.3}; each {:?} %, before the penalty {:?} %\n  previous {:?} without it {:.2}; tripled {:.3}; control {:.3}",
            seed.top_loses,
            seed.others_lose,
            seed.ablations.iter().map(|head| (head.zero * 100.0).round()).collect::<Vec<_>>(),
            seed.shared.iter().map(|head| (head.zero * 100.0).round()).collect::<Vec<_>>(),
            seed.previous_head,
            seed.prefix_without_previous,
            seed.tripled_loss,
            seed.control_loss
        );
    }
    eprintln!("{:?}\n{} and {} parameters", study.verdict, study.parameters, study.control_parameters);
    println!("{}", serde_json::to_string_pretty(&study)?);
    Ok(())
}
