//! The rows of an embedding table: `y[t] = table[tokens[t]]`.
//!
//! There is no back end to choose: a packed table is read by the kernel (it is frozen and has no gradient), a
//! dense one is gathered by Burn's own differentiable operation.

use burn::tensor::{Int, Tensor, TensorData};

use crate::Error;
use crate::flex::tensor_from;
use crate::weight::{Storage, Weight};

/// The embeddings of `tokens`, `[tokens, columns]`.
///
/// # Errors
/// A token id is outside the table.
pub fn embed(table: &Weight, tokens: &[u32]) -> Result<Tensor<2>, Error> {
    match &table.0 {
        Storage::Packed(packed) => {
            let mut y = vec![0.0; tokens.len() * packed.columns()];
            kernels::embed::embed(packed, tokens, &mut y)?;
            Ok(tensor_from(y, [tokens.len(), packed.columns()]))
        }
        Storage::Dense(dense) => {
            let rows = dense.dims()[0];
            if let Some((index, &id)) = tokens.iter().enumerate().find(|&(_, &id)| id as usize >= rows) {
                return Err(Error::Token { id, index, rows });
            }
            let ids = tokens.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
            let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [tokens.len()]), &dense.device());
            Ok((**dense).clone().select(0, ids))
        }
        Storage::LowRank(low) => {
            let chosen = embed(&Weight::dense(low.b.clone()), tokens)?;
            Ok(embed(&low.base, tokens)? + chosen.matmul(low.a.clone()) * low.scale)
        }
    }
}
