//! The composed twins as functions of tensors: what the tests compare with, and what other devices run.
//!
//! Their gradients come from Burn's own operations, not from ours.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::attention::composed as attending;
use crate::delta_rule::composed as recurrence;
use crate::short_conv::composed as convolution;
use crate::{Documents, Heads, Rotation, Weight, flex};
use crate::{cross_entropy as losses, dense, embed as table, low_rank, relu2 as squared};
use crate::{rms_norm as norm, rope as turn, swiglu as gated};

/// Runs `body` with the composed bodies of all operations, forward and backward, in place of the kernels, on this
/// thread.
pub fn only<T>(body: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            flex::set_composed(self.0);
        }
    }
    let _restore = Restore(flex::set_composed(true));
    body()
}

/// See [`crate::rms_norm`].
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, epsilon: f32) -> Tensor<2> {
    Tensor::from_dispatch(norm::composed::<Dispatch>(x.into_dispatch(), weight.into_dispatch(), epsilon))
}

/// See [`crate::rope`].
pub fn rope(x: Tensor<2>, head_dim: usize, rotation: &Rotation) -> Tensor<2> {
    Tensor::from_dispatch(turn::composed::<Dispatch>(x.into_dispatch(), head_dim, rotation))
}

/// See [`crate::attention`].
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, heads: Heads, documents: &Documents) -> Tensor<2> {
    attention_mix(attention_pattern(q, k, heads, documents), v, heads)
}

/// See [`crate::attention_pattern`].
pub fn attention_pattern(q: Tensor<2>, k: Tensor<2>, heads: Heads, documents: &Documents) -> Tensor<3> {
    let (q, k) = (q.into_dispatch(), k.into_dispatch());
    Tensor::from_dispatch(attending::composed_pattern::<Dispatch>(q, k, heads, documents))
}

/// See [`crate::attention_mix`].
pub fn attention_mix(pattern: Tensor<3>, v: Tensor<2>, heads: Heads) -> Tensor<2> {
    let (pattern, v) = (pattern.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(attending::composed_mix::<Dispatch>(pattern, v, heads))
}

/// See [`crate::linear`]; in f32.
pub fn linear(x: Tensor<2>, weight: &Weight) -> Tensor<2> {
    let device = x.device();
    let base = Weight(weight.base().clone()).to_dense(&device);
    let y = dense::composed::<Dispatch>(x.clone().into_dispatch(), base.into_dispatch());
    let y = weight.additions().fold(y, |y, added| {
        let [x, a, b] = [x.clone(), added.a.clone(), added.b.clone()].map(Tensor::into_dispatch);
        low_rank::composed::<Dispatch>(y, dense::composed::<Dispatch>(x, a), b, added.scale)
    });
    Tensor::from_dispatch(y)
}

/// See [`crate::swiglu`].
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(gated::composed::<Dispatch>(gate.into_dispatch(), up.into_dispatch()))
}

/// See [`crate::relu2`].
pub fn relu2(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(squared::composed::<Dispatch>(x.into_dispatch()))
}

/// See [`crate::embed`]; of a tensor, without its check.
pub fn embed(table: Tensor<2>, tokens: &[u32]) -> Tensor<2> {
    Tensor::from_dispatch(self::table::composed::<Dispatch>(table.into_dispatch(), tokens))
}

/// See [`crate::cross_entropy`]; of tensors, without its check.
pub fn cross_entropy(hidden: Tensor<2>, head: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let (hidden, head) = (hidden.into_dispatch(), head.into_dispatch());
    Tensor::from_dispatch(losses::composed::<Dispatch>(hidden, head, targets).0)
}

/// See [`crate::delta_rule`]; `inputs` are q, k, v, g and β.
pub fn delta_rule(inputs: [Tensor<2>; 5], heads: usize, documents: &Documents) -> Tensor<2> {
    Tensor::from_dispatch(recurrence::<Dispatch>(inputs.map(Tensor::into_dispatch), heads, documents))
}

/// See [`crate::short_conv`].
pub fn short_conv(x: Tensor<2>, weight: Tensor<2>, documents: &Documents) -> Tensor<2> {
    Tensor::from_dispatch(convolution::<Dispatch>(x.into_dispatch(), weight.into_dispatch(), documents))
}
