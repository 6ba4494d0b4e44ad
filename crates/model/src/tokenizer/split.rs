//! Cutting text into the pieces inside which byte pairs may merge: one table of the known schemes.

use regex::Regex;

/// How one family of tokenizers cuts text.
#[derive(Debug, PartialEq)]
pub(crate) struct Scheme {
    /// Values of `tokenizer.ggml.pre` that mean this scheme; the first is the one written.
    pub(crate) names: &'static [&'static str],
    /// Whether each numeral is a piece of its own, before the pattern applies.
    pub(crate) digits: bool,
    /// The pattern as `tokenizer.json` states it.
    pub(crate) pattern: &'static str,
    /// Whether the family composes text to NFC first (a GGUF file doesn't say).
    pub(crate) nfc: bool,
    /// Whether a piece that is a token as a whole skips the merges.
    pub(crate) whole_pieces: bool,
}

/// The pattern of GPT-2, which `tokenizer.json` writes as `ByteLevel` with `use_regex`.
pub(crate) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The registered schemes.
pub(crate) const SCHEMES: &[Scheme] = &[
    Scheme {
        names: &["smollm", "codeshell", "exaone", "minerva-7b"],
        digits: true,
        pattern: GPT2,
        nfc: false,
        whole_pieces: false,
    },
    Scheme {
        names: &["gpt-2", "mpt", "olmo", "jais", "trillion", "phi-2"],
        digits: false,
        pattern: GPT2,
        nfc: false,
        whole_pieces: false,
    },
    Scheme {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "hunyuan"],
        digits: false,
        pattern: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        nfc: true,
        whole_pieces: false,
    },
    Scheme {
        names: &["qwen35"],
        digits: false,
        pattern: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        nfc: true,
        whole_pieces: false,
    },
    Scheme {
        names: &["llama-bpe", "llama3", "llama-v3", "smaug-bpe", "falcon3", "pixtral", "lfm2"],
        digits: false,
        pattern: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        nfc: false,
        whole_pieces: true,
    },
];

/// The end of every pattern: a run of white space leaves its last character to the word that follows.
const SPACE_TAIL: &str = r"|\s+(?!\S)|\s+";

/// A scheme ready to cut.
#[derive(Debug)]
pub(crate) struct Splitter {
    digits: bool,
    regex: Regex,
    /// Whether white space that ends in a line break is a piece of its own.
    line_breaks: bool,
}

impl Splitter {
    /// Compiles a scheme. Look-ahead isn't in the regular expression: the table's patterns use it in one way
    /// only, which [`Self::pieces`] does by hand.
    pub(crate) fn new(scheme: &Scheme) -> Result<Self, String> {
        let head = scheme
            .pattern
            .strip_suffix(SPACE_TAIL)
            .ok_or_else(|| format!("pattern `{}` does not end in `{SPACE_TAIL}`", scheme.pattern))?;
        let regex = Regex::new(&format!(r"{head}|\s+")).map_err(|error| error.to_string())?;
        Ok(Self { digits: scheme.digits, regex, line_breaks: head.ends_with(r"|\s*[\r\n]+") })
    }

    /// Calls `each` with the pieces of `text`, which together are `text`.
    pub(crate) fn pieces<'t>(&self, text: &'t str, mut each: impl FnMut(&'t str)) {
        if !self.digits {
            return self.by_pattern(text, &mut each);
        }
        let mut rest = text;
        while let Some(start) = rest.find(char::is_numeric) {
            let length = rest[start..].chars().next().map_or(0, char::len_utf8);
            self.by_pattern(&rest[..start], &mut each);
            each(&rest[start..start + length]);
            rest = &rest[start + length..];
        }
        self.by_pattern(rest, &mut each);
    }

    fn by_pattern<'t>(&self, text: &'t str, each: &mut impl FnMut(&'t str)) {
        let mut at = 0;
        while let Some(found) = self.regex.find_at(text, at) {
            if found.start() > at {
                each(&text[at..found.start()]);
            }
            let mut end = found.end();
            if end < text.len() && self.leaves_last(found.as_str()) {
                // What follows is not white space, or the run would have gone on.
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

    fn leaves_last(&self, piece: &str) -> bool {
        piece.chars().all(char::is_whitespace) && !(self.line_breaks && piece.ends_with(['\r', '\n']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(name: &str, text: &str) -> Vec<String> {
        let scheme = SCHEMES.iter().find(|scheme| scheme.names.contains(&name)).unwrap();
        let mut out = Vec::new();
        Splitter::new(scheme).unwrap().pieces(text, |piece| out.push(piece.to_string()));
        assert_eq!(out.concat(), text);
        out
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_next_word() {
        assert_eq!(pieces("gpt-2", "a   b  \n c  "), ["a", "  ", " b", "  \n", " c", "  "]);
        assert_eq!(pieces("qwen2", "a   b  \n c  "), ["a", "  ", " b", "  \n", " c", "  "]);
        assert_eq!(pieces("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(pieces("qwen2", "a\n\nb"), ["a", "\n\n", "b"]);
        assert_eq!(pieces("qwen2", "\u{3000}\u{3000}中文"), ["\u{3000}", "\u{3000}中文"]);
    }

    #[test]
    fn numerals_follow_the_scheme() {
        assert_eq!(pieces("smollm", "in 1234 日"), ["in", " ", "1", "2", "3", "4", " 日"]);
        assert_eq!(pieces("gpt-2", "in 1234"), ["in", " 1234"]);
        assert_eq!(pieces("qwen2", "in 1234"), ["in", " ", "1", "2", "3", "4"]);
        assert_eq!(pieces("llama3", "in 12345"), ["in", " ", "123", "45"]);
    }

    #[test]
    fn contractions_follow_the_scheme() {
        assert_eq!(pieces("gpt-2", "don't DON'T"), ["don", "'t", " DON", "'", "T"]);
        assert_eq!(pieces("qwen2", "don't DON'T"), ["don", "'t", " DON", "'T"]);
    }
}
