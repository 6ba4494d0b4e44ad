//! Readings: the tensors at hook points of one forward pass.

use std::cell::RefCell;
use std::collections::BTreeMap;

use model::{Hooks, Transformer, Want};

use crate::{Error, Matrix};

/// What one forward pass showed.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The logits after every token, `[T, vocabulary]`.
    pub logits: Matrix,
    points: BTreeMap<String, Matrix>,
}

impl Recording {
    /// The reading at a point, `[T, features]`.
    ///
    /// # Errors
    /// [`Error::Request`] if the recording was not asked for it.
    pub fn at(&self, point: &str) -> Result<&Matrix, Error> {
        self.points.get(point).ok_or_else(|| {
            let known: Vec<&str> = self.points.keys().map(String::as_str).collect();
            Error::Request(format!("`{point}` was not recorded; recorded: {}", known.join(", ")))
        })
    }
}

/// Reads `points` (any of `model::hooks` but patterns) in one pass over `tokens`.
///
/// # Errors
/// [`Error::Model`] for a point that does not exist or does not fire, or tokens the model cannot read.
pub fn record<S: AsRef<str>>(
    transformer: &Transformer,
    tokens: &[u32],
    points: &[S],
) -> Result<Recording, Error> {
    let (logits, points) = read(transformer, tokens, points, Want::All)?;
    Ok(Recording { logits, points })
}

pub(crate) fn read<S: AsRef<str>>(
    transformer: &Transformer,
    tokens: &[u32],
    points: &[S],
    want: Want,
) -> Result<(Matrix, BTreeMap<String, Matrix>), Error> {
    let seen = RefCell::new(BTreeMap::new());
    let mut hooks = Hooks::new();
    for point in points.iter().map(AsRef::as_ref) {
        let seen = &seen;
        hooks.read(point, move |tensor| {
            seen.borrow_mut().insert(point.to_string(), Matrix::read(tensor));
        });
    }
    let output = Matrix::read(transformer.forward_with(tokens, None, want, &mut hooks)?);
    drop(hooks);
    Ok((output, seen.into_inner()))
}

/// The attention patterns of one pass: for each of `layers`, one `[T, T]` matrix per head, rows summing to 1.
///
/// # Errors
/// [`Error::Model`] if a layer does not exist or has no pattern (its mixer is not attention).
pub fn patterns(
    transformer: &Transformer,
    tokens: &[u32],
    layers: impl IntoIterator<Item = usize>,
) -> Result<BTreeMap<usize, Vec<Matrix>>, Error> {
    let seen = RefCell::new(BTreeMap::new());
    let mut hooks = Hooks::new();
    for layer in layers {
        let seen = &seen;
        hooks.read_heads(&format!("blocks.{layer}.attention.pattern"), move |pattern| {
            seen.borrow_mut().insert(layer, Matrix::read_each(pattern));
        });
    }
    transformer.forward_with(tokens, None, Want::Hidden, &mut hooks)?;
    drop(hooks);
    Ok(seen.into_inner())
}
