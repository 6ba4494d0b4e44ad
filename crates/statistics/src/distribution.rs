//! Distribution functions and their inverses.

use statrs::function::{beta::beta_reg, erf};

/// P(Z ≤ z) of a standard normal variable.
pub fn normal_cdf(z: f64) -> f64 {
    erf::erfc(-z / std::f64::consts::SQRT_2) / 2.0
}

/// The z with P(Z ≤ z) = `probability` of a standard normal variable; infinite at 0 and 1.
pub fn normal_quantile(probability: f64) -> f64 {
    -std::f64::consts::SQRT_2 * erf::erfc_inv(2.0 * probability)
}

/// The t with P(T ≤ t) = `probability` of Student's distribution with `freedom` > 0 degrees of freedom.
pub fn student_quantile(probability: f64, freedom: f64) -> f64 {
    // P(|T| > t) = I_x(freedom/2, 1/2) with x = freedom / (freedom + t²).
    let tail = 2.0 * probability.min(1.0 - probability);
    let x = beta_quantile(tail, freedom / 2.0, 0.5);
    let t = (freedom * (1.0 - x) / x).sqrt();
    if probability < 0.5 { -t } else { t }
}

/// The x with I_x(a, b) = `probability`, by bisection on the monotone regularized incomplete beta function.
pub(crate) fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // 1100 halvings reach the smallest positive number; the loop ends when the ends are neighbours.
    for _ in 0..1100 {
        let middle = (low + high) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if beta_reg(a, b, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_equal_published_tables() {
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-9);
        assert!((normal_cdf(1.644_853_626_951_472) - 0.95).abs() < 1e-9);
        for (probability, freedom, wanted) in [
            (0.975, 1.0, 12.706_204_736),
            (0.975, 9.0, 2.262_157_163),
            (0.95, 29.0, 1.699_127_027),
            (0.025, 4.0, -2.776_445_105),
        ] {
            let found = student_quantile(probability, freedom);
            assert!((found - wanted).abs() < 1e-6, "t({probability}, {freedom}) = {found}");
        }
    }
}
