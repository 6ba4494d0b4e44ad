//! The keys and values an attention remembers, and attention over them. Inference only: it refuses tracked tensors.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
use kernels::attention as kernel;

use crate::attention::composed::{composed, composed_mix, composed_pattern};
use crate::{Documents, Error, Heads, flex, values_of};

/// Room is added in steps of at least this many positions.
const STEP: usize = 64;

/// Keys and values of the positions so far, in f32.
#[derive(Clone, Debug)]
pub struct KeyValues {
    heads: Heads,
    positions: usize,
    capacity: usize,
    /// `[heads.keys, capacity, heads.features]`.
    keys: Vec<f32>,
    /// As `keys`.
    values: Vec<f32>,
}

impl KeyValues {
    /// No positions yet.
    pub fn new(heads: Heads) -> Self {
        Self { heads, positions: 0, capacity: 0, keys: Vec::new(), values: Vec::new() }
    }

    /// Positions remembered.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        (self.keys.len() + self.values.len()) * size_of::<f32>()
    }

    /// Remembers the keys and values of the next positions, each `[tokens, heads.keys · heads.features]`.
    ///
    /// # Errors
    /// [`Error::Tracked`] for tracked tensors: their gradient would be cut here.
    ///
    /// # Panics
    /// If the shapes do not fit: a fault of the caller, not of user input.
    pub fn append(&mut self, k: Tensor<2>, v: Tensor<2>) -> Result<(), Error> {
        if k.is_tracked() || v.is_tracked() {
            return Err(Error::Tracked { operation: "attention over remembered keys and values" });
        }
        let [tokens, features] = k.dims();
        assert_eq!(features, self.heads.keys * self.heads.features, "key_values: features");
        assert_eq!(v.dims(), [tokens, features], "key_values: shapes of keys and values");
        self.reserve(self.positions + tokens);
        let (heads, first, capacity) = (self.heads, self.positions, self.capacity);
        write(&mut self.keys, &values_of(k), heads, first, capacity);
        write(&mut self.values, &values_of(v), heads, first, capacity);
        self.positions += tokens;
        Ok(())
    }

    /// Forgets everything after the first `positions`.
    pub fn truncate(&mut self, positions: usize) {
        self.positions = self.positions.min(positions);
    }

    fn reserve(&mut self, positions: usize) {
        if positions <= self.capacity {
            return;
        }
        let capacity = positions.max(2 * self.capacity).next_multiple_of(STEP);
        let features = self.heads.features;
        for memory in [&mut self.keys, &mut self.values] {
            let mut larger = vec![0.0; self.heads.keys * capacity * features];
            for head in 0..self.heads.keys {
                let old = &memory[head * self.capacity * features..][..self.positions * features];
                larger[head * capacity * features..][..old.len()].copy_from_slice(old);
            }
            *memory = larger;
        }
        self.capacity = capacity;
    }

    fn shape(&self, tokens: usize) -> kernel::Shape<'static> {
        let Heads { queries, keys, features } = self.heads;
        kernel::Shape::causal(tokens, self.positions - tokens, queries, keys, features, self.capacity)
    }

    /// `memory` as a tensor `[positions, heads.keys · heads.features]`.
    fn rows<B: Backend>(&self, memory: &[f32], device: &B::Device) -> FloatTensor<B> {
        let Heads { keys, features, .. } = self.heads;
        let rows = (0..self.positions).flat_map(|position| {
            (0..keys)
                .flat_map(move |head| &memory[(head * self.capacity + position) * features..][..features])
        });
        let data = TensorData::new(rows.copied().collect::<Vec<_>>(), [self.positions, keys * features]);
        B::float_from_data(data, device)
    }
}

/// Writes `rows` `[tokens, heads · features]` at positions `first..` of `[heads, capacity, features]`.
pub(crate) fn write(memory: &mut [f32], rows: &[f32], heads: Heads, first: usize, capacity: usize) {
    for (token, row) in rows.chunks_exact(heads.keys * heads.features).enumerate() {
        for (head, values) in row.chunks_exact(heads.features).enumerate() {
            let start = (head * capacity + first + token) * heads.features;
            memory[start..start + heads.features].copy_from_slice(values);
        }
    }
}

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait CachedAttention: Backend {
    fn cached_attention(q: FloatTensor<Self>, memory: &KeyValues) -> FloatTensor<Self> {
        let (device, heads) = (q.device(), memory.heads);
        let (k, v) =
            (memory.rows::<Self>(&memory.keys, &device), memory.rows::<Self>(&memory.values, &device));
        composed::<Self>(q, k, v, heads, &Documents::single(memory.positions))
    }

    fn cached_attention_pattern(q: FloatTensor<Self>, memory: &KeyValues) -> FloatTensor<Self> {
        let device = q.device();
        let k = memory.rows::<Self>(&memory.keys, &device);
        composed_pattern::<Self>(q, k, memory.heads, &Documents::single(memory.positions))
    }

    fn cached_attention_mix(pattern: FloatTensor<Self>, memory: &KeyValues) -> FloatTensor<Self> {
        let device = pattern.device();
        composed_mix::<Self>(pattern, memory.rows::<Self>(&memory.values, &device), memory.heads)
    }
}

impl<B: CachedAttention, C: CheckpointStrategy> CachedAttention for Autodiff<B, C> {}

impl CachedAttention for Flex {
    fn cached_attention(q: FloatTensor<Self>, memory: &KeyValues) -> FloatTensor<Self> {
        let q = flex::contiguous(q);
        let shape = memory.shape(q.shape()[0]);
        let mut y = vec![0.0; shape.query_len()];
        kernel::attention(&shape, flex::values(&q), &memory.keys, &memory.values, &mut y);
        flex::tensor(y, q.shape())
    }

    fn cached_attention_pattern(q: FloatTensor<Self>, memory: &KeyValues) -> FloatTensor<Self> {
        let q = flex::contiguous(q);
        flex::pattern(&memory.shape(q.shape()[0]), &q, &memory.keys)
    }

    fn cached_attention_mix(pattern: FloatTensor<Self>, memory: &KeyValues) -> FloatTensor<Self> {
        flex::mix(&memory.shape(pattern.shape()[1]), pattern, &memory.values)
    }
}

/// Attention of `q` `[T, queries · features]`, the last `T` positions `memory` holds; `[T, queries · features]`.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn cached_attention(q: Tensor<2>, memory: &KeyValues) -> Tensor<2> {
    check(q.dims(), memory);
    Tensor::from_dispatch(Dispatch::cached_attention(q.into_dispatch(), memory))
}

/// The weights of every query over the remembered positions, `[queries, T, S]`.
///
/// # Panics
/// As [`cached_attention`].
pub fn cached_attention_pattern(q: Tensor<2>, memory: &KeyValues) -> Tensor<3> {
    check(q.dims(), memory);
    Tensor::from_dispatch(Dispatch::cached_attention_pattern(q.into_dispatch(), memory))
}

/// The sum of the remembered values, weighted by `pattern` `[queries, T, S]`.
///
/// # Panics
/// As [`cached_attention`].
pub fn cached_attention_mix(pattern: Tensor<3>, memory: &KeyValues) -> Tensor<2> {
    let [queries, tokens, positions] = pattern.dims();
    check([tokens, queries * memory.heads.features], memory);
    assert_eq!(positions, memory.positions, "attention: positions of the pattern and of the memory");
    Tensor::from_dispatch(Dispatch::cached_attention_mix(pattern.into_dispatch(), memory))
}

fn check(q: [usize; 2], memory: &KeyValues) {
    assert!(
        q[1] == memory.heads.queries * memory.heads.features && q[0] <= memory.positions,
        "attention: queries {q:?} do not fit {:?} with {} positions",
        memory.heads,
        memory.positions
    );
}
