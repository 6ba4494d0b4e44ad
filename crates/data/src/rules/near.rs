//! Near-duplicates: MinHash bands propose pairs, exact Jaccard confirms them, figures protect, a star decides.
//!
//! Broder 1997 (MinHash), Leskovec et al. *Mining of Massive Datasets* ch. 3 (banding). A document is removed only
//! in favour of one kept document it was itself compared with, never through a chain.

use std::collections::HashSet;

use crate::{
    NearConfig,
    figures::Figures,
    tokens::{mix, ngrams},
};

/// Buckets up to this size are compared pair by pair; larger ones with their best members only.
const SMALL_BUCKET: usize = 48;

/// In a large bucket: how many of the best members, of those with the same figures, and of the nearest in rank.
const BEST: usize = 8;

/// Hash functions of the signatures.
pub struct Signer {
    factors: Vec<u32>,
    offsets: Vec<u32>,
    rows: usize,
    shingle: usize,
}

impl Signer {
    /// Hash functions for a configuration: `bands × rows` of them, drawn from its seed.
    pub fn new(config: &NearConfig) -> Self {
        let draw = |stream: u64, i: u64| mix(config.seed ^ mix(stream << 32 | i)) as u32;
        let count = (config.bands * config.rows) as u64;
        Self {
            factors: (0..count).map(|i| draw(1, i) | 1).collect(),
            offsets: (0..count).map(|i| draw(2, i)).collect(),
            rows: config.rows,
            shingle: config.shingle,
        }
    }

    /// One key per band; empty for a document without tokens. `content`: token hashes in order.
    pub(crate) fn bands(&self, content: &[u64]) -> Vec<u64> {
        if content.is_empty() {
            return Vec::new();
        }
        let mut least = vec![u32::MAX; self.factors.len()];
        for shingle in ngrams(content, self.shingle) {
            let x = (shingle >> 32) as u32;
            for ((slot, factor), offset) in least.iter_mut().zip(&self.factors).zip(&self.offsets) {
                *slot = (*slot).min(x.wrapping_mul(*factor).wrapping_add(*offset));
            }
        }
        let key = |rows: &[u32]| rows.iter().fold(0, |h: u64, v| mix(h.rotate_left(11) ^ u64::from(*v)));
        least.chunks(self.rows).map(key).collect()
    }
}

/// The set of shingles of a document, sorted.
pub(crate) fn shingles(content: &[u64], n: usize) -> Vec<u64> {
    let mut set: Vec<u64> = ngrams(content, n).collect();
    set.sort_unstable();
    set.dedup();
    set
}

/// Exact Jaccard similarity of two sorted sets; 0 if one is empty.
pub(crate) fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut both) = (0, 0, 0_usize);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        both += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    both as f64 / (a.len() + b.len() - both) as f64
}

/// What ranking and bucketing need of a document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch {
    /// Band keys; empty: the document takes no part.
    pub(crate) bands: Vec<u64>,
    /// Number of figures, and one hash of them.
    pub(crate) figures: (u32, u64),
    /// Length of the text in bytes.
    pub(crate) bytes: u32,
}

/// Documents from the best to the worst: more figures first (so that no figure is lost), then longer, then earlier.
pub(crate) fn ranked(sketches: &[Sketch]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..sketches.len() as u32).collect();
    order.sort_by_key(|&i| {
        let sketch = &sketches[i as usize];
        (std::cmp::Reverse((sketch.figures.0, sketch.bytes)), i)
    });
    order
}

/// Candidate pairs as positions in `order`, better first, sorted; and how many buckets were too large to compare
/// every pair.
pub(crate) fn candidates(sketches: &[Sketch], order: &[u32], bands: usize) -> (Vec<(u32, u32)>, usize) {
    let mut pairs = HashSet::new();
    let mut capped = 0;
    let mut keyed: Vec<(u64, u32)> = Vec::new();
    for band in 0..bands {
        keyed.clear();
        for (position, document) in order.iter().enumerate() {
            if let Some(key) = sketches[*document as usize].bands.get(band) {
                keyed.push((*key, position as u32));
            }
        }
        keyed.sort_unstable();
        for bucket in keyed.chunk_by(|a, b| a.0 == b.0).filter(|b| b.len() > 1) {
            let large = bucket.len() > SMALL_BUCKET;
            capped += usize::from(large);
            for (i, (_, worse)) in bucket.iter().enumerate() {
                let figures = |p: u32| sketches[order[p as usize] as usize].figures;
                let earlier = &bucket[..i];
                let chosen: Vec<u32> = if large {
                    let best = earlier.iter().take(BEST);
                    let alike = earlier.iter().filter(|(_, p)| figures(*p) == figures(*worse)).take(BEST);
                    best.chain(alike).chain(earlier.iter().rev().take(BEST)).map(|(_, p)| *p).collect()
                } else {
                    earlier.iter().map(|(_, p)| *p).collect()
                };
                pairs.extend(chosen.into_iter().map(|better| (better, *worse)));
            }
        }
    }
    let mut pairs: Vec<(u32, u32)> = pairs.into_iter().collect();
    pairs.sort_unstable();
    (pairs, capped)
}

/// A pair at or above the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Confirmed {
    /// Position of the better document.
    pub(crate) better: u32,
    /// Position of the other.
    pub(crate) worse: u32,
    /// Exact Jaccard similarity.
    pub(crate) jaccard: f64,
    /// Whether the better document holds every figure of the other.
    pub(crate) covered: bool,
}

/// Compares a pair.
pub(crate) fn confirm(
    pair: (u32, u32),
    sets: (&[u64], &[u64]),
    figures: (&Figures, &Figures),
    threshold: f64,
) -> Option<Confirmed> {
    let (better, worse) = pair;
    // Two sets of unlike size cannot reach the threshold.
    let (small, large) = (sets.0.len().min(sets.1.len()), sets.0.len().max(sets.1.len()));
    if (small as f64) < threshold * large as f64 {
        return None;
    }
    let jaccard = jaccard(sets.0, sets.1);
    (jaccard >= threshold).then(|| Confirmed { better, worse, jaccard, covered: figures.0.cover(figures.1) })
}

/// What becomes of a document that has a near-duplicate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It goes; the pair names the document that stays.
    Removed(Confirmed),
    /// It stays because it has figures of its own.
    Protected(Confirmed),
}

/// Decides from the best document to the worst: one goes if a *kept* document covers it.
pub(crate) fn star(documents: usize, confirmed: &[Confirmed]) -> Vec<Option<Fate>> {
    let mut fates: Vec<Option<Fate>> = vec![None; documents];
    let mut by_worse: Vec<&Confirmed> = confirmed.iter().collect();
    by_worse.sort_by_key(|c| (c.worse, c.better));
    for group in by_worse.chunk_by(|a, b| a.worse == b.worse) {
        let kept = |c: &&&Confirmed| !matches!(fates[c.better as usize], Some(Fate::Removed(_)));
        let best =
            |a: &&&Confirmed, b: &&&Confirmed| a.jaccard.total_cmp(&b.jaccard).then(b.better.cmp(&a.better));
        let covering = group.iter().filter(kept).filter(|c| c.covered).max_by(best);
        let fate = match covering {
            Some(pair) => Some(Fate::Removed(**pair)),
            None => group.iter().filter(kept).max_by(best).map(|pair| Fate::Protected(**pair)),
        };
        if let Some(first) = group.first() {
            fates[first.worse as usize] = fate;
        }
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figures::figures, tokens::content_hashes};

    #[test]
    fn jaccard_of_known_sets() {
        assert_eq!(jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
        assert_eq!(jaccard(&[1], &[1]), 1.0);
        assert_eq!(jaccard(&[], &[1]), 0.0);
    }

    #[test]
    fn the_s_curve_holds() {
        // Random sets of known similarity: the share of pairs that meet in a band follows 1 − (1 − s^r)^b.
        let config = NearConfig { shingle: 1, ..NearConfig::default() };
        let signer = Signer::new(&config);
        for s in [0.5_f64, 0.7, 0.8, 0.9] {
            let (size, trials) = (400_u64, 300_u64);
            let shared = (2.0 * size as f64 * s / (1.0 + s)).round() as u64;
            let mut met = 0;
            for trial in 0..trials {
                let set = |own: u64| -> Vec<u64> {
                    let common = (0..shared).map(|i| mix(trial << 40 | i));
                    common.chain((shared..size).map(|i| mix(trial << 40 | own << 32 | i))).collect()
                };
                let (a, b) = (signer.bands(&set(1)), signer.bands(&set(2)));
                met += u64::from(a.iter().zip(&b).any(|(x, y)| x == y));
            }
            let expected = 1.0 - (1.0 - s.powi(config.rows as i32)).powi(config.bands as i32);
            let observed = met as f64 / trials as f64;
            assert!(
                (observed - expected).abs() < 0.09,
                "similarity {s}: observed {observed}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_chain_removes_only_what_was_compared() {
        // 0–1 and 1–2 are alike, 0–2 are not: 1 goes for 0, and 2 stays although 1 resembles it.
        let pair = |better, worse| Confirmed { better, worse, jaccard: 0.85, covered: true };
        let fates = star(3, &[pair(0, 1), pair(1, 2)]);
        assert_eq!(fates, [None, Some(Fate::Removed(pair(0, 1))), None]);
    }

    #[test]
    fn figures_protect_in_both_languages() {
        let words = "the committee met on monday and agreed to publish the annual results of the company for the year with revenue of";
        for (a, b) in [
            (format!("{words} 5.2 million"), format!("{words} 6.1 million")),
            (
                "本公司董事会于周一召开会议，审议通过年度报告，全年实现营业收入520万元。".repeat(2),
                "本公司董事会于周一召开会议，审议通过年度报告，全年实现营业收入610万元。".repeat(2),
            ),
        ] {
            let sets = [&a, &b].map(|t| shingles(&content_hashes(t), 2));
            let pair = confirm((0, 1), (&sets[0], &sets[1]), (&figures(&a), &figures(&b)), 0.7);
            assert!(pair.is_some_and(|p| !p.covered), "{a}");
        }
    }

    #[test]
    fn large_buckets_stay_linear() {
        let sketch = |i: u32| Sketch { bands: vec![7], figures: (1, u64::from(i)), bytes: 10 };
        let sketches: Vec<Sketch> = (0..5000).map(sketch).collect();
        let order = ranked(&sketches);
        let (pairs, capped) = candidates(&sketches, &order, 1);
        assert_eq!(capped, 1);
        assert!(pairs.len() < 5000 * 3 * BEST);
        assert!(pairs.windows(2).all(|w| w[0] < w[1]));
    }
}
