//! The induction study as a whole, on a training too short to learn.

use probe::Error;
use probe::induction::{InductionOptions, Verdict, induction, verdict};

fn short() -> InductionOptions {
    InductionOptions {
        seeds: 2,
        vocabulary: 16,
        length: 20,
        segment: (4, 8),
        width: 16,
        heads: 2,
        steps: 4,
        penalty_steps: 2,
        batch: 4,
        measure_every: 2,
        measured: 3,
        ..InductionOptions::default()
    }
}

#[test]
fn the_same_options_give_the_same_study_and_nothing_is_claimed_without_learning() {
    let mut steps = 0;
    let study = induction(&short(), &mut |_| {
        steps += 1;
        true
    })
    .unwrap();
    // Two models of six steps for each of two seeds.
    assert_eq!((steps, study.seeds.len()), (24, 2));
    assert_eq!(study, induction(&short(), &mut |_| true).unwrap());
    // The control trades a block for twice the heads; it only lacks that block's norm.
    assert_eq!(study.parameters, study.control_parameters + 16);
    for seed in &study.seeds {
        assert_eq!(seed.curve.iter().map(|point| point.step).collect::<Vec<_>>(), [2, 4, 6]);
        assert!(
            seed.ablations.len() == 2
                && seed.shared.len() == 2
                && seed.copied_loss > 0.5
                && seed.curve[0].copied > 0.0
        );
    }
    assert_ne!(study.seeds[0].curve, study.seeds[1].curve);
    assert!(!study.verdict.holds && study.verdict.learned_seeds == 0);
    assert!(serde_json::to_string(&study).unwrap().contains("prefix_matching"));
}

#[test]
fn the_verdict_counts_what_the_thresholds_say() {
    let mut seeds = induction(&short(), &mut |_| true).unwrap().seeds;
    seeds.extend(seeds.clone());
    seeds.push(seeds[0].clone());
    for (index, seed) in seeds.iter_mut().enumerate() {
        (seed.top_loses, seed.others_lose, seed.control_loss) = (0.8, 0.05, 0.9);
        (seed.copied_loss, seed.prefix_matching, seed.apart) = (0.1, 0.9, Some(0.05));
        if index == 0 {
            (seed.top_loses, seed.apart) = (0.4, None);
        }
    }
    let Verdict { causal_seeds, learned_seeds, together_seeds, control_seeds, holds, top, .. } =
        verdict(&seeds).unwrap();
    assert_eq!((causal_seeds, learned_seeds, together_seeds, control_seeds, holds), (4, 5, 4, 5, true));
    assert!((top.unwrap().value - 0.72).abs() < 1e-12);
    seeds[1].others_lose = 0.2;
    assert!(!verdict(&seeds).unwrap().holds);
    seeds[1].others_lose = 0.05;
    seeds[4].control_loss = 0.5;
    assert!(!verdict(&seeds).unwrap().holds);
    assert!(verdict(&[]).is_err());
}

#[test]
fn settings_that_make_no_study_are_errors() {
    let fails = |options: InductionOptions| induction(&options, &mut |_| true).unwrap_err().to_string();
    assert!(fails(InductionOptions { segment: (8, 40), ..InductionOptions::default() }).contains("segment"));
    assert!(fails(InductionOptions { width: 60, ..InductionOptions::default() }).contains("width"));
    assert!(fails(InductionOptions { seeds: 0, ..InductionOptions::default() }).contains("at least 1"));
    let stopped = induction(&short(), &mut |progress| progress.step < 3);
    assert!(matches!(stopped, Err(Error::Request(reason)) if reason.contains("stopped")));
}
