//! Documents, rules and odd shapes at every level against the twin, and the twin against differences.
use super::super::naive;
use super::*;
use crate::linear::tests::floats;

fn each(mut check: impl FnMut(&Documents)) {
    let cases: [(usize, &[usize], usize, usize, usize); 8] = [
        (1, &[0], 1, 1, 8),
        (19, &[0, 1, 7], 4, 2, 5),
        (130, &[0], 2, 1, 16),
        (200, &[0, 64, 130, 131], 3, 3, 20),
        (65, &[0], 6, 2, 64),
        (0, &[], 2, 1, 4),
        (150, &[0, 3], 2, 1, 100), // more channels than a tile is wide
        (1150, &[0, 30], 2, 1, 4), // more than the keys of a block
    ];
    for (tokens, starts, heads, kv_heads, head_dim) in cases {
        for rules in 0..4 {
            let mut shape = Documents::causal(tokens, starts, heads, kv_heads, head_dim);
            shape.scale *= if tokens == 150 { 1.0 } else { 3.0 }; // often far from uniform weights
            shape.window = (rules & 1 != 0).then_some(11);
            shape.softcap = (rules & 2 != 0).then_some(2.0);
            check(&shape);
        }
    }
}

fn inputs(shape: &Documents) -> [Vec<f32>; 4] {
    let (queries, keys) = (shape.query_len(), shape.key_len());
    [floats(queries, 1), floats(keys, 2), floats(keys, 3), floats(queries, 4)]
}

/// Output and gradients.
fn run(level: Level, shape: &Documents) -> [Vec<f32>; 4] {
    let [q, k, v, dy] = inputs(shape);
    let mut all = [&q, &q, &k, &v].map(|like| vec![f32::NAN; like.len()]);
    let [y, dq, dk, dv] = &mut all;
    let mut kept = vec![f32::NAN; rescaling_len(shape)];
    forward_at(level, shape, &q, &k, &v, y, &mut kept);
    backward_at(level, shape, &q, &k, &v, y, &kept, &dy, dq, dk, dv);
    all
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0f32, |e, (a, b)| if a.is_finite() { e.max((a - b).abs()) } else { f32::INFINITY })
}

#[test]
fn every_level_matches_the_twin() {
    each(|shape| {
        let [q, k, v, dy] = inputs(shape);
        let mut y = vec![0.0; q.len()];
        naive::documents_forward(shape, &q, &k, &v, &mut y);
        let [dq, dk, dv] = naive::documents_backward(shape, &q, &k, &v, &dy);
        for precision in [Precision::F32, Precision::BF16] {
            let shape = Documents { precision, ..*shape };
            let bound = if precision == Precision::F32 { 2e-5 } else { 0.15 };
            for level in Level::available() {
                for (what, (got, expected)) in
                    ["y", "dq", "dk", "dv"].iter().zip(run(level, &shape).iter().zip([&y, &dq, &dk, &dv]))
                {
                    let error = worst(got, expected);
                    assert!(error <= bound, "{level:?} {shape:?} {what}: off by {error}");
                }
            }
        }
    });
}

/// The loss Σ dy · y by central differences, in double precision throughout.
#[test]
fn the_twin_is_the_difference_of_losses() {
    for rules in 0..4 {
        let mut shape = Documents::causal(9, &[0, 4], 4, 2, 3);
        shape.window = (rules & 1 != 0).then_some(3);
        shape.softcap = (rules & 2 != 0).then_some(1.0);
        let [q, k, v, dy] = inputs(&shape);
        let gradients = naive::documents_backward(&shape, &q, &k, &v, &dy);
        let loss = |inputs: &[Vec<f32>; 3]| -> f64 {
            let mut y = vec![0.0; q.len()];
            naive::documents_forward(&shape, &inputs[0], &inputs[1], &inputs[2], &mut y);
            y.iter().zip(&dy).map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum()
        };
        for (which, gradient) in gradients.iter().enumerate() {
            for (at, &expected) in gradient.iter().enumerate() {
                let moved = |by: f32| {
                    let mut inputs = [q.clone(), k.clone(), v.clone()];
                    inputs[which][at] += by;
                    (loss(&inputs), f64::from(inputs[which][at]))
                };
                let (above, below) = (moved(0.01), moved(-0.01));
                let slope = (above.0 - below.0) / (above.1 - below.1);
                assert!((slope - f64::from(expected)).abs() < 2e-4, "{which} at {at}: {expected}, {slope}");
            }
        }
    }
}

#[test]
fn a_document_has_the_bits_it_has_alone_with_any_threads() {
    for precision in [Precision::F32, Precision::BF16] {
        let shape = Documents { precision, ..Documents::causal(200, &[0, 64, 130, 131], 4, 2, 16) };
        alone_with_any_threads(shape);
    }
}

fn alone_with_any_threads(shape: Documents) {
    let whole = run(Level::best(), &shape);
    for threads in [1, 3] {
        pool::set_threads(threads);
        assert_eq!(run(Level::best(), &shape), whole, "{threads} threads");
    }
    pool::set_threads(0);
    let [q, k, v, dy] = inputs(&shape);
    for document in ranges(shape.starts, shape.tokens) {
        let alone = Documents { tokens: document.len(), starts: &[0], ..shape };
        let cut = |values: &[f32], heads: usize| {
            values[document.start * heads * 16..document.end * heads * 16].to_vec()
        };
        let (q, k, v, dy) = (cut(&q, 4), cut(&k, 2), cut(&v, 2), cut(&dy, 4));
        let mut got = [&q, &q, &k, &v].map(|like| vec![f32::NAN; like.len()]);
        let [y, dq, dk, dv] = &mut got;
        let mut kept = vec![f32::NAN; rescaling_len(&alone)];
        forward(&alone, &q, &k, &v, y, &mut kept);
        backward(&alone, &q, &k, &v, y, &kept, &dy, dq, dk, dv);
        for ((got, whole), heads) in got.iter().zip(&whole).zip([4, 4, 2, 2]) {
            assert_eq!(*got, cut(whole, heads), "{document:?}");
        }
    }
}

#[test]
#[should_panic(expected = "must ascend")]
fn starts_are_checked() {
    let shape = Documents::causal(2, &[0, 2], 1, 1, 1);
    forward(&shape, &[0.0; 2], &[0.0; 2], &[0.0; 2], &mut [0.0; 2], &mut [0.0; 4]);
}
