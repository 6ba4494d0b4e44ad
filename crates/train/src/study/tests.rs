//! Studies in miniature: what a small model learns in a few seconds, and that results follow the seed.

use super::parity::{ParityOptions, parity};
use super::recall::{RecallOptions, recall};
use super::text::{TextOptions, text};
use super::*;
use crate::vocabulary::Unit;

fn quick(steps: usize) -> Training {
    let curriculum = Curriculum {
        learned_below: 0.05,
        stage_steps: steps,
        last_steps: steps,
        cooldown: steps / 4,
        warmup: 4,
    };
    Training { rate: 3e-3, weight_decay: 0.0, step_tokens: 256, curriculum, bf16: false }
}

fn small_recall(steps: usize) -> RecallOptions {
    RecallOptions {
        pairs: 4,
        easier: vec![2],
        keys: 8,
        values: 8,
        width: 32,
        head_dim: 16,
        parameters: 20_000,
        tests: 20,
        training: quick(steps),
    }
}

#[test]
fn every_mixer_recalls_a_few_pairs() {
    for layers in ["2 x [attention]", "2 x [delta]"] {
        let result = recall(&Variant::new("small", layers), &small_recall(500), 1, &mut |_| true).unwrap();
        assert_eq!((result.queries, result.stages.len()), (80, 3));
        assert!(result.accuracy > 0.9, "{result:?}");
        assert!(result.parameters.abs_diff(20_000) < 1_500, "{result:?}");
        assert!(result.finished && result.state_bytes > 0);
    }
}

#[test]
fn results_follow_the_seed_and_the_caller_may_stop() {
    let variant = Variant::new("small", "1 x [attention]");
    let run = |seed, most| recall(&variant, &small_recall(6), seed, &mut |p| p.step < most).unwrap();
    assert_eq!(run(1, 99), run(1, 99));
    assert_ne!(run(1, 99).loss, run(2, 99).loss);
    let stopped = run(1, 3);
    assert!(!stopped.finished && stopped.steps == 3);
    let bad = RecallOptions { keys: 3, ..small_recall(6) };
    assert!(recall(&variant, &bad, 1, &mut |_| true).is_err());
}

#[test]
fn parity_is_graded_by_distance() {
    let options = ParityOptions {
        length: 4,
        shorter: vec![2],
        factor: 4,
        width: 32,
        head_dim: 16,
        parameters: 20_000,
        tests: 30,
        training: quick(40),
    };
    let variant = Variant::new("small", "1 x [attention]");
    let result = parity(&variant, &options, 1, &mut |_| true).unwrap();
    assert_eq!((result.trained_length, result.tested_length), (4, 16));
    assert!(result.accuracy_within > result.accuracy_beyond, "{result:?}");
    assert!((0.3..0.75).contains(&result.accuracy_beyond), "{result:?}");
    assert!(parity(&variant, &ParityOptions { length: 1, ..options }, 1, &mut |_| true).is_err());
}

#[test]
fn a_small_text_model_beats_the_frequencies() {
    let lines = ["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡"];
    let documents: Vec<String> =
        (0..400).map(|n| format!("{}，{}。{n}", lines[n % 4], lines[(n + 1) % 4])).collect();
    let options = TextOptions {
        vocabulary: 400,
        unit: Unit::Character,
        layers: "2 x [attention]".into(),
        width: 32,
        context: 32,
        held_out_one_in: 8,
        most_held_out: 400,
        steps: 120,
        run_tokens: 256,
        micro_batches: 1,
        rate: 1e-2,
        bf16: false,
        evaluate_every: 60,
        samples: 2,
        sample_tokens: 20,
        temperature: 0.5,
    };
    let folder = tempfile::tempdir().unwrap();
    let (result, parameters, tokenizer) =
        text(&documents, &options, 1, folder.path(), &mut |_| true).unwrap();
    assert!(result.bits_per_character < 0.5 * result.unigram_bits_per_character, "{result:?}");
    assert!((result.held_out.last().unwrap().1 - result.bits_per_character).abs() < 1e-3);
    assert_eq!((result.samples.len(), result.documents + result.held_out_documents), (2, 400));
    assert!(result.samples.iter().all(|sample| sample.contains("月") || sample.contains("头")), "{result:?}");
    assert_eq!((parameters.count(), tokenizer.len()), (result.parameters, result.vocabulary));
    // The same again: the folder holds the finished state.
    let (again, ..) = text(&documents, &options, 1, folder.path(), &mut |_| true).unwrap();
    assert_eq!(again, result);
    assert!(text(&documents[..1], &options, 1, folder.path(), &mut |_| true).is_err());
}

#[test]
fn the_first_of_equals_is_the_likeliest() {
    assert_eq!(likeliest(&[0.0, 3.0, 3.0, f32::NAN]), 1);
}
