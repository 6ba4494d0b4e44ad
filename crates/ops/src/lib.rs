//! Differentiable language-model operations on Burn tensors.
