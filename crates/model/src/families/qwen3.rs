//! Qwen3 (dense): an RMS norm on every query and key head.

use super::Family;
use crate::config::RopeStyle;

pub(super) const FAMILY: Family = Family {
    name: "qwen3",
    class: "Qwen3ForCausalLM",
    gguf_rope: RopeStyle::Half,
    qk_norm: true,
    qkv_bias: None,
    what: "Qwen3",
};
