//! How activations enter the products of a linear map.

use kernels::linear::Activation as Kernel;

/// How the activations enter the products; weights keep their own format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Exact reference: f32 activations times dequantized weights, f32 sums.
    F32,
    /// Activations and dequantized weights rounded to bf16, f32 sums: the fast path of training.
    Bf16,
    /// Activations rounded to 8 bits per 32 columns over quantized weights, integer products; untracked only
    /// (tracked tensors compute in f32).
    #[default]
    Int8,
}

impl Activation {
    pub(crate) fn kernel(self) -> Kernel {
        match self {
            Self::F32 | Self::Bf16 => Kernel::F32,
            Self::Int8 => Kernel::Int8,
        }
    }

    /// What a tracked operation computes in.
    pub(crate) fn tracked(self) -> Self {
        match self {
            Self::Int8 => Self::F32,
            other => other,
        }
    }
}
