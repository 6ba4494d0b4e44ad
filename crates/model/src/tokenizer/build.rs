//! Vocabularies made here rather than read from a file.

use super::bpe::byte_to_char;
use super::split::{GPT2, SCHEMES};
use super::{ENDS, TokenKind, Vocabulary};

impl Vocabulary {
    /// The 256 bytes (token = byte), what each of `merges` makes, in this order, and then `markers`. Text is cut
    /// as GPT-2 cuts it before bytes merge. The last marker that ends a turn or a text is the end token.
    ///
    /// # Errors
    /// A merge whose result exists already.
    pub fn new(merges: &[(Vec<u8>, Vec<u8>)], markers: &[&str]) -> Result<Self, String> {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| byte_to_char(*byte)).collect::<String>();
        let mut tokens: Vec<String> = (0..=255).map(|byte| text(&[byte])).collect();
        let merges: Vec<_> = merges.iter().map(|(left, right)| (text(left), text(right))).collect();
        let mut known: std::collections::HashSet<String> = tokens.iter().cloned().collect();
        for (left, right) in &merges {
            let merged = format!("{left}{right}");
            if !known.insert(merged.clone()) {
                return Err(format!("the merge of `{left}` and `{right}` makes a token that exists"));
            }
            tokens.push(merged);
        }
        let mut kinds = vec![TokenKind::Normal; tokens.len()];
        let first = tokens.len();
        tokens.extend(markers.iter().map(|marker| marker.to_string()));
        kinds.resize(tokens.len(), TokenKind::Control);
        let end = markers.iter().rposition(|marker| ENDS.contains(marker));
        let eos = end.and_then(|index| u32::try_from(first + index).ok());
        let scheme = SCHEMES.iter().find(|scheme| scheme.pattern == GPT2 && !scheme.digits);
        let scheme = scheme.ok_or("the table of schemes has no plain GPT-2")?;
        Ok(Self { tokens, kinds, merges, scheme, nfc: false, bos: None, eos, add_bos: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;

    #[test]
    fn bytes_and_merges_make_a_tokenizer() {
        let pair = |left: &str, right: &str| (left.as_bytes().to_vec(), right.as_bytes().to_vec());
        let merges = [pair("a", "b"), pair("ab", "a"), pair(" ", "a")];
        let vocabulary = Vocabulary::new(&merges, &["<|im_start|>", "<|im_end|>"]).unwrap();
        assert_eq!((vocabulary.tokens.len(), vocabulary.eos), (261, Some(260)));
        let tokenizer = Tokenizer::new(vocabulary).unwrap();
        assert_eq!(tokenizer.encode("aba a"), [257, 258]);
        assert_eq!(tokenizer.encode_prompt("<|im_start|>a"), [259, 97]);
        let text = "格物 a\nb";
        assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
        assert!(Vocabulary::new(&[pair("a", "b"), pair("a", "b")], &[]).is_err());
    }
}
