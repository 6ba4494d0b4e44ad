//! Configurations in GGUF metadata.

use std::collections::BTreeMap;

use super::Family;
use super::rope::{ROPE_FACTORS, rope_factors, scaling_of};
use crate::config::{AttentionConfig, ChannelConfig, ChannelKind, Layers, RopeConfig, RopeScaling};
use crate::mixers::MixerKind;
use crate::weights::gguf::{Gguf, Value};
use crate::{Config, Error};

/// The family and configuration a GGUF file describes. Errors if keys are missing, contradict the tensors, or
/// ask for something the blocks can't do.
pub(crate) fn from_gguf(gguf: &Gguf) -> Result<(&'static Family, Config), Error> {
    let name = gguf.required("general.architecture", Value::as_str)?;
    let family = Family::named(name)?;
    let count = |key: &str| -> Result<Option<usize>, Error> {
        let key = format!("{name}.{key}");
        gguf.optional(&key, Value::as_integer)?
            .map(|value| usize::try_from(value).map_err(|_| gguf.invalid(format!("`{key}` is {value}"))))
            .transpose()
    };
    let needed = |key: &str| -> Result<usize, Error> {
        count(key)?.ok_or_else(|| gguf.invalid(format!("metadata key `{name}.{key}` is missing")))
    };
    let float = |key: &str| gguf.optional(&format!("{name}.{key}"), Value::as_float);

    let width = needed("embedding_length")?;
    let heads = needed("attention.head_count")?;
    let layers = needed("block_count")?;
    let head_dim = match count("attention.key_length")? {
        Some(head_dim) => head_dim,
        None => width.checked_div(heads).ok_or_else(|| gguf.invalid("it states 0 attention heads"))?,
    };
    if count("attention.value_length")?.is_some_and(|length| length != head_dim) {
        return Err(Error::Unsupported("value heads of another length than key heads".into()));
    }
    if count("expert_count")?.is_some_and(|experts| experts > 0) {
        return Err(Error::Unsupported("mixtures of experts".into()));
    }
    if layers > gguf.tensors.len() {
        return Err(gguf.invalid(format!("it states {layers} blocks but has {} tensors", gguf.tensors.len())));
    }
    let embed = gguf
        .tensors
        .get("token_embd.weight")
        .ok_or_else(|| gguf.invalid("it has no tensor `token_embd.weight`"))?;
    let vocabulary = embed.shape[0];
    if count("vocab_size")?.is_some_and(|stated| stated != vocabulary) {
        return Err(gguf.invalid(format!(
            "`{name}.vocab_size` differs from the {vocabulary} rows of `token_embd.weight`"
        )));
    }
    let epsilon = float("attention.layer_norm_rms_epsilon")?.ok_or_else(|| {
        gguf.invalid(format!("metadata key `{name}.attention.layer_norm_rms_epsilon` is missing"))
    })?;
    let mut config = Config {
        vocabulary,
        width,
        context: needed("context_length")?,
        layers: Layers::uniform(layers.min(1 << 16), MixerKind::Attention),
        norm_epsilon: epsilon as f32,
        tied_embeddings: !gguf.tensors.contains_key("output.weight"),
        attention: AttentionConfig {
            heads,
            kv_heads: count("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            rope: RopeConfig {
                base: float("rope.freq_base")?.unwrap_or(10_000.0) as f32,
                style: family.gguf_rope,
                dimensions: count("rope.dimension_count")?.filter(|dimensions| *dimensions != head_dim),
                scaling: scaling(gguf, name)?,
            },
            qk_norm: family.qk_norm,
            qkv_bias: gguf.tensors.contains_key("blk.0.attn_q.bias"),
            output_bias: gguf.tensors.contains_key("blk.0.attn_output.bias"),
        },
        delta: None,
        conv: None,
        channel: ChannelConfig { kind: ChannelKind::Swiglu, hidden: needed("feed_forward_length")? },
    };
    config.validate()?;
    if gguf.tensors.contains_key(ROPE_FACTORS) {
        let factors = gguf.tensor(ROPE_FACTORS)?.to_f32()?;
        config.attention.rope.scaling = scaling_of(&config, &factors).ok_or_else(|| {
            Error::Unsupported(format!("the rotary factors of `{ROPE_FACTORS}` are not Llama 3's"))
        })?;
    }
    Ok((family, config))
}

fn scaling(gguf: &Gguf, name: &str) -> Result<RopeScaling, Error> {
    let factor = gguf.optional(&format!("{name}.rope.scaling.factor"), Value::as_float)?;
    match gguf.optional(&format!("{name}.rope.scaling.type"), Value::as_str)? {
        None | Some("none") => Ok(RopeScaling::None),
        Some("linear") => {
            Ok(factor.map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor: factor as f32 }))
        }
        Some(kind) => Err(Error::Unsupported(format!("rotary scaling `{kind}`"))),
    }
}

/// The configuration as GGUF metadata; with Llama 3's scaling, the factors belong in a tensor besides.
pub(crate) fn to_gguf(family: &Family, config: &Config) -> (BTreeMap<String, Value>, Option<Vec<f32>>) {
    let attention = &config.attention;
    let u32 = |value: usize| Value::u32(u32::try_from(value).unwrap_or(u32::MAX));
    let mut own = BTreeMap::from([
        ("block_count", u32(config.layers.len())),
        ("context_length", u32(config.context)),
        ("embedding_length", u32(config.width)),
        ("feed_forward_length", u32(config.channel.hidden)),
        ("attention.head_count", u32(attention.heads)),
        ("attention.head_count_kv", u32(attention.kv_heads)),
        ("attention.key_length", u32(attention.head_dim)),
        ("attention.value_length", u32(attention.head_dim)),
        ("attention.layer_norm_rms_epsilon", Value::f32(config.norm_epsilon)),
        ("rope.freq_base", Value::f32(attention.rope.base)),
        ("rope.dimension_count", u32(attention.rope.dimensions.unwrap_or(attention.head_dim))),
        ("vocab_size", u32(config.vocabulary)),
    ]);
    let mut factors = None;
    match attention.rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            own.insert("rope.scaling.type", Value::String("linear".into()));
            own.insert("rope.scaling.factor", Value::f32(factor));
        }
        RopeScaling::Llama3 { .. } => factors = Some(rope_factors(config)),
    }
    let name = family.name;
    let mut all: BTreeMap<_, _> =
        own.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect();
    all.insert("general.architecture".into(), Value::String(name.into()));
    (all, factors)
}
