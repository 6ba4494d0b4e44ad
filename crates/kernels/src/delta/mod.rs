//! The gated delta rule (Yang et al. 2024, "Gated Delta Networks"): a matrix S per head that forgets by
//! e^g and overwrites what it held under a key,
//!
//! u = β (v − e^g kᵀ S), S ← e^g S + k uᵀ, y = scale · qᵀ S,
//!
//! whole documents in chunks of matrix products, forward and backward, and token by token. With β up to 2
//! and keys of length 1 the transition has negative eigenvalues. Keys and queries come normalized.

mod chunk;
pub mod naive;

use crate::attention::documents::{check_starts, ranges};
use crate::cpu::{self, Level};
use crate::expect_len;
use crate::pool::{self, Outputs};
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};

/// Tokens of a chunk.
pub const CHUNK: usize = 32;

/// Least logarithm of a decay: e^−100 is 0 in f32, and differences of sums stay finite.
const LEAST: f32 = -100.0;

/// Shape of one call over packed documents.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Tokens of all documents.
    pub tokens: usize,
    /// First token of each document, ascending from 0; each begins with its own state.
    pub starts: &'a [usize],
    /// Heads.
    pub heads: usize,
    /// Channels of a key and of a query.
    pub key_dim: usize,
    /// Channels of a value and of an output.
    pub value_dim: usize,
    /// Factor of the output, usually 1/√key_dim.
    pub scale: f32,
}

impl Shape<'_> {
    /// Elements of the states: documents × heads × key_dim × value_dim.
    pub fn state_len(&self) -> usize {
        self.starts.len() * self.heads * self.key_dim * self.value_dim
    }

    fn check(&self, inputs: &Inputs) {
        check_starts("delta rule", self.starts, self.tokens);
        let rows = self.tokens * self.heads;
        expect_len("delta rule queries", inputs.q.len(), rows * self.key_dim);
        expect_len("delta rule keys", inputs.k.len(), rows * self.key_dim);
        expect_len("delta rule values", inputs.v.len(), rows * self.value_dim);
        expect_len("delta rule decays", inputs.g.len(), rows);
        expect_len("delta rule strengths", inputs.beta.len(), rows);
    }
}

/// What the rule reads.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Queries, tokens × heads × key_dim.
    pub q: &'a [f32],
    /// Keys, tokens × heads × key_dim.
    pub k: &'a [f32],
    /// Values, tokens × heads × value_dim.
    pub v: &'a [f32],
    /// Logarithms of the decays, at most 0 (below −100 counts as −100), tokens × heads.
    pub g: &'a [f32],
    /// Strengths of the writes, tokens × heads.
    pub beta: &'a [f32],
}

/// Gradients of [`Inputs`], of the same shapes; all are overwritten.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// Of the queries.
    pub q: &'a mut [f32],
    /// Of the keys.
    pub k: &'a mut [f32],
    /// Of the values.
    pub v: &'a mut [f32],
    /// Of the logarithms of the decays.
    pub g: &'a mut [f32],
    /// Of the strengths.
    pub beta: &'a mut [f32],
}

/// Outputs (tokens × heads × value_dim) and, when asked for, the last states (documents × heads ×
/// key_dim × value_dim). Without `initial` the states begin as zeros.
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
pub fn forward(
    shape: &Shape,
    inputs: &Inputs,
    initial: Option<&[f32]>,
    out: &mut [f32],
    last: Option<&mut [f32]>,
) {
    forward_at(cpu::level(), shape, inputs, initial, out, last);
}

pub(crate) fn forward_at(
    level: Level,
    shape: &Shape,
    inputs: &Inputs,
    initial: Option<&[f32]>,
    out: &mut [f32],
    last: Option<&mut [f32]>,
) {
    shape.check(inputs);
    expect_len("delta rule output", out.len(), shape.tokens * shape.heads * shape.value_dim);
    for (what, len) in [("initial", initial.map(<[f32]>::len)), ("last", last.as_deref().map(<[f32]>::len))] {
        expect_len(&format!("delta rule {what} states"), len.unwrap_or(shape.state_len()), shape.state_len());
    }
    let out = Outputs::new(out);
    let last = last.map(Outputs::new);
    each_task(shape, |document, head, tokens| {
        let size = shape.key_dim * shape.value_dim;
        let at = (document * shape.heads + head) * size;
        let initial = initial.map(|states| &states[at..at + size]);
        // SAFETY: a (document, head) belongs to one part.
        let last = last.as_ref().map(|last| unsafe { last.range(at, size) });
        dispatch(level, chunk::Forward { level, shape, inputs, head, tokens, initial, out: &out, last });
    });
}

/// Gradients of Σ dout · out + Σ dlast · last: of the inputs and, when asked for, of the initial states.
///
/// # Panics
/// When a length contradicts the shape, or `starts` do not ascend from 0.
pub fn backward(
    shape: &Shape,
    inputs: &Inputs,
    initial: Option<&[f32]>,
    dout: &[f32],
    dlast: Option<&[f32]>,
    gradients: &mut Gradients,
    dinitial: Option<&mut [f32]>,
) {
    backward_at(cpu::level(), shape, inputs, initial, dout, dlast, gradients, dinitial);
}

#[allow(clippy::too_many_arguments)] // inputs and outputs of both passes
pub(crate) fn backward_at(
    level: Level,
    shape: &Shape,
    inputs: &Inputs,
    initial: Option<&[f32]>,
    dout: &[f32],
    dlast: Option<&[f32]>,
    gradients: &mut Gradients,
    dinitial: Option<&mut [f32]>,
) {
    shape.check(inputs);
    expect_len("delta rule output gradient", dout.len(), shape.tokens * shape.heads * shape.value_dim);
    for (what, len) in [
        ("initial states", initial.map(<[f32]>::len)),
        ("last state gradients", dlast.map(<[f32]>::len)),
        ("initial state gradients", dinitial.as_deref().map(<[f32]>::len)),
    ] {
        expect_len(&format!("delta rule {what}"), len.unwrap_or(shape.state_len()), shape.state_len());
    }
    for (what, got, expected) in [
        ("query", gradients.q.len(), inputs.q.len()),
        ("key", gradients.k.len(), inputs.k.len()),
        ("value", gradients.v.len(), inputs.v.len()),
        ("decay", gradients.g.len(), inputs.g.len()),
        ("strength", gradients.beta.len(), inputs.beta.len()),
    ] {
        expect_len(&format!("delta rule {what} gradient"), got, expected);
    }
    let Gradients { q, k, v, g, beta } = gradients;
    let outputs = [q, k, v, g, beta].map(|gradient| Outputs::new(gradient));
    let dinitial = dinitial.map(Outputs::new);
    each_task(shape, |document, head, tokens| {
        let size = shape.key_dim * shape.value_dim;
        let at = (document * shape.heads + head) * size;
        let part = |states: &'_ [f32]| states[at..at + size].to_vec();
        let zeros = || vec![0.0; size];
        let initial = initial.map_or_else(zeros, part);
        let mut dstate = dlast.map_or_else(zeros, part);
        let task = chunk::Backward { level, shape, inputs, head, tokens, dout, outputs: &outputs };
        task.run(initial, &mut dstate);
        if let Some(dinitial) = &dinitial {
            // SAFETY: a (document, head) belongs to one part.
            unsafe { dinitial.range(at, size) }.copy_from_slice(&dstate);
        }
    });
}

/// Runs `task(document, head, tokens)` in parallel, the longest documents first.
fn each_task(shape: &Shape, task: impl Fn(usize, usize, std::ops::Range<usize>) + Sync) {
    let mut documents: Vec<_> = ranges(shape.starts, shape.tokens).enumerate().collect();
    documents.sort_by_key(|(index, tokens)| (tokens.len(), *index));
    pool::run(documents.len() * shape.heads, &|part| {
        let (document, tokens) = documents[part / shape.heads].clone();
        task(document, part % shape.heads, tokens);
    });
}

/// One token of one sequence: `inputs` are those of a single token, `state` (heads × key_dim ×
/// value_dim) is carried on, `out` is heads × value_dim.
///
/// # Panics
/// When a length contradicts the shape, or `shape` is not one token.
pub fn step(shape: &Shape, inputs: &Inputs, state: &mut [f32], out: &mut [f32]) {
    step_at(cpu::level(), shape, inputs, state, out);
}

pub(crate) fn step_at(level: Level, shape: &Shape, inputs: &Inputs, state: &mut [f32], out: &mut [f32]) {
    shape.check(inputs);
    assert!(shape.tokens == 1, "delta rule step: {} tokens", shape.tokens);
    expect_len("delta rule state", state.len(), shape.state_len());
    expect_len("delta rule output", out.len(), shape.heads * shape.value_dim);
    dispatch(level, Step { shape, inputs, state, out });
}

struct Step<'a> {
    shape: &'a Shape<'a>,
    inputs: &'a Inputs<'a>,
    state: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Step { shape, inputs, state, out } = self;
        let Shape { heads, key_dim, value_dim, scale, .. } = *shape;
        for head in 0..heads {
            let (q, k) = (&inputs.q[head * key_dim..][..key_dim], &inputs.k[head * key_dim..][..key_dim]);
            let v = &inputs.v[head * value_dim..][..value_dim];
            let state = &mut state[head * key_dim * value_dim..][..key_dim * value_dim];
            let out = &mut out[head * value_dim..][..value_dim];
            let mut decay = [0.0; LANES];
            simd.store(simd.exp(simd.splat(inputs.g[head].max(LEAST))), &mut decay);
            let decay = simd.splat(decay[0]);
            for at in (0..value_dim).step_by(LANES) {
                let mut held = simd.splat(0.0);
                for (row, &k) in state.chunks_exact(value_dim).zip(k) {
                    held = simd.fma(simd.splat(k), padded(simd, row, at, 0.0), held);
                }
                let change = simd.sub(padded(simd, v, at, 0.0), simd.mul(decay, held));
                let change = simd.mul(simd.splat(inputs.beta[head]), change);
                let mut read = simd.splat(0.0);
                for ((row, &k), &q) in state.chunks_exact_mut(value_dim).zip(k).zip(q) {
                    let kept = simd.mul(decay, padded(simd, row, at, 0.0));
                    let value = simd.fma(simd.splat(k), change, kept);
                    store_padded(simd, value, row, at);
                    read = simd.fma(simd.splat(q), value, read);
                }
                store_padded(simd, simd.mul(read, simd.splat(scale)), out, at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
