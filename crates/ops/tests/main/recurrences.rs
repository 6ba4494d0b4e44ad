//! Recurrences with a state: against the recurrence written token by token, over any split, and what they refuse.

use burn::tensor::Tensor;
use ops::{Documents, reference, values_of};

use crate::cases::delta_inputs;
use crate::{close, random};

const HEADS: usize = 2;
const KEYS: usize = 12;
const VALUES: usize = 9;

/// The rule as it is written, in double precision: outputs and the last state.
fn by_token(inputs: &[Tensor<2>], heads: usize, keys: usize, values: usize) -> (Vec<f32>, Vec<f32>) {
    let [q, k, v, g, beta] = [0, 1, 2, 3, 4].map(|i| {
        let input: Vec<f64> = values_of(inputs[i].clone()).into_iter().map(f64::from).collect();
        input
    });
    let mut state = vec![0f64; heads * keys * values];
    let mut y = Vec::new();
    for row in 0..g.len() {
        let state = &mut state[row % heads * keys * values..][..keys * values];
        let (q, k) = (&q[row * keys..][..keys], &k[row * keys..][..keys]);
        state.iter_mut().for_each(|s| *s *= g[row].exp());
        for j in 0..values {
            let held: f64 = (0..keys).map(|i| k[i] * state[i * values + j]).sum();
            let written = beta[row] * (v[row * values + j] - held);
            (0..keys).for_each(|i| state[i * values + j] += k[i] * written);
            let read: f64 = (0..keys).map(|i| q[i] * state[i * values + j]).sum();
            y.push((read / (keys as f64).sqrt()) as f32);
        }
    }
    (y, state.into_iter().map(|s| s as f32).collect())
}

fn delta_split(inputs: &[Tensor<2>], cuts: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let (mut y, mut state) = (Vec::new(), None);
    for cut in cuts.windows(2) {
        let part = |i: usize| inputs[i].clone().slice(cut[0]..cut[1]);
        let before = state.as_ref().map(|state: &Tensor<3>| values_of(state.clone()));
        let snapshot = state.clone();
        let (part, after) =
            ops::delta_rule_step(part(0), part(1), part(2), part(3), part(4), HEADS, state).unwrap();
        assert!(before == snapshot.map(values_of), "the state handed in has changed");
        y.extend(values_of(part));
        state = Some(after);
    }
    (y, values_of(state.unwrap()))
}

#[test]
fn any_split_gives_equal_outputs_and_states() {
    let tokens = 75;
    for (body, most) in [("kernel", 1.0), ("kernel", 2.0), ("composed", 1.0), ("composed", 2.0)] {
        let inputs = delta_inputs(tokens, HEADS, KEYS, VALUES, most);
        let (y, state) = by_token(&inputs, HEADS, KEYS, VALUES);
        let steps: Vec<usize> = (0..=tokens).collect();
        let check = || {
            let [q, k, v, g, beta] = [0, 1, 2, 3, 4].map(|i| inputs[i].clone());
            let whole = ops::delta_rule(q, k, v, g, beta, HEADS, &Documents::single(tokens));
            close(body, &values_of(whole), &y, 1e-5);
            for cuts in [&steps[..], &[0, tokens], &[0, 1, 33, 34, 70, tokens], &[0, 32, 64, tokens]] {
                let (got, last) = delta_split(&inputs, cuts);
                close(&format!("{body}, outputs cut at {cuts:?}"), &got, &y, 1e-5);
                close(&format!("{body}, state cut at {cuts:?}"), &last, &state, 1e-5);
            }
        };
        if body == "kernel" { check() } else { reference::only(check) }
    }
}

#[test]
fn repeated_keys_stay_exact() {
    // The same key throughout and full strength: powers of the coupling would overflow what cancels.
    let tokens = 64;
    let mut inputs = delta_inputs(tokens, 1, 4, 3, 2.0);
    inputs[1] = inputs[1].clone().slice(0..1).repeat_dim(0, tokens);
    inputs[3] = Tensor::zeros([tokens, 1], &inputs[3].device());
    inputs[4] = Tensor::ones([tokens, 1], &inputs[4].device()) * 1.9;
    let (y, _) = by_token(&inputs, 1, 4, 3);
    let run = || {
        let [q, k, v, g, beta] = [0, 1, 2, 3, 4].map(|i| inputs[i].clone());
        values_of(ops::delta_rule(q, k, v, g, beta, 1, &Documents::single(tokens)))
    };
    close("kernel", &run(), &y, 1e-4);
    close("composed", &reference::only(run), &y, 1e-4);
}

#[test]
fn any_split_of_a_convolution_gives_the_same_bits() {
    for taps in [1, 2, 4] {
        let (x, weight) = (random(1, [23, 17]), random(2, [17, taps]));
        let whole = values_of(ops::short_conv(x.clone(), weight.clone(), &Documents::single(23)));
        for cuts in [vec![0, 23], vec![0, 1, 2, 3, 11, 23], (0..=23).collect()] {
            let mut past = Tensor::zeros([taps - 1, 17], &x.device());
            let mut y = Vec::new();
            for cut in cuts.windows(2) {
                let part = x.clone().slice(cut[0]..cut[1]);
                let (part, after) = ops::short_conv_step(part, weight.clone(), past).unwrap();
                y.extend(values_of(part));
                past = after;
            }
            assert!(y == whole, "{taps} taps, cut at {cuts:?}");
            let kept = x.clone().slice(23 - (taps - 1)..23);
            assert!(taps == 1 || values_of(past) == values_of(kept));
        }
    }
}

#[test]
fn a_remembered_state_refuses_tracked_tensors() {
    let inputs = delta_inputs(2, HEADS, KEYS, VALUES, 1.0);
    for tracked in 0..5 {
        let [q, k, v, g, beta] = [0, 1, 2, 3, 4].map(|i| {
            let x = inputs[i].clone();
            if i == tracked { x.autodiff().require_grad() } else { x }
        });
        assert!(ops::delta_rule_step(q, k, v, g, beta, HEADS, None).is_err());
    }
    let (x, past) = (random(1, [2, 3]).autodiff().require_grad(), random(2, [1, 3]));
    assert!(ops::short_conv_step(x, random(3, [3, 2]), past).is_err());
}
