//! The first values of a weight, stated by the mixer or channel it belongs to.

use std::f64::consts::TAU;

/// A distribution of first values. Draws depend on the seed and the weight's name alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// The same number everywhere.
    Constant(f32),
    /// A normal distribution around 0 with this standard deviation.
    Normal(f32),
    /// A uniform distribution from minus to plus this number.
    Uniform(f32),
    /// The logarithm of a uniform distribution between two numbers.
    LogOfUniform(f32, f32),
    /// The inverse softplus of a log-uniform distribution between two numbers.
    InverseSoftplusOfLogUniform(f32, f32),
}

impl Init {
    /// A projection from so many features: half of `1 / sqrt(features)`, GPT-2's 0.02 at its width of 768.
    pub fn projection(features: usize) -> Self {
        Self::Normal(0.5 / (features as f32).sqrt())
    }

    /// A projection back into the stream, smaller the more of them are summed.
    pub fn output(features: usize, blocks: usize) -> Self {
        Self::Normal(0.5 / (features as f32 * 2.0 * blocks as f32).sqrt())
    }

    /// `count` values for the weight called `name`.
    pub fn draw(self, seed: u64, name: &str, count: usize) -> Vec<f32> {
        let key = name.bytes().fold(mix(seed), |key, byte| mix(key ^ u64::from(byte)));
        let unit = |draw: u64| ((mix(key ^ mix(draw)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let one = |index: usize| {
            let index = 2 * index as u64;
            let between = |low: f32, high: f32| f64::from(low) + f64::from(high - low) * unit(index);
            match self {
                Self::Constant(value) => f64::from(value),
                // Box and Muller 1958.
                Self::Normal(deviation) => {
                    let radius = (-2.0 * unit(index).ln()).sqrt();
                    f64::from(deviation) * radius * (TAU * unit(index + 1)).cos()
                }
                Self::Uniform(bound) => between(-bound, bound),
                Self::LogOfUniform(low, high) => between(low, high).ln(),
                Self::InverseSoftplusOfLogUniform(low, high) => {
                    let value = between(low.ln(), high.ln()).exp();
                    value + (-(-value).exp_m1()).ln()
                }
            }
        };
        (0..count).map(|index| one(index) as f32).collect()
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_stated_distribution() {
        let draw = |init: Init| init.draw(3, "a", 40_000);
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let normal = draw(Init::Normal(2.0));
        let variance = mean(&normal.iter().map(|v| v * v).collect::<Vec<_>>());
        assert!(mean(&normal).abs() < 0.04 && (variance - 4.0).abs() < 0.12, "{variance}");
        let beyond = normal.iter().filter(|v| v.abs() > 2.0 * 1.96).count();
        assert!((1_800..2_200).contains(&beyond), "{beyond}");
        let uniform = draw(Init::Uniform(0.5));
        assert!(uniform.iter().all(|v| v.abs() <= 0.5) && mean(&uniform).abs() < 0.01);
        let logs = draw(Init::LogOfUniform(1.0, 16.0));
        let mean_rate = mean(&logs.iter().map(|v| v.exp()).collect::<Vec<_>>());
        assert!((mean_rate - 8.5).abs() < 0.1, "{mean_rate}");
        let steps = draw(Init::InverseSoftplusOfLogUniform(1e-3, 0.1));
        let steps: Vec<f32> = steps.iter().map(|v| v.exp().ln_1p()).collect();
        assert!(steps.iter().all(|v| (0.99e-3..0.101).contains(v)));
        let below = steps.iter().filter(|v| **v < 1e-2).count();
        assert!((19_400..20_600).contains(&below), "{below}");
    }

    #[test]
    fn draws_follow_seed_and_name() {
        let init = Init::Normal(1.0);
        assert_eq!(init.draw(1, "a", 4), init.draw(1, "a", 9)[..4]);
        assert_ne!(init.draw(1, "a", 4), init.draw(2, "a", 4));
        assert_ne!(init.draw(1, "a", 4), init.draw(1, "b", 4));
    }
}
