//! A check of the text while it is generated.

use super::letters::grams;
use super::{Guard, Judgment};
use crate::preferences::openings;

/// What to do after a piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it on.
    Continue,
    /// Stop here; the text says why.
    Stop(String),
}

/// Characters of a response to a risky request within which it has to refuse.
const GRACE: usize = 110;
/// New characters after which the letters are judged again, and how far back.
const STRIDE: usize = 40;
const WINDOW: usize = 120;

/// Reads a response piece by piece; see [`Guard::watch`].
#[derive(Clone, Debug)]
pub struct OutputCheck<'g> {
    guard: &'g Guard,
    risky: bool,
    text: String,
    judged: usize,
    refused: bool,
    stopped: Option<String>,
}

impl<'g> OutputCheck<'g> {
    pub(super) fn new(guard: &'g Guard, request: &Judgment) -> Self {
        let risky = request.risky;
        Self { guard, risky, text: String::new(), judged: 0, refused: false, stopped: None }
    }

    /// The next piece of the response. Once it said stop, it keeps saying so.
    pub fn push(&mut self, piece: &str) -> Decision {
        self.text.push_str(piece);
        if self.stopped.is_none() {
            self.stopped = self.reason();
        }
        self.stopped.clone().map_or(Decision::Continue, Decision::Stop)
    }

    /// Everything read so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn reason(&mut self) -> Option<String> {
        let length = self.text.chars().count();
        self.refused = self.refused || tasks::is_refusal(&self.text);
        // A refusal names what it refuses; it is not what it names.
        if self.refused {
            return None;
        }
        if self.risky {
            let start = self.text.trim_start();
            let complies = tasks::Language::ALL.iter().flat_map(|language| openings(*language));
            if complies.into_iter().any(|opening| start.starts_with(opening)) {
                return Some("a request that looks harmful is being answered".into());
            }
            if length > GRACE {
                return Some(format!("no refusal of a risky request within {GRACE} characters"));
            }
        }
        if length < self.judged + STRIDE {
            return None;
        }
        self.judged = length;
        let tail: String = self.text.chars().skip(length.saturating_sub(WINDOW)).collect();
        let score = self.guard.output.score(&grams(&tail));
        (score > f64::from(self.guard.output_limit)).then(|| {
            format!("the text reads like a harmful request ({score:.2} above {:.2})", self.guard.output_limit)
        })
    }
}
