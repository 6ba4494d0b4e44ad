//! Differentiable language-model operations on Burn tensors.
//!
//! Each operation is one file: what it computes, its composed twin (the default body of an extension trait: the
//! reference, and what every device without kernels runs), its CPU form, which calls `kernels`, and its node of
//! Burn's autodiff graph, whose backward is again a trait method with a composed body and a CPU form. Nodes keep
//! their inputs and compute cheap things again. [`reference`](mod@reference) has the twins as functions.
//!
//! To add an operation: a file here, a trait with `#[backend_extension(Flex, Cube: cfg(feature = "cube"), Autodiff)]`, a
//! gradient trait, a line in `cube.rs`, a case
//! in `tests/main/cases.rs` (values and gradients are then compared at every CPU level, whatever inputs are
//! tracked). Wrong shapes between operations are faults of the program and panic; bad data is an [`Error`].
//! The features `wgpu`, `vulkan`, `metal`, `cuda` and `rocm` add Burn's GPU back ends, which run the composed bodies.
//! Operations that carry a state refuse tracked tensors. This crate must not know models or files.

mod add;
mod attention;
mod cross_entropy;
#[cfg(feature = "cube")]
mod cube;
mod delta_rule;
mod dense;
mod documents;
mod embed;
mod error;
mod flex;
mod key_values;
mod linear;
mod low_rank;
mod node;
pub mod reference;
mod relu2;
mod rms_norm;
mod rope;
mod short_conv;
mod swiglu;
pub mod timing;
mod weight;

pub use add::add;
pub use attention::{Heads, attention, attention_mix, attention_pattern};
pub use cross_entropy::{cross_entropy, cross_entropy_with};
pub use delta_rule::{delta_rule, delta_rule_step};
pub use documents::Documents;
pub use embed::embed;
pub use error::Error;
pub use flex::{tensor_from, values_of};
pub use kernels::Error as KernelError;
pub use kernels::linear::Activation;
pub use kernels::quant::Format;
pub use kernels::rope::{Style as RopeStyle, frequencies as rope_frequencies};
pub use kernels::{cpu, memory, optimizer, pool, quant};
pub use key_values::{KeyValues, cached_attention, cached_attention_mix, cached_attention_pattern};
pub use linear::{linear, linear_many};
pub use relu2::relu2;
pub use rms_norm::{add_rms_norm, rms_norm};
pub use rope::{Rotation, rope, rope_pair};
pub use short_conv::{short_conv, short_conv_step};
pub use swiglu::{swiglu, swiglu_linear};
pub use weight::Weight;
