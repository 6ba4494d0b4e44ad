//! Softmax attention: projections, optional head norms (Qwen3) and biases (Qwen2), rotation, attention, output.

use burn::tensor::Tensor;
use ops::{Heads, KeyValues};

use super::{Mixer, Spec, State, StateKind};
use crate::blocks::{Linear, Scene, vector};
use crate::hooks::Site;
use crate::transformer::WeightSource;
use crate::{Config, Error, Init};

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// Norms over each query and each key head.
    head_norms: Option<(Tensor<1>, Tensor<1>)>,
    heads: Heads,
    epsilon: f32,
}

pub(super) const POINTS: &[(Site, &str)] = &[
    (Site::Query, "query"),
    (Site::Key, "key"),
    (Site::Value, "value"),
    (Site::Pattern, "pattern"),
    (Site::Mix, "mix"),
];

fn heads(config: &Config) -> Heads {
    let attention = &config.attention;
    Heads { queries: attention.heads, keys: attention.kv_heads, features: attention.head_dim }
}

pub(super) fn state(config: &Config) -> Result<State, Error> {
    Ok(State::KeyValues(KeyValues::new(heads(config))))
}

pub(super) fn build(
    config: &Config,
    prefix: &str,
    weights: &mut dyn WeightSource,
) -> Result<Box<dyn Mixer>, Error> {
    let heads = heads(config);
    let (wide, narrow) = (heads.queries * heads.features, heads.keys * heads.features);
    let (width, attention) = (config.width, &config.attention);
    let mut linear = |name: &str, rows, columns, bias, init| {
        Linear::load(weights, &format!("{prefix}.{name}"), rows, columns, bias, init)
    };
    let query = linear("query", wide, width, attention.qkv_bias, Init::projection(width))?;
    let key = linear("key", narrow, width, attention.qkv_bias, Init::projection(width))?;
    let value = linear("value", narrow, width, attention.qkv_bias, Init::projection(width))?;
    let output_init = Init::output(wide, config.layers.len());
    let output = linear("output", width, wide, attention.output_bias, output_init)?;
    let head_norms = match attention.qk_norm {
        true => Some((
            vector(weights, &format!("{prefix}.query_norm"), heads.features, Init::Constant(1.0))?,
            vector(weights, &format!("{prefix}.key_norm"), heads.features, Init::Constant(1.0))?,
        )),
        false => None,
    };
    Ok(Box::new(Attention { query, key, value, output, head_norms, heads, epsilon: config.norm_epsilon }))
}

impl Attention {
    /// Normalizes every head of `x` `[T, heads · features]` by itself.
    fn norm_heads(&self, x: Tensor<2>, weight: &Tensor<1>) -> Tensor<2> {
        let [tokens, features] = x.dims();
        let rows = x.reshape([tokens * features / self.heads.features, self.heads.features]);
        ops::rms_norm(rows, weight.clone(), self.epsilon).reshape([tokens, features])
    }
}

impl Mixer for Attention {
    fn spec(&self) -> Spec {
        let Heads { queries, keys, features } = self.heads;
        let parts = [&self.query, &self.key, &self.value, &self.output];
        Spec {
            state: StateKind::PerToken(2 * keys * features * size_of::<f32>()),
            projection_macs: parts.iter().map(|linear| linear.macs()).sum(),
            state_macs: 0,
            macs_per_position: 2 * queries * features,
        }
    }

    fn forward(
        &self,
        x: Tensor<2>,
        state: Option<&mut State>,
        scene: &mut Scene<'_, '_>,
    ) -> Result<Tensor<2>, Error> {
        let heads = self.heads;
        let [mut q, mut k, v] = Linear::forward_many([&self.query, &self.key, &self.value], x, scene);
        if let Some((query_norm, key_norm)) = &self.head_norms {
            (q, k) = (self.norm_heads(q, query_norm), self.norm_heads(k, key_norm));
        }
        if let Some(rotation) = scene.rotation {
            (q, k) = ops::rope_pair(q, k, heads.features, rotation);
        }
        let (q, k) = (scene.at(Site::Query, q)?, scene.at(Site::Key, k)?);
        let v = scene.at(Site::Value, v)?;
        let parts = scene.listens(Site::Pattern);
        let mixed = match state {
            Some(State::KeyValues(memory)) => {
                memory.append(k, v).map_err(|error| Error::Request(error.to_string()))?;
                if parts {
                    let pattern = ops::cached_attention_pattern(q, memory);
                    ops::cached_attention_mix(scene.at_heads(Site::Pattern, pattern)?, memory)
                } else {
                    ops::cached_attention(q, memory)
                }
            }
            _ if parts => {
                let pattern = ops::attention_pattern(q, k, heads, scene.documents);
                ops::attention_mix(scene.at_heads(Site::Pattern, pattern)?, v, heads)
            }
            _ => ops::attention(q, k, v, heads, scene.documents, scene.activation),
        };
        let mixed = scene.at(Site::Mix, mixed)?;
        Ok(self.output.forward(mixed, scene))
    }
}
