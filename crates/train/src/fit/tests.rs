//! Learning lowers the loss; an interrupted training ends with the same bits; broken steps change nothing.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ledger::Stream;
use model::config::Layers;
use model::{Config, Parameters};

use super::*;
use crate::{Documents, OptimizerConfig};

const VOCABULARY: usize = 24;

fn learner(seed: u64) -> Learner {
    let layers = Layers::parse("2 x [attention]").unwrap();
    let config = Config::new(VOCABULARY, 16, 64, layers);
    Learner::new(Parameters::random(&config, seed).unwrap(), &OptimizerConfig::default())
}

/// Texts that count upwards from a random number: easy to learn.
fn examples(count: usize, seed: u64) -> Vec<Example> {
    let mut stream = Stream::new(seed, "examples");
    let text = |stream: &mut Stream| {
        let (first, length) = (stream.below(VOCABULARY), 4 + stream.below(9));
        (0..length).map(|at| ((first + at) % VOCABULARY) as u32).collect()
    };
    (0..count).map(|_| Example::whole(text(&mut stream))).collect()
}

fn options(folder: Option<&Path>) -> FitOptions {
    FitOptions {
        extent: Extent::Steps(9),
        run_tokens: 40,
        micro_batches: 2,
        rate: 3e-3,
        schedule: Schedule { warmup: 2, ..Schedule::default() },
        seed: 4,
        evaluate_every: 4,
        checkpoint: folder.map(Path::to_path_buf),
        checkpoint_every: 2,
        ..FitOptions::default()
    }
}

/// The bits of every weight.
fn bits(learner: &Learner) -> Vec<u32> {
    let parameters = learner.parameters();
    let names = parameters.trainable().map(|(name, _)| parameters.values(name).unwrap());
    names.flatten().map(f32::to_bits).collect()
}

#[test]
fn learning_lowers_the_loss() {
    let mut learner = learner(1);
    let (train, held_out) = (examples(60, 1), examples(10, 2));
    let before = evaluate(&learner, &held_out, 40).unwrap();
    assert!((before.mean() - (VOCABULARY as f64).ln()).abs() < 1.0, "{before:?}");
    let options = FitOptions { extent: Extent::Epochs(12), rate: 1e-2, ..options(None) };
    let mut seen = 0;
    let summary = fit_measured(&mut learner, &train, &held_out, &options, &mut |progress| {
        seen += 1;
        assert_eq!(progress.step, seen);
        assert!(progress.gradient_norm > 0.0 && !progress.skipped);
        true
    });
    let summary = summary.unwrap();
    assert!(summary.finished && summary.steps == seen && summary.losses.len() == seen);
    let scored: usize = train.iter().map(|example| example.scored.len()).sum();
    assert!(summary.scored >= 12 * scored as u64);
    let (_, after) = *summary.held_out.last().unwrap();
    assert!(after < 0.5, "held-out loss {} → {after}", before.mean());
}

#[test]
fn an_interrupted_training_ends_with_the_same_bits() {
    let (train, held_out) = (examples(30, 1), examples(5, 2));
    let mut whole = learner(1);
    let expected = fit_measured(&mut whole, &train, &held_out, &options(None), &mut |_| true).unwrap();
    let expected_bits = bits(&whole);
    for stop in [1, 2, 5, 8] {
        for killed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let options = options(Some(folder.path()));
            let mut first = learner(1);
            let run = AssertUnwindSafe(|| {
                fit_measured(&mut first, &train, &held_out, &options, &mut |progress| {
                    // A kill leaves no chance to save: what is on disk is an older step.
                    assert!(!(killed && progress.step == stop), "killed");
                    progress.step < stop
                })
            });
            match catch_unwind(run) {
                Ok(summary) => assert!(!killed && !summary.unwrap().finished),
                Err(_) => assert!(killed),
            }
            // Rubbish of a write that was cut short.
            fs::write(folder.path().join("weights.partial"), b"half").ok();
            fs::write(folder.path().join("memory-0123456789abcdef.safetensors"), b"old").ok();
            let mut second = learner(1);
            let summary = fit_measured(&mut second, &train, &held_out, &options, &mut |_| true).unwrap();
            assert_eq!(summary, expected, "stop {stop}, killed {killed}");
            assert!(bits(&second) == expected_bits, "weights differ: stop {stop}, killed {killed}");
            // The last two states, and nothing else.
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
            // Finished: the next call changes nothing.
            let mut third = learner(1);
            assert_eq!(
                fit_measured(&mut third, &train, &held_out, &options, &mut |_| true).unwrap(),
                expected
            );
            assert!(bits(&third) == expected_bits);
        }
    }
}

#[test]
fn a_state_of_another_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(Some(folder.path()));
    fit(&mut learner(1), &examples(10, 1), &options, &mut |_| false).unwrap();
    let error = fit(&mut learner(1), &examples(10, 3), &options, &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("other examples or options"), "{error}");
    let error = fit(&mut learner(2), &examples(10, 1), &options, &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("another"), "{error}");
    options.rate = 0.5;
    assert!(fit(&mut learner(1), &examples(10, 1), &options, &mut |_| true).is_err());
    // A changed byte is noticed, and there is no state before.
    options.rate = 3e-3;
    let weights = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let weights = weights.into_iter().find(|path| path.to_string_lossy().contains("weights-")).unwrap();
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let error = fit(&mut learner(1), &examples(10, 1), &options, &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("changed"), "{error}");
}

#[test]
fn micro_batches_are_averaged_over_tokens() {
    let examples = examples(6, 5);
    let whole = Batch::new(&examples);
    let parts = [Batch::new(&examples[..2]), Batch::new(&examples[2..])];
    let scored = whole.scored() as f32;
    let mut together = learner(1);
    let one = together.step(1e-2, 1, &mut |t, _| Ok(whole.losses(t)?.sum() / scored)).unwrap();
    let mut apart = learner(1);
    let two =
        apart.step(1e-2, 2, &mut |t, micro| Ok(parts[micro].losses(t)?.sum() * (2.0 / scored))).unwrap();
    assert!((one.loss - two.loss).abs() < 1e-5 && (one.gradient_norm - two.gradient_norm).abs() < 1e-4);
    for (name, _) in together.parameters().trainable() {
        let [a, b] = [&together, &apart].map(|learner| learner.parameters().values(name).unwrap());
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Adam's first step has the size of the rate wherever a gradient is clearly not 0.
        assert!(worst < 2e-3, "{name}: {worst}");
    }
}

#[test]
fn a_step_that_is_not_finite_changes_nothing() {
    let examples = examples(4, 5);
    let batch = Batch::new(&examples);
    let mut learner = learner(1);
    let before = bits(&learner);
    let report = learner.step(1e-2, 1, &mut |t, _| Ok(batch.losses(t)?.mean() * f32::NAN)).unwrap();
    assert!(report.skipped && report.step == 1 && bits(&learner) == before);
    let report = learner.step(1e-2, 1, &mut |t, _| Ok(batch.losses(t)?.mean() * f32::INFINITY)).unwrap();
    assert!(report.skipped && bits(&learner) == before);
    // The next sound step is as if the others had not been.
    let mut fresh = self::learner(1);
    let step = |learner: &mut Learner| {
        learner.step(1e-2, 1, &mut |t, _| Ok(batch.losses(t)?.mean())).unwrap();
    };
    step(&mut learner);
    step(&mut fresh);
    assert!(bits(&learner) == bits(&fresh) && bits(&learner) != before);
}

#[test]
fn clipping_bounds_what_a_step_sees() {
    let examples = examples(4, 5);
    let batch = Batch::new(&examples);
    let layers = Layers::parse("1 x [attention]").unwrap();
    let config = Config::new(VOCABULARY, 16, 64, layers);
    let step = |clip_norm, scale: f32| {
        let optimizer = OptimizerConfig { clip_norm, epsilon: 1.0, ..OptimizerConfig::default() };
        let mut learner = Learner::new(Parameters::random(&config, 1).unwrap(), &optimizer);
        let before = bits(&learner);
        let report = learner.step(1.0, 1, &mut |t, _| Ok(batch.losses(t)?.mean() * scale)).unwrap();
        let moved: f64 = before
            .iter()
            .zip(bits(&learner))
            .map(|(a, b)| f64::from(f32::from_bits(*a) - f32::from_bits(b)).powi(2))
            .sum();
        (report.gradient_norm, moved.sqrt())
    };
    // A large epsilon makes the step follow the gradient's size; decay moves the same in all three.
    let ((norm, clipped), (large, also_clipped), (_, free)) =
        (step(Some(0.1), 1.0), step(Some(0.1), 50.0), step(None, 50.0));
    assert!(norm > 0.1 && (large / norm - 50.0).abs() < 0.5);
    assert!((clipped - also_clipped).abs() < 1e-3 * clipped, "{clipped} {also_clipped}");
    assert!(free > 2.0 * clipped);
}

#[test]
fn snapshots_go_back() {
    let batch = Batch::new(&examples(4, 5));
    let mut learner = learner(1);
    let step = |learner: &mut Learner| {
        learner.step(1e-2, 1, &mut |t, _| Ok(batch.losses(t)?.mean())).unwrap();
    };
    step(&mut learner);
    let snapshot = learner.snapshot();
    step(&mut learner);
    let after = bits(&learner);
    learner.restore(&snapshot).unwrap();
    assert_eq!(learner.steps(), 1);
    step(&mut learner);
    assert!(bits(&learner) == after);
}

#[test]
fn options_are_checked() {
    let run = |options: FitOptions| fit(&mut learner(1), &examples(3, 1), &options, &mut |_| true);
    assert!(run(FitOptions { run_tokens: 1, ..options(None) }).is_err());
    assert!(run(FitOptions { micro_batches: 0, ..options(None) }).is_err());
    assert!(run(FitOptions { rate: f32::NAN, ..options(None) }).is_err());
    assert!(fit(&mut learner(1), &[], &options(None), &mut |_| true).is_err());
}

#[test]
fn anchored_text_keeps_its_place_and_continues_exactly() {
    let (train, general) = (examples(40, 1), {
        // Text that counts downwards: learning to count upwards makes it unlikely.
        let down = |from: u32| (0..8).map(|at| (from + 24 - at) % VOCABULARY as u32).collect();
        (0..6).map(|from| Example::whole(down(3 * from))).collect::<Vec<_>>()
    });
    let options = FitOptions { extent: Extent::Steps(40), rate: 1e-2, ..options(None) };
    let cost = |weight: f32| {
        let anchor = Anchor { examples: &general, weight, per_step: 2 };
        let mut learner = learner(1);
        let before = evaluate(&learner, &general, 40).unwrap().mean();
        fit_anchored(&mut learner, &train, &[], &anchor, &options, &mut |_| true).unwrap();
        (evaluate(&learner, &general, 40).unwrap().mean() - before, bits(&learner))
    };
    let ((free, _), (held, straight)) = (cost(0.0), cost(4.0));
    assert!(free > 0.5 && held < 0.5 * free, "free {free}, held {held}");
    // Stopped half-way and continued from the folder: the text is held where the training began.
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions { checkpoint: Some(folder.path().to_path_buf()), ..options };
    let anchor = Anchor { examples: &general, weight: 4.0, per_step: 2 };
    let run = |most: usize| {
        let mut learner = learner(1);
        fit_anchored(&mut learner, &train, &[], &anchor, &options, &mut |at| at.step < most).unwrap();
        bits(&learner)
    };
    run(17);
    assert_eq!(run(usize::MAX), straight);
}

#[test]
fn a_damaged_state_gives_way_to_the_one_before() {
    let train = examples(30, 1);
    let mut whole = learner(1);
    let expected = fit(&mut whole, &train, &options(None), &mut |_| true).unwrap();
    for damaged in ["learner.json", "weights", "memory"] {
        let folder = tempfile::tempdir().unwrap();
        let options = options(Some(folder.path()));
        // Saved after every second step, and once more when it is stopped.
        fit(&mut learner(1), &train, &options, &mut |progress| progress.step < 5).unwrap();
        let state = fs::read_to_string(folder.path().join("learner.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let file = state[damaged]["file"].as_str().unwrap_or(damaged);
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        // In the state's own file, a digit of a loss: still JSON.
        let place = match damaged {
            "learner.json" => bytes.iter().rposition(u8::is_ascii_digit).unwrap(),
            _ => bytes.len() / 2,
        };
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut second = learner(1);
        let summary = fit(&mut second, &train, &options, &mut |_| true).unwrap();
        assert_eq!(summary.recovered.len(), 1, "{damaged}");
        assert!(summary.recovered[0].contains(file), "{damaged}: {:?}", summary.recovered);
        assert_eq!(summary.losses, expected.losses, "{damaged}");
        assert!(bits(&second) == bits(&whole), "{damaged}");
    }
}

#[test]
fn recomputing_blocks_changes_only_the_rounding() {
    let train = examples(20, 1);
    let options = FitOptions { extent: Extent::Steps(6), micro_batches: 2, ..options(None) };
    let [mut plain, mut recomputed] = [learner(1), learner(1)];
    let expected = fit(&mut plain, &train, &options, &mut |_| true).unwrap();
    let options = FitOptions { recompute: true, ..options };
    let summary = fit(&mut recomputed, &train, &options, &mut |_| true).unwrap();
    for (a, b) in summary.losses.iter().zip(&expected.losses) {
        assert!((a - b).abs() < 1e-4, "{:?} and {:?}", summary.losses, expected.losses);
    }
}

#[test]
fn every_optimizer_continues_exactly_and_averages_do_too() {
    let train = examples(12, 1);
    for about in &crate::METHODS {
        let optimizer = OptimizerConfig { method: about.method, average: 0.9, ..OptimizerConfig::default() };
        let learner = || {
            let parameters = learner(1).into_parameters();
            Learner::new(parameters, &optimizer)
        };
        let (mut whole, mut parts) = (learner(), learner());
        let expected = fit(&mut whole, &train, &options(None), &mut |_| true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = options(Some(folder.path()));
        fit(&mut parts, &train, &options, &mut |progress| progress.step < 4).unwrap();
        let mut parts = learner();
        let summary = fit(&mut parts, &train, &options, &mut |_| true).unwrap();
        assert_eq!(summary, expected, "{}", about.name);
        assert!(bits(&whole) == bits(&parts), "{}", about.name);
        assert!(expected.recent(2) < expected.losses[0], "{}: {:?}", about.name, expected.losses);
        whole.take_averages().unwrap();
        assert!(bits(&whole) != bits(&parts), "{}: an average lags behind", about.name);
        parts.take_averages().unwrap();
        assert!(bits(&whole) == bits(&parts), "{}", about.name);
    }
}

#[test]
fn the_best_weights_remain() {
    let (train, held_out) = (examples(4, 1), examples(5, 2));
    let folder = tempfile::tempdir().unwrap();
    let options = FitOptions {
        extent: Extent::Steps(60),
        // Few examples and a high rate: the held-out loss has its minimum on the way.
        rate: 0.02,
        schedule: Schedule::constant(),
        evaluate_every: 3,
        keep_best: true,
        ..options(Some(folder.path()))
    };
    let mut learner = learner(1);
    let summary = fit_measured(&mut learner, &train, &held_out, &options, &mut |_| true).unwrap();
    let (step, loss) = summary.best().unwrap();
    assert!(step < summary.steps, "{:?}", summary.held_out);
    let kept = evaluate(&learner, &held_out, options.run_tokens).unwrap().mean() as f32;
    assert_eq!(kept, loss);
    let error = FitOptions { checkpoint: None, ..options }.validate().unwrap_err();
    assert!(error.to_string().contains("keep_best"), "{error}");
}

#[test]
fn a_spike_is_left_out() {
    let mut learner = learner(1);
    let batch = Batch::new(&examples(4, 5));
    let mut summary = Summary::default();
    let step = |learner: &mut Learner, scale: f32, summary: &mut Summary| {
        learner.skip_above(summary.norm_limit(5.0));
        let report = learner.step(1e-3, 1, &mut |t, _| Ok(batch.losses(t)?.mean() * scale)).unwrap();
        summary.gradient_norms.push(report.gradient_norm);
        report.skipped
    };
    // Nothing is known yet: even a large one counts.
    assert!(!step(&mut learner, 20.0, &mut summary));
    for _ in 0..summary::RECENT / 2 {
        assert!(!step(&mut learner, 1.0, &mut summary));
    }
    let before = bits(&learner);
    assert!(step(&mut learner, 100.0, &mut summary) && bits(&learner) == before);
    assert!(!step(&mut learner, 1.0, &mut summary) && bits(&learner) != before);
    assert_eq!(summary.norm_limit(0.0), f64::INFINITY);
}

#[test]
fn a_summary_with_a_number_that_is_none_is_read_again() {
    let summary = Summary {
        losses: vec![1.0, f32::NAN],
        gradient_norms: vec![f32::INFINITY],
        held_out: vec![(1, f32::NAN), (2, 0.5)],
        ..Summary::default()
    };
    let text = serde_json::to_string(&summary).unwrap();
    let read: Summary = serde_json::from_str(&text).unwrap();
    assert!(read.losses[0] == 1.0 && read.losses[1].is_nan() && read.gradient_norms[0].is_nan());
    assert_eq!((read.best(), summary.best()), (Some((2, 0.5)), Some((2, 0.5))));
}

#[test]
fn a_bound_of_infinity_is_none_and_continues() {
    let optimizer = OptimizerConfig { clip_norm: Some(f32::INFINITY), ..OptimizerConfig::default() };
    let learner = || Learner::new(learner(1).into_parameters(), &optimizer);
    let folder = tempfile::tempdir().unwrap();
    let options = options(Some(folder.path()));
    fit(&mut learner(), &examples(10, 1), &options, &mut |progress| progress.step < 3).unwrap();
    assert!(fit(&mut learner(), &examples(10, 1), &options, &mut |_| true).unwrap().finished);
    let group = crate::Group { name: "embedd".into(), rate: 1.0, weight_decay: None };
    let optimizer = OptimizerConfig { groups: vec![group], ..OptimizerConfig::default() };
    let mut wrong = Learner::new(learner().into_parameters(), &optimizer);
    let error = fit(&mut wrong, &examples(10, 1), &self::options(None), &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("`embedd`"), "{error}");
}

#[test]
fn moving_at_once_continues_exactly() {
    let train = examples(20, 1);
    let options = |folder| FitOptions { micro_batches: 1, recompute: true, at_once: true, ..options(folder) };
    let (mut whole, mut parts) = (learner(1), learner(1));
    let expected = fit(&mut whole, &train, &options(None), &mut |_| true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kept = options(Some(folder.path()));
    fit(&mut parts, &train, &kept, &mut |progress| progress.step < 4).unwrap();
    let mut parts = learner(1);
    assert_eq!(fit(&mut parts, &train, &kept, &mut |_| true).unwrap(), expected);
    assert!(bits(&whole) == bits(&parts) && expected.losses[8] < expected.losses[0]);
    let wrong = FitOptions { micro_batches: 2, ..options(None) };
    let error = fit(&mut parts, &train, &wrong, &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("at_once takes one micro-batch"), "{error}");
}

#[test]
fn documents_are_tokenized_on_the_way_and_continue_exactly() {
    let texts = examples(40, 1);
    let read = |index: usize| vec![texts[index].clone()];
    let source = |block| {
        let sizes = texts.iter().map(|example| example.tokens.len()).collect();
        Documents { block, ..Documents::new(sizes, &read, "forty".into()) }
    };
    let run = |learner: &mut Learner, source: Documents, options: &FitOptions, until: usize| {
        fit(learner, source, options, &mut |progress| progress.step < until)
    };
    let options = |folder: Option<&Path>| FitOptions { extent: Extent::Epochs(3), ..options(folder) };
    // One block: as if tokenized beforehand.
    let (mut ready, mut whole) = (learner(1), learner(1));
    let expected = fit(&mut ready, &texts, &options(None), &mut |_| true).unwrap();
    assert_eq!(run(&mut whole, source(1 << 20), &options(None), usize::MAX).unwrap(), expected);
    assert_eq!(bits(&ready), bits(&whole));
    // Many: the number of steps is estimated on the way, and everything is read three times.
    let mut whole = learner(1);
    let expected = run(&mut whole, source(60), &options(None), usize::MAX).unwrap();
    let scored: usize = texts.iter().map(|example| example.scored.len()).sum();
    assert!(expected.finished && (3.0..3.3).contains(&expected.epochs), "{}", expected.epochs);
    assert!((3 * scored..=3 * scored + 80).contains(&(expected.scored as usize)));
    assert_ne!(bits(&ready), bits(&whole));
    for until in [1, 6, 13] {
        let folder = tempfile::tempdir().unwrap();
        let mut first = learner(1);
        assert!(!run(&mut first, source(60), &options(Some(folder.path())), until).unwrap().finished);
        let mut second = learner(1);
        let summary = run(&mut second, source(60), &options(Some(folder.path())), usize::MAX).unwrap();
        assert_eq!((summary, bits(&second)), (expected.clone(), bits(&whole)), "after {until}");
        let again = run(&mut learner(1), source(60), &options(Some(folder.path())), usize::MAX).unwrap();
        assert_eq!(again, expected);
        let other = Documents { identity: "others".into(), ..source(60) };
        let error = run(&mut learner(1), other, &options(Some(folder.path())), usize::MAX).unwrap_err();
        assert!(error.to_string().contains("other examples or options"), "{error}");
    }
}

#[test]
fn documents_longer_than_a_block_change_nothing_about_resuming() {
    let texts: Vec<Example> = [2, 60, 3, 2].map(|length| Example::whole(vec![1; length])).into();
    let read = |index: usize| vec![texts[index].clone()];
    let source = || Documents { block: 40, ..Documents::new(vec![2, 60, 3, 2], &read, String::new()) };
    let options =
        |folder: Option<&Path>| FitOptions { extent: Extent::Epochs(6), run_tokens: 8, ..options(folder) };
    let mut whole = learner(1);
    let expected = fit(&mut whole, source(), &options(None), &mut |_| true).unwrap();
    assert!(expected.finished && expected.steps > 20);
    for until in 1..expected.steps {
        let folder = tempfile::tempdir().unwrap();
        fit(&mut learner(1), source(), &options(Some(folder.path())), &mut |at| at.step < until).unwrap();
        let mut second = learner(1);
        let summary = fit(&mut second, source(), &options(Some(folder.path())), &mut |_| true).unwrap();
        assert_eq!((summary, bits(&second)), (expected.clone(), bits(&whole)), "after {until}");
    }
    let none = FitOptions { extent: Extent::Epochs(0), ..options(None) };
    assert_eq!(fit(&mut learner(1), source(), &none, &mut |_| true).unwrap().steps, 0);
}
