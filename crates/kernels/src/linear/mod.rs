//! `y = x · Wᵀ` over a weight packed once for the kernels.

pub(crate) mod activations;
mod float;
mod integer;
pub mod naive;
mod pack;

use crate::cpu::{self, Level};
use crate::gemm::{self, Left, Precision, Right, Shape};
use crate::pool::{self, Outputs};
use crate::quant::Format;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::{Error, Result, expect_len};
use activations::Buffers;
use pack::Store;
use std::cell::Cell;
use std::ops::Range;

/// How the activations enter the products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Exact reference: f32 activations times dequantized weights, f32 sums.
    F32,
    /// Activations rounded to 8 bits per 32 columns, integer products (quantized weights only; dense
    /// weights always run as [`Activation::F32`]).
    #[default]
    Int8,
    /// Activations and dequantized weights rounded to bf16, products by [`gemm`](mod@crate::gemm) with
    /// f32 sums: the fast path of training.
    Bf16,
}

/// Columns of a block of codes; partial expansions begin at a multiple of it.
pub(crate) const BLOCK: usize = 32;

/// A weight matrix (rows_out × columns_in), arranged for the kernels.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    format: Format,
    rows: usize,
    columns: usize,
    store: Store,
}

impl PackedWeight {
    /// Packs `bytes`, row-major blocks of `format`.
    ///
    /// # Errors
    /// [`Error::Blocks`], [`Error::Bytes`] or [`Error::TooLarge`] when bytes and shape do not fit.
    pub fn pack(format: Format, bytes: &[u8], rows: usize, columns: usize) -> Result<PackedWeight> {
        let expected = format.bytes_of(rows, columns)?;
        if bytes.len() != expected {
            let what = format!("{} weight of {rows} × {columns}", format.name());
            return Err(Error::Bytes { what, got: bytes.len(), expected });
        }
        Ok(PackedWeight { format, rows, columns, store: pack::pack(format, bytes, rows, columns) })
    }

    /// Packs row-major f32 weights (rows × columns) as dense f32.
    ///
    /// # Errors
    /// [`Error::Bytes`] or [`Error::TooLarge`] when the length and the shape do not fit.
    pub fn from_f32(weights: &[f32], rows: usize, columns: usize) -> Result<PackedWeight> {
        PackedWeight::pack(Format::F32, bytemuck::cast_slice(weights), rows, columns)
    }

    /// Output width.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input width.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn panels(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Rows `16 · panel..` of `columns` (beginning at a multiple of [`BLOCK`]) as [column][16]; `out` may
    /// become longer than that.
    #[inline(always)]
    pub(crate) fn expand<S: Simd>(&self, simd: S, panel: usize, columns: Range<usize>, out: &mut Vec<f32>) {
        float::expand_columns(simd, &self.store, self.columns, panel, columns, out);
    }

    /// The format it was packed from.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// `y = x · Wᵀ`: `x` is tokens × columns, `y` tokens × rows.
    ///
    /// # Panics
    /// When a length contradicts the shape.
    pub fn forward(&self, x: &[f32], tokens: usize, y: &mut [f32], activation: Activation) {
        forward_many(&[self], x, tokens, &mut [y], activation);
    }

    /// Row `row` (`columns` weights) as f32.
    ///
    /// # Panics
    /// When `row` is outside the weight or `out` is not one row long.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        expect_len("weight row", out.len(), self.columns);
        assert!(row < self.rows, "row {row} of a weight of {}", self.rows);
        self.store.row(row, self.columns, out);
    }

    /// All weights, row-major.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.columns];
        for row in 0..self.rows {
            self.row(row, &mut out[row * self.columns..(row + 1) * self.columns]);
        }
        out
    }

    /// `dx = dy · W`: the gradient of [`PackedWeight::forward`] with respect to `x`, through the
    /// dequantized weight, panel by panel. `dy` is tokens × rows, `dx` tokens × columns.
    ///
    /// # Panics
    /// When a length contradicts the shape.
    pub fn input_gradient(&self, dy: &[f32], tokens: usize, precision: Precision, dx: &mut [f32]) {
        self.input_gradient_at(cpu::level(), dy, tokens, precision, false, dx);
    }

    /// [`PackedWeight::input_gradient`], added to what `dx` holds.
    ///
    /// # Panics
    /// When a length contradicts the shape.
    pub fn add_input_gradient(&self, dy: &[f32], tokens: usize, precision: Precision, dx: &mut [f32]) {
        self.input_gradient_at(cpu::level(), dy, tokens, precision, true, dx);
    }

    pub(crate) fn input_gradient_at(
        &self,
        level: Level,
        dy: &[f32],
        tokens: usize,
        precision: Precision,
        accumulate: bool,
        dx: &mut [f32],
    ) {
        expect_len("output gradient", dy.len(), tokens * self.rows);
        expect_len("input gradient", dx.len(), tokens * self.columns);
        let shape = Shape { m: tokens, n: self.columns, k: self.rows };
        let right = Right::Backward { weight: self, first: 0 };
        gemm::multiply(
            level,
            shape,
            Left::rows(dy, self.rows),
            &right,
            accumulate,
            precision,
            dx,
            self.columns,
        );
    }
}

/// Several weights over the same input (query, key and value; gate and up): one quantization of `x`,
/// one dispatch, each `ys[i]` (tokens × rows of weight i) bit for bit what
/// [`PackedWeight::forward`] gives.
///
/// # Panics
/// When a length contradicts the shape, or the weights differ in `columns`.
pub fn forward_many(
    weights: &[&PackedWeight],
    x: &[f32],
    tokens: usize,
    ys: &mut [&mut [f32]],
    activation: Activation,
) {
    forward_many_at(cpu::level(), weights, x, tokens, ys, activation);
}

/// [`forward_many`] at a chosen level.
///
/// # Panics
/// As [`forward_many`].
pub fn forward_many_at(
    level: Level,
    weights: &[&PackedWeight],
    x: &[f32],
    tokens: usize,
    ys: &mut [&mut [f32]],
    activation: Activation,
) {
    expect_len("outputs", ys.len(), weights.len());
    for (weight, y) in weights.iter().zip(ys.iter()) {
        expect_len("linear input", x.len(), tokens * weight.columns);
        expect_len("linear output", y.len(), tokens * weight.rows);
    }
    if activation == Activation::Bf16 {
        for (weight, y) in weights.iter().zip(ys) {
            let shape = Shape { m: tokens, n: weight.rows, k: weight.columns };
            let right = Right::Forward { weight, first: 0 };
            let x = Left::rows(x, weight.columns);
            gemm::multiply(level, shape, x, &right, false, Precision::BF16, y, weight.rows);
        }
        return;
    }
    let Some(columns) = weights.first().map(|weight| weight.columns) else { return };
    if columns == 0 {
        return ys.iter_mut().for_each(|y| y.fill(0.0));
    }
    let integer =
        |weight: &PackedWeight| activation == Activation::Int8 && matches!(weight.store, Store::Codes(_));
    let kinds: Vec<bool> = weights.iter().map(|weight| integer(weight)).collect();
    // A chunk's activations stay in the second-level cache while the panels pass by.
    let chunk = (CHUNK / columns / 16).max(1) * 16;
    let mut buffers = BUFFERS.take();
    for start in (0..tokens).step_by(chunk) {
        let tokens = chunk.min(tokens - start);
        let x = &x[start * columns..(start + tokens) * columns];
        let outputs: Vec<Outputs<f32>> = weights
            .iter()
            .zip(ys.iter_mut())
            .map(|(weight, y)| Outputs::new(&mut y[start * weight.rows..(start + tokens) * weight.rows]))
            .collect();
        let most = dispatch(level, TileTokens);
        if kinds.contains(&true) {
            activations::quantize(level, most, x, columns, &mut buffers);
        }
        if kinds.contains(&false) {
            activations::turn(level, x, columns, most, &mut buffers.turned);
        }
        let panels: usize = weights.iter().map(|weight| weight.panels()).sum();
        // More parts than threads where the work is large, so that threads end together.
        let (groups, threads) = (panels.div_ceil(GROUP), pool::threads());
        let parts = (panels * LANES * columns * tokens / PART).clamp(threads, 8 * threads).min(groups);
        pool::run(parts, &|part| {
            let end = |part: usize| (groups * part / parts * GROUP).min(panels);
            let mut share = end(part)..end(part + 1);
            for ((weight, y), &integer) in weights.iter().zip(&outputs).zip(&kinds) {
                let own = share.start.min(weight.panels())..share.end.min(weight.panels());
                let part = Part { weight, integer, panels: own, buffers: &buffers, tokens, y };
                if !part.panels.is_empty() {
                    dispatch(level, part);
                }
                let rest = |end: usize| end.saturating_sub(weight.panels());
                share = rest(share.start)..rest(share.end);
            }
        });
    }
    BUFFERS.set(buffers);
}

/// Panels that are not parted: the float kernel works on so many at once.
const GROUP: usize = 4;

/// Multiply-accumulates worth a hand-off of their own.
const PART: usize = 2 << 20;

/// Activations (numbers) worked on at a time.
const CHUNK: usize = 512 * 1024;

thread_local! {
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// Tokens of a register tile at a level.
struct TileTokens;

impl Kernel for TileTokens {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> usize {
        S::TOKENS
    }
}

/// One thread's panels of one weight.
struct Part<'a> {
    weight: &'a PackedWeight,
    integer: bool,
    panels: Range<usize>,
    buffers: &'a Buffers,
    tokens: usize,
    y: &'a Outputs<'a, f32>,
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Part { weight, integer, panels, buffers, tokens, y } = self;
        match &weight.store {
            Store::Codes(codes) if integer => {
                integer::panels(simd, codes, panels, buffers, tokens, weight.rows, y);
            }
            store => {
                let turned = &buffers.turned;
                let job =
                    float::Job { simd, store, rows: weight.rows, columns: weight.columns, tokens, turned, y };
                job.run(panels);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
