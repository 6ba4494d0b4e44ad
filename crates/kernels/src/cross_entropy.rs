//! The loss −log p(target) of a linear head, chunk by chunk: the logits of all rows and the whole
//! vocabulary never exist together. The backward pass computes them again.

use crate::cpu::{self, Level};
use crate::gemm::{Left, Precision, Right, Shape, multiply};
use crate::linear::PackedWeight;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};
use crate::{Error, Result, expect_len};

/// The head, vocabulary × width.
#[derive(Debug, Clone, Copy)]
pub enum Head<'a> {
    /// Packed, of any format.
    Packed(&'a PackedWeight),
    /// Row-major f32.
    Dense {
        /// The elements.
        values: &'a [f32],
        /// Elements of a row.
        width: usize,
    },
}

impl<'a> Head<'a> {
    /// Elements of a row.
    pub fn width(&self) -> usize {
        match self {
            Head::Packed(weight) => weight.columns(),
            Head::Dense { width, .. } => *width,
        }
    }

    /// Rows.
    pub fn vocabulary(&self) -> usize {
        match self {
            Head::Packed(weight) => weight.rows(),
            Head::Dense { values, width } => values.len().checked_div(*width).unwrap_or(0),
        }
    }

    /// Rows from `first` on, as the right factor of hidden · headᵀ or (not `forward`) of slopes · head.
    fn right(&self, first: usize, forward: bool) -> Right<'a> {
        match *self {
            Head::Packed(weight) if forward => Right::Forward { weight, first },
            Head::Packed(weight) => Right::Backward { weight, first },
            Head::Dense { values, width } => {
                Right::Dense { values: &values[first * width..], stride: width, transposed: forward }
            }
        }
    }
}

/// Rows and vocabulary entries whose logits exist together: 4 MiB.
const ROWS: usize = 512;
const ENTRIES: usize = 2048;

/// Writes −log softmax(hidden · headᵀ)\[target\] of each row into `losses`, and the logarithm of the sum of
/// e^logit, which [`backward`] needs, into `log_sums`. `hidden` is targets × width.
///
/// # Errors
/// [`Error::Token`] for a target outside the vocabulary; nothing is then written.
///
/// # Panics
/// When a length contradicts the shape.
pub fn forward(
    hidden: &[f32],
    head: Head,
    targets: &[u32],
    precision: Precision,
    losses: &mut [f32],
    log_sums: &mut [f32],
) -> Result<()> {
    forward_at(cpu::level(), hidden, head, targets, precision, losses, log_sums)
}

pub(crate) fn forward_at(
    level: Level,
    hidden: &[f32],
    head: Head,
    targets: &[u32],
    precision: Precision,
    losses: &mut [f32],
    log_sums: &mut [f32],
) -> Result<()> {
    check(hidden, &head, targets)?;
    expect_len("cross_entropy losses", losses.len(), targets.len());
    expect_len("cross_entropy log sums", log_sums.len(), targets.len());
    let mut logits = vec![0.0; ROWS.min(targets.len()) * ENTRIES.min(head.vocabulary())];
    for start in (0..targets.len()).step_by(ROWS) {
        let rows = start..(start + ROWS).min(targets.len());
        // Per row: largest logit, Σ e^(logit − largest), the target's logit.
        let mut states = vec![(f32::NEG_INFINITY, 0f64, f32::NAN); rows.len()];
        each_chunk(level, hidden, &head, rows.clone(), precision, &mut logits, |first, logits, count| {
            let outputs = Outputs::new(&mut states);
            pool::run(rows.len().div_ceil(LANES), &|part| {
                for row in part * LANES..((part + 1) * LANES).min(rows.len()) {
                    // SAFETY: a row belongs to one part.
                    let state = unsafe { outputs.range(row, 1) };
                    let logits = &logits[row * count..(row + 1) * count];
                    let target = targets[rows.start + row] as usize;
                    if (first..first + count).contains(&target) {
                        state[0].2 = logits[target - first];
                    }
                    let (top, sum) = dispatch(level, Sum(logits));
                    let (before, total, _) = state[0];
                    // A NaN stays: `max` would drop it.
                    let most = if top > before || top.is_nan() { top } else { before };
                    let part = |top: f32, sum: f64| {
                        if sum == 0.0 { 0.0 } else { sum * (f64::from(top) - f64::from(most)).exp() }
                    };
                    (state[0].0, state[0].1) = (most, part(before, total) + part(top, sum));
                }
            });
        });
        for (i, (top, sum, logit)) in states.into_iter().enumerate() {
            let log = f64::from(top) + sum.ln();
            log_sums[rows.start + i] = log as f32;
            losses[rows.start + i] = (log - f64::from(logit)) as f32;
        }
    }
    Ok(())
}

/// Gradients of Σ slopes\[i\] · losses\[i\]: of `hidden` (overwritten) and, when given, of the head
/// (vocabulary × width, added to). `log_sums` are those of [`forward`] with the same precision.
///
/// # Errors
/// [`Error::Token`] for a target outside the vocabulary; nothing is then written.
///
/// # Panics
/// When a length contradicts the shape.
#[allow(clippy::too_many_arguments)] // the inputs of the forward pass, its gradient and two results
pub fn backward(
    hidden: &[f32],
    head: Head,
    targets: &[u32],
    log_sums: &[f32],
    slopes: &[f32],
    precision: Precision,
    dhidden: &mut [f32],
    dhead: Option<&mut [f32]>,
) -> Result<()> {
    backward_at(cpu::level(), hidden, head, targets, log_sums, slopes, precision, dhidden, dhead)
}

#[allow(clippy::too_many_arguments)] // as backward
pub(crate) fn backward_at(
    level: Level,
    hidden: &[f32],
    head: Head,
    targets: &[u32],
    log_sums: &[f32],
    slopes: &[f32],
    precision: Precision,
    dhidden: &mut [f32],
    mut dhead: Option<&mut [f32]>,
) -> Result<()> {
    check(hidden, &head, targets)?;
    let width = head.width();
    expect_len("cross_entropy log sums", log_sums.len(), targets.len());
    expect_len("cross_entropy loss gradients", slopes.len(), targets.len());
    expect_len("cross_entropy hidden gradient", dhidden.len(), hidden.len());
    if let Some(dhead) = &dhead {
        expect_len("cross_entropy head gradient", dhead.len(), head.vocabulary() * width);
    }
    let mut logits = vec![0.0; ROWS.min(targets.len()) * ENTRIES.min(head.vocabulary())];
    for start in (0..targets.len()).step_by(ROWS) {
        let rows = start..(start + ROWS).min(targets.len());
        let within = rows.start * width..rows.end * width;
        each_chunk(level, hidden, &head, rows.clone(), precision, &mut logits, |first, logits, count| {
            let outputs = Outputs::new(&mut *logits);
            pool::run(rows.len().div_ceil(LANES), &|part| {
                for row in part * LANES..((part + 1) * LANES).min(rows.len()) {
                    // SAFETY: a row belongs to one part.
                    let logits = unsafe { outputs.range(row * count, count) };
                    let at = rows.start + row;
                    dispatch(level, Slopes { logits, log_sum: log_sums[at], slope: slopes[at] });
                    let target = targets[at] as usize;
                    if (first..first + count).contains(&target) {
                        logits[target - first] -= slopes[at];
                    }
                }
            });
            let dhidden = &mut dhidden[within.clone()];
            let shape = Shape { m: rows.len(), n: width, k: count };
            let right = head.right(first, false);
            multiply(level, shape, Left::rows(logits, count), &right, first > 0, precision, dhidden, width);
            if let Some(dhead) = &mut dhead {
                let shape = Shape { m: count, n: width, k: rows.len() };
                let left = Left { values: logits, stride: count, transposed: true };
                let right =
                    Right::Dense { values: &hidden[within.clone()], stride: width, transposed: false };
                multiply(level, shape, left, &right, true, precision, &mut dhead[first * width..], width);
            }
        });
    }
    Ok(())
}

fn check(hidden: &[f32], head: &Head, targets: &[u32]) -> Result<()> {
    expect_len("cross_entropy hidden", hidden.len(), targets.len() * head.width());
    let rows = head.vocabulary();
    if let Head::Dense { values, width } = head {
        expect_len("cross_entropy head", values.len(), rows * width);
    }
    match targets.iter().position(|&target| target as usize >= rows) {
        Some(index) => Err(Error::Token { id: targets[index], index, rows }),
        None => Ok(()),
    }
}

/// Calls `visit(first entry, logits, entries)` for chunks of the vocabulary; logits are rows × entries.
fn each_chunk(
    level: Level,
    hidden: &[f32],
    head: &Head,
    rows: std::ops::Range<usize>,
    precision: Precision,
    logits: &mut [f32],
    mut visit: impl FnMut(usize, &mut [f32], usize),
) {
    let width = head.width();
    let hidden = &hidden[rows.start * width..rows.end * width];
    for first in (0..head.vocabulary()).step_by(ENTRIES) {
        let count = ENTRIES.min(head.vocabulary() - first);
        let logits = &mut logits[..rows.len() * count];
        let shape = Shape { m: rows.len(), n: count, k: width };
        let right = head.right(first, true);
        multiply(level, shape, Left::rows(hidden, width), &right, false, precision, logits, count);
        visit(first, logits, count);
    }
}

/// The largest of some logits and Σ e^(logit − largest).
struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = (f32, f64);
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (f32, f64) {
        let mut tops = simd.splat(f32::NEG_INFINITY);
        for at in (0..self.0.len()).step_by(LANES) {
            tops = simd.max(tops, padded(simd, self.0, at, f32::NEG_INFINITY));
        }
        let top = simd.top(tops);
        if top == f32::NEG_INFINITY && !self.0.iter().any(|v| v.is_nan()) {
            return (top, 0.0);
        }
        let mut sums = simd.splat(0.0);
        for at in (0..self.0.len()).step_by(LANES) {
            let value = padded(simd, self.0, at, f32::NEG_INFINITY);
            sums = simd.add(sums, simd.exp(simd.sub(value, simd.splat(top))));
        }
        (top, f64::from(simd.sum(sums)))
    }
}

/// e^(logit − log sum) · slope in place of the logits.
struct Slopes<'a> {
    logits: &'a mut [f32],
    log_sum: f32,
    slope: f32,
}

impl Kernel for Slopes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Slopes { logits, log_sum, slope } = self;
        if slope == 0.0 {
            return logits.fill(0.0);
        }
        for at in (0..logits.len()).step_by(LANES) {
            let value = simd.exp(simd.sub(padded(simd, logits, at, 0.0), simd.splat(log_sum)));
            store_padded(simd, simd.mul(value, simd.splat(slope)), logits, at);
        }
    }
}

/// The same in plain loops and double precision.
pub mod naive {
    /// Losses, and the gradients of Σ slopes · losses with respect to `hidden` and `head`
    /// (vocabulary × width).
    pub fn cross_entropy(
        hidden: &[f32],
        head: &[f32],
        width: usize,
        targets: &[u32],
        slopes: &[f32],
    ) -> [Vec<f32>; 3] {
        let mut losses = Vec::new();
        let (mut dhidden, mut dhead) = (vec![0f64; hidden.len()], vec![0f64; head.len()]);
        for (row, (&target, &slope)) in targets.iter().zip(slopes).enumerate() {
            let x = &hidden[row * width..(row + 1) * width];
            let dot = |w: &[f32]| x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum::<f64>();
            let logits: Vec<f64> = head.chunks_exact(width).map(dot).collect();
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log = top + logits.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
            losses.push((log - logits[target as usize]) as f32);
            for (entry, logit) in logits.iter().enumerate() {
                let hit = f64::from(entry == target as usize);
                let slope = ((logit - log).exp() - hit) * f64::from(slope);
                for i in 0..width {
                    dhidden[row * width + i] += slope * f64::from(head[entry * width + i]);
                    dhead[entry * width + i] += slope * f64::from(x[i]);
                }
            }
        }
        let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
        [losses, single(dhidden), single(dhead)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::tests::{blocks, floats};
    use crate::quant::Format;

    /// Losses and gradients of the kernel.
    fn run(
        level: Level,
        hidden: &[f32],
        head: Head,
        targets: &[u32],
        slopes: &[f32],
        precision: Precision,
    ) -> [Vec<f32>; 3] {
        let mut losses = vec![f32::NAN; targets.len()];
        let mut log_sums = losses.clone();
        forward_at(level, hidden, head, targets, precision, &mut losses, &mut log_sums).unwrap();
        let mut dhidden = vec![f32::NAN; hidden.len()];
        let mut dhead = vec![0.0; head.vocabulary() * head.width()];
        let dense = Some(&mut dhead[..]);
        backward_at(level, hidden, head, targets, &log_sums, slopes, precision, &mut dhidden, dense).unwrap();
        [losses, dhidden, dhead]
    }

    #[test]
    fn every_level_matches_the_twin() {
        // Chunks of rows and of the vocabulary, whole and partial.
        for (n, vocabulary, width) in [(1, 1, 3), (5, 40, 64), (530, 37, 10), (3, 4100, 33)] {
            let hidden: Vec<f32> = floats(n * width, 1).iter().map(|v| v * 3.0).collect();
            let head = floats(vocabulary * width, 2);
            let targets: Vec<u32> = (0..n as u32).map(|i| i * 2741 % vocabulary as u32).collect();
            let slopes = floats(n, 3);
            let expected = naive::cross_entropy(&hidden, &head, width, &targets, &slopes);
            let packed = PackedWeight::from_f32(&head, vocabulary, width).unwrap();
            for level in Level::available() {
                let dense = Head::Dense { values: &head, width };
                let got = run(level, &hidden, dense, &targets, &slopes, Precision::F32);
                for (what, (got, expected)) in
                    ["loss", "hidden", "head"].iter().zip(got.iter().zip(&expected))
                {
                    let error = got.iter().zip(expected).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
                    assert!(error < 3e-5, "{level:?} {n} {vocabulary} {width} {what}: off by {error}");
                    assert!(got.iter().all(|v| v.is_finite()));
                }
                let packed = Head::Packed(&packed);
                assert_eq!(run(level, &hidden, packed, &targets, &slopes, Precision::F32), got, "{level:?}");
                let half = run(level, &hidden, dense, &targets, &slopes, Precision::BF16);
                let error = half[0].iter().zip(&expected[0]).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
                assert!(error < 0.1, "{level:?} bf16: off by {error}");
            }
        }
    }

    #[test]
    fn a_quantized_head_is_its_dequantized_values() {
        let (n, vocabulary, width) = (20, 2100, 64);
        let bytes = blocks(Format::Q8_0, vocabulary, width, 4);
        let weight = PackedWeight::pack(Format::Q8_0, &bytes, vocabulary, width).unwrap();
        let plain = weight.dequantize();
        let (hidden, slopes) = (floats(n * width, 1), floats(n, 3));
        let targets: Vec<u32> = (0..n as u32).map(|i| i * 104).collect();
        let run = |head: Head| run(Level::best(), &hidden, head, &targets, &slopes, Precision::F32);
        assert_eq!(run(Head::Packed(&weight)), run(Head::Dense { values: &plain, width }));
    }

    #[test]
    fn the_twin_is_the_difference_of_losses() {
        let (n, vocabulary, width) = (2, 5, 3);
        let (hidden, head, slopes) = (floats(n * width, 1), floats(vocabulary * width, 2), [1.0, -0.5]);
        let twin = |hidden: &[f32], head: &[f32]| naive::cross_entropy(hidden, head, width, &[4, 0], &slopes);
        let loss = |hidden: &[f32], head: &[f32]| -> f64 {
            let losses = &twin(hidden, head)[0];
            losses.iter().zip(&slopes).map(|(&l, &s)| f64::from(l) * f64::from(s)).sum()
        };
        let [_, dhidden, dhead] = twin(&hidden, &head);
        let step = 1.0 / 64.0;
        for (at, expected) in dhidden.iter().enumerate() {
            let moved = |by: f32| {
                let mut hidden = hidden.clone();
                hidden[at] += by;
                loss(&hidden, &head)
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!((slope - f64::from(*expected)).abs() < 1e-4, "hidden {at}: {expected} not {slope}");
        }
        for (at, expected) in dhead.iter().enumerate() {
            let moved = |by: f32| {
                let mut head = head.clone();
                head[at] += by;
                loss(&hidden, &head)
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!((slope - f64::from(*expected)).abs() < 1e-4, "head {at}: {expected} not {slope}");
        }
    }

    #[test]
    fn a_target_outside_the_vocabulary_is_an_error_and_large_logits_are_none() {
        let head = Head::Dense { values: &[1e4, -1e4], width: 1 };
        let (mut losses, mut log_sums) = ([0.0], [0.0]);
        let error = forward(&[1.0], head, &[2], Precision::F32, &mut losses, &mut log_sums).unwrap_err();
        assert_eq!(error, Error::Token { id: 2, index: 0, rows: 2 });
        forward(&[1.0], head, &[1], Precision::F32, &mut losses, &mut log_sums).unwrap();
        assert_eq!((losses[0], log_sums[0]), (2e4, 1e4));
        forward(&[f32::NAN], head, &[1], Precision::F32, &mut losses, &mut log_sums).unwrap();
        assert!(losses[0].is_nan());
    }
}
