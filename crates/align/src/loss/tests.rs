//! Golden values (TRL's formulas), finite differences, and the tensor form.

use burn::tensor::{Device, Tensor, TensorData};
use statistics::Stream;

use super::*;

const GOLDEN: Pair = Pair {
    chosen: -10.0,
    rejected: -14.0,
    reference_chosen: -11.0,
    reference_rejected: -12.0,
    chosen_tokens: 5,
    rejected_tokens: 8,
};

fn loss(kind: Kind) -> Loss {
    Loss { kind, beta: 0.1, nll: 0.0, ..Loss::default() }
}

#[test]
fn golden_values() {
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}, wanted {wanted}");
    assert_eq!(GOLDEN.margin(), 3.0);
    let dpo = loss(Kind::Dpo).evaluate(&GOLDEN, 0.0);
    near(dpo.loss, 0.554_355_244_5);
    near(dpo.by_chosen, -0.042_555_748_3);
    near(dpo.by_rejected, 0.042_555_748_3);
    for (kind, wanted) in [
        (Kind::ConservativeDpo, 0.584_355_244_5),
        (Kind::RobustDpo, 0.516_855_244_5),
        (Kind::Ipo, 20.7025),
        (Kind::Hinge, 0.7),
        (Kind::ApoZero, 0.925_186_815_2),
        (Kind::ApoDown, 0.950_536_670_7),
        // (3 − 1.375)² / 2.
        (Kind::Shift, 1.320_312_5),
    ] {
        near(loss(kind).evaluate(&GOLDEN, 0.0).loss, wanted);
    }
    // 1 − σ(0.05) and 1 − σ(0.25).
    near(loss(Kind::Kto).evaluate(&GOLDEN, 0.5).loss, 0.487_502_603_5 + 0.437_823_499_1);
    near(Loss { beta: 2.5, ..loss(Kind::SimPo) }.evaluate(&GOLDEN, 0.0).loss, 2.126_928_011_0);
    near(log_odds(-2.0) - log_odds(-1.75), -0.295_473_408_8);
    near(loss(Kind::Orpo).evaluate(&GOLDEN, 0.0).loss, 0.085_175_748_3);
    near(Loss { nll: 1.0, ..loss(Kind::Orpo) }.evaluate(&GOLDEN, 0.0).loss, 2.085_175_748_3);
    near(k2(&[-0.2, 20.0]), 25.01);
    near(k3(&[-0.2]), 0.021_402_758_2);
    near(kto_baseline(&[1.0, 2.0]), 1.5);
    assert_eq!(kto_baseline(&[-1.0]), 0.0);
}

/// A seeded pair with answers of different lengths.
fn draw(random: &mut Stream) -> Pair {
    let mut between = |low: f64, high: f64| low + (high - low) * random.unit();
    let (chosen_tokens, rejected_tokens) = (between(1.0, 40.0) as usize, between(1.0, 40.0) as usize);
    let (c, r) = (chosen_tokens as f64, rejected_tokens as f64);
    Pair {
        chosen: -c * between(0.05, 4.0),
        rejected: -r * between(0.05, 4.0),
        reference_chosen: -c * between(0.05, 4.0),
        reference_rejected: -r * between(0.05, 4.0),
        chosen_tokens,
        rejected_tokens,
    }
}

#[test]
fn derivatives_agree_with_differences() {
    let mut random = Stream::new(5);
    for kind in Kind::ALL {
        let loss = Loss { kind, ..Loss::default() };
        let mut compared = 0;
        for _ in 0..1000 {
            let pair = draw(&mut random);
            let at = |chosen: f64, rejected: f64| {
                let pair = Pair { chosen: pair.chosen + chosen, rejected: pair.rejected + rejected, ..pair };
                loss.evaluate(&pair, 0.3).loss
            };
            // The hinge has no derivative at its corner.
            if kind == Kind::Hinge && (1.0 - loss.beta * pair.margin()).abs() < 1e-3 {
                continue;
            }
            compared += 1;
            let h = 1e-5;
            let value = loss.evaluate(&pair, 0.3);
            for (found, difference) in [
                (value.by_chosen, (at(h, 0.0) - at(-h, 0.0)) / (2.0 * h)),
                (value.by_rejected, (at(0.0, h) - at(0.0, -h)) / (2.0 * h)),
            ] {
                // The difference of two losses carries their rounding, divided by h.
                let rounding = 4.0 * f64::EPSILON * value.loss.abs().max(1.0) / h;
                assert!(
                    (found - difference).abs() <= 1e-6 * found.abs() + rounding,
                    "{kind:?} {pair:?}: {found} against {difference}"
                );
            }
        }
        assert!(compared > 900, "{kind:?}: {compared}");
    }
}

#[test]
fn no_margin_overflows_and_a_nan_is_not_hidden() {
    for kind in Kind::ALL {
        let loss = Loss { kind, ..Loss::default() };
        for margin in [-1e6, -700.0, 700.0, 1e6] {
            let pair = Pair { chosen: GOLDEN.chosen.min(margin), rejected: -margin.abs(), ..GOLDEN };
            let value = loss.evaluate(&pair, 0.0);
            assert!(value.loss.is_finite() && value.by_chosen.is_finite() && value.by_rejected.is_finite());
        }
        let certain = Pair { chosen: 0.0, rejected: 1e-9, ..GOLDEN };
        assert!(loss.evaluate(&certain, 0.0).loss.is_finite(), "{kind:?}");
        let broken = Pair { chosen: f64::NAN, ..GOLDEN };
        assert!(loss.evaluate(&broken, 0.0).loss.is_nan(), "{kind:?}");
    }
}

#[test]
fn the_tensor_form_has_the_value_and_the_gradient() {
    let device = Device::flex().autodiff();
    let (chosen, rejected) = ([2.5_f32, 0.5, 3.0, 1.0, 3.0], [2.0_f32, 1.0, 2.5, 1.5, 2.0, 1.0, 2.0, 2.0]);
    let read: Vec<f32> = chosen.iter().chain(&rejected).copied().collect();
    let value = Loss::default().evaluate(&GOLDEN, 0.0);
    let slopes: Vec<f32> =
        (0..13).map(|token| -(if token < 5 { value.by_chosen } else { value.by_rejected }) as f32).collect();
    let losses = Tensor::<1>::from_data(TensorData::new(read.clone(), [13]), &device).require_grad();
    let tensor = linearized(losses.clone(), &read, value.loss, &slopes);
    let gradients = tensor.backward();
    let found = losses.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(found, slopes);
    let found = tensor.into_data().try_to_vec::<f32>().unwrap()[0];
    assert!((f64::from(found) - value.loss).abs() < 1e-5, "{found} against {}", value.loss);
}
