//! Tensor names: ours (see `transformer`), GGUF's, transformers'.

use std::collections::BTreeSet;

use super::Family;
use crate::Config;
use crate::config::ChannelKind;
use crate::mixers::MixerKind;

/// Names outside the blocks: ours, GGUF's, transformers'.
const GLOBAL: &[[&str; 3]] = &[
    ["embed", "token_embd.weight", "model.embed_tokens.weight"],
    ["final_norm", "output_norm.weight", "model.norm.weight"],
    ["head", "output.weight", "lm_head.weight"],
];

/// Names inside a block, after `blocks.{i}.`, `blk.{i}.` and `model.layers.{i}.`.
const BLOCK: &[[&str; 3]] = &[
    ["mixer_norm", "attn_norm.weight", "input_layernorm.weight"],
    ["mixer.query", "attn_q.weight", "self_attn.q_proj.weight"],
    ["mixer.key", "attn_k.weight", "self_attn.k_proj.weight"],
    ["mixer.value", "attn_v.weight", "self_attn.v_proj.weight"],
    ["mixer.output", "attn_output.weight", "self_attn.o_proj.weight"],
    ["mixer.query_bias", "attn_q.bias", "self_attn.q_proj.bias"],
    ["mixer.key_bias", "attn_k.bias", "self_attn.k_proj.bias"],
    ["mixer.value_bias", "attn_v.bias", "self_attn.v_proj.bias"],
    ["mixer.output_bias", "attn_output.bias", "self_attn.o_proj.bias"],
    ["mixer.query_norm", "attn_q_norm.weight", "self_attn.q_norm.weight"],
    ["mixer.key_norm", "attn_k_norm.weight", "self_attn.k_norm.weight"],
    ["channel_norm", "ffn_norm.weight", "post_attention_layernorm.weight"],
    ["channel.gate", "ffn_gate.weight", "mlp.gate_proj.weight"],
    ["channel.up", "ffn_up.weight", "mlp.up_proj.weight"],
    ["channel.down", "ffn_down.weight", "mlp.down_proj.weight"],
];

/// Names inside a delta mixer, in the order they are asked for.
const DELTA: &[&str] = &[
    "mixer.query",
    "mixer.key",
    "mixer.value",
    "mixer.gate",
    "mixer.decay",
    "mixer.strength",
    "mixer.output",
    "mixer.query_conv",
    "mixer.key_conv",
    "mixer.value_conv",
    "mixer.log_rate",
    "mixer.decay_bias",
    "mixer.output_norm",
];

/// Names inside a conv mixer.
const CONV: &[&str] = &["mixer.input", "mixer.conv", "mixer.output"];

/// The names of a block around those of its mixer.
fn around(mixer: &'static [&'static str]) -> Vec<&'static str> {
    let names = BLOCK.iter().map(|row| row[0]);
    let (before, after): (Vec<&str>, Vec<&str>) =
        names.filter(|name| !name.starts_with("mixer.")).partition(|name| *name == "mixer_norm");
    before.into_iter().chain(mixer.iter().copied()).chain(after).collect()
}

fn translate(ours: &str, column: usize, prefix: &str) -> Option<String> {
    if let Some(row) = GLOBAL.iter().find(|row| row[0] == ours) {
        return Some(row[column].to_string());
    }
    let (index, rest) = ours.strip_prefix("blocks.")?.split_once('.')?;
    let row = BLOCK.iter().find(|row| row[0] == rest)?;
    Some(format!("{prefix}.{index}.{}", row[column]))
}

/// GGUF's name of the tensor we call `ours`.
pub(crate) fn gguf_name(ours: &str) -> Option<String> {
    translate(ours, 1, "blk")
}

/// transformers' name of the tensor we call `ours`.
pub(crate) fn hf_name(ours: &str) -> Option<String> {
    translate(ours, 2, "model.layers")
}

/// The name, in a folder of that family, of the tensor we call `ours`.
pub(crate) fn folder_name(family: &Family, ours: &str) -> Option<String> {
    if family.is_own() { Some(ours.to_string()) } else { hf_name(ours) }
}

/// Our names of all tensors a model of this configuration has, in the order of the forward pass.
pub(crate) fn tensor_names(config: &Config) -> Vec<String> {
    let attention = &config.attention;
    let has = |name: &str| match name {
        "mixer.query_bias" | "mixer.key_bias" | "mixer.value_bias" => attention.qkv_bias,
        "mixer.output_bias" => attention.output_bias,
        "mixer.query_norm" | "mixer.key_norm" => attention.qk_norm,
        "channel.gate" => config.channel.kind == ChannelKind::Swiglu,
        name if name.starts_with("channel") => config.channel.kind != ChannelKind::None,
        _ => true,
    };
    let mut names = vec!["embed".to_string()];
    for (index, mixer) in config.layers.iter().enumerate() {
        let block: Vec<&str> = match mixer {
            MixerKind::Attention => BLOCK.iter().map(|row| row[0]).collect(),
            MixerKind::Delta => around(DELTA),
            MixerKind::Conv => around(CONV),
        };
        let block = block.into_iter().filter(|name| has(name));
        names.extend(block.map(|name| format!("blocks.{index}.{name}")));
    }
    names.push("final_norm".into());
    if !config.tied_embeddings {
        names.push("head".into());
    }
    names
}

/// The first tensor of a checkpoint that the forward pass would ignore: a sign that it is another model.
pub(crate) fn unexpected<'n>(
    config: &Config,
    stored: impl Iterator<Item = &'n String>,
    name: impl Fn(&str) -> Option<String>,
) -> Option<&'n String> {
    let expected: BTreeSet<String> = tensor_names(config).iter().filter_map(|ours| name(ours)).collect();
    let harmless = |stored: &str| {
        stored == super::ROPE_FACTORS
            || stored.ends_with("rotary_emb.inv_freq")
            || (config.tied_embeddings && Some(stored) == name("head").as_deref())
    };
    stored.into_iter().find(|stored| !expected.contains(*stored) && !harmless(stored))
}
