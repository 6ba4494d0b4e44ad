//! The residual stream as a sum: the embedding and what every mixer and channel adds; and what each part adds
//! to a logit (direct logit attribution, Elhage et al. 2021, "A mathematical framework for transformer circuits").

use std::cell::RefCell;

use model::{Hooks, Transformer, Want};
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::intervene::{Change, With, run};
use crate::lens::final_norm;
use crate::matrix::dot;
use crate::record::{read, record};
use crate::{Error, Matrix};

/// The parts of the final residual stream.
#[derive(Clone, Debug)]
pub struct Decomposition {
    /// The point of each part and its `[T, width]`: `embed`, then each block's mixer's and channel's `output`.
    pub components: Vec<(String, Matrix)>,
    /// The stream after the last block.
    pub residual: Matrix,
    /// The largest difference between the sum of the parts and the stream, relative to the stream's largest
    /// value.
    pub error: f64,
}

/// The points whose tensors are added up in the residual stream.
pub fn components(transformer: &Transformer) -> Vec<String> {
    let known = model::hooks::points(transformer.config());
    let adds = |name: &String| name == "embed" || name.ends_with(".output");
    known.into_iter().filter(adds).collect()
}

/// Reads every component of one pass and compares their sum with the stream.
///
/// # Errors
/// [`Error::Model`] from the forward pass.
pub fn decompose(transformer: &Transformer, tokens: &[u32]) -> Result<Decomposition, Error> {
    let names = components(transformer);
    let last = format!("blocks.{}.residual.post", transformer.config().layers.len() - 1);
    let mut points = names.clone();
    points.push(last.clone());
    let recording = record(transformer, tokens, &points)?;
    let residual = recording.at(&last)?.clone();
    let mut components = Vec::new();
    let mut sum = vec![0.0_f64; residual.values().len()];
    for name in names {
        let part = recording.at(&name)?.clone();
        sum.iter_mut().zip(part.values()).for_each(|(sum, value)| *sum += f64::from(*value));
        components.push((name, part));
    }
    let pairs = sum.iter().zip(residual.values());
    let worst = pairs.map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
    let scale = residual.values().iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    Ok(Decomposition { components, residual, error: worst / f64::from(scale).max(f64::MIN_POSITIVE) })
}

/// What one component adds to a logit (or to a difference of two).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The point of the component.
    pub component: String,
    /// Its part of the logit.
    pub value: f64,
}

/// Splits the logit of `target` after the last token, minus that of `other` if given, over the components. The
/// scale of the final norm is held at its value in this run, so the parts sum to the logit.
///
/// # Errors
/// [`Error::Request`] for tokens outside the vocabulary, or if the parts do not sum to the logit within 1e-3 of
/// its scale (a model whose head is not linear in the normalized stream); [`Error::Model`] from the passes.
pub fn direct_logit_attribution(
    transformer: &Transformer,
    tokens: &[u32],
    target: u32,
    other: Option<u32>,
) -> Result<Vec<Contribution>, Error> {
    let parts = decompose(transformer, tokens)?;
    let (direction, logit) = logit_direction(transformer, tokens, target, other)?;
    // The final norm of a row of ones is its weight: each output is input · weight / root mean square.
    let width = transformer.config().width;
    let ones =
        final_norm(transformer, &Matrix::new(1, width, vec![1.0; width]).unwrap_or(Matrix::zeros(1, 1)))?;
    let stream = parts.residual.last();
    let mean_square = dot(stream, stream) / width as f64;
    let epsilon = f64::from(transformer.config().norm_epsilon);
    let scale = ((1.0 + epsilon) / (mean_square + epsilon)).sqrt();
    let reading: Vec<f64> = ones
        .last()
        .iter()
        .zip(&direction)
        .map(|(weight, gradient)| f64::from(*weight) * f64::from(*gradient) * scale)
        .collect();
    let contributions: Vec<Contribution> = parts
        .components
        .into_iter()
        .map(|(component, matrix)| {
            let value = matrix.last().iter().zip(&reading).map(|(c, r)| f64::from(*c) * r).sum();
            Contribution { component, value }
        })
        .collect();
    let sum: f64 = contributions.iter().map(|part| part.value).sum();
    let size: f64 = contributions.iter().map(|part| part.value.abs()).sum::<f64>().max(logit.abs());
    require((sum - logit).abs() <= 1e-3 * size.max(1e-6), || {
        format!("the parts sum to {sum}, the logit is {logit}; run the model with f32 activations")
    })?;
    Ok(contributions)
}

/// The row of the head that makes the logit (or the difference of two rows), and the logit itself.
fn logit_direction(
    transformer: &Transformer,
    tokens: &[u32],
    target: u32,
    other: Option<u32>,
) -> Result<(Vec<f32>, f64), Error> {
    let vocabulary = transformer.config().vocabulary;
    for token in std::iter::once(target).chain(other) {
        require((token as usize) < vocabulary, || {
            format!("token id {token} is outside the vocabulary of {vocabulary}")
        })?;
    }
    let leaf = RefCell::new(None);
    let mut hooks = Hooks::new();
    hooks.replace("final_norm", |x| {
        let x = if x.is_autodiff() { x.inner() } else { x };
        let x = x.autodiff().require_grad();
        *leaf.borrow_mut() = Some(x.clone());
        x
    });
    let logits = transformer.forward_with(tokens, None, Want::Last, &mut hooks)?;
    drop(hooks);
    let pick = |token: u32| logits.clone().slice([0..1, token as usize..token as usize + 1]);
    let logit = match other {
        Some(other) => pick(target) - pick(other),
        None => pick(target),
    };
    let value = Matrix::read(logit.clone()).values()[0];
    let gradients = logit.sum().backward();
    let gradient = leaf.into_inner().and_then(|leaf| leaf.grad(&gradients));
    let gradient = gradient.ok_or_else(|| Error::Request("no gradient reached the final norm".into()))?;
    Ok((Matrix::read(gradient).last().to_vec(), f64::from(value)))
}

/// What each head of a block adds to the stream: `[T, width]` per head, without the projection's bias. Their sum
/// plus the bias is the block's `attention.output`.
///
/// # Errors
/// [`Error::Request`] if the block does not exist; [`Error::Model`] if its mixer has no heads.
pub fn head_outputs(transformer: &Transformer, tokens: &[u32], layer: usize) -> Result<Vec<Matrix>, Error> {
    let heads = transformer.config().attention.heads;
    let mix = format!("blocks.{layer}.attention.mix");
    let output = format!("blocks.{layer}.attention.output");
    let (_, seen) = read(transformer, tokens, &[&mix], Want::Hidden)?;
    let clean = seen.get(&mix).ok_or_else(|| Error::Request(format!("`{mix}` was not read")))?;
    let projected = |matrix: Matrix| -> Result<Matrix, Error> {
        let (like, found) = (RefCell::new(Some(matrix)), RefCell::new(None));
        let mut hooks = Hooks::new();
        hooks.replace(&mix, |x| match like.borrow().as_ref() {
            Some(matrix) => matrix.tensor_like(&x),
            None => x,
        });
        hooks.read(&output, |x| *found.borrow_mut() = Some(Matrix::read(x)));
        transformer.forward_with(tokens, None, Want::Hidden, &mut hooks)?;
        drop(hooks);
        found.into_inner().ok_or_else(|| Error::Request(format!("`{output}` was not read")))
    };
    let bias = projected(Matrix::zeros(clean.rows(), clean.columns()))?;
    let features = clean.columns() / heads;
    (0..heads)
        .map(|head| {
            let mut only = Matrix::zeros(clean.rows(), clean.columns());
            for t in 0..clean.rows() {
                let range = head * features..(head + 1) * features;
                only.row_mut(t)[range.clone()].copy_from_slice(&clean.row(t)[range]);
            }
            let mut result = projected(only)?;
            for t in 0..result.rows() {
                result.row_mut(t).iter_mut().zip(bias.row(t)).for_each(|(value, bias)| *value -= bias);
            }
            Ok(result)
        })
        .collect()
}

/// How much a measure of the logits changes when each head of `layers` is zeroed: `(layer, head, change)`.
///
/// # Errors
/// As [`run`].
pub fn head_ablations(
    transformer: &Transformer,
    tokens: &[u32],
    layers: impl IntoIterator<Item = usize>,
    measure: crate::patch::Measure<'_>,
) -> Result<Vec<(usize, usize, f64)>, Error> {
    let clean = measure(&run(transformer, tokens, &[], Want::All)?);
    let mut effects = Vec::new();
    for layer in layers {
        for head in 0..transformer.config().attention.heads {
            let change = Change::head(transformer, layer, head, With::Zero)?;
            let ablated = measure(&run(transformer, tokens, &[change], Want::All)?);
            effects.push((layer, head, ablated - clean));
        }
    }
    Ok(effects)
}
