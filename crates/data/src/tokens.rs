//! Tokens for comparing documents: words, numbers and single Han characters.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A run of letters and digits of an alphabetic script.
    Word,
    /// One Han, kana or Hangul character.
    Character,
    /// Anything else that is not white space: one sign.
    Sign,
}

/// A token as a byte span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
}

/// Whether a character belongs to a script written without spaces.
pub(crate) fn is_character(c: char) -> bool {
    matches!(c as u32,
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF
        | 0x3040..=0x30FF | 0x31F0..=0x31FF | 0xAC00..=0xD7AF | 0x3005..=0x3007)
}

/// Whether a character is Han.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF | 0x3005..=0x3007)
}

/// Splits a text into tokens; white space separates and is no token.
pub(crate) fn tokens(text: &str) -> Tokens<'_> {
    Tokens { text, at: 0 }
}

/// Iterator of [`tokens`].
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            let start = self.at;
            if byte.is_ascii() {
                self.at += 1;
                if byte.is_ascii_alphanumeric() {
                    self.finish_word();
                    return Some(Token { start, end: self.at, kind: Kind::Word });
                }
                if byte.is_ascii_whitespace() || byte.is_ascii_control() {
                    continue;
                }
                return Some(Token { start, end: self.at, kind: Kind::Sign });
            }
            let c = self.text[start..].chars().next()?;
            self.at += c.len_utf8();
            if is_character(c) {
                return Some(Token { start, end: self.at, kind: Kind::Character });
            }
            if c.is_alphanumeric() {
                self.finish_word();
                return Some(Token { start, end: self.at, kind: Kind::Word });
            }
            if c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}' | '\u{ad}') {
                continue;
            }
            return Some(Token { start, end: self.at, kind: Kind::Sign });
        }
        None
    }
}

impl Tokens<'_> {
    fn finish_word(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if byte.is_ascii() {
                if !byte.is_ascii_alphanumeric() {
                    return;
                }
                self.at += 1;
            } else {
                match self.text[self.at..].chars().next() {
                    Some(c) if c.is_alphanumeric() && !is_character(c) => self.at += c.len_utf8(),
                    _ => return,
                }
            }
        }
    }
}

/// 64-bit hash of a token, letters folded to lower case: FNV-1a finished by a mixer.
pub(crate) fn hash(token: &str) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    if token.is_ascii() {
        for byte in token.bytes() {
            h = (h ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
        }
    } else {
        for c in token.chars().flat_map(char::to_lowercase) {
            h = (h ^ u64::from(u32::from(c))).wrapping_mul(0x0100_0000_01b3);
        }
    }
    mix(h)
}

/// A bijection of 64-bit words that spreads every bit (the finalizer of SplitMix64, Steele et al. 2014).
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes of the word and character tokens, in order; signs carry no content and are left out.
pub(crate) fn content_hashes(text: &str) -> Vec<u64> {
    tokens(text).filter(|t| t.kind != Kind::Sign).map(|t| hash(&text[t.start..t.end])).collect()
}

/// Hashes of every run of `n` tokens, in order; one hash of all of them if there are fewer.
pub(crate) fn ngrams(hashes: &[u64], n: usize) -> impl Iterator<Item = u64> + '_ {
    let n = n.min(hashes.len()).max(1);
    hashes
        .windows(n)
        .map(|window| window.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |h, &t| mix(h.rotate_left(5) ^ t)))
}

/// Text with runs of white space made one space and composed to NFC. Case, signs and figures stay: `5 mW` is not
/// `5 MW`, and `10²` is not `102` (which is why it is not NFKC).
pub(crate) fn normalized(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    let mut push = |c: char| {
        if c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}' | '\u{ad}') {
            space = true;
        } else {
            if space && !out.is_empty() {
                out.push(' ');
            }
            space = false;
            out.push(c);
        }
    };
    if is_nfc_quick(text.chars()) == IsNormalized::Yes {
        text.chars().for_each(&mut push);
    } else {
        text.nfc().for_each(&mut push);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_characters() {
        let text = "GDP增长 5.2%，it's";
        let found: Vec<&str> = tokens(text).map(|t| &text[t.start..t.end]).collect();
        assert_eq!(found, ["GDP", "增", "长", "5", ".", "2", "%", "，", "it", "'", "s"]);
    }

    #[test]
    fn normalization_keeps_case_and_figures() {
        assert_eq!(normalized(" a\u{a0} b\n\nc\u{200b}"), "a b c");
        assert_eq!(normalized("e\u{301}"), "é");
        assert_ne!(normalized("10²"), normalized("102"));
        assert_ne!(normalized("5 mW"), normalized("5 MW"));
    }

    #[test]
    fn hashes_fold_case_in_every_script() {
        assert_eq!(content_hashes("Straße ΑΒΓ"), content_hashes("straße αβγ"));
        assert_ne!(content_hashes("水"), content_hashes("火"));
    }
}
