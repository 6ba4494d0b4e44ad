//! Tokens to text while they arrive, without ever emitting half a character.

/// Holds back bytes that may still become a character.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Takes the bytes of the next token and returns the text that is certain now. Bytes that can't become
    /// a character turn into U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &after[length..];
                        }
                        None => {
                            rest = after;
                            break;
                        }
                    }
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// What is left at the end: U+FFFD if a character remained incomplete.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_text(bytes in prop::collection::vec(any::<u8>(), 0..60), step in 1usize..7) {
            let mut decoder = Decoder::default();
            let mut text: String = bytes.chunks(step).map(|chunk| decoder.push(chunk)).collect();
            text.push_str(&decoder.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let mut decoder = Decoder::default();
        let bytes = "格😀".as_bytes();
        let out: Vec<String> = bytes.iter().map(|byte| decoder.push(&[*byte])).collect();
        assert_eq!(out, ["", "", "格", "", "", "", "😀"]);
    }
}
