//! Chunks, documents, splits and steps at every level against the scan; the scan against differences.
use super::*;
use crate::linear::tests::floats;

struct Case {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    g: Vec<f32>,
    beta: Vec<f32>,
    initial: Vec<f32>,
    dout: Vec<f32>,
    dlast: Vec<f32>,
}

/// Keys and queries of length 1, decays from hardly any to all at once, strengths up to 2.
fn case(shape: &Shape) -> Case {
    let rows = shape.tokens * shape.heads;
    let unit = |seed| {
        let mut values = floats(rows * shape.key_dim, seed);
        for row in values.chunks_exact_mut(shape.key_dim) {
            let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row.iter_mut().for_each(|v| *v /= length);
        }
        values
    };
    let decay = |(i, v): (usize, f32)| match i % 17 {
        16 => -80.0,
        8 => 0.0,
        _ => -(v + 1.0).powi(3),
    };
    Case {
        q: unit(1),
        k: unit(2),
        v: floats(rows * shape.value_dim, 3),
        g: floats(rows, 4).into_iter().enumerate().map(decay).collect(),
        beta: floats(rows, 5).into_iter().map(|v| v + 1.0).collect(),
        initial: floats(shape.state_len(), 6),
        dout: floats(rows * shape.value_dim, 7),
        dlast: floats(shape.state_len(), 8),
    }
}

impl Case {
    fn inputs(&self) -> Inputs<'_> {
        Inputs { q: &self.q, k: &self.k, v: &self.v, g: &self.g, beta: &self.beta }
    }
}

const SHAPES: [Shape; 6] = [
    Shape { tokens: 1, starts: &[0], heads: 1, key_dim: 1, value_dim: 1, scale: 1.0 },
    Shape { tokens: 31, starts: &[0], heads: 2, key_dim: 5, value_dim: 3, scale: 0.5 },
    Shape { tokens: 64, starts: &[0], heads: 1, key_dim: 16, value_dim: 16, scale: 0.25 },
    Shape { tokens: 100, starts: &[0, 1, 33, 65], heads: 3, key_dim: 8, value_dim: 20, scale: 0.3 },
    Shape { tokens: 97, starts: &[0, 40], heads: 2, key_dim: 64, value_dim: 64, scale: 0.125 },
    Shape { tokens: 33, starts: &[0], heads: 1, key_dim: 20, value_dim: 80, scale: 0.2 },
];

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

#[track_caller]
fn near(what: &str, got: &[f32], expected: &[f64], bound: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1f64, |size, v| size.max(v.abs()));
    for (i, (&a, &b)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(a) - b).abs() <= bound * size, "{what} at {i}: {a} not {b}");
    }
}

/// Outputs, last states; gradients of q, k, v, g, beta and the initial states.
fn run(level: Level, shape: &Shape, case: &Case, states: bool) -> Vec<Vec<f32>> {
    let nan = |like: &[f32]| vec![f32::NAN; like.len()];
    let initial = states.then_some(&case.initial[..]);
    let dlast = states.then_some(&case.dlast[..]);
    let (mut out, mut last) = (nan(&case.dout), nan(&case.dlast));
    forward_at(level, shape, &case.inputs(), initial, &mut out, Some(&mut last));
    let mut all = [&case.q, &case.k, &case.v, &case.g, &case.beta].map(|like| nan(like));
    let mut dinitial = nan(&case.initial);
    let [q, k, v, g, beta] = &mut all;
    let mut gradients = Gradients { q, k, v, g, beta };
    backward_at(
        level,
        shape,
        &case.inputs(),
        initial,
        &case.dout,
        dlast,
        &mut gradients,
        Some(&mut dinitial),
    );
    [out, last].into_iter().chain(all).chain([dinitial]).collect()
}

#[test]
fn every_level_matches_the_scan_with_and_without_states() {
    for shape in &SHAPES {
        let case = case(shape);
        for states in [false, true] {
            let initial = states.then_some(&case.initial[..]);
            let values = naive::Values::new(shape, &case.inputs(), initial);
            let (out, last) = naive::forward(shape, &values);
            let double = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let dlast = if states { double(&case.dlast) } else { vec![0.0; case.dlast.len()] };
            let d = naive::backward(shape, &values, &double(&case.dout), &dlast);
            let expected = [&out, &last, &d.q, &d.k, &d.v, &d.g, &d.beta, &d.state];
            for level in Level::available() {
                let names = ["out", "last", "dq", "dk", "dv", "dg", "dbeta", "dinitial"];
                for ((name, got), expected) in
                    names.iter().zip(run(level, shape, &case, states)).zip(expected)
                {
                    near(&format!("{level:?} {shape:?} {name}"), &got, expected, 3e-5);
                }
            }
        }
    }
}

#[test]
fn the_scan_is_the_difference_of_losses() {
    let shape = Shape { tokens: 7, starts: &[0, 3], heads: 2, key_dim: 3, value_dim: 2, scale: 0.7 };
    let case = case(&shape);
    let values = naive::Values::new(&shape, &case.inputs(), Some(&case.initial));
    let double = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let (dout, dlast) = (double(&case.dout), double(&case.dlast));
    let loss = |values: &naive::Values| -> f64 {
        let (out, last) = naive::forward(&shape, values);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(&out, &dout) + dot(&last, &dlast)
    };
    let d = naive::backward(&shape, &values, &dout, &dlast);
    type Field = fn(&mut naive::Values) -> &mut Vec<f64>;
    let fields: [(&str, Field); 6] = [
        ("q", |v| &mut v.q),
        ("k", |v| &mut v.k),
        ("v", |v| &mut v.v),
        ("g", |v| &mut v.g),
        ("beta", |v| &mut v.beta),
        ("state", |v| &mut v.state),
    ];
    for (name, field) in fields {
        for at in 0..field(&mut values.clone()).len() {
            let moved = |by: f64| {
                let mut values = values.clone();
                field(&mut values)[at] += by;
                loss(&values)
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            let expected = field(&mut d.clone())[at];
            assert!((slope - expected).abs() < 1e-6, "{name} at {at}: {expected} not {slope}");
        }
    }
}

#[test]
fn any_split_into_chunks_and_steps_gives_the_whole() {
    let shape = Shape { tokens: 90, starts: &[0], heads: 2, key_dim: 16, value_dim: 20, scale: 0.25 };
    let case = case(&shape);
    for level in Level::available() {
        let whole = run(level, &shape, &case, true);
        let mut cuts: Vec<Vec<usize>> =
            vec![vec![90], vec![32, 64, 90], vec![1, 50, 51, 90], (1..=90).collect()];
        cuts.push(vec![45, 90]);
        for cuts in cuts {
            let (mut state, mut out) = (case.initial.clone(), Vec::new());
            let mut start = 0;
            for &end in &cuts {
                let part = Shape { tokens: end - start, ..shape };
                let cut = |values: &[f32], dim: usize| values[start * 2 * dim..end * 2 * dim].to_vec();
                let (q, k, v) = (cut(&case.q, 16), cut(&case.k, 16), cut(&case.v, 20));
                let (g, beta) = (cut(&case.g, 1), cut(&case.beta, 1));
                let inputs = Inputs { q: &q, k: &k, v: &v, g: &g, beta: &beta };
                let mut y = vec![f32::NAN; v.len()];
                if part.tokens == 1 {
                    step_at(level, &part, &inputs, &mut state, &mut y);
                } else {
                    let before = state.clone();
                    forward_at(level, &part, &inputs, Some(&before), &mut y, Some(&mut state));
                }
                out.extend(y);
                start = end;
            }
            let double = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            near(&format!("{level:?} {cuts:?} out"), &out, &double(&whole[0]), 1e-5);
            near(&format!("{level:?} {cuts:?} state"), &state, &double(&whole[1]), 1e-5);
        }
    }
}

#[test]
fn a_document_has_the_bits_it_has_alone_with_any_threads() {
    let shape = SHAPES[3];
    let case = case(&shape);
    let whole = run(Level::best(), &shape, &case, true);
    for threads in [1, 3] {
        pool::set_threads(threads);
        assert_eq!(run(Level::best(), &shape, &case, true), whole, "{threads} threads");
    }
    pool::set_threads(0);
    // The second document, tokens 1..33.
    let cut = |values: &[f32], dim: usize| values[3 * dim..99 * dim].to_vec();
    let state = |values: &[f32]| values[3 * 160..6 * 160].to_vec();
    let alone = Case {
        q: cut(&case.q, 8),
        k: cut(&case.k, 8),
        v: cut(&case.v, 20),
        g: cut(&case.g, 1),
        beta: cut(&case.beta, 1),
        initial: state(&case.initial),
        dout: cut(&case.dout, 20),
        dlast: state(&case.dlast),
    };
    let got = run(Level::best(), &Shape { tokens: 32, starts: &[0], ..shape }, &alone, true);
    for (which, (got, dim)) in got.iter().zip([20, 0, 8, 8, 20, 1, 1, 0]).enumerate() {
        let expected = if dim == 0 { state(&whole[which]) } else { cut(&whole[which], dim) };
        assert_eq!(*got, expected, "{which}");
    }
}

#[test]
fn an_infinite_decay_forgets_everything() {
    let shape = Shape { tokens: 2, starts: &[0], heads: 1, key_dim: 1, value_dim: 1, scale: 1.0 };
    let g = [0.0, f32::NEG_INFINITY];
    let inputs = Inputs { q: &[1.0; 2], k: &[1.0; 2], v: &[5.0, 3.0], g: &g, beta: &[1.0, 0.5] };
    let mut out = [f32::NAN; 2];
    forward(&shape, &inputs, Some(&[9.0]), &mut out, None);
    assert_eq!(out, [5.0, 1.5]);
    let scan = naive::forward(&shape, &naive::Values::new(&shape, &inputs, Some(&[9.0])));
    assert_eq!(single(&scan.0), out);
}
