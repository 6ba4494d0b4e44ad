//! Activation patching: put a reading of one run into another and see how much of a measure comes back.
//!
//! Meng et al. 2022 (arXiv:2202.05262), Wang et al. 2022 (arXiv:2211.00593).

use model::{Transformer, Want};
use serde::{Deserialize, Serialize};

use crate::error::require;
use crate::intervene::{Change, With, run};
use crate::record::record;
use crate::{Error, Matrix};

/// A number made of the logits after every token, `[T, vocabulary]`.
pub type Measure<'m> = &'m dyn Fn(&Matrix) -> f64;

/// What putting the clean reading of one point into the corrupted run did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchEffect {
    /// The point.
    pub point: String,
    /// The position; absent if all were patched.
    pub position: Option<usize>,
    /// The measure under the patch.
    pub value: f64,
    /// The part of the way from corrupted (0) to clean (1).
    pub recovered: f64,
}

/// The measure of the two runs and the effect of every patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchSweep {
    /// The measure of the clean run.
    pub clean: f64,
    /// The measure of the corrupted run.
    pub corrupted: f64,
    /// One line per point (and position).
    pub effects: Vec<PatchEffect>,
}

/// Patches each of `points` from the clean run into the corrupted one, at all positions together or, if
/// `each_position` is set, one after the other.
///
/// # Errors
/// [`Error::Request`] if the two texts differ in length or the measure does not tell them apart (at least 1e-9);
/// [`Error::Model`] for a point that does not exist.
pub fn patch_sweep<S: AsRef<str>>(
    transformer: &Transformer,
    clean: &[u32],
    corrupted: &[u32],
    points: &[S],
    each_position: bool,
    measure: Measure<'_>,
) -> Result<PatchSweep, Error> {
    same_length(clean, corrupted)?;
    let source = record(transformer, clean, points)?;
    let best = measure(&source.logits);
    let worst = measure(&run(transformer, corrupted, &[], Want::All)?);
    require((best - worst).abs() >= 1e-9, || {
        format!("the measure is {best} on both texts; patching between them shows nothing")
    })?;
    let mut effects = Vec::new();
    for point in points.iter().map(AsRef::as_ref) {
        let all = Change::new(point, With::Values(source.at(point)?.clone()));
        let positions: Vec<Option<usize>> = match each_position {
            true => (0..clean.len()).map(Some).collect(),
            false => vec![None],
        };
        for position in positions {
            let change = match position {
                Some(position) => all.clone().at(vec![position]),
                None => all.clone(),
            };
            let value = measure(&run(transformer, corrupted, &[change], Want::All)?);
            let recovered = (value - worst) / (best - worst);
            effects.push(PatchEffect { point: point.to_string(), position, value, recovered });
        }
    }
    Ok(PatchSweep { clean: best, corrupted: worst, effects })
}

pub(crate) fn same_length(clean: &[u32], corrupted: &[u32]) -> Result<(), Error> {
    require(clean.len() == corrupted.len() && !clean.is_empty(), || {
        format!("texts of {} and {} tokens; patching needs the same length", clean.len(), corrupted.len())
    })
}

/// The largest change of a logit when the readings of a run are put back into the same run, all points at once.
/// It must be exactly 0: anything else means that a point does not hold what flows on.
///
/// # Errors
/// [`Error::Model`] for a point that does not exist.
pub fn identity_error<S: AsRef<str>>(
    transformer: &Transformer,
    tokens: &[u32],
    points: &[S],
) -> Result<f32, Error> {
    let clean = run(transformer, tokens, &[], Want::All)?;
    let source = record(transformer, tokens, points)?;
    let changes = points
        .iter()
        .map(|point| Ok(Change::new(point.as_ref(), With::Values(source.at(point.as_ref())?.clone()))));
    let changes = changes.collect::<Result<Vec<_>, Error>>()?;
    let patched = run(transformer, tokens, &changes, Want::All)?;
    let differences = clean.values().iter().zip(patched.values()).map(|(a, b)| (a - b).abs());
    Ok(differences.fold(0.0, f32::max))
}

/// The mean row at a point over several texts, all positions counted alike: what mean ablation puts there.
///
/// # Errors
/// [`Error::Request`] without texts; [`Error::Model`] from the forward passes.
pub fn mean_at<T: AsRef<[u32]>>(
    transformer: &Transformer,
    texts: &[T],
    point: &str,
) -> Result<Vec<f32>, Error> {
    let (mut sums, mut count) = (Vec::new(), 0);
    for tokens in texts {
        let recording = record(transformer, tokens.as_ref(), &[point])?;
        let matrix = recording.at(point)?;
        sums.resize(matrix.columns(), 0.0_f64);
        for row in 0..matrix.rows() {
            sums.iter_mut().zip(matrix.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
            count += 1;
        }
    }
    require(count > 0, || "a mean over no texts; give at least one".into())?;
    Ok(sums.into_iter().map(|sum| (sum / f64::from(count)) as f32).collect())
}
