//! The gated delta rule (Yang et al. 2024, arXiv:2412.06464): per head a state `S` `[key_dim, value_dim]`,
//! `u = β (v − Sᵀ-decayed · k)`, `S ← e^g S + k uᵀ`, `o = Sᵀ q / √key_dim`.
//!
//! Queries, keys and values pass a short causal convolution and SiLU; queries and keys are scaled to length 1. The
//! decay is `g = −exp(log_rate) · softplus(x W + bias)` per head, the writing strength `β = sigmoid(x W)`, doubled
//! with negative eigenvalues. The output is normed per head, gated and projected.

use burn::tensor::{Tensor, activation};

use super::recurrent::{Recurrent, refuse_tracked};
use super::{Mixer, Spec, State, StateKind};
use crate::blocks::{Linear, Scene, kernel, vector};
use crate::config::{DeltaConfig, GateKind};
use crate::hooks::Site;
use crate::transformer::WeightSource;
use crate::{Config, Error, Init};

/// Added to the squared length of queries and keys before they are scaled to length 1.
const LENGTH_EPSILON: f32 = 1e-6;

struct Delta {
    query: Linear,
    key: Linear,
    value: Linear,
    gate: Linear,
    decay: Linear,
    strength: Linear,
    output: Linear,
    /// Weights of the convolutions over queries, keys and values, `[features, kernel]`.
    kernels: [Tensor<2>; 3],
    log_rate: Tensor<1>,
    decay_bias: Tensor<1>,
    output_norm: Tensor<1>,
    /// What turns an RMS norm over a head into a scaling to length 1.
    unit: Tensor<1>,
    config: DeltaConfig,
    epsilon: f32,
}

pub(super) const POINTS: &[(Site, &str)] = &[
    (Site::Query, "query"),
    (Site::Key, "key"),
    (Site::Value, "value"),
    (Site::Decay, "decay"),
    (Site::Strength, "strength"),
    (Site::Mix, "mix"),
];

fn settings(config: &Config) -> Result<&DeltaConfig, Error> {
    config
        .delta
        .as_ref()
        .ok_or_else(|| Error::Unsupported("layers has delta mixers but `delta` is not set".into()))
}

pub(super) fn state(config: &Config) -> Result<State, Error> {
    let &DeltaConfig { heads, key_dim, value_dim, kernel, .. } = settings(config)?;
    let features = [heads * key_dim, heads * key_dim, heads * value_dim];
    let zeros = Recurrent::zeros(&features, kernel, Some([heads, key_dim, value_dim]));
    Ok(State::Recurrent(Box::new(zeros)))
}

pub(super) fn build(
    config: &Config,
    prefix: &str,
    weights: &mut dyn WeightSource,
) -> Result<Box<dyn Mixer>, Error> {
    let delta = settings(config)?.clone();
    let (width, heads) = (config.width, delta.heads);
    let (narrow, wide) = (heads * delta.key_dim, heads * delta.value_dim);
    let into = Init::projection(width);
    let name = |part: &str| format!("{prefix}.{part}");
    let mut linear =
        |part: &str, rows, columns, init| Linear::load(weights, &name(part), rows, columns, false, init);
    let query = linear("query", narrow, width, into)?;
    let key = linear("key", narrow, width, into)?;
    let value = linear("value", wide, width, into)?;
    let gate = linear("gate", wide, width, into)?;
    let decay = linear("decay", heads, width, into)?;
    let strength = linear("strength", heads, width, into)?;
    let output = linear("output", width, wide, Init::output(wide, config.layers.len()))?;
    let kernels = [
        kernel(weights, &name("query_conv"), narrow, delta.kernel)?,
        kernel(weights, &name("key_conv"), narrow, delta.kernel)?,
        kernel(weights, &name("value_conv"), wide, delta.kernel)?,
    ];
    let log_rate = vector(weights, &name("log_rate"), heads, Init::LogOfUniform(1.0, 16.0))?;
    let steps = Init::InverseSoftplusOfLogUniform(1e-3, 0.1);
    let decay_bias = vector(weights, &name("decay_bias"), heads, steps)?;
    let output_norm = vector(weights, &name("output_norm"), delta.value_dim, Init::Constant(1.0))?;
    let unit = ops::tensor_from(vec![1.0 / (delta.key_dim as f32).sqrt(); delta.key_dim], [delta.key_dim]);
    Ok(Box::new(Delta {
        query,
        key,
        value,
        gate,
        decay,
        strength,
        output,
        kernels,
        log_rate,
        decay_bias,
        output_norm,
        unit,
        config: delta,
        epsilon: config.norm_epsilon,
    }))
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: Tensor<2>) -> Tensor<2> {
    activation::relu(x.clone()) + (-x.abs()).exp().log1p()
}

/// Applies `change` to rows of `features` of `x` `[T, heads · features]`.
fn per_head(x: Tensor<2>, features: usize, change: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
    let [tokens, all] = x.dims();
    change(x.reshape([tokens * all / features, features])).reshape([tokens, all])
}

impl Delta {
    /// Log-decays and writing strengths, `[T, heads]`.
    fn gates(&self, x: Tensor<2>, scene: &mut Scene<'_, '_>) -> Result<[Tensor<2>; 2], Error> {
        let [decay, strength] = Linear::forward_many([&self.decay, &self.strength], x, scene);
        let steps = softplus(decay + self.decay_bias.clone().unsqueeze());
        let decay = -(steps * self.log_rate.clone().exp().unsqueeze());
        let strength = activation::sigmoid(strength);
        let strength = if self.config.negative_eigenvalues { strength * 2.0 } else { strength };
        Ok([scene.at(Site::Decay, decay)?, scene.at(Site::Strength, strength)?])
    }
}

impl Mixer for Delta {
    fn spec(&self) -> Spec {
        let DeltaConfig { heads, key_dim, value_dim, kernel, .. } = self.config;
        let parts =
            [&self.query, &self.key, &self.value, &self.gate, &self.decay, &self.strength, &self.output];
        let convolved = heads * (2 * key_dim + value_dim);
        let remembered = heads * key_dim * value_dim + (kernel - 1) * convolved;
        Spec {
            state: StateKind::Fixed(remembered * size_of::<f32>()),
            projection_macs: parts.iter().map(|linear| linear.macs()).sum(),
            state_macs: 3 * heads * key_dim * value_dim + kernel * convolved,
            macs_per_position: 0,
        }
    }

    fn forward(
        &self,
        x: Tensor<2>,
        state: Option<&mut State>,
        scene: &mut Scene<'_, '_>,
    ) -> Result<Tensor<2>, Error> {
        let mut memory = match state {
            Some(State::Recurrent(memory)) => Some(memory),
            _ => None,
        };
        let &DeltaConfig { heads, key_dim, value_dim, .. } = &self.config;
        let projected = Linear::forward_many([&self.query, &self.key, &self.value], x.clone(), scene);
        let mut parts = Vec::with_capacity(3);
        for (index, (part, kernel)) in projected.into_iter().zip(&self.kernels).enumerate() {
            let convolved = match memory.as_deref_mut() {
                Some(memory) => {
                    refuse_tracked(part.is_tracked() || kernel.is_tracked())?;
                    let (y, rows) = ops::short_conv_step(part, kernel.clone(), memory.rows[index].clone())?;
                    memory.rows[index] = rows;
                    y
                }
                None => ops::short_conv(part, kernel.clone(), scene.documents),
            };
            parts.push(activation::silu(convolved));
        }
        let [q, k, v] = <[Tensor<2>; 3]>::try_from(parts).expect("three parts went in");
        let unit = |x| {
            per_head(x, key_dim, |rows| {
                ops::rms_norm(rows, self.unit.clone(), LENGTH_EPSILON / key_dim as f32)
            })
        };
        let (q, k) = (scene.at(Site::Query, unit(q))?, scene.at(Site::Key, unit(k))?);
        let v = scene.at(Site::Value, v)?;
        let [g, beta] = self.gates(x.clone(), scene)?;
        let mixed = match memory {
            Some(memory) => {
                let tracked = [&q, &k, &v, &g, &beta].iter().any(|part| part.is_tracked());
                refuse_tracked(tracked)?;
                let before = memory.memory.take();
                let (y, after) = ops::delta_rule_step(q, k, v, g, beta, heads, before)?;
                memory.memory = Some(after);
                y
            }
            None => ops::delta_rule(q, k, v, g, beta, heads, scene.documents),
        };
        let mixed =
            per_head(mixed, value_dim, |rows| ops::rms_norm(rows, self.output_norm.clone(), self.epsilon));
        let gate = self.gate.forward(x, scene);
        let mixed = match self.config.gate {
            GateKind::Silu => ops::swiglu(gate, mixed),
            GateKind::Sigmoid => activation::sigmoid(gate) * mixed,
        };
        let mixed = scene.at(Site::Mix, mixed)?;
        Ok(self.output.forward(mixed, scene))
    }
}
