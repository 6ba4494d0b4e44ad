//! The text of a generation as it may be shown: whole characters only, nothing of a stop string.

use crate::tokenizer::Decoder;

/// Collects the bytes of tokens and decides what is certain.
pub(crate) struct Stream<'s> {
    decoder: Decoder,
    stops: &'s [String],
    /// All text so far; cut before the stop string once one is complete.
    text: String,
    shown: usize,
    stopped: bool,
}

impl<'s> Stream<'s> {
    /// A stream that ends before the first of `stops`.
    pub(crate) fn new(stops: &'s [String]) -> Self {
        Self { decoder: Decoder::default(), stops, text: String::new(), shown: 0, stopped: false }
    }

    /// Takes the bytes of a token and returns the text that may be shown now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> &str {
        let more = self.decoder.push(bytes);
        self.extend(&more)
    }

    /// Whether a stop string was completed.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes the end of the generation: what was held back may be shown after all.
    pub(crate) fn finish(&mut self) -> &str {
        if !self.stopped {
            let rest = self.decoder.finish();
            self.extend(&rest);
        }
        let from = std::mem::replace(&mut self.shown, self.text.len());
        self.text.get(from..).unwrap_or_default()
    }

    /// All text, without the stop string.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn extend(&mut self, more: &str) -> &str {
        self.text.push_str(more);
        // Nothing of a stop string has been shown, so it can't begin before `shown`.
        let open = &self.text[self.shown..];
        let found = self.stops.iter().filter_map(|stop| open.find(stop.as_str())).min();
        let certain = match found {
            Some(at) => {
                self.stopped = true;
                self.text.truncate(self.shown + at);
                self.text.len()
            }
            None => self.text.len() - self.stops.iter().map(|stop| overlap(open, stop)).max().unwrap_or(0),
        };
        let from = std::mem::replace(&mut self.shown, certain);
        &self.text[from..certain]
    }
}

/// Bytes of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let most = text.len().min(stop.len().saturating_sub(1));
    (1..=most).rev().find(|length| text.as_bytes().ends_with(&stop.as_bytes()[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(pieces: &[&[u8]], stops: &[&str]) -> (Vec<String>, String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut stream = Stream::new(&stops);
        let mut shown = Vec::new();
        for piece in pieces {
            shown.push(stream.push(piece).to_string());
            if stream.stopped() {
                break;
            }
        }
        shown.push(stream.finish().to_string());
        let stopped = stream.stopped();
        (shown, stream.into_text(), stopped)
    }

    #[test]
    fn a_stop_string_across_tokens_is_never_shown() {
        let (shown, text, stopped) = run(&[b"one\n", b"\nQues", b"tion: x"], &["\n\nQuestion:"]);
        assert_eq!((shown.concat().as_str(), text.as_str(), stopped), ("one", "one", true));
        let (shown, text, stopped) = run(&[b"one\n", b"\nQuest"], &["\n\nQuestion:"]);
        assert_eq!(
            (shown, text.as_str(), stopped),
            (vec!["one".into(), "".into(), "\n\nQuest".into()], "one\n\nQuest", false)
        );
    }

    #[test]
    fn the_first_of_several_stops_counts() {
        let (_, text, stopped) = run(&["答案。完".as_bytes()], &["完", "。"]);
        assert_eq!((text.as_str(), stopped), ("答案", true));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_text(cuts in prop::collection::vec("[ab格\n]{0,4}", 0..8), stop in "[ab格\n]{1,3}") {
            let pieces: Vec<&[u8]> = cuts.iter().map(|cut| cut.as_bytes()).collect();
            let (shown, text, stopped) = run(&pieces, &[&stop]);
            let whole = cuts.concat();
            let expected = whole.find(&stop).map_or(whole.as_str(), |at| &whole[..at]);
            prop_assert_eq!(&text, expected);
            prop_assert_eq!(shown.concat(), expected);
            prop_assert_eq!(stopped, whole.contains(&stop));
        }
    }
}
