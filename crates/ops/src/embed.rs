//! The rows of an embedding table: `y[t] = table[tokens[t]]`.
//!
//! A packed table is frozen; the gradient of a dense one adds the rows of `dy` up by token.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{IndexingUpdateOp, Shape, Tensor, TensorData};

use crate::Error;
use crate::flex::{self, tensor_from};
use crate::node::node;
use crate::timing;
use crate::weight::{Storage, Weight};

/// The operation on a dense table, per back end; the body here is its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait Embed: Backend {
    fn embed(table: FloatTensor<Self>, tokens: &[u32]) -> FloatTensor<Self> {
        composed::<Self>(table, tokens)
    }
}

/// The gradient of a table of `rows` rows, per back end.
pub(crate) trait EmbedGradient: Embed {
    fn embed_gradient(dy: FloatTensor<Self>, tokens: &[u32], rows: usize) -> FloatTensor<Self> {
        composed_gradient::<Self>(dy, tokens, rows)
    }
}

impl<B: EmbedGradient, C: CheckpointStrategy> Embed for Autodiff<B, C> {
    fn embed(table: FloatTensor<Self>, tokens: &[u32]) -> FloatTensor<Self> {
        let (table, table_node) = table.into_parts();
        let state = (Arc::<[u32]>::from(tokens), table.shape()[0]);
        node::<B, C, _, 1>([table_node], state, B::embed(table, tokens), |(tokens, rows), dy, _| {
            [Some(B::embed_gradient(dy, &tokens, rows))]
        })
    }
}

impl Embed for Flex {
    fn embed(table: FloatTensor<Self>, tokens: &[u32]) -> FloatTensor<Self> {
        let _timer = timing::of("embed");
        if flex::composed() {
            return composed::<Self>(table, tokens);
        }
        let table = flex::contiguous(table);
        let (width, rows) = (table.shape()[1], flex::values(&table));
        let y = tokens.iter().flat_map(|&token| &rows[token as usize * width..][..width]);
        flex::tensor(y.copied().collect(), [tokens.len(), width])
    }
}

impl EmbedGradient for Flex {
    fn embed_gradient(dy: FloatTensor<Self>, tokens: &[u32], rows: usize) -> FloatTensor<Self> {
        let _timer = timing::of("embed backward");
        if flex::composed() {
            return composed_gradient::<Self>(dy, tokens, rows);
        }
        let dy = flex::contiguous(dy);
        let width = dy.shape()[1];
        let mut table = vec![0.0; rows * width];
        kernels::embed::gradient(tokens, flex::values(&dy), width, &mut table)
            .expect("the forward pass read these tokens");
        flex::tensor(table, [rows, width])
    }
}

pub(crate) fn composed<B: Backend>(table: FloatTensor<B>, tokens: &[u32]) -> FloatTensor<B> {
    let ids = ids::<B>(tokens, &table.device());
    B::float_select(table, 0, ids)
}

fn composed_gradient<B: Backend>(dy: FloatTensor<B>, tokens: &[u32], rows: usize) -> FloatTensor<B> {
    let (device, shape) = (dy.device(), Shape::new([rows, dy.shape()[1]]));
    let table = B::float_zeros(shape, &device, dy.dtype().into());
    B::float_select_assign(table, 0, ids::<B>(tokens, &device), dy, IndexingUpdateOp::Add)
}

fn ids<B: Backend>(tokens: &[u32], device: &B::Device) -> IntTensor<B> {
    let ids = tokens.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
    B::int_from_data(TensorData::new(ids, [tokens.len()]), device)
}

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
            Ok(Tensor::from_dispatch(Dispatch::embed((**dense).clone().into_dispatch(), tokens)))
        }
        Storage::LowRank(low) => {
            let chosen = embed(&Weight::dense(low.b.clone()), tokens)?;
            Ok(embed(&low.base, tokens)? + chosen.matmul(low.a.clone()) * low.scale)
        }
    }
}
