//! Rotary scaling as the two kinds of file state it.

use crate::config::{Config, RopeScaling};

/// GGUF's tensor of divisors of the rotary frequencies, one per pair.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The divisor of each rotary frequency: pair `i` turns by `position · base^(-2i / dimensions) / factor[i]`.
/// Source: Llama 3.1 as in transformers' `_compute_llama3_parameters`.
pub(crate) fn rope_factors(config: &Config) -> Vec<f32> {
    let rope = &config.attention.rope;
    let dimensions = rope.dimensions.unwrap_or(config.attention.head_dim);
    (0..dimensions / 2)
        .map(|pair| {
            let frequency = f64::from(rope.base).powf(-2.0 * pair as f64 / dimensions as f64);
            factor(&rope.scaling, 2.0 * std::f64::consts::PI / frequency) as f32
        })
        .collect()
}

fn factor(scaling: &RopeScaling, wavelength: f64) -> f64 {
    match *scaling {
        RopeScaling::None => 1.0,
        RopeScaling::Linear { factor } => f64::from(factor),
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            let (low, high) = (f64::from(low_frequency_factor), f64::from(high_frequency_factor));
            let turns = original_context as f64 / wavelength;
            if turns < low {
                f64::from(factor)
            } else if turns > high {
                1.0
            } else {
                let smooth = (turns - low) / (high - low);
                1.0 / ((1.0 - smooth) / f64::from(factor) + smooth)
            }
        }
    }
}

/// The scaling whose divisors are `factors`: none, or Llama 3's with its published constants.
pub(crate) fn scaling_of(config: &Config, factors: &[f32]) -> Option<RopeScaling> {
    let largest = factors.iter().copied().fold(1.0, f32::max);
    let llama3 = RopeScaling::Llama3 {
        factor: largest,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 8192,
    };
    [RopeScaling::None, llama3].into_iter().find(|scaling| {
        let mut candidate = config.clone();
        candidate.attention.rope.scaling = scaling.clone();
        let expected = rope_factors(&candidate);
        expected.len() == factors.len()
            && expected.iter().zip(factors).all(|(a, b)| (a - b).abs() <= 1e-3 * a.abs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::tests::config;

    #[test]
    fn published_scaling_is_recognized_from_its_factors() {
        let mut config = config();
        config.attention.head_dim = 64;
        config.attention.rope.base = 500_000.0;
        assert_eq!(scaling_of(&config, &[1.0; 32]), Some(RopeScaling::None));
        let llama3 = RopeScaling::Llama3 {
            factor: 32.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192,
        };
        config.attention.rope.scaling = llama3.clone();
        let factors = rope_factors(&config);
        assert_eq!((factors[0], factors[31]), (1.0, 32.0));
        assert!(factors.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(scaling_of(&config, &factors), Some(llama3));
        assert_eq!(scaling_of(&config, &[3.0; 32]), None);
    }
}
