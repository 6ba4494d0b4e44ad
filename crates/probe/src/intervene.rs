//! Interventions: what is put in place of the tensor at a hook point, and runs under them.
//!
//! A [`Change`] names a point, the positions and features it touches, and what it puts there. Everything else
//! is made of it: patching (values from another run), ablation (zeros, or a mean), one head (the features of
//! that head in `blocks.{i}.attention.mix`), a direction removed or added.

use std::cell::RefCell;
use std::ops::Range;

use burn::tensor::Tensor;
use model::{Cache, Hooks, Transformer, Want};

use crate::error::require;
use crate::matrix::dot;
use crate::{Error, Matrix};

/// Which positions of the run a change touches.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// All of them; the only choice during generation.
    All,
    /// These, counted from the first token of the run.
    These(Vec<usize>),
}

/// What a change puts in place.
#[derive(Clone, Debug, PartialEq)]
pub enum With {
    /// Zeros.
    Zero,
    /// The same values at every position: a mean, for instance.
    Row(Vec<f32>),
    /// The rows of a reading at the same point, position by position.
    Values(Matrix),
    /// `h − along · (of · h)`: with `along = of` of length 1 the direction is removed; with another `along` of
    /// length 1 the same amount is taken out along it instead (a norm-matched control).
    Without {
        /// The direction that is subtracted.
        along: Vec<f32>,
        /// The direction whose component says how much.
        of: Vec<f32>,
    },
    /// `h + vector`.
    Plus(Vec<f32>),
}

/// An intervention at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The hook point, such as `blocks.3.mlp.output` (any of `model::hooks` but a pattern).
    pub point: String,
    /// Where in the sequence.
    pub positions: Positions,
    /// Which features; `None` is all of them.
    pub features: Option<Range<usize>>,
    /// What is put there.
    pub with: With,
}

impl Change {
    /// A change at every position and feature of a point.
    pub fn new(point: impl Into<String>, with: With) -> Self {
        Self { point: point.into(), positions: Positions::All, features: None, with }
    }

    /// The same at these positions only.
    pub fn at(mut self, positions: Vec<usize>) -> Self {
        self.positions = Positions::These(positions);
        self
    }

    /// A change of one query head's result, before the output projection.
    ///
    /// # Errors
    /// [`Error::Request`] if the model has no such head.
    pub fn head(transformer: &Transformer, layer: usize, head: usize, with: With) -> Result<Self, Error> {
        let attention = &transformer.config().attention;
        require(layer < transformer.config().layers.len() && head < attention.heads, || {
            format!(
                "no head {head} in block {layer}: the model has {} blocks of {} heads",
                transformer.config().layers.len(),
                attention.heads
            )
        })?;
        let features = head * attention.head_dim..(head + 1) * attention.head_dim;
        let point = format!("blocks.{layer}.attention.mix");
        Ok(Self { point, positions: Positions::All, features: Some(features), with })
    }

    /// Adds the change to the listeners of a pass; what does not fit goes into `failure`, since a listener cannot
    /// return an error.
    pub(crate) fn listen<'h>(&'h self, hooks: &mut Hooks<'h>, failure: &'h RefCell<Option<Error>>) {
        hooks.replace(&self.point, |x| {
            let unchanged = x.clone();
            self.apply(x).unwrap_or_else(|error| {
                failure.borrow_mut().get_or_insert(error);
                unchanged
            })
        });
    }

    /// What continues in place of `x`; everything not named keeps its bits.
    fn apply(&self, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let like = x.clone();
        let mut matrix = Matrix::read(x);
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let features = self.features.clone().unwrap_or(0..columns);
        require(features.start < features.end && features.end <= columns, || {
            format!("`{}` has {columns} features; {features:?} are not among them", self.point)
        })?;
        let given = match &self.with {
            With::Zero => features.len(),
            With::Row(row) | With::Plus(row) => row.len(),
            With::Values(values) => {
                require(values.rows() == rows, || {
                    format!("`{}` has {rows} positions, the values have {}", self.point, values.rows())
                })?;
                values.columns()
            }
            With::Without { along, of } => {
                require(along.len() == of.len(), || "two directions of different lengths".into())?;
                of.len()
            }
        };
        // Values of a whole reading may be given for a part of the features.
        let whole = given == columns;
        require(whole || given == features.len(), || {
            format!("`{}` changes {} features, {given} values were given", self.point, features.len())
        })?;
        let part = |row: &[f32]| if whole { row[features.clone()].to_vec() } else { row.to_vec() };
        let mut touch = |position: usize| {
            let cells = &mut matrix.row_mut(position)[features.clone()];
            match &self.with {
                With::Zero => cells.fill(0.0),
                With::Row(row) => cells.copy_from_slice(&part(row)),
                With::Values(values) => cells.copy_from_slice(&part(values.row(position))),
                With::Plus(row) => cells.iter_mut().zip(part(row)).for_each(|(c, v)| *c += v),
                With::Without { along, of } => {
                    let amount = dot(cells, &part(of)) as f32;
                    cells.iter_mut().zip(part(along)).for_each(|(c, v)| *c -= amount * v);
                }
            }
        };
        match &self.positions {
            Positions::All => (0..rows).for_each(touch),
            Positions::These(positions) => {
                require(positions.iter().all(|position| *position < rows), || {
                    format!("`{}` has {rows} positions; {positions:?} are not among them", self.point)
                })?;
                positions.iter().for_each(|position| touch(*position));
            }
        }
        Ok(matrix.tensor_like(&like))
    }
}

/// A forward pass under changes; the logits asked for, or the normalized stream for [`Want::Hidden`].
///
/// # Errors
/// [`Error::Model`] for a point that does not exist or did not fire; [`Error::Request`] if a change does not fit
/// the tensor at its point.
pub fn run(
    transformer: &Transformer,
    tokens: &[u32],
    changes: &[Change],
    want: Want,
) -> Result<Matrix, Error> {
    forward(transformer, tokens, None, changes, want)
}

pub(crate) fn forward(
    transformer: &Transformer,
    tokens: &[u32],
    cache: Option<&mut Cache>,
    changes: &[Change],
    want: Want,
) -> Result<Matrix, Error> {
    let failure = RefCell::new(None);
    let mut hooks = Hooks::new();
    changes.iter().for_each(|change| change.listen(&mut hooks, &failure));
    let output = transformer.forward_with(tokens, cache, want, &mut hooks);
    drop(hooks);
    match failure.into_inner() {
        Some(error) => Err(error),
        None => Ok(Matrix::read(output?)),
    }
}

/// Continues `prompt` greedily under changes, reading each token once (cached); stops before a token for which
/// `end` holds, at `most` tokens, or at the end of the model's context.
///
/// # Errors
/// As [`run`]; and [`Error::Request`] for a change that is not at all positions, since a position of a cached
/// pass is not one of the run.
pub fn generate(
    transformer: &Transformer,
    prompt: &[u32],
    most: usize,
    end: &dyn Fn(u32) -> bool,
    changes: &[Change],
) -> Result<Vec<u32>, Error> {
    answer(transformer, prompt, most, end, changes).map(|(tokens, _)| tokens)
}

/// As [`generate`]; also returns the logits after the prompt.
pub(crate) fn answer(
    transformer: &Transformer,
    prompt: &[u32],
    most: usize,
    end: &dyn Fn(u32) -> bool,
    changes: &[Change],
) -> Result<(Vec<u32>, Matrix), Error> {
    if let Some(change) = changes.iter().find(|change| change.positions != Positions::All) {
        let point = &change.point;
        return Err(Error::Request(format!("`{point}`: during generation a change is at all positions")));
    }
    let limit = (prompt.len() + most).min(transformer.config().context);
    let mut cache = transformer.cache(limit);
    let mut generated = Vec::new();
    let first = forward(transformer, prompt, Some(&mut cache), changes, Want::Last)?;
    let mut logits = first.clone();
    while generated.len() < most {
        let token = most_likely(logits.last());
        if end(token) {
            break;
        }
        generated.push(token);
        if generated.len() == most || cache.positions() == limit {
            break;
        }
        logits = forward(transformer, &[token], Some(&mut cache), changes, Want::Last)?;
    }
    Ok((generated, first))
}

/// The index of the greatest logit; the first of equal ones.
pub(crate) fn most_likely(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}
