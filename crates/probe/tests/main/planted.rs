//! Tiny models with known insides: weights set by hand, and weights from noise.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use model::config::{ChannelConfig, ChannelKind, Layers};
use model::mixers::MixerKind;
use model::{Activation, Config, Error, Init, Transformer, WeightSource};
use ops::{Format, Weight};

/// Tokens of the planted induction model; token 0 begins every text and never comes back.
pub(crate) const VOCABULARY: usize = 12;

/// Weights by name; what is not there is zero (norms: one).
#[derive(Default)]
pub(crate) struct Planted {
    pub(crate) matrices: BTreeMap<String, Vec<f32>>,
    pub(crate) vectors: BTreeMap<String, Vec<f32>>,
}

impl WeightSource for Planted {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize, _: Init) -> Result<Weight, Error> {
        let values = self.matrices.remove(name).unwrap_or_else(|| vec![0.0; rows * columns]);
        assert_eq!(values.len(), rows * columns, "{name}");
        dense(rows, columns, &values)
    }

    fn vector(&mut self, name: &str, length: usize, _: Init) -> Result<Tensor<1>, Error> {
        let default = if name.contains("norm") { 1.0 } else { 0.0 };
        let values = self.vectors.remove(name).unwrap_or_else(|| vec![default; length]);
        Ok(ops::tensor_from(values, [length]))
    }
}

pub(crate) fn dense(rows: usize, columns: usize, values: &[f32]) -> Result<Weight, Error> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(Weight::from_bytes(Format::F32, rows, columns, &bytes)?)
}

pub(crate) fn config(
    vocabulary: usize,
    width: usize,
    layers: usize,
    heads: usize,
    head_dim: usize,
) -> Config {
    let mut config = Config::new(vocabulary, width, 256, Layers::uniform(layers, MixerKind::Attention));
    (config.norm_epsilon, config.tied_embeddings, config.attention.qk_norm) = (1e-9, false, false);
    (config.attention.heads, config.attention.kv_heads, config.attention.head_dim) = (heads, heads, head_dim);
    config.channel = ChannelConfig { kind: ChannelKind::Swiglu, hidden: 8 };
    config
}

/// Sets one cell of a row-major matrix.
fn set(matrix: &mut [f32], columns: usize, row: usize, column: usize, value: f32) {
    matrix[row * columns + column] = value;
}

/// How strongly the planted induction head writes the token it found.
pub(crate) const COPIED: f32 = 3.0;

/// A two-block model whose head 0.0 looks at the previous token, whose head 1.0 does induction, and whose other
/// heads look everywhere alike and write nothing.
///
/// The stream holds four parts: the token, the previous token (written by 0.0), the token that followed the
/// last occurrence (written by 1.0), and a constant. The head reads the third.
pub(crate) fn induction() -> Transformer {
    const V: usize = VOCABULARY;
    let (width, head_dim) = (3 * V + 1, V + 2);
    let mut config = config(V, width, 2, 2, head_dim);
    config.attention.rope.dimensions = Some(2);
    let mut planted = Planted::default();
    let mut embed = vec![0.0; V * width];
    for token in 0..V {
        set(&mut embed, width, token, token, 1.0);
        set(&mut embed, width, token, 3 * V, 1.0);
    }
    planted.matrices.insert("embed".into(), embed);
    let projection = || vec![0.0; 2 * head_dim * width];
    let (mut query, mut key, mut value) = (projection(), projection(), projection());
    // Rotated by its position, the query is in phase with the key of the position before.
    let strength = 100.0;
    set(&mut query, width, 0, 3 * V, strength * (-1.0_f32).cos());
    set(&mut query, width, 1, 3 * V, strength * (-1.0_f32).sin());
    set(&mut key, width, 0, 3 * V, strength);
    let mut output = vec![0.0; width * 2 * head_dim];
    for token in 0..V {
        set(&mut value, width, 2 + token, token, 1.0);
        set(&mut output, 2 * head_dim, V + token, 2 + token, 1.0);
    }
    for (name, matrix) in [("query", query), ("key", key), ("value", value), ("output", output)] {
        planted.matrices.insert(format!("blocks.0.mixer.{name}"), matrix);
    }
    let (mut query, mut key, mut value) = (projection(), projection(), projection());
    let mut output = vec![0.0; width * 2 * head_dim];
    for token in 0..V {
        set(&mut query, width, 2 + token, token, 20.0);
        set(&mut key, width, 2 + token, V + token, 20.0);
        set(&mut value, width, 2 + token, token, 1.0);
        set(&mut output, 2 * head_dim, 2 * V + token, 2 + token, COPIED);
    }
    for (name, matrix) in [("query", query), ("key", key), ("value", value), ("output", output)] {
        planted.matrices.insert(format!("blocks.1.mixer.{name}"), matrix);
    }
    // Norms that give back what they read: two parts of length 1 in block 0, three in block 1.
    for (block, parts) in [(0, 2.0_f32), (1, 3.0)] {
        let weight = (parts / width as f32).sqrt();
        planted.vectors.insert(format!("blocks.{block}.mixer_norm"), vec![weight; width]);
    }
    let mut head = vec![0.0; V * width];
    for token in 0..V {
        set(&mut head, width, token, 2 * V + token, 1.0);
    }
    planted.matrices.insert("head".into(), head);
    Transformer::load(&config, &mut planted, Activation::F32).unwrap()
}

/// A text of the planted model: the beginning, a segment, another token, the segment again.
pub(crate) fn repeated() -> Vec<u32> {
    vec![0, 3, 7, 4, 9, 1, 3, 7, 4, 9]
}

/// Weights that follow from their names: small, different everywhere, the same in every run.
pub(crate) struct Noise(pub(crate) u64);

pub(crate) fn noise(seed: u64, name: &str, length: usize) -> Vec<f32> {
    let mut stream = ledger::Stream::new(seed, name);
    (0..length).map(|_| stream.uniform() as f32 - 0.5).collect()
}

impl WeightSource for Noise {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize, _: Init) -> Result<Weight, Error> {
        let scale = 3.0 / (columns as f32).sqrt();
        let values: Vec<f32> = noise(self.0, name, rows * columns).iter().map(|v| v * scale).collect();
        dense(rows, columns, &values)
    }

    fn vector(&mut self, name: &str, length: usize, _: Init) -> Result<Tensor<1>, Error> {
        let center = if name.contains("norm") { 1.0 } else { 0.0 };
        let values = noise(self.0, name, length).iter().map(|v| center + 0.3 * v).collect();
        Ok(ops::tensor_from(values, [length]))
    }
}

/// A model of noise with every option on: grouped heads, head norms, biases, a tied head.
pub(crate) fn noisy(seed: u64) -> Transformer {
    let mut config = config(40, 32, 3, 4, 8);
    config.attention.kv_heads = 2;
    (config.attention.qk_norm, config.attention.qkv_bias, config.attention.output_bias) = (true, true, true);
    (config.tied_embeddings, config.norm_epsilon) = (true, 1e-5);
    Transformer::load(&config, &mut Noise(seed), Activation::F32).unwrap()
}

/// A text for [`noisy`].
pub(crate) fn text(seed: u64, length: usize) -> Vec<u32> {
    let mut stream = ledger::Stream::new(seed, "text");
    (0..length).map(|_| stream.below(40) as u32).collect()
}

/// [`noisy`]`(1)` with one vector moved.
pub(crate) struct Moved(pub(crate) &'static str);

impl WeightSource for Moved {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize, init: Init) -> Result<Weight, Error> {
        Noise(1).matrix(name, rows, columns, init)
    }

    fn vector(&mut self, name: &str, length: usize, init: Init) -> Result<Tensor<1>, Error> {
        let mut values = ops::values_of(Noise(1).vector(name, length, init)?);
        if name == self.0 {
            values
                .iter_mut()
                .enumerate()
                .for_each(|(i, value)| *value += if i % 2 == 0 { 0.5 } else { -0.25 });
        }
        Ok(ops::tensor_from(values, [length]))
    }
}

/// Writes a tiny Llama folder of noise; each matrix of `changed` gets one outer product whose length is half that
/// of the matrix.
pub(crate) fn write_llama(folder: &std::path::Path, changed: &[&str]) {
    use model::weights::{Tensor, safetensors};
    const WIDTH: usize = 16;
    const VOCABULARY: usize = 40;
    std::fs::create_dir_all(folder).unwrap();
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
        "hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu", "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut plan = vec![("model.embed_tokens.weight".to_string(), Format::F32, vec![VOCABULARY, WIDTH])];
    for layer in 0..2 {
        let mut add = |name: &str, shape: &[usize]| {
            plan.push((format!("model.layers.{layer}.{name}.weight"), Format::F32, shape.to_vec()));
        };
        add("input_layernorm", &[WIDTH]);
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(&format!("self_attn.{name}"), &[WIDTH, WIDTH]);
        }
        add("post_attention_layernorm", &[WIDTH]);
        add("mlp.gate_proj", &[24, WIDTH]);
        add("mlp.up_proj", &[24, WIDTH]);
        add("mlp.down_proj", &[WIDTH, 24]);
    }
    plan.push(("model.norm.weight".into(), Format::F32, vec![WIDTH]));
    safetensors::write(&folder.join("model.safetensors"), &plan, |index| {
        let (name, format, shape) = &plan[index];
        let mut values = noise(4, name, shape.iter().product());
        if changed.contains(&name.as_str()) {
            let length = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
            let (left, right) = (noise(5, "left", shape[0]), noise(5, "right", shape[1]));
            let scale = 0.5 * length(&values) / (length(&left) * length(&right));
            for (index, value) in values.iter_mut().enumerate() {
                *value += scale * left[index / shape[1]] * right[index % shape[1]];
            }
        }
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Tensor { format: *format, shape: shape.clone(), bytes })
    })
    .unwrap();
}
