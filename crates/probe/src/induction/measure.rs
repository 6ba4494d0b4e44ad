//! What a model of the study is measured by: losses, scores and ablations on fixed sequences.

use std::cell::RefCell;

use model::{Hooks, Transformer, Want};
use tasks::Random;

use super::InductionOptions;
use crate::distribution::log_softmax;
use crate::heads::{prefix_matching, previous_token};
use crate::intervene::{Change, With};
use crate::patch::mean_at;
use crate::{Error, Matrix};

/// A sequence, and which of its rows can be predicted by copying.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) tokens: Vec<u32>,
    /// Rows whose next token repeats the segment.
    pub(super) copied: std::ops::Range<usize>,
    /// Rows before the second occurrence.
    pub(super) fresh: std::ops::Range<usize>,
}

/// `count` sequences of the study's distribution.
pub(super) fn sequences(options: &InductionOptions, count: usize, random: &mut Random) -> Vec<Sequence> {
    let draw = |random: &mut Random| {
        let (low, high) = options.segment;
        let (tokens, start, length) =
            tasks::induction::sequence(options.vocabulary as u32, options.length, low..high + 1, random);
        Sequence { tokens, copied: start..start + length - 1, fresh: 0..start.saturating_sub(1) }
    };
    (0..count).map(|_| draw(random)).collect()
}

/// A random segment three times without gaps: the control that copying is not tied to one place or distance.
pub(super) fn tripled(options: &InductionOptions, count: usize, random: &mut Random) -> Vec<Sequence> {
    let period = options.length / 3;
    let draw = |random: &mut Random| {
        let part: Vec<u32> = (0..period).map(|_| random.below(options.vocabulary) as u32).collect();
        let tokens = part.repeat(3);
        Sequence { copied: period..tokens.len() - 1, fresh: 0..period - 1, tokens }
    };
    (0..count).map(|_| draw(random)).collect()
}

/// What a set of sequences shows about a model.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Mean loss of the rows that can be copied, in nats.
    pub(super) copied: f64,
    /// Mean loss of the rows before the second occurrence, in nats.
    pub(super) fresh: f64,
    /// Prefix matching of every head of every layer, averaged over sequences.
    pub(super) prefix: Vec<Vec<f64>>,
    /// Weight on the previous token of every head of every layer, likewise.
    pub(super) previous: Vec<Vec<f64>>,
}

impl Measured {
    /// The in-context gain: how much better the copied rows are predicted than the fresh ones.
    pub(super) fn gain(&self) -> f64 {
        self.fresh - self.copied
    }
}

/// Measures a model under changes.
pub(super) fn measure(
    transformer: &Transformer,
    sequences: &[Sequence],
    changes: &[Change],
) -> Result<Measured, Error> {
    let layers = transformer.config().layers.len();
    let (mut copied, mut fresh) = (Vec::new(), Vec::new());
    let mut prefix = vec![Vec::new(); layers];
    let mut previous = vec![Vec::new(); layers];
    for sequence in sequences {
        let (logits, patterns) = pass(transformer, &sequence.tokens, changes)?;
        let loss = |row: usize| -log_softmax(logits.row(row))[sequence.tokens[row + 1] as usize];
        copied.extend(sequence.copied.clone().map(loss));
        fresh.extend(sequence.fresh.clone().map(loss));
        for (layer, heads) in patterns.iter().enumerate() {
            prefix[layer].resize(heads.len(), 0.0);
            previous[layer].resize(heads.len(), 0.0);
            for (head, pattern) in heads.iter().enumerate() {
                prefix[layer][head] += prefix_matching(pattern, &sequence.tokens, sequence.copied.clone())?;
                previous[layer][head] += previous_token(pattern);
            }
        }
    }
    let count = sequences.len() as f64;
    prefix.iter_mut().chain(&mut previous).flatten().for_each(|score| *score /= count);
    Ok(Measured { copied: statistics::mean(&copied), fresh: statistics::mean(&fresh), prefix, previous })
}

/// One pass: the logits after every token and the patterns of every layer.
fn pass(
    transformer: &Transformer,
    tokens: &[u32],
    changes: &[Change],
) -> Result<(Matrix, Vec<Vec<Matrix>>), Error> {
    let layers = transformer.config().layers.len();
    let patterns = RefCell::new(vec![Vec::new(); layers]);
    let failure = RefCell::new(None);
    let mut hooks = Hooks::new();
    for layer in 0..layers {
        let patterns = &patterns;
        hooks.read_heads(&format!("blocks.{layer}.attention.pattern"), move |pattern| {
            patterns.borrow_mut()[layer] = Matrix::read_each(pattern);
        });
    }
    for change in changes {
        change.listen(&mut hooks, &failure);
    }
    let logits = transformer.forward_with(tokens, None, Want::All, &mut hooks);
    drop(hooks);
    match failure.into_inner() {
        Some(error) => Err(error),
        None => Ok((Matrix::read(logits?), patterns.into_inner())),
    }
}

/// The mean of each head's result over all rows of `sequences`, as a change that puts it in place.
pub(super) fn mean_ablation(
    transformer: &Transformer,
    sequences: &[Sequence],
    layer: usize,
    head: usize,
) -> Result<Change, Error> {
    let texts: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.tokens.as_slice()).collect();
    let mean = mean_at(transformer, &texts, &format!("blocks.{layer}.attention.mix"))?;
    Change::head(transformer, layer, head, With::Row(mean))
}
