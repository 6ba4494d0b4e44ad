//! Known families of checkpoints: name maps onto the same blocks, one file per family.
//!
//! To add one: a file with its [`Family`], a line in [`FAMILIES`]. What two families share (tensor names,
//! `config.json` keys, GGUF keys) is in `names`, `hf` and `gguf`.

mod gguf;
mod hf;
mod llama;
mod names;
mod qwen2;
mod qwen3;
mod rope;

pub(crate) use gguf::{from_gguf, to_gguf};
pub(crate) use hf::{from_config_json, to_config_json};
pub(crate) use names::{folder_name, gguf_name, tensor_names, unexpected};
pub(crate) use rope::ROPE_FACTORS;

use crate::Error;
use crate::config::RopeStyle;

/// What distinguishes one family from the others.
#[derive(Debug)]
pub struct Family {
    /// `general.architecture` in GGUF and `model_type` in `config.json`.
    pub name: &'static str,
    /// The class in `architectures` of `config.json`.
    pub class: &'static str,
    /// Which features form rotary pairs in a GGUF file; transformers' files always use halves.
    pub gguf_rope: RopeStyle,
    /// Whether queries and keys are normed.
    pub qk_norm: bool,
    /// Whether query, key and value have biases; `None`: `attention_bias` says so, for the output as well.
    pub qkv_bias: Option<bool>,
    /// The models it covers, for lists.
    pub what: &'static str,
}

/// Every family.
pub static FAMILIES: &[Family] = &[llama::FAMILY, qwen2::FAMILY, qwen3::FAMILY];

/// Architectures of our own: any configuration, saved as it is, weights under our names.
pub static OWN: Family = Family {
    name: "gewu",
    class: "Gewu",
    gguf_rope: RopeStyle::Half,
    qk_norm: false,
    qkv_bias: None,
    what: "architectures built and trained here",
};

impl Family {
    /// Whether it is [`OWN`].
    pub(crate) fn is_own(&self) -> bool {
        self.name == OWN.name
    }

    /// The family of that name.
    pub(crate) fn named(name: &str) -> Result<&'static Self, Error> {
        FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| {
            let known: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
            Error::Unsupported(format!("no family is called `{name}`; known: {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::names::hf_name;
    use super::*;
    use crate::Config;
    use crate::config::{AttentionConfig, ChannelConfig, ChannelKind, Layers, RopeConfig, RopeScaling};
    use crate::mixers::MixerKind;

    pub(super) fn config() -> Config {
        Config {
            vocabulary: 96,
            width: 32,
            context: 128,
            layers: Layers::uniform(2, MixerKind::Attention),
            norm_epsilon: 1e-5,
            tied_embeddings: true,
            attention: AttentionConfig {
                heads: 4,
                kv_heads: 2,
                head_dim: 8,
                rope: RopeConfig {
                    base: 10_000.0,
                    style: RopeStyle::Half,
                    dimensions: None,
                    scaling: RopeScaling::None,
                },
                qk_norm: false,
                qkv_bias: false,
                output_bias: false,
            },
            delta: None,
            conv: None,
            channel: ChannelConfig { kind: ChannelKind::Swiglu, hidden: 48 },
        }
    }

    #[test]
    fn config_json_round_trips_for_every_family() {
        for family in FAMILIES {
            let mut config = config();
            config.attention.qk_norm = family.qk_norm;
            config.attention.qkv_bias = family.qkv_bias.unwrap_or(false);
            for scaling in [
                RopeScaling::None,
                RopeScaling::Linear { factor: 2.0 },
                RopeScaling::Llama3 {
                    factor: 8.0,
                    low_frequency_factor: 1.0,
                    high_frequency_factor: 4.0,
                    original_context: 8192,
                },
            ] {
                config.attention.rope.scaling = scaling;
                let json = to_config_json(family, &config, "float32", (Some(1), None)).unwrap();
                let (found, read) = from_config_json(&json, false).unwrap();
                assert_eq!((found.name, &read), (family.name, &config));
            }
        }
    }

    #[test]
    fn the_list_of_names_is_what_a_model_asks_for() {
        for layers in ["attention, delta, conv", "2 x [attention]"] {
            for kind in [ChannelKind::Swiglu, ChannelKind::Relu2, ChannelKind::None] {
                let mut config = Config::new(61, 32, 64, Layers::parse(layers).unwrap());
                config.channel.kind = kind;
                config.tied_embeddings = false;
                let parameters = crate::Parameters::random(&config, 0).unwrap();
                let asked: std::collections::BTreeSet<_> =
                    parameters.trainable().map(|(name, _)| name.to_string()).collect();
                assert_eq!(asked, tensor_names(&config).into_iter().collect());
            }
        }
    }

    #[test]
    fn names_are_one_to_one() {
        let mut config = config();
        config.attention.qk_norm = true;
        config.attention.qkv_bias = true;
        config.attention.output_bias = true;
        config.tied_embeddings = false;
        let ours = tensor_names(&config);
        for translate in [gguf_name, hf_name] {
            let theirs: std::collections::BTreeSet<_> =
                ours.iter().map(|name| translate(name).unwrap()).collect();
            assert_eq!(theirs.len(), ours.len());
            assert_eq!(unexpected(&config, theirs.iter(), translate), None);
        }
        let stray = "blk.0.ffn_gate.bias".to_string();
        assert_eq!(unexpected(&config, std::iter::once(&stray), gguf_name), Some(&stray));
    }

    #[test]
    fn impossible_config_json_is_refused() {
        let good = to_config_json(&FAMILIES[0], &config(), "float32", (None, None)).unwrap();
        for (key, value) in [
            ("model_type", serde_json::json!("mystery")),
            ("num_attention_heads", serde_json::json!(0)),
            ("num_hidden_layers", serde_json::json!(1e9 as u64)),
            ("hidden_size", serde_json::json!(-3)),
            ("vocab_size", serde_json::json!("many")),
            ("hidden_act", serde_json::json!("gelu")),
            ("rope_scaling", serde_json::json!({"rope_type": "yarn", "factor": 2.0})),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(from_config_json(&bad, true).is_err(), "{key}");
        }
    }
}
