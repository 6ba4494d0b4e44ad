//! Odd shapes and every rule at every level against the twin; the whole against its parts; chunks.
use super::*;
use crate::cpu::Level;
use crate::pool;

fn floats(count: usize, phase: f32) -> Vec<f32> {
    (0..count).map(|i| ((i as f32 * 1.37 + phase).sin() * 43.7).fract() * 2.0).collect()
}

/// Shapes with every rule on and off.
fn each(mut check: impl FnMut(&Shape)) {
    let sinks = floats(6, 0.3);
    let segments: Vec<u32> = (0..60).map(|i| i / 13).collect();
    for (tokens, start, kv_heads, head_dim) in
        [(1, 0, 6, 8), (1, 40, 2, 64), (19, 0, 3, 64), (21, 30, 1, 20), (9, 17, 2, 80)]
    {
        for rules in 0..16 {
            let mut shape = Shape::causal(tokens, start, 6, kv_heads, head_dim, 60);
            shape.window = (rules & 1 != 0).then_some(11);
            shape.softcap = (rules & 2 != 0).then_some(5.0);
            shape.sinks = (rules & 4 != 0).then_some(&sinks);
            shape.segments = (rules & 8 != 0).then_some(&segments);
            check(&shape);
        }
    }
}

fn inputs(shape: &Shape) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let cache = shape.kv_heads * shape.capacity * shape.head_dim;
    (floats(shape.query_len(), 0.1), floats(cache, 0.2), floats(cache, 0.7))
}

#[test]
fn every_level_matches_the_twin_and_the_whole_its_parts() {
    each(|shape| {
        let (q, k, v) = inputs(shape);
        let (mut rows, mut expected) = (vec![0.0; shape.pattern_len()], vec![0.0; q.len()]);
        naive::scores(shape, &q, &k, &mut rows);
        naive::pattern(shape, &mut rows);
        naive::mix(shape, &rows, &v, &mut expected);
        for level in Level::available() {
            let (mut whole, mut parts) = (vec![f32::NAN; q.len()], vec![f32::NAN; q.len()]);
            fused::attention(level, shape, &q, &k, &v, &mut whole);
            let error = whole.iter().zip(&expected).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
            assert!(error < 1e-5, "{level:?} {shape:?}: off by {error}");
            let mut rows = vec![f32::NAN; shape.pattern_len()];
            fused::scores(level, shape, &q, &k, &mut rows);
            fused::pattern(level, shape, &mut rows);
            fused::mix(level, shape, &rows, &v, &mut parts);
            assert_eq!(whole, parts, "{level:?} {shape:?}: parts");
        }
    });
}

#[test]
fn bits_do_not_depend_on_chunks() {
    each(|shape| {
        let (q, k, v) = inputs(shape);
        let width = shape.heads * shape.head_dim;
        for level in Level::available() {
            let (mut whole, mut cut) = (vec![0.0; q.len()], vec![0.0; q.len()]);
            fused::attention(level, shape, &q, &k, &v, &mut whole);
            for at in (0..shape.tokens).step_by(4) {
                let tokens = 4.min(shape.tokens - at);
                let chunk = Shape { tokens, start: shape.start + at, ..*shape };
                let range = at * width..(at + tokens) * width;
                fused::attention(level, &chunk, &q[range.clone()], &k, &v, &mut cut[range]);
            }
            assert_eq!(whole, cut, "{level:?} {shape:?}");
        }
    });
}

#[test]
fn bits_do_not_depend_on_threads() {
    each(|shape| {
        let (q, k, v) = inputs(shape);
        let level = Level::best();
        let run = || {
            let mut out = vec![f32::NAN; q.len()];
            fused::attention(level, shape, &q, &k, &v, &mut out);
            out
        };
        let expected = run();
        for threads in [1, 2, 3, 7] {
            pool::set_threads(threads);
            assert_eq!(run(), expected, "{threads} threads: {shape:?}");
        }
        pool::set_threads(0);
    });
}

#[test]
fn any_pattern_mixes() {
    each(|shape| {
        let (_, _, v) = inputs(shape);
        let rows = floats(shape.pattern_len(), 0.9);
        let mut expected = vec![0.0; shape.query_len()];
        naive::mix(shape, &rows, &v, &mut expected);
        for level in Level::available() {
            let mut out = vec![f32::NAN; expected.len()];
            fused::mix(level, shape, &rows, &v, &mut out);
            let error = out.iter().zip(&expected).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
            assert!(error < 1e-4, "{level:?} {shape:?}: off by {error}");
        }
    });
}
