//! How activations and predictions moved on a fixed prompt set.

use model::Transformer;
use serde::{Deserialize, Serialize};
use statistics::{Estimate, mean_t};

use crate::Error;
use crate::distribution::{divergence, greatest, log_softmax};
use crate::error::require;
use crate::lens::{stream, unembed};
use crate::matrix::{dot, norm};

/// The change of one layer of the stream, averaged over prompts, after the last token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerChange {
    /// 0 for the embedding, `i + 1` after block `i`.
    pub layer: usize,
    /// Mean cosine of the stream before and after tuning.
    pub cosine: f64,
    /// Mean length of the difference over the length before.
    pub relative: f64,
    /// Mean divergence of the layer's logit lens, tuned from base, in nats.
    pub lens_divergence: f64,
    /// Share of prompts whose final token is already the lens's first choice here, before tuning.
    pub settled_base: f64,
    /// The same after tuning.
    pub settled_tuned: f64,
}

/// What tuning did to activations and predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationAccount {
    /// Prompts.
    pub prompts: usize,
    /// Layer by layer.
    pub layers: Vec<LayerChange>,
    /// Divergence of the next-token distribution after tuning from that before, in nats, over prompts.
    pub divergence: Estimate,
    /// Share of prompts whose likeliest next token changed.
    pub changed: f64,
    /// Mean first layer from which on the lens keeps naming the final token, before tuning.
    pub settling_base: f64,
    /// The same after tuning.
    pub settling_tuned: f64,
}

/// Compares two models of the same shape on `prompts`, after the last token of each.
///
/// # Errors
/// [`Error::Request`] for fewer than two prompts or models of different shapes; [`Error::Model`] from the passes.
pub fn activation_changes(
    base: &Transformer,
    tuned: &Transformer,
    prompts: &[Vec<u32>],
) -> Result<ActivationAccount, Error> {
    let (a, b) = (base.config(), tuned.config());
    require(a.width == b.width && a.layers.len() == b.layers.len() && a.vocabulary == b.vocabulary, || {
        "the two models differ in width, blocks or vocabulary; their streams cannot be compared".into()
    })?;
    require(prompts.len() > 1, || format!("{} prompts; at least two are needed", prompts.len()))?;
    let layers = a.layers.len() + 1;
    let mut sums = vec![[0.0_f64; 5]; layers];
    let (mut divergences, mut changed, mut settling) = (Vec::new(), 0.0, [0.0; 2]);
    for prompt in prompts {
        require(!prompt.is_empty(), || "a prompt has no tokens".into())?;
        let streams = [stream(base, prompt, prompt.len() - 1)?, stream(tuned, prompt, prompt.len() - 1)?];
        let lenses = [unembed(base, &streams[0])?, unembed(tuned, &streams[1])?];
        let choice = |logits: &[f32]| {
            let values: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
            greatest(&values, 1).first().map_or(0, |(token, _)| *token)
        };
        let last = [choice(lenses[0].last()), choice(lenses[1].last())];
        let mut settled = [layers - 1; 2];
        for layer in (0..layers).rev() {
            let (before, after) = (streams[0].row(layer), streams[1].row(layer));
            let difference: Vec<f32> = after.iter().zip(before).map(|(a, b)| a - b).collect();
            let length = norm(before).max(f64::MIN_POSITIVE);
            let p = [log_softmax(lenses[0].row(layer)), log_softmax(lenses[1].row(layer))];
            let named = [0, 1].map(|side| choice(lenses[side].row(layer)) == last[side]);
            for side in 0..2 {
                if named[side] && settled[side] <= layer + 1 {
                    settled[side] = layer;
                }
            }
            let apart = divergence(&p[1], &p[0]);
            let values = [
                dot(before, after) / (length * norm(after)).max(f64::MIN_POSITIVE),
                norm(&difference) / length,
                apart,
                f64::from(u8::from(named[0])),
                f64::from(u8::from(named[1])),
            ];
            sums[layer].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            if layer + 1 == layers {
                divergences.push(apart);
            }
        }
        changed += f64::from(u8::from(last[0] != last[1]));
        settling.iter_mut().zip(settled).for_each(|(sum, layer)| *sum += layer as f64);
    }
    let n = prompts.len() as f64;
    let layers = sums.into_iter().enumerate().map(|(layer, sums)| {
        let [cosine, relative, lens_divergence, settled_base, settled_tuned] = sums.map(|sum| sum / n);
        LayerChange { layer, cosine, relative, lens_divergence, settled_base, settled_tuned }
    });
    Ok(ActivationAccount {
        prompts: prompts.len(),
        layers: layers.collect(),
        divergence: mean_t(&divergences, 0.95)?,
        changed: changed / n,
        settling_base: settling[0] / n,
        settling_tuned: settling[1] / n,
    })
}
