//! Byte-level byte-pair tokenizers, from GGUF metadata or from `tokenizer.json`.
//!
//! [`Vocabulary`] is what a file states; [`Tokenizer`] is that, ready to use. Text becomes pieces
//! (`split`), pieces become tokens (`bpe`), and [`Decoder`] turns tokens back into text as they come.

mod bpe;
mod build;
mod decode;
mod file;
mod split;

pub use decode::Decoder;

use std::borrow::Cow;
use std::collections::HashMap;

use regex::Regex;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use bpe::{Merger, Merges};
use split::{Scheme, Splitter};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Ordinary text, made by merging.
    Normal,
    /// A marker such as `<|im_end|>`: recognized only where markers are expected, not printed.
    Control,
    /// A text that is always one token.
    Added,
    /// Never produced.
    Unused,
}

/// What a checkpoint states about its tokens.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// The text of each token: normal ones in the byte-level alphabet, others as they are.
    pub tokens: Vec<String>,
    /// What each token is for.
    pub kinds: Vec<TokenKind>,
    /// Pairs to merge, the first rule first.
    pub merges: Vec<(String, String)>,
    scheme: &'static Scheme,
    nfc: bool,
    /// Beginning-of-text token.
    pub bos: Option<u32>,
    /// End-of-text token.
    pub eos: Option<u32>,
    /// Whether a text begins with `bos`.
    pub add_bos: bool,
}

/// Controls that end a turn or a text, whichever of them the file names as its end token.
const ENDS: &[&str] = &["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"];

/// Put inside a marker that occurs in quoted text, so that it is not taken for the marker. A noncharacter: it
/// has no other use in text, and [`Tokenizer::encode_prompt`] removes it.
const GUARD: char = '\u{fdd0}';

/// Text to tokens and back.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// The bytes each token stands for.
    bytes: Vec<Vec<u8>>,
    /// Normal tokens by their bytes.
    ids: HashMap<Vec<u8>, u32>,
    byte_ids: Vec<Option<u32>>,
    merges: Merges,
    splitter: Splitter,
    added: Option<Regex>,
    markers: Option<Regex>,
    marker_ids: HashMap<String, u32>,
    ends: Vec<u32>,
}

impl Tokenizer {
    /// Makes a vocabulary usable. The error says what in it contradicts itself.
    pub fn new(vocabulary: Vocabulary) -> Result<Self, String> {
        if vocabulary.kinds.len() != vocabulary.tokens.len() {
            return Err(format!(
                "there are {} tokens but {} token types",
                vocabulary.tokens.len(),
                vocabulary.kinds.len()
            ));
        }
        let size = u32::try_from(vocabulary.tokens.len()).map_err(|_| "too many tokens".to_string())?;
        if let Some(id) = [vocabulary.bos, vocabulary.eos].into_iter().flatten().find(|id| *id >= size) {
            return Err(format!("special token {id} is not among the {size} tokens"));
        }
        let alphabet = bpe::byte_table();
        let mut bytes = Vec::with_capacity(vocabulary.tokens.len());
        let mut ids = HashMap::with_capacity(vocabulary.tokens.len());
        let mut texts = HashMap::with_capacity(vocabulary.tokens.len());
        let mut marker_ids = HashMap::new();
        for (id, (text, kind)) in (0..).zip(vocabulary.tokens.iter().zip(&vocabulary.kinds)) {
            let mapped: Option<Vec<u8>> = text.chars().map(|char| alphabet.get(&char).copied()).collect();
            let own = match (kind, mapped) {
                (TokenKind::Normal, Some(mapped)) => mapped,
                _ => text.clone().into_bytes(),
            };
            match kind {
                TokenKind::Normal => {
                    ids.entry(own.clone()).or_insert(id);
                }
                TokenKind::Control | TokenKind::Added if !text.is_empty() => {
                    marker_ids.entry(text.clone()).or_insert(id);
                }
                _ => {}
            }
            texts.entry(text.as_str()).or_insert(id);
            bytes.push(own);
        }
        let merges = merge_rules(&vocabulary, &texts)?;
        let byte_ids = (0..=255u8).map(|byte| ids.get([byte].as_slice()).copied()).collect();
        let splitter = Splitter::new(vocabulary.scheme)?;
        let of = |wanted: &[TokenKind]| {
            alternatives(
                vocabulary
                    .tokens
                    .iter()
                    .zip(&vocabulary.kinds)
                    .filter(|(text, kind)| wanted.contains(kind) && !text.is_empty())
                    .map(|(text, _)| text.as_str())
                    .collect(),
            )
        };
        let added = of(&[TokenKind::Added])?;
        let markers = of(&[TokenKind::Added, TokenKind::Control])?;
        let mut ends: Vec<u32> = ENDS.iter().filter_map(|text| marker_ids.get(*text).copied()).collect();
        ends.extend(vocabulary.eos);
        Ok(Self { bytes, ids, byte_ids, merges, splitter, added, markers, marker_ids, ends, vocabulary })
    }

    /// What the checkpoint stated.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether generation ends at this token.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token a text begins with, if the model wants one.
    pub fn beginning(&self) -> Option<u32> {
        self.vocabulary.bos.filter(|_| self.vocabulary.add_bos)
    }

    /// The token of a marker such as `<|im_end|>`.
    pub fn marker(&self, text: &str) -> Option<u32> {
        self.marker_ids.get(text).copied()
    }

    /// The bytes a token stands for; none for an unknown one.
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// The tokens of a text. Control markers in it are ordinary characters; no beginning token is added.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::with_capacity(text.len() / 3);
        self.plain(text, &mut out);
        out
    }

    /// The tokens of a prompt: control markers are recognized, except where [`Self::quote`] guarded them.
    pub fn encode_prompt(&self, prompt: &str) -> Vec<u32> {
        let mut out = Vec::with_capacity(prompt.len() / 3);
        self.between(self.markers.as_ref(), prompt, &mut out, |text, out| {
            if text.contains(GUARD) {
                self.plain(&text.replace(GUARD, ""), out);
            } else {
                self.plain(text, out);
            }
        });
        out
    }

    /// `text` with its control markers guarded, so that in a prompt they are ordinary characters.
    pub fn quote<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(markers) = &self.markers else { return Cow::Borrowed(text) };
        if !markers.is_match(text) {
            return Cow::Borrowed(text);
        }
        // A guard can't complete a marker: after every character that begins one, it stands in between.
        let firsts: Vec<char> = self
            .vocabulary
            .tokens
            .iter()
            .zip(&self.vocabulary.kinds)
            .filter(|(_, kind)| **kind == TokenKind::Control)
            .filter_map(|(text, _)| text.chars().next())
            .collect();
        let mut out = String::with_capacity(text.len() + 16);
        for char in text.chars() {
            out.push(char);
            if firsts.contains(&char) {
                out.push(GUARD);
            }
        }
        Cow::Owned(out)
    }

    /// The text of `tokens`, control markers left out; broken UTF-8 becomes U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut decoder = Decoder::default();
        let mut text = String::new();
        for token in tokens {
            text.push_str(&decoder.push(self.printed(*token)));
        }
        text.push_str(&decoder.finish());
        text
    }

    /// The bytes to print for a token: none for a control marker.
    pub fn printed(&self, token: u32) -> &[u8] {
        match self.vocabulary.kinds.get(token as usize) {
            Some(TokenKind::Normal | TokenKind::Added) => self.bytes(token),
            _ => &[],
        }
    }

    fn plain(&self, text: &str, out: &mut Vec<u32>) {
        self.between(self.added.as_ref(), text, out, |text, out| {
            let text = if self.vocabulary.nfc && !is_nfc(text) {
                Cow::Owned(text.nfc().collect::<String>())
            } else {
                Cow::Borrowed(text)
            };
            let mut merger = Merger::default();
            self.splitter.pieces(&text, |piece| self.piece(piece, &mut merger, out));
        });
    }

    fn piece(&self, piece: &str, merger: &mut Merger, out: &mut Vec<u32>) {
        if self.vocabulary.scheme.whole_pieces
            && let Some(id) = self.ids.get(piece.as_bytes())
        {
            return out.push(*id);
        }
        let tokens = piece.bytes().filter_map(|byte| self.byte_ids[byte as usize]);
        merger.merge(&self.merges, tokens, out);
    }

    /// Matches of `regex` become their tokens, the text between them goes to `each`.
    fn between(
        &self,
        regex: Option<&Regex>,
        text: &str,
        out: &mut Vec<u32>,
        mut each: impl FnMut(&str, &mut Vec<u32>),
    ) {
        let mut at = 0;
        for found in regex.into_iter().flat_map(|regex| regex.find_iter(text)) {
            if found.start() > at {
                each(&text[at..found.start()], out);
            }
            out.extend(self.marker(found.as_str()));
            at = found.end();
        }
        if at < text.len() {
            each(&text[at..], out);
        }
    }
}

fn merge_rules(vocabulary: &Vocabulary, texts: &HashMap<&str, u32>) -> Result<Merges, String> {
    let mut rules = Merges::with_capacity(vocabulary.merges.len());
    for (rank, (left, right)) in (0..).zip(&vocabulary.merges) {
        let id = |text: &str| {
            texts.get(text).copied().ok_or_else(|| {
                format!("merge {rank} (`{left}` + `{right}`) needs token `{text}`, which does not exist")
            })
        };
        let pair = (id(left)?, id(right)?);
        let merged = id(&format!("{left}{right}"))?;
        rules.entry(pair).or_insert((rank, merged));
    }
    Ok(rules)
}

/// A pattern that finds the leftmost, and of those the longest, of `texts`.
fn alternatives(mut texts: Vec<&str>) -> Result<Option<Regex>, String> {
    if texts.is_empty() {
        return Ok(None);
    }
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let pattern = texts.into_iter().map(regex::escape).collect::<Vec<_>>().join("|");
    Regex::new(&pattern).map(Some).map_err(|error| format!("special tokens: {error}"))
}
