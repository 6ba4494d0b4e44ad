//! Which instructions this machine has. A [`Level`] value is a proof: the AVX variants hold a token
//! that only detection can make, and the kernels that need those instructions take the token.

use crate::{Error, Result};
use std::sync::OnceLock;

/// Proof that this processor has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that this processor has AVX-512 F, BW, VL, DQ and VNNI (and what [`Avx2`] proves).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

/// An instruction-set level, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Portable Rust.
    Scalar,
    /// 256-bit integers and floats, fused multiply-add.
    Avx2(Avx2),
    /// 512-bit registers and the 8-bit dot product.
    Avx512(Avx512),
}

impl Level {
    /// Every level this machine can run, lowest first.
    pub fn available() -> Vec<Level> {
        let mut levels = vec![Level::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") {
                levels.push(Level::Avx2(Avx2(())));
                if has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512vl")
                    && has!("avx512dq")
                    && has!("avx512vnni")
                {
                    levels.push(Level::Avx512(Avx512(())));
                }
            }
        }
        levels
    }

    /// The highest level this machine can run.
    pub fn best() -> Level {
        Level::available().pop().unwrap_or(Level::Scalar)
    }

    /// The level called `word` (`scalar`, `avx2`, `avx512`).
    ///
    /// # Errors
    /// [`Error::UnknownLevel`] for any other word, [`Error::UnavailableLevel`] when the processor
    /// lacks it; both name the choices.
    pub fn parse(word: &str) -> Result<Level> {
        if !["scalar", "avx2", "avx512"].contains(&word) {
            return Err(Error::UnknownLevel { word: word.to_string() });
        }
        let levels = Level::available();
        levels.iter().copied().find(|level| level.name() == word).ok_or_else(|| Error::UnavailableLevel {
            word: word.to_string(),
            available: levels.iter().map(|level| level.name()).collect::<Vec<_>>().join(", "),
        })
    }

    /// `scalar`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2(_) => "avx2",
            Level::Avx512(_) => "avx512",
        }
    }
}

static LEVEL: OnceLock<Result<Level>> = OnceLock::new();

/// The level named by `GEWU_CPU`, or the best one; decided once per process. Call this at start-up to
/// report a bad setting.
///
/// # Errors
/// As [`Level::parse`].
pub fn chosen() -> Result<Level> {
    LEVEL
        .get_or_init(|| match std::env::var("GEWU_CPU") {
            Ok(word) if !word.is_empty() => Level::parse(&word),
            _ => Ok(Level::best()),
        })
        .clone()
}

/// The level the kernels run at: [`chosen`], or the scalar level when the setting was bad (a program
/// that wants to refuse calls [`chosen`] first).
pub fn level() -> Level {
    chosen().unwrap_or(Level::Scalar)
}

/// Whether the processor has the bf16 dot product (AVX512-BF16).
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_checked() {
        assert_eq!(Level::parse("scalar"), Ok(Level::Scalar));
        let error = Level::parse("neon").unwrap_err();
        assert!(error.to_string().contains("scalar, avx2 or avx512"), "{error}");
        for level in Level::available() {
            assert_eq!(Level::parse(level.name()), Ok(level));
        }
    }
}
