//! Choosing the next token from logits.
//!
//! Order, as is customary: repetition penalty, temperature, top-k, top-p, min-p, draw. The random numbers
//! are a function of seed and position alone.

use crate::GenerateOptions;

/// How often each token of the text so far occurs does not matter for the penalty, only whether it does.
pub(crate) struct Sampler {
    options: GenerateOptions,
    seen: Vec<bool>,
    candidates: Vec<(u32, f64)>,
}

/// A chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) token: u32,
    /// Natural-log probability under the unmodified distribution.
    pub(crate) log_probability: f32,
}

impl Sampler {
    /// A sampler over `vocabulary` tokens. The error names the option that is out of range.
    pub(crate) fn new(options: &GenerateOptions, vocabulary: usize) -> Result<Self, String> {
        let in_range = |name: &str, value: f32, low: f32, high: f32| {
            let fits = value.is_finite() && value >= low && value <= high;
            if fits { Ok(()) } else { Err(format!("{name} is {value}; it must be from {low} to {high}")) }
        };
        in_range("temperature", options.temperature, 0.0, 100.0)?;
        in_range("top_p", options.top_p, 0.0, 1.0)?;
        in_range("min_p", options.min_p, 0.0, 1.0)?;
        in_range("repetition_penalty", options.repetition_penalty, 0.01, 100.0)?;
        Ok(Self { options: options.clone(), seen: vec![false; vocabulary], candidates: Vec::new() })
    }

    /// Counts a token of the prompt or of the generation as present.
    pub(crate) fn observe(&mut self, token: u32) {
        if let Some(seen) = self.seen.get_mut(token as usize) {
            *seen = true;
        }
    }

    /// Chooses the token at `position` (the number of tokens before it).
    pub(crate) fn choose(&mut self, logits: &[f32], position: u64) -> Choice {
        let token = if self.options.temperature == 0.0 {
            self.greedy(logits)
        } else {
            self.filter(logits);
            draw(&self.candidates, uniform(self.options.seed, position))
        };
        let log_probability = log_probability(logits, token) as f32;
        Choice { token, log_probability }
    }

    fn penalized(&self, token: usize, logit: f32) -> f32 {
        let penalty = self.options.repetition_penalty;
        match self.seen.get(token) {
            Some(true) if logit > 0.0 => logit / penalty,
            Some(true) => logit * penalty,
            _ => logit,
        }
    }

    fn greedy(&self, logits: &[f32]) -> u32 {
        let mut best = (0, f32::NEG_INFINITY);
        for (token, logit) in logits.iter().enumerate() {
            let logit = self.penalized(token, *logit);
            if logit > best.1 {
                best = (token as u32, logit);
            }
        }
        best.0
    }

    /// Leaves in `candidates` the tokens that may be drawn, with weights that sum to 1, most likely first.
    fn filter(&mut self, logits: &[f32]) {
        let options = &self.options;
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        candidates.extend(logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan()).map(
            |(token, logit)| {
                (token as u32, f64::from(self.penalized(token, *logit)) / f64::from(options.temperature))
            },
        ));
        let descending = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if (1..candidates.len()).contains(&options.top_k) {
            candidates.select_nth_unstable_by(options.top_k - 1, descending);
            candidates.truncate(options.top_k);
        }
        candidates.sort_unstable_by(descending);
        to_probabilities(&mut candidates);
        if options.top_p < 1.0 {
            let mut sum = 0.0;
            let below = candidates.iter().take_while(|(_, p)| {
                sum += p;
                sum < f64::from(options.top_p)
            });
            let keep = below.count() + 1;
            candidates.truncate(keep);
        }
        if let Some(&(_, most)) = candidates.first() {
            let least = most * f64::from(options.min_p);
            candidates.retain(|(_, p)| *p >= least);
        }
        let sum: f64 = candidates.iter().map(|(_, p)| p).sum();
        candidates.iter_mut().for_each(|(_, p)| *p /= sum);
        self.candidates = candidates;
    }
}

fn to_probabilities(candidates: &mut [(u32, f64)]) {
    let most = candidates.first().map_or(0.0, |(_, logit)| *logit);
    let mut sum = 0.0;
    for (_, value) in candidates.iter_mut() {
        *value = (*value - most).exp();
        sum += *value;
    }
    candidates.iter_mut().for_each(|(_, value)| *value /= sum);
}

fn draw(candidates: &[(u32, f64)], uniform: f64) -> u32 {
    let mut sum = 0.0;
    for (token, p) in candidates {
        sum += p;
        if uniform < sum {
            return *token;
        }
    }
    candidates.last().map_or(0, |(token, _)| *token)
}

/// A number in [0, 1) that depends on `seed` and `counter` alone (two rounds of the SplitMix64 finalizer;
/// Steele, Lea, Flood 2014).
fn uniform(seed: u64, counter: u64) -> f64 {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let golden = 0x9e37_79b9_7f4a_7c15u64;
    let bits = mix(mix(seed.wrapping_add(golden)).wrapping_add(counter.wrapping_add(1).wrapping_mul(golden)));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Natural-log probability of `token` under the softmax of `logits`.
pub(crate) fn log_probability(logits: &[f32], token: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - most).exp())).sum();
    match logits.get(token as usize) {
        Some(logit) => f64::from(logit - most) - sum.ln(),
        None => f64::NEG_INFINITY,
    }
}

/// The first token with the largest logit.
pub(crate) fn most_likely(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (token, logit)| {
        if *logit > best.1 { (token, *logit) } else { best }
    });
    best.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distribution (0.5, 0.25, 0.15, 0.1), as logits.
    fn logits() -> [f32; 4] {
        [0.5f32, 0.25, 0.15, 0.1].map(f32::ln)
    }

    fn frequencies(options: &GenerateOptions) -> [f64; 4] {
        let mut sampler = Sampler::new(options, 4).unwrap();
        let mut counts = [0.0; 4];
        for position in 0..40_000 {
            counts[sampler.choose(&logits(), position).token as usize] += 1.0 / 40_000.0;
        }
        counts
    }

    fn close(found: [f64; 4], expected: [f64; 4]) {
        // Four standard deviations of a frequency over 40,000 draws are at most 0.01.
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.01);
        assert!(near, "{found:?} is not {expected:?}");
        assert!(found.iter().zip(expected).all(|(a, b)| b > 0.0 || *a == 0.0), "{found:?}");
    }

    fn at_one() -> GenerateOptions {
        GenerateOptions { temperature: 1.0, seed: 7, ..Default::default() }
    }

    #[test]
    fn draws_follow_the_distribution() {
        close(frequencies(&at_one()), [0.5, 0.25, 0.15, 0.1]);
        let half = frequencies(&GenerateOptions { temperature: 0.5, ..at_one() });
        let sum = 0.25 + 0.0625 + 0.0225 + 0.01;
        close(half, [0.25 / sum, 0.0625 / sum, 0.0225 / sum, 0.01 / sum]);
    }

    #[test]
    fn filters_cut_the_tail() {
        close(frequencies(&GenerateOptions { top_k: 2, ..at_one() }), [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        close(frequencies(&GenerateOptions { top_p: 0.6, ..at_one() }), [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        close(frequencies(&GenerateOptions { top_p: 0.0, ..at_one() }), [1.0, 0.0, 0.0, 0.0]);
        close(
            frequencies(&GenerateOptions { min_p: 0.25, ..at_one() }),
            [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0.0],
        );
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let mut sampler = Sampler::new(&GenerateOptions::default(), 4).unwrap();
        assert_eq!(sampler.choose(&[1.0, 3.0, 3.0, 2.0], 0).token, 1);
        assert_eq!(most_likely(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert!((log_probability(&logits(), 0) - 0.5f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn the_penalty_lowers_what_was_seen() {
        let options = GenerateOptions { repetition_penalty: 2.0, ..Default::default() };
        let mut sampler = Sampler::new(&options, 3).unwrap();
        sampler.observe(1);
        assert_eq!(sampler.choose(&[1.1, 2.0, 0.5], 0).token, 0);
        assert_eq!(sampler.choose(&[-3.0, -1.0, -1.9], 0).token, 2);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed: u64| -> Vec<u64> { (0..64).map(|i| uniform(seed, i).to_bits()).collect() };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..1000).all(|i| (0.0..1.0).contains(&uniform(3, i))));
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for options in [
            GenerateOptions { temperature: -1.0, ..Default::default() },
            GenerateOptions { temperature: f32::NAN, ..Default::default() },
            GenerateOptions { top_p: 1.5, ..Default::default() },
            GenerateOptions { repetition_penalty: 0.0, ..Default::default() },
        ] {
            assert!(Sampler::new(&options, 4).is_err());
        }
    }
}
