//! General text in the model's own words, to be mixed into tuning: it shows the model what it already knows, so that
//! tuning changes less of it, and needs no other corpus (in the manner of self-synthesized rehearsal, Huang et al. 2024).

use ledger::Stream;
use model::{GenerateOptions, LanguageModel};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A general passage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Opening words and what the model wrote after them.
    pub text: String,
    /// Tokens of the whole text by the model's own count.
    pub tokens: usize,
}

/// Openings of many kinds of text: report, story, explanation, letter, recipe, list, dialogue, code.
const OPENERS: &[&str] = &[
    "The history of",
    "Once upon a time,",
    "In this chapter, we will",
    "Many people believe that",
    "It was a cold morning when",
    "Scientists have found that",
    "The city is known for",
    "Dear friend,",
    "To make this dish, you will need",
    "There are three main reasons why",
    "In a recent study,",
    "When I was young, I",
    "The following program",
    "One of the most important ideas in",
    "She looked at him and said,",
    "The river flows through",
    "A good teacher",
    "During the summer,",
    "The company announced that",
    "Music has always",
    "Question: Why do",
    "Children learn to",
    "The first step is to",
    "According to the report,",
];

/// Shortest passage worth keeping, in characters.
const SHORTEST: usize = 40;

/// Lets the model write `count` passages of up to `tokens` new tokens each, at temperature 1 from its own distribution.
/// Passages that end at once are left out, so there may be fewer.
///
/// # Errors
/// Model errors; [`Error::Request`] if `tokens` is 0.
pub fn replay(
    model: &mut dyn LanguageModel,
    count: usize,
    tokens: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Replayed>, Error> {
    if tokens == 0 {
        return Err(Error::Request("passages of 0 tokens are asked for; ask for at least 1".into()));
    }
    let mut random = Stream::new(seed, "knowledge.replay");
    let mut order: Vec<usize> = Vec::new();
    let mut out = Vec::new();
    for index in 0..count {
        if order.is_empty() {
            order = (0..OPENERS.len()).collect();
            random.shuffle(&mut order);
        }
        let opener = OPENERS[order.pop().unwrap_or(0)];
        let options = GenerateOptions {
            max_tokens: tokens,
            temperature: 1.0,
            seed: random.next_u64(),
            ..GenerateOptions::default()
        };
        let written = model.generate(opener, &options, &mut |_| true)?.text;
        let text = format!("{opener}{written}").trim_end().to_owned();
        if text.chars().count() >= SHORTEST {
            out.push(Replayed { tokens: model.count_tokens(&text), text });
        }
        progress(index + 1, count);
    }
    Ok(out)
}

/// Tokens of general text to add to `items` tokens of items so that they are `share` of the whole, such as 0.05.
pub fn replay_tokens(items: usize, share: f64) -> usize {
    if !(0.0..1.0).contains(&share) {
        return 0;
    }
    (items as f64 * share / (1.0 - share)).ceil() as usize
}
