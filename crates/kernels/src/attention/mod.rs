//! Causal grouped-query attention over a key-value cache.
//!
//! Softmax is taken over the whole row, not tile by tile with rescaling, so [`attention`] is exactly
//! [`scores`], [`pattern`] and [`mix`] in sequence, bit for bit, and a listener can take the parts.

pub mod documents;
mod fused;
pub mod naive;

use crate::{cpu, expect_len};

/// Shape and rules of one attention call. Queries sit at positions `start..start + tokens`.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Query tokens.
    pub tokens: usize,
    /// Position of the first query token; the cache holds at least `start + tokens` positions.
    pub start: usize,
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Positions the cache has room for: head h starts at element h · capacity · head_dim.
    pub capacity: usize,
    /// Factor of the scores, usually 1/√head_dim.
    pub scale: f32,
    /// A query sees at most this many positions, its own included.
    pub window: Option<usize>,
    /// Scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
    /// One learned logit per query head that takes part in the softmax and attends to nothing.
    pub sinks: Option<&'a [f32]>,
    /// Document of each position (at least `start + tokens`): a query sees only its own.
    pub segments: Option<&'a [u32]>,
}

impl<'a> Shape<'a> {
    /// Plain causal attention with scale 1/√head_dim.
    pub fn causal(
        tokens: usize,
        start: usize,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        capacity: usize,
    ) -> Shape<'a> {
        let scale = 1.0 / (head_dim as f32).sqrt();
        Shape {
            tokens,
            start,
            heads,
            kv_heads,
            head_dim,
            capacity,
            scale,
            window: None,
            softcap: None,
            sinks: None,
            segments: None,
        }
    }

    /// Positions a score row covers: `start + tokens`.
    pub fn keys(&self) -> usize {
        self.start + self.tokens
    }

    /// Elements of the queries and of the output: tokens × heads × head_dim.
    pub fn query_len(&self) -> usize {
        self.tokens * self.heads * self.head_dim
    }

    /// Elements of the scores and of the pattern: heads × tokens × [`Shape::keys`].
    pub fn pattern_len(&self) -> usize {
        self.heads * self.tokens * self.keys()
    }

    fn check(&self) {
        assert!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            "attention: {} query heads over {} key-value heads",
            self.heads,
            self.kv_heads
        );
        assert!(
            self.keys() <= self.capacity,
            "attention: {} positions, room for {}",
            self.keys(),
            self.capacity
        );
        if let Some(sinks) = self.sinks {
            expect_len("attention sinks", sinks.len(), self.heads);
        }
        if let Some(segments) = self.segments {
            assert!(
                segments.len() >= self.keys(),
                "attention: {} segment ids for {} positions",
                segments.len(),
                self.keys()
            );
        }
    }

    fn check_cache(&self, what: &str, cache: &[f32]) {
        expect_len(what, cache.len(), self.kv_heads * self.capacity * self.head_dim);
    }

    /// Whether the query at `position` sees `key`.
    pub fn sees(&self, position: usize, key: usize) -> bool {
        key <= position
            && self.window.is_none_or(|window| position - key < window)
            && self.segments.is_none_or(|s| s[position] == s[key])
    }
}

/// Attention output (tokens × heads × head_dim) of `queries` (same shape) over `keys` and `values`
/// (kv_heads × capacity × head_dim each, the current tokens already appended).
///
/// # Panics
/// When a length contradicts the shape.
pub fn attention(shape: &Shape, queries: &[f32], keys: &[f32], values: &[f32], out: &mut [f32]) {
    shape.check();
    shape.check_cache("attention keys", keys);
    shape.check_cache("attention values", values);
    expect_len("attention queries", queries.len(), shape.query_len());
    expect_len("attention output", out.len(), shape.query_len());
    fused::attention(cpu::level(), shape, queries, keys, values, out);
}

/// First part: scaled (and capped) scores, heads × tokens × [`Shape::keys`]; −∞ where a query may not
/// look.
///
/// # Panics
/// When a length contradicts the shape.
pub fn scores(shape: &Shape, queries: &[f32], keys: &[f32], out: &mut [f32]) {
    shape.check();
    shape.check_cache("attention keys", keys);
    expect_len("attention queries", queries.len(), shape.query_len());
    expect_len("attention scores", out.len(), shape.pattern_len());
    fused::scores(cpu::level(), shape, queries, keys, out);
}

/// Second part: softmax of each score row, in place, with the sink's share left out.
///
/// # Panics
/// When a length contradicts the shape.
pub fn pattern(shape: &Shape, scores: &mut [f32]) {
    shape.check();
    expect_len("attention scores", scores.len(), shape.pattern_len());
    fused::pattern(cpu::level(), shape, scores);
}

/// Third part: the pattern-weighted sum of values, tokens × heads × head_dim.
///
/// # Panics
/// When a length contradicts the shape.
pub fn mix(shape: &Shape, pattern: &[f32], values: &[f32], out: &mut [f32]) {
    shape.check();
    shape.check_cache("attention values", values);
    expect_len("attention pattern", pattern.len(), shape.pattern_len());
    expect_len("attention output", out.len(), shape.query_len());
    fused::mix(cpu::level(), shape, pattern, values, out);
}

#[cfg(test)]
mod tests;
