//! Tiny random checkpoints written by transformers compute what PyTorch recorded (see
//! `scripts/record_model_fixtures.py`): tied and untied heads, grouped heads, llama3 scaling, biases, head norms.

use std::path::Path;

use model::{Activation, Checkpoint, Transformer, Want};

/// Two float32 implementations that sum in different orders differ by some 1e-6 at these sizes.
const TOLERANCE: f32 = 1e-4;

#[derive(serde::Deserialize)]
struct Record {
    tokens: Vec<u32>,
    rows: Vec<usize>,
    logits: Vec<Vec<f32>>,
}

#[test]
fn logits_are_those_of_pytorch() {
    for name in ["llama", "llama3", "qwen2", "qwen3"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let record = std::fs::read_to_string(folder.join("logits.json")).unwrap();
        let record: Record = serde_json::from_str(&record).unwrap();
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let model = Transformer::load(checkpoint.config(), &mut &checkpoint, Activation::F32).unwrap();
        let vocabulary = model.config().vocabulary;
        for cached in [true, false] {
            let mut cache = model.cache(record.tokens.len());
            let cache = if cached { Some(&mut cache) } else { None };
            let logits = ops::values_of(model.forward(&record.tokens, cache, Want::All).unwrap());
            for (&row, expected) in record.rows.iter().zip(&record.logits) {
                let got = &logits[row * vocabulary..][..vocabulary];
                let worst = got.iter().zip(expected).map(|(g, e)| (g - e).abs()).fold(0.0, f32::max);
                assert!(worst <= TOLERANCE, "{name}, row {row}, cached {cached}: {worst}");
            }
        }
    }
}
