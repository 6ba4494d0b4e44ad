//! Each method on cases with known answers.

use super::*;

fn config(method: Method) -> OptimizerConfig {
    OptimizerConfig { method, weight_decay: 0.0, ..OptimizerConfig::default() }
}

fn how(shape: &[usize], rate: f32, step: u64) -> Update<'_> {
    Update { name: "blocks.0.mixer.query", shape, rate, decay: 0.0, scale: 1.0, step }
}

fn on_heap(config: &OptimizerConfig, name: &str, shape: &[usize]) -> State {
    State::new_in(None, config, name, shape).unwrap()
}

#[test]
fn the_first_step_moves_by_the_rate() {
    // With bias correction the first step is rate · sign(gradient), whatever the gradient's size.
    let config = OptimizerConfig::default();
    for gradient in [1e-3, 0.5, -40.0] {
        let mut values = [2.0f32];
        let mut state = on_heap(&config, "x", &[1]);
        update(&mut values, &[gradient], &mut state, &config, how(&[1], 0.01, 1));
        assert!((values[0] - (2.0 - 0.01 * gradient.signum())).abs() < 1e-5, "{gradient}: {values:?}");
    }
}

#[test]
fn three_steps_equal_the_formula_in_f64() {
    let config = OptimizerConfig::default();
    let (mut value, mut first, mut second) = (0.7f64, 0.0f64, 0.0f64);
    let mut values = [0.7f32];
    let mut state = on_heap(&config, "x", &[1]);
    for (step, gradient) in (1..).zip([0.3f32, -0.2, 0.9]) {
        let how = Update { decay: 0.1, scale: 0.5, ..how(&[1], 0.02, step) };
        update(&mut values, &[gradient], &mut state, &config, how);
        let g = f64::from(gradient) * 0.5;
        first = 0.9 * first + 0.1 * g;
        second = 0.95 * second + 0.05 * g * g;
        let (m, v) = (first / (1.0 - 0.9f64.powi(step as i32)), second / (1.0 - 0.95f64.powi(step as i32)));
        value -= 0.02 * 0.1 * value;
        value -= 0.02 * m / (v.sqrt() + 1e-8);
        assert!((f64::from(values[0]) - value).abs() < 1e-6, "step {step}: {values:?} {value}");
    }
}

#[test]
fn only_matrices_outside_the_embedding_decay() {
    assert!(decays("blocks.0.mixer.query", &[4, 4]) && decays("head", &[9, 4]));
    assert!(!decays("embed", &[9, 4]) && !decays("final_norm", &[4]));
    assert!(!decays("blocks.1.mixer.log_rate", &[2, 1]) && !decays("blocks.1.mixer.decay_bias", &[2]));
    assert!(is_hidden_matrix("blocks.0.mixer.query", &[64, 64]));
    assert!(!is_hidden_matrix("head", &[99, 64]) && !is_hidden_matrix("blocks.0.mixer.conv", &[64, 4]));
}

#[test]
fn settings_are_checked() {
    assert!(OptimizerConfig::default().validate().is_ok());
    let bad = OptimizerConfig { beta2: 1.0, ..OptimizerConfig::default() };
    assert!(bad.validate().unwrap_err().to_string().contains("beta2"));
    let bad = OptimizerConfig { clip_norm: Some(f32::NAN), ..OptimizerConfig::default() };
    assert!(bad.validate().unwrap_err().to_string().contains("clip_norm"));
    let group = Group { name: "embed".into(), rate: -1.0, weight_decay: None };
    let bad = OptimizerConfig { groups: vec![group], ..OptimizerConfig::default() };
    assert!(bad.validate().unwrap_err().to_string().contains("group `embed`"));
    assert!("sgd".parse::<Method>().unwrap_err().to_string().contains("muon"));
    for about in &METHODS {
        assert_eq!(about.name.parse::<Method>().unwrap(), about.method);
        assert_eq!(serde_json::to_value(about.method).unwrap(), about.name);
    }
}

#[test]
fn the_first_group_that_fits_counts() {
    let group = |name: &str, rate, weight_decay| Group { name: name.into(), rate, weight_decay };
    let groups = vec![group("blocks.1.", 0.5, None), group("norm", 2.0, Some(0.3))];
    let config = OptimizerConfig { groups, ..OptimizerConfig::default() };
    assert_eq!(config.group("blocks.1.mixer.query", &[4, 4]), (0.5, 0.1));
    assert_eq!(config.group("blocks.1.mixer_norm", &[4]), (0.5, 0.0));
    assert_eq!(config.group("final_norm", &[4]), (2.0, 0.3));
    assert_eq!(config.group("blocks.0.mixer.query", &[4, 4]), (1.0, 0.1));
}

#[test]
fn state_is_as_large_as_announced() {
    for about in &METHODS {
        for shape in [&[128usize, 64][..], &[64, 128], &[70]] {
            let config = config(about.method);
            let mut state = on_heap(&config, "blocks.0.channel.up", shape);
            let bytes: usize = state
                .buffers()
                .iter()
                .map(|(_, buffer)| match buffer {
                    Buffer::F32(values) => 4 * values.len(),
                    Buffer::U8(values) => values.len(),
                })
                .sum();
            assert_eq!(State::bytes(&config, "blocks.0.channel.up", shape), bytes as u64, "{}", about.name);
        }
    }
}

/// Every method brings `½ ‖W A − B‖²` of a well-posed problem down to a small part.
#[test]
fn every_method_descends() {
    let (rows, columns) = (16usize, 24usize);
    let target: Vec<f32> = (0..rows * columns).map(|i| (i as f32 * 0.7).sin()).collect();
    for about in &METHODS {
        let config = config(about.method);
        let shape = [rows, columns];
        let mut state = on_heap(&config, "blocks.0.mixer.query", &shape);
        let mut values = vec![0.0f32; rows * columns];
        let loss = |values: &[f32]| -> f32 {
            values
                .iter()
                .zip(&target)
                .enumerate()
                .map(|(i, (v, t))| (1.0 + (i % 5) as f32) * (v - t).powi(2))
                .sum()
        };
        let start = loss(&values);
        for step in 1..=400u64 {
            let gradient: Vec<f32> =
                (0..values.len()).map(|i| 2.0 * (1.0 + (i % 5) as f32) * (values[i] - target[i])).collect();
            let rate = 0.05 * (1.0 - step as f32 / 401.0);
            update(&mut values, &gradient, &mut state, &config, how(&shape, rate, step));
        }
        assert!(loss(&values) < 0.02 * start, "{}: {} of {start}", about.name, loss(&values));
    }
}

#[test]
fn muon_moves_every_direction_alike() {
    let config = config(Method::Muon);
    let (rows, columns) = (8usize, 8usize);
    // A diagonal gradient of very different sizes: each direction moves by about the same.
    let mut gradient = vec![0.0f32; 64];
    (0..8).for_each(|i| gradient[i * 9] = 10f32.powf(-(i as f32) / 7.0));
    let mut values = vec![0.0f32; 64];
    let mut state = on_heap(&config, "blocks.0.mixer.query", &[rows, columns]);
    update(&mut values, &gradient, &mut state, &config, how(&[rows, columns], 1.0, 1));
    let unit = 0.2 * 8f32.sqrt();
    assert!((0..8).all(|i| (-1.4..-0.6).contains(&(values[i * 9] / unit))), "{values:?}");
}

#[test]
fn a_growing_gradient_is_held_back_by_apollo() {
    let config = config(Method::Apollo);
    let shape = [16usize, 16];
    let mut state = on_heap(&config, "blocks.0.mixer.query", &shape);
    let mut values = vec![0.0f32; 256];
    let gradient: Vec<f32> = (0..256).map(|i| (i as f32).cos()).collect();
    let mut last = 0.0f32;
    for step in 1..=5u64 {
        let before = values.clone();
        let grown: Vec<f32> = gradient.iter().map(|g| g * 10f32.powi(step as i32)).collect();
        update(&mut values, &grown, &mut state, &config, how(&shape, 0.1, step));
        let moved = values.iter().zip(&before).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        assert!(step == 1 || moved <= last * 1.0101, "{step}: {moved} after {last}");
        last = moved;
    }
}
