//! Where the optimizer's memory lies and when weights move changes no bit; what is not finite moves nothing.

use model::config::Layers;
use model::{Config, Parameters};
use tasks::Random;

use super::*;
use crate::{Batch, METHODS, next_tokens};

fn parameters(tied: bool) -> Parameters {
    let layers = Layers::parse("2 x [attention, delta]").unwrap();
    // Matrices large enough to be kept in files.
    let mut config = Config::new(200, 128, 64, layers);
    config.tied_embeddings = tied;
    Parameters::random(&config, 3).unwrap()
}

fn batch(seed: u64) -> Batch {
    let mut random = Random::new(seed, "learner tests");
    let mut text = |length: usize| (0..length).map(|_| random.below(200) as u32).collect::<Vec<_>>();
    Batch::of_queries(&[next_tokens(&text(20)), next_tokens(&text(33))])
}

fn bits(learner: &Learner) -> Vec<u32> {
    let names = learner.parameters.trainable().map(|(name, _)| learner.parameters.values(name).unwrap());
    names.flatten().map(f32::to_bits).collect()
}

/// What steps of a learner report.
fn steps(learner: &mut Learner, count: u64, at_once: bool) -> Vec<StepReport> {
    let step = |_| {
        let batch = batch(learner.steps());
        let share = 1.0 / batch.scored() as f32;
        let report = match at_once {
            true => learner.step_at_once(1e-2, &batch, share),
            false => learner.step_by_block(1e-2, std::slice::from_ref(&batch), share),
        };
        report.unwrap()
    };
    (0..count).map(step).collect()
}

#[test]
fn memory_in_files_is_the_same_memory() {
    for about in &METHODS {
        let optimizer = OptimizerConfig { method: about.method, average: 0.9, ..OptimizerConfig::default() };
        let files = tempfile::tempdir().unwrap();
        let (name, null) = (about.name, serde_json::Value::Null);
        let mut plain = Learner::new(parameters(false), &optimizer);
        let mut mapped = Learner::new_in(parameters(false), &optimizer, files.path()).unwrap();
        assert_eq!(steps(&mut plain, 2, false), steps(&mut mapped, 2, false), "{name}");

        // What one wrote, the other continues; a snapshot goes back in the same place.
        let saved = tempfile::tempdir().unwrap();
        mapped.save(saved.path(), &null).unwrap();
        let mut mapped = Learner::new_in(parameters(false), &optimizer, files.path()).unwrap();
        assert!(mapped.load(saved.path()).unwrap().is_some(), "{name}");
        assert!(mapped.states == plain.states && mapped.averages == plain.averages, "{name}");
        let snapshot = mapped.snapshot();
        steps(&mut mapped, 1, false);
        assert!(mapped.states != plain.states, "{name}");
        mapped.restore(&snapshot).unwrap();
        assert_eq!(steps(&mut plain, 2, false), steps(&mut mapped, 2, false), "{name}");
        assert!(bits(&plain) == bits(&mapped) && mapped.states == plain.states, "{name}");
        plain.take_averages().unwrap();
        mapped.take_averages().unwrap();
        assert!(bits(&plain) == bits(&mapped), "{name}");
    }
    let nowhere = std::path::Path::new("/nowhere at all");
    let error = Learner::new_in(parameters(false), &OptimizerConfig::default(), nowhere).err().unwrap();
    assert!(error.to_string().contains("/nowhere at all"), "{error}");
}

#[test]
fn moving_at_once_is_moving_at_the_end() {
    for tied in [true, false] {
        for clip_norm in [None, Some(0.3), Some(1e9)] {
            let optimizer = OptimizerConfig { clip_norm, ..OptimizerConfig::default() };
            let mut end = Learner::new(parameters(tied), &optimizer);
            let mut once = Learner::new(parameters(tied), &optimizer);
            let expected = steps(&mut end, 3, false);
            assert!(expected.iter().all(|report| report.gradient_norm > 0.3));
            assert_eq!(steps(&mut once, 3, true), expected, "{tied} {clip_norm:?}");
            assert!(bits(&once) == bits(&end) && once.states == end.states, "{tied} {clip_norm:?}");
        }
    }
}

#[test]
fn moving_at_once_leaves_out_what_is_not_finite_or_too_large() {
    let mut learner = Learner::new(parameters(true), &OptimizerConfig::default());
    let before = bits(&learner);
    learner.skip_above(1e-3);
    assert!(steps(&mut learner, 1, true)[0].skipped && bits(&learner) == before);
    for clip_norm in [None, Some(1.0)] {
        let optimizer = OptimizerConfig { clip_norm, ..OptimizerConfig::default() };
        let mut learner = Learner::new(parameters(true), &optimizer);
        let report = learner.step_at_once(1e-2, &batch(0), f32::NAN).unwrap();
        assert!(report.skipped && bits(&learner) == before && learner.applied == 0);
    }
}
