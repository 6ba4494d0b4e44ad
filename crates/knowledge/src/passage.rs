//! Cuts a document into passages: whole sentences, 80 to 200 words or their equivalent in ideographs, never across
//! a heading. Spans are bytes of the governed text.

use crate::terms::{is_han, runs};

/// A stretch of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// First byte in the document text.
    pub(crate) start: usize,
    /// First byte after it.
    pub(crate) end: usize,
    /// The heading it stands under; empty if none.
    pub(crate) heading: String,
}

const FEWEST_WORDS: f64 = 80.0;
const MOST_WORDS: f64 = 200.0;

/// Length in words; an ideograph counts as 0.6 of a word.
pub(crate) fn word_count(text: &str) -> f64 {
    runs(text)
        .into_iter()
        .map(|(start, end, han)| if han { 0.6 * text[start..end].chars().count() as f64 } else { 1.0 })
        .sum()
}

/// Words that end with a full stop without ending a sentence.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "vs", "mr", "mrs", "ms", "dr", "prof", "st", "fig", "no", "al", "cf", "approx",
    "jr", "sr", "inc", "ltd", "co", "u.s", "u.k", "dept", "vol", "eq",
];

/// Byte spans of the sentences of `text[start..end]`, trimmed. A line break ends a sentence.
pub(crate) fn sentences(text: &str, start: usize, end: usize) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut from = start;
    let mut push = |from: usize, to: usize| {
        let piece = &text[from..to];
        let trimmed = piece.trim();
        if !trimmed.is_empty() {
            let lead = piece.len() - piece.trim_start().len();
            out.push((from + lead, from + lead + trimmed.len()));
        }
    };
    let mut characters = text[start..end].char_indices().peekable();
    while let Some((offset, c)) = characters.next() {
        let after = start + offset + c.len_utf8();
        let next = characters.peek().map(|&(_, n)| n);
        let ends = match c {
            '\n' => true,
            '。' | '！' | '？' | '；' => !matches!(next, Some('”' | '』' | '」' | '）')),
            '”' | '」' | '』' => text[..start + offset].ends_with(['。', '！', '？']),
            '!' | '?' => next.is_none_or(char::is_whitespace),
            '.' => next.is_none_or(char::is_whitespace) && !abbreviated(&text[from..start + offset]),
            '"' | '\'' | ')' => {
                next.is_none_or(char::is_whitespace) && text[from..start + offset].ends_with(['.', '!', '?'])
            }
            _ => false,
        };
        if ends {
            push(from, after);
            from = after;
        }
    }
    push(from, end);
    out
}

/// Whether the full stop after `before` belongs to an abbreviation or an initial.
fn abbreviated(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("");
    let lower = word.to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let initials =
        word.len() > 2 && word.split('.').all(|p| p.chars().count() == 1) && !word.ends_with("U.S");
    initial || initials || ABBREVIATIONS.contains(&lower.as_str())
}

/// Blocks between blank lines, as byte spans.
fn blocks(text: &str) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let (from, to) = (at, at + line.len());
        at = to;
        if line.trim().is_empty() {
            out.extend(open.take());
        } else {
            open = Some((open.map_or(from, |(s, _)| s), to));
        }
    }
    out.extend(open);
    out
}

/// The text of a heading, if this block is one: a markdown heading, or one short line without closing punctuation.
fn heading(block: &str) -> Option<String> {
    let line = block.trim();
    if line.contains('\n') {
        return None;
    }
    if line.starts_with('#') {
        return Some(line.trim_matches(['#', ' ']).to_owned());
    }
    let open_end =
        !line.ends_with(['.', '。', '!', '?', '！', '？', ';', '；', ',', '，', ':', '：', ')', '|']);
    (open_end && word_count(line) <= 12.0 && !line.contains([':', '：', '|', '='])).then(|| line.to_owned())
}

/// The passages of a text.
pub(crate) fn passages(text: &str) -> Vec<Passage> {
    let mut out: Vec<Passage> = Vec::new();
    let mut title = String::new();
    let mut open: Option<(usize, usize, f64)> = None;
    let mut close = |open: &mut Option<(usize, usize, f64)>, title: &str| {
        if let Some((start, end, words)) = open.take() {
            // A short rest joins the passage before it when both stand under the same heading.
            if let Some(last) = out.last_mut().filter(|last| last.heading == title)
                && words < FEWEST_WORDS / 2.0
                && word_count(&text[last.start..end]) <= MOST_WORDS
            {
                last.end = end;
            } else {
                out.push(Passage { start, end, heading: title.to_owned() });
            }
        }
    };
    for (from, to) in blocks(text) {
        if let Some(found) = heading(&text[from..to]) {
            close(&mut open, &title);
            title = found;
            continue;
        }
        for (start, end) in sentences(text, from, to) {
            for (start, end) in short_pieces(text, start, end) {
                let words = word_count(&text[start..end]);
                if open.is_some_and(|(_, _, had)| had + words > MOST_WORDS) {
                    close(&mut open, &title);
                }
                open = Some(match open {
                    Some((first, _, had)) => (first, end, had + words),
                    None => (start, end, words),
                });
            }
        }
        if open.is_some_and(|(_, _, had)| had >= FEWEST_WORDS) {
            close(&mut open, &title);
        }
    }
    close(&mut open, &title);
    if out.is_empty() && !text.trim().is_empty() {
        // Nothing but headings: the whole text is one passage.
        let end = text.trim_end().len();
        out.push(Passage { start: text.len() - text.trim_start().len(), end, heading: String::new() });
    }
    out
}

/// Cuts a "sentence" longer than a passage between characters; text without any punctuation does that.
fn short_pieces(text: &str, start: usize, end: usize) -> Vec<(usize, usize)> {
    if word_count(&text[start..end]) <= MOST_WORDS {
        return vec![(start, end)];
    }
    let mut out = Vec::new();
    let (mut from, mut words) = (start, 0.0);
    for (run_start, run_end, han) in runs(&text[start..end]) {
        let places: Vec<usize> = if han {
            text[start + run_start..start + run_end]
                .char_indices()
                .map(|(i, c)| run_start + i + c.len_utf8())
                .collect()
        } else {
            vec![run_end]
        };
        for place in places {
            words +=
                if text[start..start + place].chars().next_back().is_some_and(is_han) { 0.6 } else { 1.0 };
            if words >= MOST_WORDS / 2.0 {
                out.push((from, start + place));
                (from, words) = (start + place, 0.0);
            }
        }
    }
    if from < end {
        out.push((from, end));
    }
    out.into_iter()
        .filter_map(|(s, e)| {
            let piece = &text[s..e];
            let lead = piece.len() - piece.trim_start().len();
            (!piece.trim().is_empty()).then(|| (s + lead, s + lead + piece.trim().len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<&str> {
        sentences(text, 0, text.len()).into_iter().map(|(s, e)| &text[s..e]).collect()
    }

    #[test]
    fn sentences_of_both_languages() {
        assert_eq!(
            cut("Found by G.T. Seaborg in 1940. Its mass, e.g. 3.14 u, is known! \"Is it?\" Yes."),
            ["Found by G.T. Seaborg in 1940.", "Its mass, e.g. 3.14 u, is known!", "\"Is it?\"", "Yes."]
        );
        assert_eq!(cut("金是金属。他说：“很重。”真的？是"), ["金是金属。", "他说：“很重。”", "真的？", "是"]);
    }

    #[test]
    fn passages_stay_under_their_heading_and_size() {
        let sentence = "This sentence has exactly nine words in it now. ";
        let text = format!("# First\n\n{}\n\nSecond part\n\n{}", sentence.repeat(40), "短句。".repeat(3));
        let found = passages(&text);
        assert!(found.len() >= 3);
        for passage in &found {
            assert!(word_count(&text[passage.start..passage.end]) <= MOST_WORDS);
        }
        assert_eq!(found.first().unwrap().heading, "First");
        assert_eq!(found.last().unwrap().heading, "Second part");
        assert_eq!(&text[found.last().unwrap().start..found.last().unwrap().end], "短句。短句。短句。");
    }

    proptest! {
        #[test]
        fn spans_are_ordered_and_cover_every_word(text in "[ a-zA-Z0-9.。，金银铜\n#!？]{0,600}") {
            let found = passages(&text);
            let mut last = 0;
            for passage in &found {
                prop_assert!(passage.start >= last && passage.end > passage.start);
                prop_assert!(text.is_char_boundary(passage.start) && text.is_char_boundary(passage.end));
                last = passage.end;
            }
            prop_assert_eq!(found.is_empty(), text.trim().is_empty());
        }
    }
}
