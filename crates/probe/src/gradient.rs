//! Gradients at hook points, attribution patching and the relevance of heads.
//!
//! Attribution patching (Nanda 2023; Syed et al. 2023, arXiv:2310.10348) estimates every patch of a sweep from
//! two forward passes and one backward: (clean − corrupted) · gradient in the corrupted run.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::tensor::Tensor;
use model::{Hooks, Transformer, Want};
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::matrix::dot;
use crate::patch::{PatchSweep, same_length};
use crate::record::read;
use crate::{Error, Matrix};

/// The value of a measure and its gradient at hook points.
#[derive(Clone, Debug)]
pub struct PointGradients {
    /// The measure.
    pub value: f64,
    /// The reading at each point, `[T, features]`.
    pub readings: BTreeMap<String, Matrix>,
    /// d measure / d reading, of the same shape.
    pub gradients: BTreeMap<String, Matrix>,
}

/// Runs forward, then backward from `measure` (one number made of the logits after every token), and returns the
/// gradient at each of `points`.
///
/// # Errors
/// [`Error::Model`] for a point that does not exist; [`Error::Request`] if the measure does not depend on a point
/// (no gradient arrives there).
pub fn gradients_at<S: AsRef<str>>(
    transformer: &Transformer,
    tokens: &[u32],
    points: &[S],
    measure: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> Result<PointGradients, Error> {
    let leaves = RefCell::new(BTreeMap::new());
    let readings = RefCell::new(BTreeMap::new());
    let mut hooks = Hooks::new();
    for point in points.iter().map(AsRef::as_ref) {
        let (leaves, readings) = (&leaves, &readings);
        hooks.replace(point, move |x| {
            readings.borrow_mut().insert(point.to_string(), Matrix::read(x.clone()));
            // A tracked zero added here has the gradient of the reading, wherever the reading came from.
            let x = if x.is_autodiff() { x } else { x.autodiff() };
            let zero = x.zeros_like().inner().autodiff().require_grad();
            leaves.borrow_mut().insert(point.to_string(), zero.clone());
            x + zero
        });
    }
    let logits = transformer.forward_with(tokens, None, Want::All, &mut hooks)?;
    drop(hooks);
    require(!points.is_empty(), || "no points to take a gradient at; give at least one".into())?;
    let value = measure(logits);
    require(value.dims() == [1], || format!("the measure has {:?} numbers; it must be one", value.dims()))?;
    let result = Matrix::read(value.clone().reshape([1, 1])).values()[0];
    let all = value.backward();
    let mut gradients = BTreeMap::new();
    for (point, leaf) in leaves.into_inner() {
        let gradient = leaf.grad(&all).ok_or_else(|| {
            Error::Request(format!("no gradient arrived at `{point}`: the measure does not depend on it"))
        })?;
        gradients.insert(point, Matrix::read(gradient));
    }
    Ok(PointGradients { value: f64::from(result), readings: readings.into_inner(), gradients })
}

/// The first-order estimate of one patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// The point.
    pub point: String,
    /// The position.
    pub position: usize,
    /// The estimated change of the measure.
    pub estimate: f64,
}

/// Estimates the change of `measure` for every point and position of a patch from clean to corrupted.
///
/// # Errors
/// As [`gradients_at`]; [`Error::Request`] if the texts differ in length.
pub fn attribution_patching<S: AsRef<str>>(
    transformer: &Transformer,
    clean: &[u32],
    corrupted: &[u32],
    points: &[S],
    measure: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> Result<Vec<Attribution>, Error> {
    same_length(clean, corrupted)?;
    let (_, source) = read(transformer, clean, points, Want::All)?;
    let run = gradients_at(transformer, corrupted, points, measure)?;
    let mut estimates = Vec::new();
    for point in points.iter().map(AsRef::as_ref) {
        let (Some(clean), Some(reading), Some(gradient)) =
            (source.get(point), run.readings.get(point), run.gradients.get(point))
        else {
            return Err(Error::Request(format!("`{point}` was not read")));
        };
        for position in 0..reading.rows() {
            let difference: Vec<f32> =
                clean.row(position).iter().zip(reading.row(position)).map(|(a, b)| a - b).collect();
            let estimate = dot(&difference, gradient.row(position));
            estimates.push(Attribution { point: point.to_string(), position, estimate });
        }
    }
    Ok(estimates)
}

/// How well estimates agree with the patches they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Number of patches compared.
    pub n: usize,
    /// Pearson's correlation of estimated and real change.
    pub correlation: f64,
    /// Root mean square of the difference over that of the real changes.
    pub relative_error: f64,
}

/// Compares estimates with the sweep of the same points, position by position.
///
/// # Errors
/// [`Error::Request`] if they are not about the same patches; or if a correlation is undefined.
pub fn agreement(estimates: &[Attribution], sweep: &PatchSweep) -> Result<Agreement, Error> {
    let same = estimates.len() == sweep.effects.len()
        && estimates.iter().zip(&sweep.effects).all(|(estimate, effect)| {
            estimate.point == effect.point && Some(estimate.position) == effect.position
        });
    require(same, || {
        format!(
            "{} estimates and {} patches of other points or positions",
            estimates.len(),
            sweep.effects.len()
        )
    })?;
    let estimated: Vec<f64> = estimates.iter().map(|estimate| estimate.estimate).collect();
    let real: Vec<f64> = sweep.effects.iter().map(|effect| effect.value - sweep.corrupted).collect();
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = squares(&mut estimated.iter().zip(&real).map(|(a, b)| a - b));
    let size = squares(&mut real.iter().copied());
    Ok(Agreement {
        n: real.len(),
        correlation: statistics::pearson(&estimated, &real)?.ok_or_else(|| {
            Error::Request(
                "all estimates or all real effects are equal; their correlation is undefined".into(),
            )
        })?,
        relative_error: error / size.max(f64::MIN_POSITIVE),
    })
}

/// What a head matters to a measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadRelevance {
    /// Its block.
    pub layer: usize,
    /// Its number in the block.
    pub head: usize,
    /// The first-order estimate of how the measure changes if the head is zeroed.
    pub estimate: f64,
}

/// Estimates the effect of zeroing each head of `layers` from one forward and one backward pass.
///
/// # Errors
/// As [`gradients_at`].
pub fn head_relevance(
    transformer: &Transformer,
    tokens: &[u32],
    layers: impl IntoIterator<Item = usize>,
    measure: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> Result<Vec<HeadRelevance>, Error> {
    let layers: Vec<usize> = layers.into_iter().collect();
    let points: Vec<String> = layers.iter().map(|layer| format!("blocks.{layer}.attention.mix")).collect();
    let run = gradients_at(transformer, tokens, &points, measure)?;
    let attention = &transformer.config().attention;
    let mut relevance = Vec::new();
    for (layer, point) in layers.into_iter().zip(&points) {
        let (Some(reading), Some(gradient)) = (run.readings.get(point), run.gradients.get(point)) else {
            return Err(Error::Request(format!("`{point}` was not read")));
        };
        for head in 0..attention.heads {
            let range = head * attention.head_dim..(head + 1) * attention.head_dim;
            let at = |t: usize| dot(&reading.row(t)[range.clone()], &gradient.row(t)[range.clone()]);
            let estimate = -(0..reading.rows()).map(at).sum::<f64>();
            relevance.push(HeadRelevance { layer, head, estimate });
        }
    }
    Ok(relevance)
}
