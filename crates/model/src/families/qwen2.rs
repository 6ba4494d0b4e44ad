//! Qwen2 and Qwen2.5: biases on query, key and value, none on the output.

use super::Family;
use crate::config::RopeStyle;

pub(super) const FAMILY: Family = Family {
    name: "qwen2",
    class: "Qwen2ForCausalLM",
    gguf_rope: RopeStyle::Half,
    qk_norm: false,
    qkv_bias: Some(true),
    what: "Qwen2 and Qwen2.5",
};
