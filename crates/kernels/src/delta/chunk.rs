//! Chunks of the gated delta rule. With G the running sum of g inside the chunk, Γ = e^(G_i − G_j),
//! A = strict lower triangle of β_i (K Kᵀ ∘ Γ):
//!
//! (I + A) U = β ∘ (V − (e^G K) S₀), Y = scale · ((e^G Q) S₀ + (lower triangle of Q Kᵀ ∘ Γ) U),
//! S₁ = e^(G_last) S₀ + (e^(G_last − G) K)ᵀ U.
//!
//! Chunks go in order; the triangular system is solved once, for all values. The backward pass keeps the
//! state before each chunk and computes the rest again.

use super::{CHUNK, Inputs, LEAST, Shape};
use crate::cpu::Level;
use crate::gemm::{Left, Precision, Right, Shape as Product, multiply};
use crate::pool::Outputs;
use crate::simd::{Kernel, LANES, Simd, dispatch, padded, store_padded};
use std::cell::Cell;
use std::ops::Range;

thread_local! {
    /// Space of a part, kept between calls.
    static SPACE: Cell<Box<Space>> = Cell::default();
}

/// What a chunk of C tokens needs.
#[derive(Default)]
struct Space {
    /// C × key_dim: queries, keys; e^G Q, e^G K, e^(G_last − G) K.
    q: Vec<f32>,
    k: Vec<f32>,
    seen_q: Vec<f32>,
    seen_k: Vec<f32>,
    kept_k: Vec<f32>,
    /// C: strengths, e^G, e^(G_last − G); e^(G_last).
    beta: Vec<f32>,
    decay: Vec<f32>,
    rest: Vec<f32>,
    whole: f32,
    /// C × C: Γ (lower triangle), K Kᵀ ∘ Γ, A, and the lower triangle of Q Kᵀ ∘ Γ.
    gamma: Vec<f32>,
    similar: Vec<f32>,
    a: Vec<f32>,
    p: Vec<f32>,
    /// C × value_dim: V − (e^G K) S₀ and the solution U; outputs or their gradients.
    residual: Vec<f32>,
    u: Vec<f32>,
    y: Vec<f32>,
    back: Back,
}

/// Gradients of what a chunk holds.
#[derive(Default)]
struct Back {
    u: Vec<f32>,
    a: Vec<f32>,
    p: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    seen_q: Vec<f32>,
    seen_k: Vec<f32>,
    kept_k: Vec<f32>,
    state: Vec<f32>,
    g: Vec<f32>,
}

/// C (+)= A · B; the right factor as stored or transposed.
fn product(
    level: Level,
    (m, n, k): (usize, usize, usize),
    a: Left,
    b: (&[f32], bool),
    add: bool,
    c: &mut [f32],
) {
    let (values, transposed) = b;
    let right = Right::Dense { values, stride: if transposed { k } else { n }, transposed };
    multiply(level, Product { m, n, k }, a, &right, add, Precision::F32, c, n);
}

fn turned(values: &[f32], stride: usize) -> Left<'_> {
    Left { values, stride, transposed: true }
}

/// Resizes without keeping what was there.
fn room(values: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if values.len() < len {
        values.resize(len, 0.0);
    }
    &mut values[..len]
}

/// One head of one document.
pub(super) struct Forward<'a> {
    pub(super) level: Level,
    pub(super) shape: &'a Shape<'a>,
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) head: usize,
    pub(super) tokens: Range<usize>,
    pub(super) initial: Option<&'a [f32]>,
    pub(super) out: &'a Outputs<'a, f32>,
    pub(super) last: Option<&'a mut [f32]>,
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Forward { level, shape, inputs, head, tokens, initial, out, last } = self;
        let Shape { heads, key_dim, value_dim, scale, .. } = *shape;
        let mut state = initial.map_or_else(|| vec![0.0; key_dim * value_dim], <[f32]>::to_vec);
        let mut space = SPACE.take();
        for start in tokens.clone().step_by(CHUNK) {
            let chunk = start..(start + CHUNK).min(tokens.end);
            let count = chunk.len();
            prepare(simd, level, shape, inputs, head, chunk.clone(), &state, &mut space);
            let Space { q, k, seen_q, gamma, p, u, y, .. } = &mut *space;
            weights(simd, level, (count, key_dim), q, k, gamma, p);
            let y = room(y, count * value_dim);
            product(
                level,
                (count, value_dim, key_dim),
                Left::rows(seen_q, key_dim),
                (&state, false),
                false,
                y,
            );
            product(level, (count, value_dim, count), Left::rows(p, count), (u, false), true, y);
            for (row, token) in y.chunks_exact(value_dim.max(1)).zip(chunk) {
                // SAFETY: a (token, head) belongs to one part.
                let out = unsafe { out.range((token * heads + head) * value_dim, value_dim) };
                out.iter_mut().zip(row).for_each(|(out, y)| *out = scale * y);
            }
            carry(level, shape, count, &space, &mut state);
        }
        SPACE.set(space);
        if let Some(last) = last {
            last.copy_from_slice(&state);
        }
    }
}

/// S₁ from S₀.
fn carry(level: Level, shape: &Shape, count: usize, space: &Space, state: &mut [f32]) {
    let Shape { key_dim, value_dim, .. } = *shape;
    state.iter_mut().for_each(|s| *s *= space.whole);
    let kept = turned(&space.kept_k, key_dim);
    product(level, (key_dim, value_dim, count), kept, (&space.u, false), true, state);
}

/// P: the lower triangle of Q Kᵀ ∘ Γ.
#[inline(always)]
fn weights<S: Simd>(
    simd: S,
    level: Level,
    (count, dim): (usize, usize),
    q: &[f32],
    k: &[f32],
    gamma: &[f32],
    p: &mut Vec<f32>,
) {
    let p = room(p, count * count);
    product(level, (count, count, dim), Left::rows(q, dim), (k, true), false, p);
    // Γ is 0 above the diagonal; a product would keep infinities there.
    for (i, (p, gamma)) in p.chunks_exact_mut(count).zip(gamma.chunks_exact(count)).enumerate() {
        times(simd, &mut p[..=i], &gamma[..=i]);
        p[i + 1..].fill(0.0);
    }
}

/// a ∘ b in place of a.
#[inline(always)]
fn times<S: Simd>(simd: S, a: &mut [f32], b: &[f32]) {
    for at in (0..a.len()).step_by(LANES) {
        store_padded(simd, simd.mul(padded(simd, a, at, 0.0), padded(simd, b, at, 0.0)), a, at);
    }
}

/// Σ a · b.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let mut sums = simd.splat(0.0);
    for at in (0..a.len()).step_by(LANES) {
        sums = simd.fma(padded(simd, a, at, 0.0), padded(simd, b, at, 0.0), sums);
    }
    simd.sum(sums)
}

/// Rows of `from` times factors.
#[inline(always)]
fn scaled<'a>(from: &[f32], dim: usize, factors: &[f32], to: &'a mut Vec<f32>) -> &'a mut [f32] {
    let to = room(to, from.len());
    for ((to, from), factor) in to.chunks_exact_mut(dim).zip(from.chunks_exact(dim)).zip(factors) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from * factor);
    }
    to
}

/// Everything of a chunk up to U; slices in `space` are valid up to the chunk's size.
#[allow(clippy::too_many_arguments)] // private: where, what, from which state
#[inline(always)]
fn prepare<S: Simd>(
    simd: S,
    level: Level,
    shape: &Shape,
    inputs: &Inputs,
    head: usize,
    chunk: Range<usize>,
    state: &[f32],
    space: &mut Space,
) {
    let Shape { heads, key_dim, value_dim, .. } = *shape;
    let count = chunk.len();
    let (q, k) = (room(&mut space.q, count * key_dim), room(&mut space.k, count * key_dim));
    let residual = room(&mut space.residual, count * value_dim);
    let beta = room(&mut space.beta, count);
    let mut sums = [0f64; CHUNK];
    let mut sum = 0f64;
    for (i, token) in chunk.enumerate() {
        let row = token * heads + head;
        q[i * key_dim..][..key_dim].copy_from_slice(&inputs.q[row * key_dim..][..key_dim]);
        k[i * key_dim..][..key_dim].copy_from_slice(&inputs.k[row * key_dim..][..key_dim]);
        residual[i * value_dim..][..value_dim].copy_from_slice(&inputs.v[row * value_dim..][..value_dim]);
        beta[i] = inputs.beta[row];
        sum += f64::from(inputs.g[row].max(LEAST));
        sums[i] = sum;
    }
    let (decay, rest) = (room(&mut space.decay, count), room(&mut space.rest, count));
    let gamma = room(&mut space.gamma, count * count);
    for i in 0..count {
        decay[i] = sums[i] as f32;
        rest[i] = (sum - sums[i]) as f32;
        let row = &mut gamma[i * count..(i + 1) * count];
        for (gamma, before) in row.iter_mut().zip(&sums[..=i]) {
            *gamma = (sums[i] - before) as f32;
        }
        exponentials(simd, &mut row[..=i]);
        row[i + 1..].fill(0.0);
    }
    exponentials(simd, decay);
    exponentials(simd, rest);
    space.whole = decay[count - 1];
    scaled(q, key_dim, decay, &mut space.seen_q);
    scaled(k, key_dim, rest, &mut space.kept_k);
    let seen = scaled(k, key_dim, decay, &mut space.seen_k);
    weights(simd, level, (count, key_dim), k, k, gamma, &mut space.similar);
    let a = room(&mut space.a, count * count);
    for i in 0..count {
        let (a, similar) = (&mut a[i * count..][..count], &space.similar[i * count..][..i]);
        a[..i].iter_mut().zip(similar).for_each(|(a, s)| *a = beta[i] * s);
        a[i..].fill(0.0);
    }
    // V − (e^G K) S₀, then the system.
    let u = room(&mut space.u, count * value_dim);
    product(level, (count, value_dim, key_dim), Left::rows(seen, key_dim), (state, false), false, u);
    residual.iter_mut().zip(&*u).for_each(|(v, held)| *v -= held);
    scaled(residual, value_dim, beta, &mut space.u);
    solve(simd, a, count, &mut space.u[..count * value_dim], value_dim, false);
}

#[inline(always)]
fn exponentials<S: Simd>(simd: S, x: &mut [f32]) {
    for at in (0..x.len()).step_by(LANES) {
        store_padded(simd, simd.exp(padded(simd, x, at, 0.0)), x, at);
    }
}

/// X with (I + A) X = B in place of B (rows of `dim`), or with (I + A)ᵀ when `back`.
#[inline(always)]
fn solve<S: Simd>(simd: S, a: &[f32], count: usize, x: &mut [f32], dim: usize, back: bool) {
    let mut column = 0;
    while column < dim {
        if column + 4 * LANES <= dim {
            solve_columns::<S, 4>(simd, a, count, x, dim, column, back);
            column += 4 * LANES;
        } else {
            solve_columns::<S, 1>(simd, a, count, x, dim, column, back);
            column += LANES;
        }
    }
}

#[inline(always)]
fn solve_columns<S: Simd, const V: usize>(
    simd: S,
    a: &[f32],
    count: usize,
    x: &mut [f32],
    dim: usize,
    column: usize,
    back: bool,
) {
    for step in 1..count {
        let row = if back { count - 1 - step } else { step };
        let mut sums = [simd.splat(0.0); V];
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = padded(simd, &x[row * dim..(row + 1) * dim], column + v * LANES, 0.0);
        }
        for other in if back { row + 1..count } else { 0..row } {
            let factor = if back { a[other * count + row] } else { a[row * count + other] };
            let factor = simd.splat(-factor);
            for (v, sum) in sums.iter_mut().enumerate() {
                let other = padded(simd, &x[other * dim..(other + 1) * dim], column + v * LANES, 0.0);
                *sum = simd.fma(factor, other, *sum);
            }
        }
        for (v, &sum) in sums.iter().enumerate() {
            store_padded(simd, sum, &mut x[row * dim..(row + 1) * dim], column + v * LANES);
        }
    }
}

/// Gradients of one head of one document.
pub(super) struct Backward<'a> {
    pub(super) level: Level,
    pub(super) shape: &'a Shape<'a>,
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) head: usize,
    pub(super) tokens: Range<usize>,
    pub(super) dout: &'a [f32],
    /// Gradients of q, k, v, g, beta.
    pub(super) outputs: &'a [Outputs<'a, f32>; 5],
}

impl Backward<'_> {
    /// From the initial state; `dstate` holds the gradient of the last state and receives that of the
    /// initial one.
    pub(super) fn run(&self, initial: Vec<f32>, dstate: &mut [f32]) {
        dispatch(self.level, Document { task: self, initial, dstate });
    }
}

struct Document<'a> {
    task: &'a Backward<'a>,
    initial: Vec<f32>,
    dstate: &'a mut [f32],
}

impl Kernel for Document<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Document { task, initial, dstate } = self;
        let Backward { level, shape, inputs, head, .. } = *task;
        let tokens = task.tokens.clone();
        let mut space = SPACE.take();
        let chunks: Vec<Range<usize>> =
            tokens.clone().step_by(CHUNK).map(|start| start..(start + CHUNK).min(tokens.end)).collect();
        // The state before every chunk.
        let mut states = Vec::with_capacity(chunks.len());
        let mut state = initial;
        for (i, chunk) in chunks.iter().enumerate() {
            states.push(state.clone());
            if i + 1 < chunks.len() {
                prepare(simd, level, shape, inputs, head, chunk.clone(), &state, &mut space);
                carry(level, shape, chunk.len(), &space, &mut state);
            }
        }
        for (chunk, state) in chunks.iter().zip(&states).rev() {
            prepare(simd, level, shape, inputs, head, chunk.clone(), state, &mut space);
            chunk_gradient(simd, task, chunk, state, dstate, &mut space);
        }
        SPACE.set(space);
    }
}

/// Gradients of one chunk; `dstate` goes from S₁ to S₀.
#[inline(always)]
fn chunk_gradient<S: Simd>(
    simd: S,
    task: &Backward,
    chunk: &Range<usize>,
    state: &[f32],
    dstate: &mut [f32],
    space: &mut Space,
) {
    let Backward { level, shape, head, dout, .. } = *task;
    let Shape { heads, key_dim, value_dim, scale, .. } = *shape;
    let count = chunk.len();
    let (keys, values) = (count * key_dim, count * value_dim);
    let Space { q, k, seen_q, seen_k, kept_k, beta, decay, rest, whole, gamma, similar, a, p, .. } = space;
    let Space { residual, u, y, back, .. } = space;
    let (q, k, u, residual) = (&q[..keys], &k[..keys], &u[..values], &residual[..values]);
    let (gamma, similar, a) = (&gamma[..count * count], &similar[..count * count], &a[..count * count]);
    weights(simd, level, (count, key_dim), q, k, gamma, p);
    let p = &p[..count * count];
    // scale · dY
    let dy = room(y, values);
    for (row, token) in dy.chunks_exact_mut(value_dim).zip(chunk.clone()) {
        let from = &dout[(token * heads + head) * value_dim..][..value_dim];
        row.iter_mut().zip(from).for_each(|(to, from)| *to = scale * from);
    }
    let dy = &*dy;
    // dU = Pᵀ dY + (e^(G_last − G) K) dS₁; then (I + A)ᵀ dX = dU, with X = β ∘ residual.
    let du = room(&mut back.u, values);
    product(level, (count, value_dim, count), turned(p, count), (dy, false), false, du);
    product(level, (count, value_dim, key_dim), Left::rows(kept_k, key_dim), (dstate, false), true, du);
    solve(simd, a, count, du, value_dim, true);
    // dA = −dX Uᵀ below the diagonal, dP = dY Uᵀ up to it.
    let da = room(&mut back.a, count * count);
    product(level, (count, count, value_dim), Left::rows(du, value_dim), (u, true), false, da);
    let dp = room(&mut back.p, count * count);
    product(level, (count, count, value_dim), Left::rows(dy, value_dim), (u, true), false, dp);
    let dg = room(&mut back.g, count);
    dg.fill(0.0);
    // SAFETY: a (token, head) belongs to one part; here and below.
    let at = |which: usize, token: usize, dim: usize| unsafe {
        task.outputs[which].range((token * heads + head) * dim, dim)
    };
    for (i, token) in chunk.clone().enumerate() {
        let row = i * count..(i + 1) * count;
        let (da, dp) = (&mut da[row.clone()], &mut dp[row.clone()]);
        let mut dbeta = 0.0;
        for j in 0..i {
            dbeta -= da[j] * similar[i * count + j];
            // Through Γ_ij = e^(G_i − G_j).
            let slope = dp[j] * p[i * count + j] - da[j] * a[i * count + j];
            dg[i] += slope;
            dg[j] -= slope;
            // In place: gradients of K Kᵀ and of Q Kᵀ.
            da[j] *= -beta[i] * gamma[i * count + j];
            dp[j] *= gamma[i * count + j];
        }
        da[i..].fill(0.0);
        dp[i + 1..].fill(0.0);
        let (du, residual) = (&mut du[i * value_dim..][..value_dim], &residual[i * value_dim..][..value_dim]);
        dbeta += dot(simd, du, residual);
        at(4, token, 1)[0] = dbeta;
        // Of the residual, which is that of the values.
        du.iter_mut().for_each(|d| *d *= beta[i]);
        at(2, token, value_dim).copy_from_slice(du);
    }
    let (da, dp, dv) = (&*da, &*dp, &*du);
    // Of e^G K (negated), e^G Q and e^(G_last − G) K.
    let dseen_k = room(&mut back.seen_k, keys);
    product(level, (count, key_dim, value_dim), Left::rows(dv, value_dim), (state, true), false, dseen_k);
    let dseen_q = room(&mut back.seen_q, keys);
    product(level, (count, key_dim, value_dim), Left::rows(dy, value_dim), (state, true), false, dseen_q);
    let dkept_k = room(&mut back.kept_k, keys);
    product(level, (count, key_dim, value_dim), Left::rows(u, value_dim), (dstate, true), false, dkept_k);
    // Of queries and keys through their products.
    let dq = room(&mut back.q, keys);
    product(level, (count, key_dim, count), Left::rows(dp, count), (k, false), false, dq);
    let dk = room(&mut back.k, keys);
    product(level, (count, key_dim, count), Left::rows(da, count), (k, false), false, dk);
    product(level, (count, key_dim, count), turned(da, count), (k, false), true, dk);
    product(level, (count, key_dim, count), turned(dp, count), (q, false), true, dk);
    let mut total = *whole * dot(simd, dstate, state);
    for (i, token) in chunk.clone().enumerate() {
        let row = i * key_dim..(i + 1) * key_dim;
        let (seen_dq, seen_dk) = (&dseen_q[row.clone()], &dseen_k[row.clone()]);
        let kept_dk = &dkept_k[row.clone()];
        let kept = dot(simd, kept_dk, &kept_k[row.clone()]);
        total += kept;
        dg[i] += dot(simd, seen_dq, &seen_q[row.clone()]) - dot(simd, seen_dk, &seen_k[row.clone()]) - kept;
        let (to_q, to_k) = (at(0, token, key_dim), at(1, token, key_dim));
        let (dq, dk) = (&dq[row.clone()], &dk[row]);
        for c in 0..key_dim {
            to_q[c] = dq[c] + decay[i] * seen_dq[c];
            to_k[c] = dk[c] - decay[i] * seen_dk[c] + rest[i] * kept_dk[c];
        }
    }
    // G_last is in every kept key; g_t in every G from t on.
    dg[count - 1] += total;
    let mut sum = 0.0;
    for (i, token) in chunk.clone().enumerate().rev() {
        sum += dg[i];
        at(3, token, 1)[0] = if task.inputs.g[token * heads + head] < LEAST { 0.0 } else { sum };
    }
    // dS₀ = e^(G_last) dS₁ + (e^G Q)ᵀ dY − (e^G K)ᵀ dV
    let before = room(&mut back.state, key_dim * value_dim);
    product(level, (key_dim, value_dim, count), turned(seen_k, key_dim), (dv, false), false, before);
    dstate.iter_mut().zip(&*before).for_each(|(d, b)| *d = *whole * *d - b);
    product(level, (key_dim, value_dim, count), turned(seen_q, key_dim), (dy, false), true, dstate);
}
