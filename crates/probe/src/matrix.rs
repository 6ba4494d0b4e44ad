//! Values read from a model, in ordinary memory.

use burn::tensor::{Tensor, TensorData};

/// A row-major matrix; a reading at a point has one row per token.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// A matrix over `values`; `None` if their number is not `rows · columns`.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Option<Self> {
        (values.len() == rows * columns).then_some(Self { rows, columns, values })
    }

    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// The values of a tensor, read from whatever device holds it.
    pub fn read(tensor: Tensor<2>) -> Self {
        let [rows, columns] = tensor.dims();
        let tensor = if tensor.is_autodiff() { tensor.inner() } else { tensor };
        let values = tensor.try_into_vec_as::<f32>().expect("a float tensor can be read as f32");
        Self { rows, columns, values }
    }

    /// One matrix for each leading index of a tensor: for a pattern, one per head.
    pub fn read_each(tensor: Tensor<3>) -> Vec<Self> {
        let [count, rows, columns] = tensor.dims();
        let all = Self::read(tensor.reshape([count * rows, columns]));
        let parts = all.values.chunks(rows * columns);
        parts.map(|part| Self { rows, columns, values: part.to_vec() }).collect()
    }

    /// A tensor of these values on the device of `like`, untracked.
    pub fn tensor_like(&self, like: &Tensor<2>) -> Tensor<2> {
        let device = like.device();
        let device = if device.is_autodiff() { device.inner() } else { device };
        Tensor::from_data(TensorData::new(self.values.clone(), [self.rows, self.columns]), &device)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// A row, to change.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.columns..][..self.columns]
    }

    /// The last row; empty if there are none.
    pub fn last(&self) -> &[f32] {
        if self.rows == 0 { &[] } else { self.row(self.rows - 1) }
    }

    /// Every value, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// A matrix from rows of the same length; `None` if the lengths differ.
    pub fn from_rows<'r>(rows: impl IntoIterator<Item = &'r [f32]>) -> Option<Self> {
        let (mut values, mut columns, mut count) = (Vec::new(), None, 0);
        for row in rows {
            if *columns.get_or_insert(row.len()) != row.len() {
                return None;
            }
            values.extend_from_slice(row);
            count += 1;
        }
        Self::new(count, columns.unwrap_or(0), values)
    }

    /// Adds another matrix of the same shape.
    ///
    /// # Panics
    /// If the shapes differ: a fault of the program.
    pub fn add(&mut self, other: &Self) {
        assert_eq!((self.rows, self.columns), (other.rows, other.columns), "matrices of different shapes");
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += b);
    }
}

/// The inner product, summed in f64.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The Euclidean length.
pub(crate) fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}
