//! Tiny checkpoints with random weights, written as a folder with safetensors.

use std::fs;
use std::path::Path;

use kernels::quant::{Format, quantize};
use model::weights::{Tensor, safetensors};
use serde_json::{Map, json};

/// Tokens of the tiny vocabulary.
pub(crate) const VOCABULARY: usize = 288;
const WIDTH: usize = 32;
const HIDDEN: usize = 64;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 8;

/// Writes the folder. `family` is `llama`, `qwen2` or `qwen3`.
pub(crate) fn write(folder: &Path, family: &str) {
    fs::create_dir_all(folder).unwrap();
    let class = match family {
        "llama" => "LlamaForCausalLM",
        "qwen2" => "Qwen2ForCausalLM",
        _ => "Qwen3ForCausalLM",
    };
    let config = json!({
        "architectures": [class], "model_type": family, "vocab_size": VOCABULARY, "hidden_size": WIDTH,
        "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "hidden_act": "silu",
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": family != "qwen2", "bos_token_id": 256, "eos_token_id": 257,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let tokens =
        json!({"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "chat_template": null});
    fs::write(folder.join("tokenizer_config.json"), tokens.to_string()).unwrap();
    let plan = plan(family);
    safetensors::write(&folder.join("model.safetensors"), &plan, |index| {
        let (_, format, shape) = &plan[index];
        let values = random(index as u64, shape.iter().product());
        Ok(Tensor { format: *format, shape: shape.clone(), bytes: quantize(*format, &values).unwrap() })
    })
    .unwrap();
}

fn plan(family: &str) -> Vec<(String, Format, Vec<usize>)> {
    let mut plan = vec![("model.embed_tokens.weight".to_string(), vec![VOCABULARY, WIDTH])];
    for index in 0..LAYERS {
        let mut add =
            |name: &str, shape: &[usize]| plan.push((format!("model.layers.{index}.{name}"), shape.to_vec()));
        add("input_layernorm.weight", &[WIDTH]);
        add("self_attn.q_proj.weight", &[HEADS * HEAD_DIM, WIDTH]);
        add("self_attn.k_proj.weight", &[KV_HEADS * HEAD_DIM, WIDTH]);
        add("self_attn.v_proj.weight", &[KV_HEADS * HEAD_DIM, WIDTH]);
        add("self_attn.o_proj.weight", &[WIDTH, HEADS * HEAD_DIM]);
        if family == "qwen2" {
            add("self_attn.q_proj.bias", &[HEADS * HEAD_DIM]);
            add("self_attn.k_proj.bias", &[KV_HEADS * HEAD_DIM]);
            add("self_attn.v_proj.bias", &[KV_HEADS * HEAD_DIM]);
        }
        if family == "qwen3" {
            add("self_attn.q_norm.weight", &[HEAD_DIM]);
            add("self_attn.k_norm.weight", &[HEAD_DIM]);
        }
        add("post_attention_layernorm.weight", &[WIDTH]);
        add("mlp.gate_proj.weight", &[HIDDEN, WIDTH]);
        add("mlp.up_proj.weight", &[HIDDEN, WIDTH]);
        add("mlp.down_proj.weight", &[WIDTH, HIDDEN]);
    }
    plan.push(("model.norm.weight".into(), vec![WIDTH]));
    if family == "qwen2" {
        plan.push(("lm_head.weight".into(), vec![VOCABULARY, WIDTH]));
    }
    plan.into_iter().map(|(name, shape)| (name, Format::F32, shape)).collect()
}

/// Values between -0.5 and 0.5 that depend on `seed` alone.
pub(crate) fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) + 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

/// All bytes, two markers, and a few merges.
fn tokenizer() -> serde_json::Value {
    let mut vocabulary = Map::new();
    let mut other = 0x100;
    for byte in 0..=255u8 {
        let char = match byte {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                other += 1;
                char::from_u32(other - 1).unwrap()
            }
        };
        vocabulary.insert(char.to_string(), json!(byte));
    }
    let merges = [["a", "b"], ["ab", "a"], ["Ġ", "a"], ["Ġ", "ab"], ["æ", "ł"], ["æł", "¼"]];
    for (index, [left, right]) in merges.iter().enumerate() {
        vocabulary.insert(format!("{left}{right}"), json!(258 + index));
    }
    let added =
        |id: u32, content: &str, special: bool| json!({"id": id, "content": content, "special": special});
    json!({
        "version": "1.0",
        "added_tokens": [added(256, "<|im_start|>", true), added(257, "<|im_end|>", true), added(270, "<think>", false)],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": null,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    })
}
