//! The different pieces of texts with their counts: byte pairs merge inside a piece, never across.

use std::collections::HashMap;

use regex::Regex;

use super::Unit;
use crate::Error;

/// Longer pieces (a text without spaces) are counted in parts of this many bytes, so that no merge has to look
/// through a whole text. Only the statistics at the cuts differ.
const LONGEST: usize = 96;

/// The pattern of GPT-2 without its look-ahead, which [`each_piece`] does by hand.
const PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// Every different piece of `texts` and how often it occurs, in the order of the pieces' bytes.
pub(super) fn count<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    unit: Unit,
) -> Result<Vec<(&'t [u8], u64)>, Error> {
    let pattern = Regex::new(PATTERN).map_err(|error| Error::Request(error.to_string()))?;
    let mut counts: HashMap<&[u8], u64> = HashMap::new();
    for text in texts {
        match unit {
            Unit::Word => each_piece(&pattern, text, &mut |piece| {
                for part in piece.as_bytes().chunks(LONGEST) {
                    *counts.entry(part).or_default() += 1;
                }
            }),
            Unit::Character => {
                for (at, char) in text.char_indices().filter(|(_, char)| !char.is_ascii()) {
                    *counts.entry(&text.as_bytes()[at..at + char.len_utf8()]).or_default() += 1;
                }
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    Ok(counts)
}

/// Calls `each` with the pieces of `text`, which together are `text`.
fn each_piece<'t>(pattern: &Regex, text: &'t str, each: &mut impl FnMut(&'t str)) {
    let mut rest = text;
    while let Some(start) = rest.find(char::is_numeric) {
        let end = start + rest[start..].chars().next().map_or(0, char::len_utf8);
        by_pattern(pattern, &rest[..start], each);
        each(&rest[start..end]);
        rest = &rest[end..];
    }
    by_pattern(pattern, rest, each);
}

fn by_pattern<'t>(pattern: &Regex, text: &'t str, each: &mut impl FnMut(&'t str)) {
    let mut at = 0;
    while let Some(found) = pattern.find_at(text, at) {
        if found.start() > at {
            each(&text[at..found.start()]);
        }
        let mut end = found.end();
        // White space before a word leaves its last character to the word.
        if end < text.len() && found.as_str().chars().all(char::is_whitespace) {
            let last = found.as_str().chars().next_back().map_or(0, char::len_utf8);
            if last < found.len() {
                end -= last;
            }
        }
        each(&text[found.start()..end]);
        at = end;
    }
    if at < text.len() {
        each(&text[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        each_piece(&Regex::new(PATTERN).unwrap(), text, &mut |piece| out.push(piece));
        out
    }

    #[test]
    fn pieces_are_those_of_the_scheme() {
        assert_eq!(pieces("don't  stop, 12 日"), ["don", "'t", " ", " stop", ",", " ", "1", "2", " 日"]);
        assert_eq!(pieces("床前明月光，疑是\n\n"), ["床前明月光", "，", "疑是", "\n\n"]);
    }

    #[test]
    fn characters_are_counted_one_by_one() {
        let counts = count(["明月明a"], Unit::Character).unwrap();
        assert_eq!(counts, [("明".as_bytes(), 2), ("月".as_bytes(), 1)]);
    }
}
