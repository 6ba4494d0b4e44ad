//! Ten steps of AdamW on small models with every mixer, against PyTorch
//! (`scripts/record_training_fixtures.py`, whose files belong to the crate `model`).

use std::path::{Path, PathBuf};

use model::weights::safetensors::SafeTensors;
use model::{Config, Parameters};
use train::{Batch, Example, Learner, OptimizerConfig};

const CASES: [&str; 6] = ["attention", "delta", "delta_sigmoid", "conv", "relu2", "hybrid"];

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/training").join(case)
}

#[test]
fn ten_steps_have_the_losses_of_pytorch() {
    for case in CASES {
        let config = std::fs::read_to_string(folder(case).join("config.json")).unwrap();
        let config: Config = serde_json::from_str(&config).unwrap();
        let file = SafeTensors::file(&folder(case).join("recorded.safetensors")).unwrap();
        let read = |name: &str| file.tensor(name).unwrap().to_f32().unwrap();
        let mut parameters = Parameters::random(&config, 0).unwrap();
        let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
        for name in &names {
            let values = read(&format!("weights.{name}"));
            parameters.update(name, |own| own.copy_from_slice(&values)).unwrap();
        }
        let tokens: Vec<u32> = read("tokens").into_iter().map(|token| token as u32).collect();
        let mut starts: Vec<usize> = read("starts").into_iter().map(|start| start as usize).collect();
        starts.push(tokens.len());
        let examples: Vec<Example> =
            starts.windows(2).map(|ends| Example::whole(tokens[ends[0]..ends[1]].to_vec())).collect();
        let batch = Batch::new(&examples);
        let optimizer = OptimizerConfig { clip_norm: None, ..OptimizerConfig::default() };
        let mut learner = Learner::new(parameters, &optimizer);
        let recorded = read("adamw");
        assert_eq!(recorded.len(), 11);
        assert!(recorded[0] - recorded[10] > 0.05, "{case}: the recorded steps do nothing");
        for (step, expected) in recorded.iter().enumerate() {
            // The last one is the loss after ten steps: its own step is of no interest.
            let report = learner.step(1e-3, 1, &mut |t, _| Ok(batch.losses(t)?.mean())).unwrap();
            assert!(
                (report.loss - expected).abs() < 1e-3,
                "{case}, step {step}: loss {} where PyTorch has {expected}",
                report.loss
            );
        }
    }
}
