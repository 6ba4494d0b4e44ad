//! Rotary position embedding (Su et al. 2021): each pair of channels (a, b) turns by an angle,
//! (a·cos − b·sin, a·sin + b·cos).

use crate::activation::PARALLEL;
use crate::expect_len;
use crate::pool::{self, Outputs};

/// Which channels form a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Channels 2i and 2i+1: GGUF files of the Llama family, whose query and key rows are permuted.
    Interleaved,
    /// Channels i and i + rotary/2: Hugging Face checkpoints, and Qwen in GGUF.
    HalfSplit,
}

/// Inverse frequencies base^(−2i/rotary), `rotary / 2` of them.
pub fn frequencies(rotary: usize, base: f32) -> Vec<f32> {
    (0..rotary / 2).map(|i| f64::from(base).powf(-2.0 * i as f64 / rotary as f64) as f32).collect()
}

/// Cosine and sine of position × frequency, each positions × frequencies, row-major.
pub fn angles(positions: &[u32], frequencies: &[f32]) -> (Vec<f32>, Vec<f32>) {
    positions
        .iter()
        .flat_map(|&position| frequencies.iter().map(move |&f| f64::from(position) * f64::from(f)))
        .map(|angle| (angle.cos() as f32, angle.sin() as f32))
        .unzip()
}

/// Turns `x` (tokens × heads × head_dim) in place. `cos` and `sin` are tokens × rotary/2; channels
/// from `rotary` on stay as they are.
///
/// # Panics
/// When a length contradicts the shape, or `rotary` is odd or exceeds `head_dim`.
pub fn rope(
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    rotary: usize,
    cos: &[f32],
    sin: &[f32],
    style: Style,
) {
    turn(x, heads, head_dim, rotary, cos, sin, style, false);
}

/// The gradient of [`rope`]: the opposite turn, in place.
///
/// # Panics
/// As [`rope`].
pub fn rope_gradient(
    dy: &mut [f32],
    heads: usize,
    head_dim: usize,
    rotary: usize,
    cos: &[f32],
    sin: &[f32],
    style: Style,
) {
    turn(dy, heads, head_dim, rotary, cos, sin, style, true);
}

#[allow(clippy::too_many_arguments)] // the shape, the tables and two switches; private
fn turn(
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    rotary: usize,
    cos: &[f32],
    sin: &[f32],
    style: Style,
    back: bool,
) {
    assert!(rotary.is_multiple_of(2) && rotary <= head_dim, "rope: {rotary} of {head_dim} channels");
    let width = heads * head_dim;
    if width == 0 || rotary == 0 {
        return;
    }
    let (tokens, half) = (x.len() / width, rotary / 2);
    expect_len("rope input", x.len(), tokens * width);
    expect_len("rope cosines", cos.len(), tokens * half);
    expect_len("rope sines", sin.len(), tokens * half);
    let turned = |a: f32, b: f32, c: f32, s: f32| {
        let s = if back { -s } else { s };
        (a * c - b * s, a * s + b * c)
    };
    let parts = if x.len() < PARALLEL { 1 } else { pool::threads().min(tokens) };
    let x = Outputs::new(x);
    pool::run(parts, &|i| {
        let (from, to) = (tokens * i / parts, tokens * (i + 1) / parts);
        // SAFETY: parts are disjoint ranges of tokens.
        let x = unsafe { x.range(from * width, (to - from) * width) };
        let (cos, sin) = (&cos[from * half..], &sin[from * half..]);
        for ((token, cos), sin) in
            x.chunks_exact_mut(width).zip(cos.chunks_exact(half)).zip(sin.chunks_exact(half))
        {
            for head in token.chunks_exact_mut(head_dim) {
                match style {
                    Style::Interleaved => {
                        for ((pair, &c), &s) in head[..rotary].chunks_exact_mut(2).zip(cos).zip(sin) {
                            (pair[0], pair[1]) = turned(pair[0], pair[1], c, s);
                        }
                    }
                    Style::HalfSplit => {
                        let (first, second) = head[..rotary].split_at_mut(half);
                        for (((a, b), &c), &s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                            (*a, *b) = turned(*a, *b, c, s);
                        }
                    }
                }
            }
        }
    });
}

/// The same in double precision, straight from positions and frequencies.
pub mod naive {
    use super::Style;

    /// See [`super::rope`]; `x` is positions × heads × head_dim, two channels per frequency turn.
    pub fn rope(
        x: &mut [f32],
        heads: usize,
        head_dim: usize,
        positions: &[u32],
        frequencies: &[f32],
        style: Style,
    ) {
        for (token, &position) in positions.iter().enumerate() {
            for head in 0..heads {
                let head = &mut x[(token * heads + head) * head_dim..][..head_dim];
                for (pair, &frequency) in frequencies.iter().enumerate() {
                    let (a, b) = match style {
                        Style::Interleaved => (2 * pair, 2 * pair + 1),
                        Style::HalfSplit => (pair, pair + frequencies.len()),
                    };
                    let (sin, cos) = (f64::from(position) * f64::from(frequency)).sin_cos();
                    let (x, y) = (f64::from(head[a]), f64::from(head[b]));
                    head[a] = (x * cos - y * sin) as f32;
                    head[b] = (x * sin + y * cos) as f32;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_agree_after_permutation_and_turning_back_restores() {
        let (heads, dim, rotary) = (3, 10, 8);
        let x: Vec<f32> = (0..2 * heads * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        let (cos, sin) = angles(&[5, 900], &frequencies(rotary, 10000.0));
        let mut split = x.clone();
        rope(&mut split, heads, dim, rotary, &cos, &sin, Style::HalfSplit);
        // Interleaved sees the same pairs when channel i moves to 2i and i + half to 2i + 1.
        let place = |i: usize| if i < 4 { 2 * i } else { 2 * (i - 4) + 1 };
        let mut woven = x.clone();
        for (from, to) in x.chunks(dim).zip(woven.chunks_mut(dim)) {
            (0..rotary).for_each(|i| to[place(i)] = from[i]);
        }
        rope(&mut woven, heads, dim, rotary, &cos, &sin, Style::Interleaved);
        for (a, b) in split.chunks(dim).zip(woven.chunks(dim)) {
            assert!((0..rotary).all(|i| a[i] == b[place(i)]));
        }
        assert_ne!(split, x);
        rope_gradient(&mut split, heads, dim, rotary, &cos, &sin, Style::HalfSplit);
        assert!(split.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn an_angle_is_position_times_frequency() {
        let (cos, sin) = angles(&[3], &frequencies(4, 100.0));
        assert_eq!(cos, [3f64.cos() as f32, (3.0 * f64::from(0.1f32)).cos() as f32]);
        assert_eq!(sin, [3f64.sin() as f32, (3.0 * f64::from(0.1f32)).sin() as f32]);
    }
    #[test]
    fn both_styles_match_the_twin() {
        for (tokens, heads, dim, rotary) in [(1, 1, 2, 2), (5, 3, 20, 14), (70, 9, 64, 64)] {
            let x: Vec<f32> = (0..tokens * heads * dim).map(|i| (i as f32 * 0.37).sin()).collect();
            let positions: Vec<u32> = (0..tokens as u32).map(|i| i * 131 + 7).collect();
            let frequencies = frequencies(rotary, 10000.0);
            let (cos, sin) = angles(&positions, &frequencies);
            for style in [Style::Interleaved, Style::HalfSplit] {
                let (mut y, mut expected) = (x.clone(), x.clone());
                rope(&mut y, heads, dim, rotary, &cos, &sin, style);
                naive::rope(&mut expected, heads, dim, &positions, &frequencies, style);
                let error = y.iter().zip(&expected).fold(0f32, |e, (a, b)| e.max((a - b).abs()));
                assert!(error < 3e-7, "{style:?} {tokens} tokens: off by {error}");
            }
        }
    }
}
