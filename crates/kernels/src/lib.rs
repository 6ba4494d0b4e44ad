//! Slices in, slices out: the arithmetic of language models on the CPU.
//!
//! Where things are:
//! - [`quant`]: the block formats of GGUF files and their dequantization and quantization;
//! - [`linear`]: a weight packed once for the kernels, `y = x · Wᵀ` over it, and its input gradient;
//! - [`gemm`]: dense matrix products, f32 or bf16 with f32 sums;
//! - [`attention`]: causal grouped-query attention over a key-value cache, whole or in parts;
//! - [`delta`]: the gated delta rule; [`conv`]: short convolutions; [`cross_entropy`]: a head and its loss; [`optimizer`]: AdamW;
//! - [`norm`], [`rope`], [`activation`], [`embed`], [`softmax`]: the rest of a transformer block;
//! - [`cpu`]: which instructions this machine has, and how to force a lower level;
//! - [`memory`]: room for outputs; [`pool`]: the threads, and the *forward scope* that keeps them awake between operations.
//!
//! Every kernel has a plain twin in its `naive` module; the tests compare the two over odd shapes at
//! every level this machine has. At one level a token's result has the same bits whatever the number
//! of threads, of tokens in the call, and wherever a prompt was cut into chunks.
//!
//! All slices are row-major `f32` unless a signature says otherwise. Lengths that contradict the
//! stated shape are programming errors and panic with both numbers; data that comes from files
//! (block bytes, token ids, names) gives an [`Error`].

#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod activation;
pub mod attention;
pub mod conv;
pub mod cpu;
pub mod cross_entropy;
pub mod delta;
pub mod embed;
mod error;
pub mod gemm;
pub mod linear;
pub mod memory;
pub mod norm;
pub mod optimizer;
pub mod pool;
pub mod quant;
pub mod rope;
mod simd;
pub mod softmax;

pub use error::Error;

/// The result of a kernel call that can be handed bad data.
pub type Result<T> = std::result::Result<T, Error>;

#[track_caller]
pub(crate) fn expect_len(what: &str, got: usize, expected: usize) {
    assert!(got == expected, "{what}: {got} elements where the shape asks for {expected}");
}
