//! Configurations in transformers' `config.json`.

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{Family, OWN};
use crate::config::{
    AttentionConfig, ChannelConfig, ChannelKind, Layers, RopeConfig, RopeScaling, RopeStyle,
};
use crate::mixers::MixerKind;
use crate::{Config, Error};

/// The family and configuration a `config.json` describes; `has_head` says whether the weights hold one.
/// `Err` is what is missing or cannot be done.
pub(crate) fn from_config_json(json: &Json, has_head: bool) -> Result<(&'static Family, Config), Error> {
    let invalid = |reason: String| Error::Unsupported(format!("config.json: {reason}"));
    let name = json["model_type"].as_str().ok_or_else(|| invalid("`model_type` is missing".into()))?;
    if name == OWN.name {
        let config = Config::deserialize(&json["config"]).map_err(|error| invalid(error.to_string()))?;
        config.validate()?;
        return Ok((&OWN, config));
    }
    let family = Family::named(name)?;
    let count = |key: &str| -> Result<Option<usize>, Error> {
        match &json[key] {
            Json::Null => Ok(None),
            value => match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
                Some(value) => Ok(Some(value)),
                None => Err(invalid(format!("`{key}` is {value}, not a count"))),
            },
        }
    };
    let needed = |key: &str| count(key)?.ok_or_else(|| invalid(format!("`{key}` is missing")));
    if json["hidden_act"].as_str().is_some_and(|act| act != "silu") {
        return Err(invalid(format!("`hidden_act` {} is not supported (silu is)", json["hidden_act"])));
    }
    for key in ["use_sliding_window", "mlp_bias"] {
        if json[key] == true {
            return Err(invalid(format!("`{key}` is not supported")));
        }
    }
    let width = needed("hidden_size")?;
    let heads = needed("num_attention_heads")?;
    let head_dim = match count("head_dim")? {
        Some(head_dim) => head_dim,
        None => width.checked_div(heads).ok_or_else(|| invalid("`num_attention_heads` is 0".into()))?,
    };
    let layers = needed("num_hidden_layers")?;
    if layers > 1 << 16 {
        return Err(invalid(format!("`num_hidden_layers` is {layers}")));
    }
    let bias = json["attention_bias"] == true;
    let config = Config {
        vocabulary: needed("vocab_size")?,
        width,
        context: needed("max_position_embeddings")?,
        layers: Layers::uniform(layers, MixerKind::Attention),
        norm_epsilon: json["rms_norm_eps"]
            .as_f64()
            .ok_or_else(|| invalid("`rms_norm_eps` is missing".into()))? as f32,
        tied_embeddings: json["tie_word_embeddings"].as_bool().unwrap_or(!has_head),
        attention: AttentionConfig {
            heads,
            kv_heads: count("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            rope: rope(json)?,
            qk_norm: family.qk_norm,
            qkv_bias: family.qkv_bias.unwrap_or(bias),
            output_bias: family.qkv_bias.is_none() && bias,
        },
        delta: None,
        conv: None,
        channel: ChannelConfig { kind: ChannelKind::Swiglu, hidden: needed("intermediate_size")? },
    };
    config.validate()?;
    Ok((family, config))
}

/// Rotary settings: `rope_theta` with `rope_scaling`, or both in `rope_parameters` (transformers 5).
fn rope(json: &Json) -> Result<RopeConfig, Error> {
    let parameters =
        if json["rope_parameters"].is_object() { &json["rope_parameters"] } else { &json["rope_scaling"] };
    let number = |key: &str| parameters[key].as_f64().map(|value| value as f32);
    let base =
        number("rope_theta").or(json["rope_theta"].as_f64().map(|base| base as f32)).unwrap_or(10_000.0);
    let kind = parameters["rope_type"].as_str().or(parameters["type"].as_str()).unwrap_or("default");
    let missing =
        || Error::Unsupported(format!("config.json: rotary scaling `{kind}` lacks one of its numbers"));
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: number("factor").ok_or_else(missing)? },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor").ok_or_else(missing)?,
            low_frequency_factor: number("low_freq_factor").ok_or_else(missing)?,
            high_frequency_factor: number("high_freq_factor").ok_or_else(missing)?,
            original_context: number("original_max_position_embeddings").ok_or_else(missing)? as usize,
        },
        _ => return Err(Error::Unsupported(format!("config.json: rotary scaling `{kind}`"))),
    };
    if parameters["partial_rotary_factor"].as_f64().or(json["partial_rotary_factor"].as_f64()).unwrap_or(1.0)
        != 1.0
    {
        return Err(Error::Unsupported("config.json: `partial_rotary_factor`".into()));
    }
    Ok(RopeConfig { base, style: RopeStyle::Half, dimensions: None, scaling })
}

/// The `config.json` of a configuration; `dtype` is `float32`, `float16` or `bfloat16`. Errors if it has
/// settings the family's class can't express.
pub(crate) fn to_config_json(
    family: &Family,
    config: &Config,
    dtype: &str,
    ends: (Option<u32>, Option<u32>),
) -> Result<Json, Error> {
    if family.is_own() {
        return Ok(json!({
            "architectures": [family.class], "model_type": family.name, "config": config,
            "bos_token_id": ends.0, "eos_token_id": ends.1, "torch_dtype": dtype,
        }));
    }
    let attention = &config.attention;
    let rope = &attention.rope;
    let usual = config.channel.kind == ChannelKind::Swiglu
        && config.layers.iter().all(|mixer| mixer == MixerKind::Attention);
    let expressible = usual
        && match family.qkv_bias {
            Some(bias) => attention.qkv_bias == bias && !attention.output_bias,
            None => attention.qkv_bias == attention.output_bias,
        };
    if !expressible || rope.dimensions.is_some() {
        return Err(Error::Unsupported(format!(
            "{} cannot state this model's mixers, channel, biases or partial rotation",
            family.class
        )));
    }
    let scaling = match rope.scaling {
        RopeScaling::None => Json::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low_frequency_factor,
                "high_freq_factor": high_frequency_factor, "original_max_position_embeddings": original_context,
            })
        }
    };
    let mut out = Map::new();
    let fields = json!({
        "architectures": [family.class], "model_type": family.name,
        "vocab_size": config.vocabulary, "hidden_size": config.width,
        "intermediate_size": config.channel.hidden, "num_hidden_layers": config.layers.len(),
        "num_attention_heads": attention.heads, "num_key_value_heads": attention.kv_heads,
        "head_dim": attention.head_dim, "hidden_act": "silu",
        "max_position_embeddings": config.context,
        // Through decimal text, or 1e-5 would be written as 9.999999747378752e-6.
        "rms_norm_eps": decimal(config.norm_epsilon), "rope_theta": decimal(rope.base), "rope_scaling": scaling,
        "tie_word_embeddings": config.tied_embeddings,
        "bos_token_id": ends.0, "eos_token_id": ends.1, "torch_dtype": dtype,
    });
    if let Json::Object(fields) = fields {
        out.extend(fields);
    }
    if family.qkv_bias.is_none() {
        out.insert("attention_bias".into(), json!(attention.qkv_bias));
    }
    Ok(Json::Object(out))
}

fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
