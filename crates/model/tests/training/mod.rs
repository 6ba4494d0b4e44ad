//! Gradients of small models with every mixer, against PyTorch's autograd (`scripts/record_training_fixtures.py`).

mod tuned;

use std::path::{Path, PathBuf};

use model::weights::safetensors::SafeTensors;
use model::{Activation, Config, Hooks, Packed, Parameters};

const CASES: [&str; 6] = ["attention", "delta", "delta_sigmoid", "conv", "relu2", "hybrid"];

/// A recorded model with its batch, and everything recorded about it.
struct Recorded {
    parameters: Parameters,
    packed: Packed,
    file: SafeTensors,
}

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training").join(case)
}

impl Recorded {
    fn open(case: &str) -> Self {
        let config = std::fs::read_to_string(folder(case).join("config.json")).unwrap();
        let config: Config = serde_json::from_str(&config).unwrap();
        let file = SafeTensors::file(&folder(case).join("recorded.safetensors")).unwrap();
        let read = |name: &str| file.tensor(name).unwrap().to_f32().unwrap();
        let mut parameters = Parameters::random(&config, 0).unwrap();
        let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
        let recorded = file.tensors.keys().filter(|name| name.starts_with("weights.")).count();
        assert_eq!(names.len(), recorded, "{case}: weights");
        for name in &names {
            let values = read(&format!("weights.{name}"));
            parameters.update(name, |own| own.copy_from_slice(&values)).unwrap();
        }
        let tokens: Vec<u32> = read("tokens").into_iter().map(|token| token as u32).collect();
        let mut starts: Vec<usize> = read("starts").into_iter().map(|start| start as usize).collect();
        starts.push(tokens.len());
        let documents = starts.windows(2).map(|ends| tokens[ends[0]..ends[1]].to_vec());
        let packed = Packed::new(&documents.collect::<Vec<_>>());
        Self { parameters, packed, file }
    }

    fn read(&self, name: &str) -> Vec<f32> {
        self.file.tensor(name).unwrap().to_f32().unwrap()
    }

    /// The loss, and the gradient of every weight by name.
    fn gradients(&self, activation: Activation) -> (f32, Vec<(String, Vec<f32>)>) {
        let tracked = self.parameters.track(activation).unwrap();
        let model = tracked.transformer();
        let hidden = model.hidden(&self.packed, &mut Hooks::new()).unwrap();
        let (rows, targets) = self.packed.predictions();
        let loss = model.losses(hidden, &rows, &targets).unwrap().mean();
        let value = ops::values_of(loss.clone())[0];
        let names = self.parameters.trainable().map(|(name, _)| name.to_string());
        let gradients = names.zip(tracked.gradients(loss));
        (value, gradients.map(|(name, gradient)| (name, gradient.unwrap())).collect())
    }

    /// The distance of a gradient from the recorded one, relative to that one's length.
    fn error(&self, name: &str, gradient: &[f32]) -> f64 {
        let recorded = self.read(&format!("gradients.{name}"));
        assert_eq!(recorded.len(), gradient.len(), "{name}");
        let squares =
            |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
        let length = squares(&mut recorded.iter().copied()).sqrt();
        assert!(length > 0.0 && gradient.iter().any(|g| *g != 0.0), "{name} is identically zero");
        squares(&mut recorded.iter().zip(gradient).map(|(a, b)| a - b)).sqrt() / length
    }
}

#[test]
fn every_gradient_agrees_with_autograd() {
    for case in CASES {
        let recorded = Recorded::open(case);
        let (loss, gradients) = recorded.gradients(Activation::F32);
        assert!((loss - recorded.read("loss")[0]).abs() < 1e-5, "{case}: loss {loss}");
        let errors = gradients.iter().map(|(name, gradient)| (recorded.error(name, gradient), name));
        let (worst, name) = errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        assert!(worst <= 1e-4, "{case}: {name} differs by {worst:e}");
    }
}

#[test]
fn bf16_is_no_worse_than_autocast() {
    for case in CASES {
        let recorded = Recorded::open(case);
        let (_, gradients) = recorded.gradients(Activation::Bf16);
        let mean = |errors: Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64;
        let ours = mean(gradients.iter().map(|(name, gradient)| recorded.error(name, gradient)).collect());
        let autocast = |name: &String| f64::from(recorded.read(&format!("autocast.{name}"))[0]);
        let theirs = mean(gradients.iter().map(|(name, _)| autocast(name)).collect());
        assert!(ours <= theirs, "{case}: mean relative error {ours:e}, under autocast {theirs:e}");
    }
}
