//! Logit lens: what the head would say if the model stopped after each layer (nostalgebraist 2020).

use model::{Transformer, Want};
use serde::{Deserialize, Serialize};

use crate::distribution::{divergence, entropy, greatest, log_softmax, rank};
use crate::error::require;
use crate::intervene::{Change, With, run};
use crate::record::read;
use crate::{Error, Matrix};

/// What the head says about one layer's stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LensRow {
    /// 0 for the embedding, `i + 1` after block `i`.
    pub layer: usize,
    /// The likeliest tokens and their probabilities, likeliest first.
    pub top: Vec<(u32, f64)>,
    /// How many tokens are likelier than the target.
    pub rank: usize,
    /// Probability of the target.
    pub probability: f64,
    /// Divergence of this distribution from the final one, Σ final · ln(final / this), in nats.
    pub divergence: f64,
    /// Entropy in nats.
    pub entropy: f64,
}

/// Reads the stream after `tokens[position]` at every layer through the final norm and the head; `target` is
/// the token whose rank and probability are wanted. The last row is the model's own prediction.
///
/// # Errors
/// [`Error::Request`] for a position or a target that does not exist; [`Error::Model`] from the forward pass.
pub fn logit_lens(
    transformer: &Transformer,
    tokens: &[u32],
    position: usize,
    target: u32,
    top: usize,
) -> Result<Vec<LensRow>, Error> {
    let config = transformer.config();
    require(position < tokens.len(), || format!("position {position} of {} tokens", tokens.len()))?;
    require((target as usize) < config.vocabulary, || {
        format!("token id {target} is outside the vocabulary of {}", config.vocabulary)
    })?;
    let stream = stream(transformer, tokens, position)?;
    let logits = unembed(transformer, &stream)?;
    let last = log_softmax(logits.last());
    let rows = (0..logits.rows()).map(|layer| {
        let p = log_softmax(logits.row(layer));
        LensRow {
            layer,
            top: greatest(&p, top).into_iter().map(|(token, p)| (token as u32, p.exp())).collect(),
            rank: rank(&p, target as usize),
            probability: p[target as usize].exp(),
            divergence: divergence(&last, &p),
            entropy: entropy(&p),
        }
    });
    Ok(rows.collect())
}

/// The residual stream after one token: a row for the embedding and one after each block, `[layers + 1, width]`.
pub(crate) fn stream(transformer: &Transformer, tokens: &[u32], position: usize) -> Result<Matrix, Error> {
    let points = stream_points(transformer);
    let (_, seen) = read(transformer, &tokens[..=position], &points, Want::Hidden)?;
    let rows: Option<Vec<&[f32]>> = points.iter().map(|point| Some(seen.get(point)?.last())).collect();
    rows.and_then(Matrix::from_rows).ok_or_else(|| Error::Request("a layer's stream was not read".into()))
}

/// The points of the residual stream: `embed`, then after each block.
pub(crate) fn stream_points(transformer: &Transformer) -> Vec<String> {
    let blocks = (0..transformer.config().layers.len()).map(|block| format!("blocks.{block}.residual.post"));
    std::iter::once("embed".to_string()).chain(blocks).collect()
}

/// The logits that the final norm and the head make of any rows of the residual stream, `[n, vocabulary]`.
///
/// The rows take the place of the stream after the last block in a pass over as many stand-in tokens, so the
/// model's own norm and head do the work, bit for bit.
///
/// # Errors
/// [`Error::Request`] if the rows are not as wide as the model's stream.
pub fn unembed(transformer: &Transformer, rows: &Matrix) -> Result<Matrix, Error> {
    head_of(transformer, rows, Want::All)
}

/// The normalized stream that the final norm makes of any rows, `[n, width]`.
pub(crate) fn final_norm(transformer: &Transformer, rows: &Matrix) -> Result<Matrix, Error> {
    head_of(transformer, rows, Want::Hidden)
}

fn head_of(transformer: &Transformer, rows: &Matrix, want: Want) -> Result<Matrix, Error> {
    let config = transformer.config();
    require(rows.columns() == config.width, || {
        format!("rows of {} features for a stream of {}", rows.columns(), config.width)
    })?;
    let point = format!("blocks.{}.residual.post", config.layers.len() - 1);
    let (mut values, mut columns) = (Vec::new(), 0);
    for start in (0..rows.rows()).step_by(config.context.min(64)) {
        let end = (start + config.context.min(64)).min(rows.rows());
        let chunk = Matrix::from_rows((start..end).map(|row| rows.row(row)))
            .ok_or_else(|| Error::Request("rows of different lengths".into()))?;
        let change = Change::new(&point, With::Values(chunk));
        let output = run(transformer, &vec![0; end - start], &[change], want)?;
        columns = output.columns();
        values.extend_from_slice(output.values());
    }
    Matrix::new(rows.rows(), columns, values).ok_or_else(|| Error::Request("no rows to read".into()))
}
