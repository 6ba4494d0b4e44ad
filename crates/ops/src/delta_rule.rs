//! The gated delta rule (Yang et al. 2024, arXiv:2412.06464), a recurrence with a matrix `S` per head:
//!
//! `u = β (v − e^g kᵀ S)`, `S ← e^g S + k uᵀ`, `y = qᵀ S / sqrt(key_dim)`.
//!
//! Keys and queries come normalized. On the CPU the gradient is a kernel; elsewhere it is Burn's, of the composed
//! body, which works in chunks of matrix products.

mod composed;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use kernels::delta as kernel;

pub(crate) use composed::{composed, composed_step};

use crate::flex::{self, CpuTensor};
use crate::node::node;
use crate::timing;
use crate::{Documents, Error};

/// The operation, per back end; the bodies here are its composed twin.
#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]
pub(crate) trait DeltaRule: Backend {
    fn delta_rule(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        g: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        heads: usize,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        composed::<Self>([q, k, v, g, beta], heads, documents)
    }

    #[allow(clippy::too_many_arguments)] // five inputs, the state and its shape
    fn delta_rule_step(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        g: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        state: FloatTensor<Self>,
        heads: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed_step::<Self>([q, k, v, g, beta], state, heads)
    }
}

/// The gradient, per back end.
pub(crate) trait DeltaRuleGradient: DeltaRule {
    /// Of q, k, v, g and β, or nothing where Burn differentiates the composed body.
    fn delta_rule_gradient(
        inputs: [FloatTensor<Self>; 5],
        dy: FloatTensor<Self>,
        heads: usize,
        documents: &Documents,
    ) -> Option<[FloatTensor<Self>; 5]> {
        let _ = (inputs, dy, heads, documents);
        None
    }

    /// Whether [`DeltaRuleGradient::delta_rule_gradient`] gives something.
    fn has_delta_rule_gradient() -> bool {
        false
    }
}

impl<B: DeltaRuleGradient, C: CheckpointStrategy> DeltaRule for Autodiff<B, C> {
    fn delta_rule(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        g: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        heads: usize,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        let inputs = [q, k, v, g, beta];
        if !B::has_delta_rule_gradient() {
            return composed::<Self>(inputs, heads, documents);
        }
        let nodes = inputs.each_ref().map(|input| input.node());
        let inputs = inputs.map(|input| input.into_primitive());
        let [q, k, v, g, beta] = inputs.clone();
        let y = B::delta_rule(q, k, v, g, beta, heads, documents);
        let state = (inputs, heads, documents.clone());
        node::<B, C, _, 5>(nodes, state, y, |(inputs, heads, documents), dy, _| match B::delta_rule_gradient(
            inputs, dy, heads, &documents,
        ) {
            Some(gradients) => gradients.map(Some),
            None => unreachable!("this back end has the gradient"),
        })
    }
}

impl DeltaRule for Flex {
    fn delta_rule(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        g: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        heads: usize,
        documents: &Documents,
    ) -> FloatTensor<Self> {
        let _timer = timing::of("delta rule");
        if flex::composed() {
            return composed::<Self>([q, k, v, g, beta], heads, documents);
        }
        let inputs = [q, k, v, g, beta].map(flex::contiguous);
        let mut y = vec![0.0; flex::values(&inputs[2]).len()];
        let shape = shape(&inputs, heads, documents.starts());
        kernel::forward(&shape, &slices(&inputs), None, &mut y, None);
        flex::tensor(y, inputs[2].shape())
    }

    fn delta_rule_step(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        g: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        state: FloatTensor<Self>,
        heads: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if flex::composed() {
            return composed_step::<Self>([q, k, v, g, beta], state, heads);
        }
        let inputs = [q, k, v, g, beta].map(flex::contiguous);
        let (mut y, dims) = (vec![0.0; flex::values(&inputs[2]).len()], state.shape());
        let shape = shape(&inputs, heads, &[0]);
        let mut state = flex::into_values(state);
        if shape.tokens == 1 {
            kernel::step(&shape, &slices(&inputs), &mut state, &mut y);
        } else {
            let mut last = vec![0.0; state.len()];
            kernel::forward(&shape, &slices(&inputs), Some(&state), &mut y, Some(&mut last));
            state = last;
        }
        (flex::tensor(y, inputs[2].shape()), flex::tensor(state, dims))
    }
}

impl DeltaRuleGradient for Flex {
    fn delta_rule_gradient(
        inputs: [FloatTensor<Self>; 5],
        dy: FloatTensor<Self>,
        heads: usize,
        documents: &Documents,
    ) -> Option<[FloatTensor<Self>; 5]> {
        let _timer = timing::of("delta rule backward");
        let (inputs, dy) = (inputs.map(flex::contiguous), flex::contiguous(dy));
        let mut gradients = inputs.each_ref().map(|input| vec![0.0; flex::values(input).len()]);
        let [q, k, v, g, beta] = gradients.each_mut().map(Vec::as_mut_slice);
        let mut views = kernel::Gradients { q, k, v, g, beta };
        let shape = shape(&inputs, heads, documents.starts());
        kernel::backward(&shape, &slices(&inputs), None, flex::values(&dy), None, &mut views, None);
        let mut shapes = inputs.iter().map(TensorMetadata::shape);
        Some(gradients.map(|values| flex::tensor(values, shapes.next().expect("one shape per input"))))
    }

    fn has_delta_rule_gradient() -> bool {
        !flex::composed()
    }
}

fn shape<'a>(inputs: &[CpuTensor; 5], heads: usize, starts: &'a [usize]) -> kernel::Shape<'a> {
    let [tokens, keys] = [0, 1].map(|axis| inputs[0].shape()[axis]);
    let (key_dim, value_dim) = (keys / heads, inputs[2].shape()[1] / heads);
    kernel::Shape { tokens, starts, heads, key_dim, value_dim, scale: scale(key_dim) }
}

fn slices(inputs: &[CpuTensor; 5]) -> kernel::Inputs<'_> {
    let [q, k, v, g, beta] = inputs.each_ref().map(flex::values);
    kernel::Inputs { q, k, v, g, beta }
}

/// The factor of the output.
fn scale(key_dim: usize) -> f32 {
    1.0 / (key_dim as f32).sqrt()
}

/// The rule inside every document, from a state of zeros: `q` and `k` `[T, heads · key_dim]`, `v` `[T, heads ·
/// value_dim]`, log-decays `g ≤ 0` and strengths `beta` `[T, heads]`; the result has the shape of `v`.
///
/// # Panics
/// If the shapes do not fit: a fault of the caller, not of user input.
pub fn delta_rule(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    g: Tensor<2>,
    beta: Tensor<2>,
    heads: usize,
    documents: &Documents,
) -> Tensor<2> {
    let inputs = [q, k, v, g, beta];
    check(&inputs, heads, documents.tokens());
    let [q, k, v, g, beta] = inputs.map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::delta_rule(q, k, v, g, beta, heads, documents))
}

/// As [`delta_rule`] for the next tokens of one document after `state` `[heads, key_dim, value_dim]`, zeros at first;
/// the state after them, besides. Whatever the split of a document, outputs and states are equal up to rounding; the
/// state handed in is left as it was, so keeping it is a snapshot.
///
/// # Errors
/// [`Error::Tracked`] for tracked tensors: their gradient would be cut at the state.
///
/// # Panics
/// As [`delta_rule`].
pub fn delta_rule_step(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    g: Tensor<2>,
    beta: Tensor<2>,
    heads: usize,
    state: Option<Tensor<3>>,
) -> Result<(Tensor<2>, Tensor<3>), Error> {
    let inputs = [q, k, v, g, beta];
    check(&inputs, heads, inputs[0].dims()[0]);
    let tracked = state.as_ref().is_some_and(Tensor::is_tracked);
    if tracked || inputs.iter().any(Tensor::is_tracked) {
        return Err(Error::Tracked { operation: "the delta rule after a remembered state" });
    }
    let dims = [heads, inputs[0].dims()[1] / heads, inputs[2].dims()[1] / heads];
    let state = state.unwrap_or_else(|| Tensor::zeros(dims, &inputs[0].device()));
    assert_eq!(state.dims(), dims, "delta_rule: shape of the state");
    let [q, k, v, g, beta] = inputs.map(Tensor::into_dispatch);
    let (y, state) = Dispatch::delta_rule_step(q, k, v, g, beta, state.into_dispatch(), heads);
    Ok((Tensor::from_dispatch(y), Tensor::from_dispatch(state)))
}

fn check(inputs: &[Tensor<2>; 5], heads: usize, tokens: usize) {
    let [q, k, v, g, beta] = inputs.each_ref().map(Tensor::dims);
    assert!(
        heads > 0
            && [q, k, v].iter().all(|[rows, columns]| *rows == tokens && columns.is_multiple_of(heads))
            && q == k
            && g == [tokens, heads]
            && beta == g,
        "delta_rule: q {q:?}, k {k:?}, v {v:?}, g {g:?}, beta {beta:?} for {heads} heads and {tokens} tokens"
    );
}
