//! How far and in how many directions weights moved.

use model::{Checkpoint, LowRank, Parameters};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::require;
use crate::linear_algebra::{leading_singular_values, low_rank_singular_values};
use crate::matrix::{dot, norm};

/// The singular values of a change, summed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// The greatest, greatest first; at most 16.
    pub largest: Vec<f64>,
    /// Share of the squared change in the first 1, 2, 4, 8, 16 directions.
    pub shares: Vec<f64>,
    /// Share of the squared change beyond the directions looked at: rounding to another format, for instance.
    pub rest: f64,
    /// Exponential of the entropy of the normalized singular values looked at (Roy and Vetterli 2007, "The
    /// effective rank").
    pub effective_rank: f64,
    /// Squared Frobenius norm over squared greatest singular value (Rudelson and Vershynin 2007).
    pub stable_rank: f64,
}

/// Directions of a dense change that are looked at: two low-rank changes of the usual sizes, one over the other.
const DIRECTIONS: usize = 48;

impl Spectrum {
    /// From the greatest singular values, greatest first, and the squared Frobenius norm. Without a change every
    /// number is 0.
    pub fn of(values: &[f64], squares: f64) -> Self {
        let largest: Vec<f64> = values.iter().take(16).copied().collect();
        let sum: f64 = values.iter().sum();
        if squares <= 0.0 || sum <= 0.0 {
            return Self { largest, shares: vec![0.0; 5], rest: 0.0, effective_rank: 0.0, stable_rank: 0.0 };
        }
        let share = |count: usize| {
            (values.iter().take(count).map(|value| value * value).sum::<f64>() / squares).min(1.0)
        };
        let parts = values.iter().map(|value| value / sum).filter(|part| *part > 0.0);
        let entropy: f64 = parts.map(|part| -part * part.ln()).sum();
        Self {
            shares: [1, 2, 4, 8, 16].into_iter().map(share).collect(),
            rest: 1.0 - share(values.len()),
            effective_rank: entropy.exp(),
            stable_rank: squares / (values[0] * values[0]),
            largest,
        }
    }
}

/// How one matrix changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixChange {
    /// Its name (see `model`'s `transformer`).
    pub name: String,
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// Frobenius norm of the matrix before.
    pub norm: f64,
    /// Frobenius norm of the change.
    pub change: f64,
    /// The one over the other.
    pub relative: f64,
    /// The change's singular values.
    pub spectrum: Spectrum,
}

fn matrix_change(name: &str, shape: [usize; 2], base: &[f32], values: &[f64], squares: f64) -> MatrixChange {
    let norm = norm(base);
    let change = squares.sqrt();
    let relative = if norm > 0.0 { change / norm } else { 0.0 };
    MatrixChange { name: name.into(), shape, norm, change, relative, spectrum: Spectrum::of(values, squares) }
}

/// The change from `base` to `tuned`, two dense matrices of `shape`, row-major; of a large one the spectrum is that
/// of its 48 strongest directions.
///
/// # Errors
/// [`Error::Request`] if the numbers of values do not fit the shape.
pub fn dense_change(
    name: &str,
    shape: [usize; 2],
    base: &[f32],
    tuned: &[f32],
) -> Result<MatrixChange, Error> {
    let [rows, columns] = shape;
    require(base.len() == rows * columns && tuned.len() == base.len(), || {
        format!("`{name}`: {} and {} values for a matrix of {shape:?}", base.len(), tuned.len())
    })?;
    let difference: Vec<f32> = tuned.iter().zip(base).map(|(tuned, base)| tuned - base).collect();
    let squares = dot(&difference, &difference);
    let values = match squares > 0.0 {
        true => leading_singular_values(rows, columns, &difference, DIRECTIONS),
        false => Vec::new(),
    };
    Ok(matrix_change(name, shape, base, &values, squares))
}

/// The change `scale · B A` of `base` `[rows, columns]`, with `a` `[rank, columns]` and `b` `[rows, rank]`; the
/// product is never made.
///
/// # Errors
/// [`Error::Request`] if the numbers of values do not fit the shape.
pub fn low_rank_change(
    name: &str,
    shape: [usize; 2],
    base: &[f32],
    [a, b]: [&[f32]; 2],
    scale: f32,
) -> Result<MatrixChange, Error> {
    let [rows, columns] = shape;
    let rank = a.len() / columns.max(1);
    require(
        rank > 0 && base.len() == rows * columns && a.len() == rank * columns && b.len() == rows * rank,
        || {
            format!(
                "`{name}`: factors of {} and {} values, {} before, for a matrix of {shape:?}",
                a.len(),
                b.len(),
                base.len()
            )
        },
    )?;
    let values = low_rank_singular_values(rank, a, b, scale);
    let squares = values.iter().map(|value| value * value).sum();
    Ok(matrix_change(name, shape, base, &values, squares))
}

/// The matrices a block may have.
const PARTS: [&str; 9] = [
    "mixer.query",
    "mixer.key",
    "mixer.value",
    "mixer.gate",
    "mixer.input",
    "mixer.output",
    "channel.gate",
    "channel.up",
    "channel.down",
];

/// The change of every matrix between two checkpoints with the same configuration, whatever their formats;
/// rounding to another format counts as change.
///
/// # Errors
/// [`Error::Request`] if the configurations differ or a block has no matrix known here; [`Error::Model`] if a
/// tensor cannot be read.
pub fn checkpoint_changes(base: &Checkpoint, tuned: &Checkpoint) -> Result<Vec<MatrixChange>, Error> {
    let config = base.config();
    require(config == tuned.config(), || {
        format!(
            "`{}` and `{}` have different configurations; only checkpoints of one architecture can be compared",
            base.path().display(),
            tuned.path().display()
        )
    })?;
    let mut changes = Vec::new();
    let mut compare = |name: &str| -> Result<bool, Error> {
        let Ok(before) = base.tensor(name) else { return Ok(false) };
        let [rows, columns] = before.shape[..] else { return Ok(false) };
        let after = tuned.tensor(name)?;
        require(after.shape == before.shape, || {
            format!("`{name}` is {:?} before and {:?} after", before.shape, after.shape)
        })?;
        changes.push(dense_change(name, [rows, columns], &before.to_f32()?, &after.to_f32()?)?);
        Ok(true)
    };
    compare("embed")?;
    for block in 0..config.layers.len() {
        let mut found = false;
        for part in PARTS {
            found |= compare(&format!("blocks.{block}.{part}"))?;
        }
        require(found, || format!("block {block} has none of the matrices {}", PARTS.join(", ")))?;
    }
    if !config.tied_embeddings {
        compare("head")?;
    }
    Ok(changes)
}

/// The change of every matrix that `tuned` trains, from the checkpoint it was opened from: low-rank changes as
/// they are (`low_rank` says how strong), whole matrices by difference.
///
/// # Errors
/// [`Error::Request`] if nothing is trained, or low-rank changes come without their settings; [`Error::Model`] if
/// the checkpoint lacks a tensor.
pub fn parameter_changes(
    base: &Checkpoint,
    tuned: &Parameters,
    low_rank: Option<&LowRank>,
) -> Result<Vec<MatrixChange>, Error> {
    let values = |name: &str| {
        tuned.values(name).ok_or_else(|| Error::Request(format!("`{name}` is not among the trained weights")))
    };
    let mut changes = Vec::new();
    for (name, shape) in tuned.trainable() {
        if name.ends_with(".low_rank_b") {
            continue;
        }
        let Some(changed) = name.strip_suffix(".low_rank_a") else {
            if let [rows, columns] = *shape {
                let before = base.tensor(name)?.to_f32()?;
                changes.push(dense_change(name, [rows, columns], &before, &values(name)?)?);
            }
            continue;
        };
        let settings = low_rank.ok_or_else(|| {
            Error::Request(format!("`{name}` is a low-rank change; give the settings it was trained with"))
        })?;
        let before = base.tensor(changed)?;
        let [rows, columns] = before.shape[..] else {
            return Err(Error::Request(format!("`{changed}` is no matrix: {:?}", before.shape)));
        };
        let (a, b) = (values(name)?, values(&format!("{changed}.low_rank_b"))?);
        let scale = settings.scale();
        changes.push(low_rank_change(changed, [rows, columns], &before.to_f32()?, [&a, &b], scale)?);
    }
    require(!changes.is_empty(), || "nothing is trained, so nothing changed".into())?;
    Ok(changes)
}

/// The changes of several matrices together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightGroup {
    /// `blocks.{i}` or the kind of matrix, such as `mixer.query`.
    pub name: String,
    /// Matrices in it.
    pub matrices: usize,
    /// Root of the summed squared changes over that of the summed squared norms.
    pub relative: f64,
    /// Mean effective rank of the changes, over those that changed.
    pub effective_rank: f64,
}

/// Sums changes up by block and by kind of matrix, in the order they come.
pub fn groups(changes: &[MatrixChange]) -> Vec<WeightGroup> {
    let split = |name: &str| -> (String, String) {
        let mut parts = name.splitn(3, '.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("blocks"), Some(block), Some(kind)) => (format!("blocks.{block}"), kind.to_string()),
            _ => (name.to_string(), name.to_string()),
        }
    };
    let mut names: Vec<String> = Vec::new();
    for pick in [0, 1] {
        for change in changes {
            let (block, kind) = split(&change.name);
            let name = if pick == 0 { block } else { kind };
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let of = |name: String| {
        let members: Vec<&MatrixChange> = changes
            .iter()
            .filter(|change| {
                let (block, kind) = split(&change.name);
                block == name || kind == name
            })
            .collect();
        let squares = |value: &dyn Fn(&MatrixChange) -> f64| {
            members.iter().map(|change| value(change).powi(2)).sum::<f64>().sqrt()
        };
        let (changed, norm) = (squares(&|change| change.change), squares(&|change| change.norm));
        let ranks: Vec<f64> =
            members.iter().filter(|m| m.change > 0.0).map(|m| m.spectrum.effective_rank).collect();
        WeightGroup {
            matrices: members.len(),
            relative: if norm > 0.0 { changed / norm } else { 0.0 },
            effective_rank: statistics::mean(&ranks),
            name,
        }
    };
    names.into_iter().map(of).collect()
}
