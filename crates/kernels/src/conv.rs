//! Causal depthwise short convolution: every channel is filtered on its own,
//! y_t = Σ_j w_j · x_(t − taps + 1 + j), so that the last tap meets the current token. Before the first
//! token of a document lie zeros, or the last rows of what came earlier.

use crate::attention::documents::{check_starts, ranges};
use crate::cpu::{self, Level};
use crate::expect_len;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, lanes, lanes_mut};
use std::ops::Range;

/// Shape of one call over packed documents. `x` and `y` are tokens × channels, weights channels × taps, and
/// states documents × (taps − 1) × channels: the rows before the first token, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Tokens of all documents.
    pub tokens: usize,
    /// First token of each document, ascending from 0.
    pub starts: &'a [usize],
    /// Channels.
    pub channels: usize,
    /// Taps of the filter, at least 1.
    pub taps: usize,
}

impl Shape<'_> {
    /// Elements of the states.
    pub fn state_len(&self) -> usize {
        self.starts.len() * (self.taps - 1) * self.channels
    }

    fn check(&self, x: &[f32], weight: &[f32], initial: Option<&[f32]>) {
        assert!(self.taps > 0, "short convolution: no taps");
        check_starts("short convolution", self.starts, self.tokens);
        expect_len("short convolution input", x.len(), self.tokens * self.channels);
        expect_len("short convolution weight", weight.len(), self.channels * self.taps);
        let states = initial.map_or(self.state_len(), <[f32]>::len);
        expect_len("short convolution initial states", states, self.state_len());
    }

    /// Tokens of the documents.
    fn documents(&self) -> Vec<Range<usize>> {
        ranges(self.starts, self.tokens).collect()
    }
}

/// Writes `y` and, when asked for, the last states, which continue the documents in a later call.
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
pub fn forward(
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    initial: Option<&[f32]>,
    y: &mut [f32],
    last: Option<&mut [f32]>,
) {
    forward_at(cpu::level(), shape, x, weight, initial, y, last);
}

pub(crate) fn forward_at(
    level: Level,
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    initial: Option<&[f32]>,
    y: &mut [f32],
    last: Option<&mut [f32]>,
) {
    shape.check(x, weight, initial);
    expect_len("short convolution output", y.len(), x.len());
    let documents = shape.documents();
    let y = Outputs::new(y);
    stripes(shape, |channels| {
        dispatch(level, Forward { shape, documents: &documents, x, weight, initial, channels, y: &y });
    });
    let Some(last) = last else { return };
    expect_len("short convolution last states", last.len(), shape.state_len());
    let (width, kept) = (shape.channels, shape.taps - 1);
    for (d, document) in documents.iter().enumerate() {
        for i in 0..kept {
            // Row `document.len() + i` of the earlier rows followed by the document's.
            let to = &mut last[(d * kept + i) * width..][..width];
            match (document.len() + i).checked_sub(kept) {
                Some(token) => to.copy_from_slice(&x[(document.start + token) * width..][..width]),
                None => match initial {
                    Some(states) => {
                        to.copy_from_slice(&states[(d * kept + document.len() + i) * width..][..width]);
                    }
                    None => to.fill(0.0),
                },
            }
        }
    }
}

/// Gradients of Σ dy · y + Σ dlast · last, given `dy` and, where the last states were used, `dlast`.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// Of the input; overwritten.
    pub x: &'a mut [f32],
    /// Of the weight; overwritten.
    pub weight: &'a mut [f32],
    /// Of the initial states, when asked for; overwritten.
    pub initial: Option<&'a mut [f32]>,
}

/// Writes the [`Gradients`].
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
pub fn backward(
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    initial: Option<&[f32]>,
    dy: &[f32],
    dlast: Option<&[f32]>,
    gradients: &mut Gradients,
) {
    shape.check(x, weight, initial);
    let (width, taps, kept) = (shape.channels, shape.taps, shape.taps - 1);
    expect_len("short convolution output gradient", dy.len(), x.len());
    expect_len("short convolution input gradient", gradients.x.len(), x.len());
    expect_len("short convolution weight gradient", gradients.weight.len(), weight.len());
    for states in [dlast, gradients.initial.as_deref()].into_iter().flatten() {
        expect_len("short convolution state gradients", states.len(), shape.state_len());
    }
    let documents = shape.documents();
    let (dx, dweight) = (Outputs::new(gradients.x), Outputs::new(gradients.weight));
    let dinitial = gradients.initial.as_deref_mut().map(Outputs::new);
    stripes(shape, |channels| {
        let count = channels.len();
        // [tap][channel], so that a token's channels lie side by side.
        let tap = |j: usize| channels.clone().map(|c| weight[c * taps + j]).collect::<Vec<f32>>();
        let filter: Vec<Vec<f32>> = (0..taps).map(tap).collect();
        let mut dfilter = vec![vec![0.0; count]; taps];
        for (d, document) in documents.iter().enumerate() {
            let row = |token: usize| (document.start + token) * width + channels.start;
            let state = |i: usize| (d * kept + i) * width + channels.start;
            // Row i of the earlier rows followed by the document's.
            for i in 0..kept + document.len() {
                let token = i.checked_sub(kept);
                let from = match token {
                    Some(token) => &x[row(token)..][..count],
                    None => initial.map_or(&[][..], |states| &states[state(i)..][..count]),
                };
                let mut sums = vec![0.0; count];
                for j in 0..taps {
                    // y of token i − j is the only one that row i enters with tap j.
                    let Some(later) = i.checked_sub(j).filter(|&t| t < document.len()) else { continue };
                    let dy = &dy[row(later)..][..count];
                    for ((sum, w), dy) in sums.iter_mut().zip(&filter[j]).zip(dy) {
                        *sum += w * dy;
                    }
                    for ((sum, x), dy) in dfilter[j].iter_mut().zip(from).zip(dy) {
                        *sum += x * dy;
                    }
                }
                // The row is kept in the last state, at the place left when the document has gone by.
                if let (Some(dlast), Some(place)) = (dlast, i.checked_sub(document.len())) {
                    sums.iter_mut().zip(&dlast[state(place)..][..count]).for_each(|(sum, d)| *sum += d);
                }
                match (token, &dinitial) {
                    (Some(token), _) => {
                        // SAFETY: a stripe of channels belongs to one part.
                        unsafe { dx.range(row(token), count) }.copy_from_slice(&sums);
                    }
                    (None, Some(dinitial)) => {
                        // SAFETY: as above.
                        unsafe { dinitial.range(state(i), count) }.copy_from_slice(&sums);
                    }
                    (None, None) => {}
                }
            }
        }
        // SAFETY: as above.
        let to = unsafe { dweight.range(channels.start * taps, count * taps) };
        for (channel, to) in to.chunks_exact_mut(taps).enumerate() {
            to.iter_mut().zip(&dfilter).for_each(|(to, sums)| *to = sums[channel]);
        }
    });
}

/// Channels of a part.
const STRIPE: usize = 64;

/// Runs `part` over stripes of channels.
fn stripes(shape: &Shape, part: impl Fn(Range<usize>) + Sync) {
    pool::run(shape.channels.div_ceil(STRIPE), &|i| {
        part(i * STRIPE..((i + 1) * STRIPE).min(shape.channels));
    });
}

struct Forward<'a> {
    shape: &'a Shape<'a>,
    documents: &'a [Range<usize>],
    x: &'a [f32],
    weight: &'a [f32],
    initial: Option<&'a [f32]>,
    channels: Range<usize>,
    y: &'a Outputs<'a, f32>,
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Forward { shape, documents, x, weight, initial, channels, y } = self;
        let (width, taps, kept) = (shape.channels, shape.taps, shape.taps - 1);
        let mut filter = vec![0.0; taps * LANES];
        for first in channels.clone().step_by(LANES) {
            let count = LANES.min(channels.end - first);
            filter.fill(0.0);
            for lane in 0..count {
                (0..taps).for_each(|j| filter[j * LANES + lane] = weight[(first + lane) * taps + j]);
            }
            let load = |values: &[f32], row: usize| {
                crate::simd::padded(simd, &values[row * width + first..][..count], 0, 0.0)
            };
            for (d, document) in documents.iter().enumerate() {
                for token in 0..document.len() {
                    let mut sum = simd.splat(0.0);
                    for j in 0..taps {
                        let value = match ((token + j).checked_sub(kept), initial) {
                            (Some(token), _) => load(x, document.start + token),
                            (None, Some(states)) => load(states, d * kept + token + j),
                            (None, None) => continue,
                        };
                        sum = simd.fma(value, simd.load(lanes(&filter, j * LANES)), sum);
                    }
                    // SAFETY: a stripe of channels belongs to one part.
                    let y = unsafe { y.range((document.start + token) * width + first, count) };
                    if count == LANES {
                        simd.store(sum, lanes_mut(y, 0));
                    } else {
                        crate::simd::store_padded(simd, sum, y, 0);
                    }
                }
            }
        }
    }
}

/// The twin: plain loops, double-precision sums.
pub mod naive {
    use super::Shape;

    /// See [`super::forward`], without the last states.
    pub fn forward(shape: &Shape, x: &[f32], weight: &[f32], initial: Option<&[f32]>, y: &mut [f32]) {
        let (width, taps) = (shape.channels, shape.taps);
        for token in 0..shape.tokens {
            let document = shape.starts.iter().filter(|&&start| start <= token).count() - 1;
            let inside = token - shape.starts[document];
            for channel in 0..width {
                let sum: f64 = (0..taps)
                    .map(|j| {
                        let back = taps - 1 - j;
                        let value = match initial {
                            _ if back <= inside => x[(token - back) * width + channel],
                            Some(states) => {
                                let row = document * (taps - 1) + taps - 1 + inside - back;
                                states[row * width + channel]
                            }
                            None => 0.0,
                        };
                        f64::from(value) * f64::from(weight[channel * taps + j])
                    })
                    .sum();
                y[token * width + channel] = sum as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::tests::floats;

    const SHAPES: [Shape; 4] = [
        Shape { tokens: 1, starts: &[0], channels: 1, taps: 1 },
        Shape { tokens: 9, starts: &[0, 1, 3], channels: 17, taps: 4 },
        Shape { tokens: 40, starts: &[0, 20], channels: 150, taps: 3 },
        Shape { tokens: 2, starts: &[0], channels: 3, taps: 7 },
    ];

    #[test]
    fn every_level_matches_the_twin() {
        for shape in &SHAPES {
            let (x, weight) =
                (floats(shape.tokens * shape.channels, 1), floats(shape.channels * shape.taps, 2));
            let states = floats(shape.state_len(), 3);
            for initial in [None, Some(&states[..])] {
                let (mut y, mut expected) = (vec![f32::NAN; x.len()], vec![0.0; x.len()]);
                naive::forward(shape, &x, &weight, initial, &mut expected);
                for level in Level::available() {
                    forward_at(level, shape, &x, &weight, initial, &mut y, None);
                    let error = y.iter().zip(&expected).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
                    assert!(error < 1e-6, "{level:?} {shape:?}: off by {error}");
                }
            }
        }
    }

    /// The loss is bilinear, so differences of the twin give the gradients up to rounding.
    #[test]
    fn gradients_are_differences_of_losses() {
        for shape in &SHAPES {
            let (x, weight) =
                (floats(shape.tokens * shape.channels, 1), floats(shape.channels * shape.taps, 2));
            let states = floats(shape.state_len(), 3);
            let (dy, dlast) = (floats(x.len(), 4), floats(shape.state_len(), 5));
            let mut got = [&x, &weight, &states].map(|like| vec![f32::NAN; like.len()]);
            let [dx, dweight, dinitial] = &mut got;
            let mut gradients = Gradients { x: dx, weight: dweight, initial: Some(dinitial) };
            backward(shape, &x, &weight, Some(&states), &dy, Some(&dlast), &mut gradients);
            let loss = |inputs: &[Vec<f32>; 3]| -> f64 {
                let [x, weight, states] = inputs;
                let (mut y, mut ignored, mut last) =
                    (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; states.len()]);
                naive::forward(shape, x, weight, Some(states), &mut y);
                forward(shape, x, weight, Some(states), &mut ignored, Some(&mut last));
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
                };
                dot(&y, &dy) + dot(&last, &dlast)
            };
            let inputs = [x, weight, states];
            for (which, gradient) in got.iter().enumerate() {
                for at in (0..gradient.len()).step_by(1 + gradient.len() / 60) {
                    let moved = |by: f32| {
                        let mut inputs = inputs.clone();
                        inputs[which][at] += by;
                        (loss(&inputs), f64::from(inputs[which][at]))
                    };
                    let (above, below) = (moved(0.5), moved(-0.5));
                    let slope = (above.0 - below.0) / (above.1 - below.1);
                    let error = (slope - f64::from(gradient[at])).abs();
                    assert!(error < 1e-5, "{shape:?} {which} at {at}: {} not {slope}", gradient[at]);
                }
            }
        }
    }

    #[test]
    fn any_split_and_any_threads_give_the_bits_of_the_whole() {
        let shape = Shape { tokens: 11, starts: &[0], channels: 130, taps: 4 };
        let (x, weight) = (floats(11 * 130, 1), floats(130 * 4, 2));
        for level in Level::available() {
            let (mut whole, mut last) = (vec![0.0; x.len()], vec![0.0; shape.state_len()]);
            forward_at(level, &shape, &x, &weight, None, &mut whole, Some(&mut last));
            for step in [1, 2, 5] {
                let (mut state, mut y) = (vec![0.0; shape.state_len()], vec![0.0; x.len()]);
                for (x, y) in x.chunks(step * 130).zip(y.chunks_mut(step * 130)) {
                    let before = state.clone();
                    let part = Shape { tokens: x.len() / 130, ..shape };
                    forward_at(level, &part, x, &weight, Some(&before), y, Some(&mut state));
                }
                assert_eq!((&y, &state), (&whole, &last), "{level:?} in steps of {step}");
            }
            for threads in [1, 3] {
                pool::set_threads(threads);
                let mut y = vec![0.0; x.len()];
                forward_at(level, &shape, &x, &weight, None, &mut y, None);
                assert_eq!(y, whole, "{threads} threads");
            }
            pool::set_threads(0);
        }
    }
}
