//! `y = x · Wᵀ` over a weight packed once for the kernels.

use crate::quant::{Format, dequantize};
use crate::{Error, Result, expect_len};

/// How the activations enter the products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Exact reference: f32 activations times dequantized weights, f32 sums.
    F32,
    /// Activations rounded to 8 bits per 32 columns, integer products (quantized weights only; dense
    /// weights always run as [`Activation::F32`]).
    #[default]
    Int8,
}

/// A weight matrix (rows_out × columns_in), arranged for the kernels.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    format: Format,
    rows: usize,
    columns: usize,
    raw: Vec<u8>,
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
        Ok(PackedWeight { format, rows, columns, raw: bytes.to_vec() })
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

    /// The format it was packed from.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        self.raw.len()
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
        let stride = self.raw.len() / self.rows;
        let _ = dequantize(self.format, &self.raw[row * stride..(row + 1) * stride], out);
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
    /// dequantized weight. `dy` is tokens × rows, `dx` tokens × columns.
    ///
    /// # Panics
    /// When a length contradicts the shape.
    pub fn input_gradient(&self, dy: &[f32], tokens: usize, dx: &mut [f32]) {
        expect_len("output gradient", dy.len(), tokens * self.rows);
        expect_len("input gradient", dx.len(), tokens * self.columns);
        naive::input_gradient(&self.dequantize(), self.rows, self.columns, dy, dx);
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
    _activation: Activation,
) {
    expect_len("outputs", ys.len(), weights.len());
    for (weight, y) in weights.iter().zip(ys) {
        expect_len("linear input", x.len(), tokens * weight.columns);
        expect_len("linear output", y.len(), tokens * weight.rows);
        naive::forward(&weight.dequantize(), weight.rows, weight.columns, x, y);
    }
}

pub mod naive;
