//! Preference losses on the log-probabilities of whole answers.
//!
//! Every loss is a function of the policy's log-probabilities of a chosen and a rejected answer, those of a frozen
//! reference, and the answers' lengths; [`Loss::evaluate`] gives its value and its two derivatives in `f64`.
//! [`linearized`] carries them into training, so there is one copy of each formula.
//!
//! Notation of the table: `d = lp − reference`, `D = d_chosen − d_rejected`, `β` = `beta`, `a = lp / tokens`,
//! `σ` the logistic function, `ε` = `label_noise`.
//!
//! | kind | loss | from |
//! |---|---|---|
//! | `dpo` | −ln σ(βD) | Rafailov et al. 2023 |
//! | `conservative_dpo` | −(1−ε) ln σ(βD) − ε ln σ(−βD) | Mitchell 2023 |
//! | `robust_dpo` | \[−(1−ε) ln σ(βD) + ε ln σ(−βD)\] / (1−2ε) | Chowdhury et al. 2024 |
//! | `ipo` | (d_c/n_c − d_r/n_r − 1/(2β))², averaged over tokens | Azar et al. 2023 |
//! | `hinge` | max(0, 1 − βD) | Zhao et al. 2023 |
//! | `sim_po` | −ln σ(β(a_c − a_r) − `margin`) | Meng et al. 2024 |
//! | `orpo` | −`odds_weight` · ln σ(logit eᵃᶜ − logit eᵃʳ) | Hong et al. 2024 |
//! | `kto` | w_d (1 − σ(β(d_c − z))) + w_u (1 − σ(β(z − d_r))) | Ethayarajh et al. 2024 |
//! | `apo_zero` | 1 − σ(βd_c) + σ(βd_r) | D'Oosterlinck et al. 2024 |
//! | `apo_down` | σ(βd_c) + 1 − σ(βD) | the same |
//! | `shift` | (D − `margin`)² / 2 | a least-squares change of the log-odds by `margin` nats |
//!
//! To each, `nll` times the mean negative log-likelihood of the chosen answer is added (Pang et al. 2024): without
//! it DPO lowers the chosen answer too. `sim_po` and `orpo` use no reference; ORPO is meant with `nll` = 1.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Which preference loss; see the table of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Direct preference optimization.
    Dpo,
    /// DPO whose labels are wrong with probability `label_noise`.
    ConservativeDpo,
    /// DPO made unbiased under labels flipped with probability `label_noise`.
    RobustDpo,
    /// Identity preference optimization, averaged over tokens.
    Ipo,
    /// Sequence likelihood calibration's hinge on the reference-relative margin.
    Hinge,
    /// Length-normalized, reference-free, with a target margin.
    SimPo,
    /// Odds-ratio preference optimization.
    Orpo,
    /// Kahneman–Tversky optimization of both answers of a pair.
    Kto,
    /// Anchored: the chosen answer is better than what the model says.
    ApoZero,
    /// Anchored: the chosen answer is worse than what the model says.
    ApoDown,
    /// Moves every pair by the same number of nats: the line between answers, not their order.
    Shift,
}

impl Kind {
    /// Every kind, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::Dpo,
        Self::ConservativeDpo,
        Self::RobustDpo,
        Self::Ipo,
        Self::Hinge,
        Self::SimPo,
        Self::Orpo,
        Self::Kto,
        Self::ApoZero,
        Self::ApoDown,
        Self::Shift,
    ];
}

/// A preference loss with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// Which formula.
    pub kind: Kind,
    /// Strength of the tie to the reference, per nat; SimPO's and IPO's scale.
    pub beta: f64,
    /// Assumed share of flipped labels, below 0.5 (`conservative_dpo`, `robust_dpo`).
    pub label_noise: f64,
    /// SimPO's target margin; the change that `shift` asks for.
    pub margin: f64,
    /// ORPO's weight of the odds ratio.
    pub odds_weight: f64,
    /// KTO's weight of chosen answers.
    pub desirable: f64,
    /// KTO's weight of rejected answers.
    pub undesirable: f64,
    /// Weight of the mean negative log-likelihood of the chosen answer.
    pub nll: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self {
            kind: Kind::Dpo,
            beta: 0.3,
            label_noise: 0.1,
            margin: 1.375,
            odds_weight: 0.1,
            desirable: 1.0,
            undesirable: 1.0,
            nll: 0.5,
        }
    }
}

/// What a loss reads of one pair: natural-log probabilities of whole answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Of the chosen answer under the policy.
    pub chosen: f64,
    /// Of the rejected answer under the policy.
    pub rejected: f64,
    /// Of the chosen answer under the reference.
    pub reference_chosen: f64,
    /// Of the rejected answer under the reference.
    pub reference_rejected: f64,
    /// Tokens of the chosen answer; at least 1.
    pub chosen_tokens: usize,
    /// Tokens of the rejected answer; at least 1.
    pub rejected_tokens: usize,
}

impl Pair {
    /// `D`: how much more than the reference the policy prefers the chosen answer, in nats.
    pub fn margin(&self) -> f64 {
        (self.chosen - self.reference_chosen) - (self.rejected - self.reference_rejected)
    }
}

/// A loss and its derivatives with respect to the policy's two log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The loss.
    pub loss: f64,
    /// Derivative by [`Pair::chosen`].
    pub by_chosen: f64,
    /// Derivative by [`Pair::rejected`].
    pub by_rejected: f64,
}

impl Loss {
    /// Value and derivatives for one pair. `baseline` is KTO's `z` (see [`kto_baseline`]); no other kind reads it.
    pub fn evaluate(&self, pair: &Pair, baseline: f64) -> Value {
        let (b, e) = (self.beta, self.label_noise);
        let chosen = pair.chosen - pair.reference_chosen;
        let rejected = pair.rejected - pair.reference_rejected;
        let (chosen_tokens, rejected_tokens) = (pair.chosen_tokens as f64, pair.rejected_tokens as f64);
        let margin = chosen - rejected;
        // A loss of the margin alone has opposite derivatives.
        let of_margin = |loss: f64, slope: f64| Value { loss, by_chosen: slope, by_rejected: -slope };
        let mut value = match self.kind {
            Kind::Dpo => of_margin(-log_sigmoid(b * margin), -b * sigmoid(-b * margin)),
            Kind::ConservativeDpo => of_margin(
                -(1.0 - e) * log_sigmoid(b * margin) - e * log_sigmoid(-b * margin),
                -(1.0 - e) * b * sigmoid(-b * margin) + e * b * sigmoid(b * margin),
            ),
            Kind::RobustDpo => of_margin(
                (-(1.0 - e) * log_sigmoid(b * margin) + e * log_sigmoid(-b * margin)) / (1.0 - 2.0 * e),
                (-(1.0 - e) * b * sigmoid(-b * margin) - e * b * sigmoid(b * margin)) / (1.0 - 2.0 * e),
            ),
            Kind::Ipo => {
                let off = chosen / chosen_tokens - rejected / rejected_tokens - 0.5 / b;
                Value {
                    loss: off * off,
                    by_chosen: 2.0 * off / chosen_tokens,
                    by_rejected: -2.0 * off / rejected_tokens,
                }
            }
            Kind::Hinge => {
                let short = 1.0 - b * margin;
                // `max` would turn a NaN into 0 and hide it.
                if short <= 0.0 { of_margin(0.0, 0.0) } else { of_margin(short, -b) }
            }
            Kind::SimPo => {
                let z = b * (pair.chosen / chosen_tokens - pair.rejected / rejected_tokens) - self.margin;
                Value {
                    loss: -log_sigmoid(z),
                    by_chosen: -sigmoid(-z) * b / chosen_tokens,
                    by_rejected: sigmoid(-z) * b / rejected_tokens,
                }
            }
            Kind::Orpo => {
                let (c, r) = (pair.chosen / chosen_tokens, pair.rejected / rejected_tokens);
                let z = log_odds(c) - log_odds(r);
                let slope = -self.odds_weight * sigmoid(-z);
                Value {
                    loss: -self.odds_weight * log_sigmoid(z),
                    by_chosen: slope * log_odds_slope(c) / chosen_tokens,
                    by_rejected: -slope * log_odds_slope(r) / rejected_tokens,
                }
            }
            Kind::Kto => {
                let (good, bad) = (sigmoid(b * (chosen - baseline)), sigmoid(b * (baseline - rejected)));
                Value {
                    loss: self.desirable * (1.0 - good) + self.undesirable * (1.0 - bad),
                    by_chosen: -self.desirable * b * good * (1.0 - good),
                    by_rejected: self.undesirable * b * bad * (1.0 - bad),
                }
            }
            Kind::ApoZero => {
                let (c, r) = (sigmoid(b * chosen), sigmoid(b * rejected));
                Value { loss: 1.0 - c + r, by_chosen: -b * c * (1.0 - c), by_rejected: b * r * (1.0 - r) }
            }
            Kind::ApoDown => {
                let (c, m) = (sigmoid(b * chosen), sigmoid(b * margin));
                Value {
                    loss: c + 1.0 - m,
                    by_chosen: b * c * (1.0 - c) - b * m * (1.0 - m),
                    by_rejected: b * m * (1.0 - m),
                }
            }
            Kind::Shift => {
                let off = margin - self.margin;
                of_margin(off * off / 2.0, off)
            }
        };
        value.loss -= self.nll * pair.chosen / chosen_tokens;
        value.by_chosen -= self.nll / chosen_tokens;
        value
    }
}

/// KTO's `z`: the mean of `lp − reference` over mismatched prompt–answer pairs, not below 0. It carries no gradient.
pub fn kto_baseline(differences: &[f64]) -> f64 {
    let n = differences.len().max(1) as f64;
    (differences.iter().sum::<f64>() / n).max(0.0)
}

/// The k3 estimate of a Kullback–Leibler divergence, `e^−x + x − 1` averaged, of differences `x = lp − reference`
/// per token (Schulman 2020); never negative. Each `x` is clamped to ±10: one odd token must not be the estimate.
pub fn k3(differences: &[f64]) -> f64 {
    let each = |x: &f64| {
        let x = x.clamp(-10.0, 10.0);
        (-x).exp() + x - 1.0
    };
    differences.iter().map(each).sum::<f64>() / differences.len().max(1) as f64
}

/// The k2 estimate of the same, `x² / 2` averaged (Schulman 2020): biased, but no single token carries it away.
pub fn k2(differences: &[f64]) -> f64 {
    let each = |x: &f64| x.clamp(-10.0, 10.0).powi(2) / 2.0;
    differences.iter().map(each).sum::<f64>() / differences.len().max(1) as f64
}

/// A tensor whose value is `value` and whose gradient by `losses` is `slopes`: carries a loss computed outside of
/// the tensors into backward. `losses` are negative log-probabilities per token, `[n]`; the result is `[1]`.
///
/// The numbers of `losses` are those `value` and `slopes` were computed from, passed as `read`.
pub fn linearized(losses: Tensor<1>, read: &[f32], value: f64, slopes: &[f32]) -> Tensor<1> {
    let linear: f64 = read.iter().zip(slopes).map(|(x, s)| f64::from(*x) * f64::from(*s)).sum();
    let device = losses.device();
    let slopes = Tensor::<1>::from_data(TensorData::new(slopes.to_vec(), [slopes.len()]), &device);
    (losses * slopes).sum().add_scalar((value - linear) as f32)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// ln σ(x) without overflow on either side.
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// A mean log-probability is below 0; a rounding above it must not become NaN.
const NEARLY_CERTAIN: f64 = -1e-6;

/// Logit of the probability whose logarithm is `a`.
fn log_odds(a: f64) -> f64 {
    let a = if a > NEARLY_CERTAIN { NEARLY_CERTAIN } else { a };
    a - (-a.exp_m1()).ln()
}

fn log_odds_slope(a: f64) -> f64 {
    if a > NEARLY_CERTAIN { 0.0 } else { -1.0 / a.exp_m1() }
}

#[cfg(test)]
mod tests;
