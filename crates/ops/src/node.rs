//! A node of Burn's autodiff graph made of a function: how an operation registers its own backward.

use std::fmt;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

/// From what the node kept, the gradient of its output and which parents want theirs: the parents' gradients.
type Rule<B, S, const N: usize> = fn(S, FloatTensor<B>, [bool; N]) -> [Option<FloatTensor<B>>; N];

struct Node<B: Backend, S, const N: usize>(Rule<B, S, N>);

impl<B: Backend, S, const N: usize> fmt::Debug for Node<B, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node")
    }
}

impl<B: Backend, S: Clone + Send + fmt::Debug + 'static, const N: usize> Backward<B, N> for Node<B, S, N> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        for (parent, gradient) in ops.parents.into_iter().zip((self.0)(ops.state, dy, wanted)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// `output` as a tensor that depends on `parents`; `state` is kept only if one of them is tracked.
pub(crate) fn node<B: Backend, C: CheckpointStrategy, S, const N: usize>(
    parents: [NodeGuard; N],
    state: S,
    output: FloatTensor<B>,
    rule: Rule<B, S, N>,
) -> FloatTensor<Autodiff<B, C>>
where
    S: Clone + Send + fmt::Debug + 'static,
{
    match Node(rule).prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}
