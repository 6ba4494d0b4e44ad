//! Vocabularies made here: bytes, characters, or byte pairs learned from text; written as `tokenizer.json`.
//!
//! Every vocabulary holds all 256 bytes, so every text can be written and read back. Texts are cut as SmolLM2's
//! are: numerals one by one, then the pattern of GPT-2.

mod merges;
mod pieces;

use std::path::Path;

use ledger::write_atomic;
use model::tokenizer::{Tokenizer, Vocabulary};
use serde_json::{Map, Value as Json, json};

use crate::Error;

/// Ends a text; token 0.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Begins a turn of a conversation; token 1.
pub const TURN_START: &str = "<|im_start|>";
/// Ends a turn of a conversation; token 2.
pub const TURN_END: &str = "<|im_end|>";

const MARKERS: [&str; 3] = [END_OF_TEXT, TURN_START, TURN_END];

/// Inside what byte pairs may merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Words and runs of letters: the usual byte-pair vocabulary (Sennrich et al. 2016, arXiv:1508.07909).
    Word,
    /// Single characters: each frequent character becomes one token, a rare one stays bytes.
    Character,
}

/// A learned vocabulary: three markers, 256 bytes, then one token per merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The bytes of every token after the markers.
    tokens: Vec<Vec<u8>>,
    /// The merges in order, as indices of `tokens`.
    merges: Vec<(u32, u32)>,
}

impl Learned {
    /// The vocabulary of bytes: 259 tokens.
    pub fn bytes() -> Self {
        Self { tokens: (0..=255).map(|byte| vec![byte]).collect(), merges: Vec::new() }
    }

    /// Learns a vocabulary of at most `size` tokens from `texts`: again and again the most frequent adjacent
    /// pair becomes a token (of equals the one with the smaller ids), as long as it occurs twice.
    ///
    /// # Errors
    /// [`Error::Request`] if `size` does not hold the markers and bytes.
    pub fn train<'t>(
        texts: impl IntoIterator<Item = &'t str>,
        size: usize,
        unit: Unit,
    ) -> Result<Self, Error> {
        let mut learned = Self::bytes();
        let Some(merges) = size.checked_sub(learned.len()) else {
            return Err(Error::Request(format!(
                "a vocabulary of {size} tokens is too small: {} markers and 256 bytes come first",
                MARKERS.len()
            )));
        };
        let counted = pieces::count(texts, unit)?;
        learned.merges = merges::learn(&counted, merges);
        for (left, right) in &learned.merges {
            let joined = [&learned.tokens[*left as usize][..], &learned.tokens[*right as usize][..]].concat();
            learned.tokens.push(joined);
        }
        Ok(learned)
    }

    /// Number of tokens, markers included.
    pub fn len(&self) -> usize {
        MARKERS.len() + self.tokens.len()
    }

    /// Never: a vocabulary holds at least the bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into `folder`, which exists.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| byte_to_char(*byte)).collect::<String>();
        let markers = MARKERS.iter().map(|marker| marker.to_string());
        let names: Vec<String> = markers.chain(self.tokens.iter().map(|bytes| text(bytes))).collect();
        let name = |index: u32| &names[MARKERS.len() + index as usize];
        let vocabulary: Map<String, Json> =
            names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
        let merges: Vec<Json> =
            self.merges.iter().map(|(left, right)| json!([name(*left), name(*right)])).collect();
        let added: Vec<Json> = (0..MARKERS.len())
            .map(|id| {
                json!({
                    "id": id, "content": MARKERS[id], "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true,
                })
            })
            .collect();
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            ]},
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": merges,
            },
        });
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT,
            "add_bos_token": false, "add_prefix_space": false, "clean_up_tokenization_spaces": false,
        });
        write_atomic(folder.join("tokenizer.json"), tokenizer.to_string().as_bytes())?;
        write_atomic(folder.join("tokenizer_config.json"), config.to_string().as_bytes())?;
        Ok(())
    }
}

/// The tokenizer of a folder that holds `tokenizer.json`.
///
/// # Errors
/// The file is missing or contradicts itself.
pub fn open(folder: &Path) -> Result<Tokenizer, Error> {
    let vocabulary = Vocabulary::from_folder(folder)?;
    Tokenizer::new(vocabulary).map_err(Error::state(&folder.join("tokenizer.json")))
}

/// The character that stands for `byte` in byte-level files: printable Latin-1 for itself, the others from U+0100
/// on, in order (GPT-2's table).
fn byte_to_char(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let index = (0..byte).filter(|byte| !printable(*byte)).count() as u32;
    char::from_u32(0x100 + index).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests;
