//! What recurrent mixers remember: a fixed number of values, however many positions came before.

use burn::tensor::Tensor;

/// The memory of one recurrent block. Cloning shares it: a step makes new tensors and leaves the old ones alone.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// The last inputs of each short convolution, `[kernel - 1, features]`, oldest first.
    pub(super) rows: Vec<Tensor<2>>,
    /// A matrix per head, `[heads, key_dim, value_dim]`.
    pub(super) memory: Option<Tensor<3>>,
}

impl Recurrent {
    /// Zeros, for convolutions of these features over `kernel` tokens, and heads of this shape.
    pub(super) fn zeros(features: &[usize], kernel: usize, heads: Option<[usize; 3]>) -> Self {
        let zeros = |count| vec![0.0; count];
        let past = kernel - 1;
        let rows = features.iter().map(|&width| ops::tensor_from(zeros(past * width), [past, width]));
        let memory = heads.map(|shape| ops::tensor_from(zeros(shape.iter().product()), shape));
        Self { rows: rows.collect(), memory }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let rows = self.rows.iter().map(|rows| rows.shape().num_elements());
        let memory = self.memory.iter().map(|memory| memory.shape().num_elements());
        rows.chain(memory).sum::<usize>() * size_of::<f32>()
    }

    /// Its values, to compare two states.
    pub fn values(&self) -> Vec<f32> {
        let rows = self.rows.iter().flat_map(|rows| ops::values_of(rows.clone()));
        rows.chain(self.memory.iter().flat_map(|memory| ops::values_of(memory.clone()))).collect()
    }
}
