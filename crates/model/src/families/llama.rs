//! Llama 1 to 3 and what shares its form, SmolLM2 among them.
//!
//! GGUF files hold the query and key rows permuted for the interleaved rotation, transformers' files do not.

use super::Family;
use crate::config::RopeStyle;

pub(super) const FAMILY: Family = Family {
    name: "llama",
    class: "LlamaForCausalLM",
    gguf_rope: RopeStyle::Interleaved,
    qk_norm: false,
    qkv_bias: None,
    what: "Llama and SmolLM2",
};
