//! Bytes to text: UTF-8, UTF-16 and the Chinese GB18030 family, or a refusal that says what was found.

use encoding_rs::{GB18030, UTF_16BE, UTF_16LE};

use super::Refusal;
use crate::tokens::is_han;

/// Decodes the bytes of a text file. Returns the text and the name of its encoding.
///
/// Order: byte order mark, UTF-8, UTF-16 recognized by its zero bytes, GB18030 if the result reads as Chinese.
///
/// # Errors
/// `empty`, `binary` or `encoding`, with the place of the first bad byte.
pub fn decode(bytes: &[u8]) -> Result<(String, &'static str), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::whole("empty", "the file has no bytes"));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return utf8(rest, 3).map(|text| (text, "UTF-8"));
    }
    for (mark, encoding) in [(b"\xff\xfe", UTF_16LE), (b"\xfe\xff", UTF_16BE)] {
        if let Some(rest) = bytes.strip_prefix(mark) {
            return match encoding.decode_without_bom_handling_and_without_replacement(rest) {
                Some(text) if rest.len().is_multiple_of(2) => Ok((text.into_owned(), encoding.name())),
                _ => Err(Refusal::whole("encoding", format!("marked {} but not valid", encoding.name()))),
            };
        }
    }
    if let Some(encoding) = looks_utf16(bytes)
        && let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes)
        && bytes.len().is_multiple_of(2)
    {
        return Ok((text.into_owned(), encoding.name()));
    }
    let head = &bytes[..bytes.len().min(1 << 16)];
    let controls = head
        .iter()
        .filter(|&&b| b < 0x20 && !matches!(b, b'\n' | b'\r' | b'\t' | 0x0c | 0x0b | 0x08 | 0x1b))
        .count();
    if head.contains(&0) || controls * 20 > head.len() {
        return Err(Refusal::whole(
            "binary",
            format!("{controls} control bytes in the first {}", head.len()),
        ));
    }
    let problem = match utf8(bytes, 0) {
        Ok(text) => return Ok((text, "UTF-8")),
        Err(problem) => problem,
    };
    match GB18030.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) if reads_as_chinese(&text) => Ok((text.into_owned(), "GB18030")),
        _ => Err(problem),
    }
}

fn utf8(bytes: &[u8], offset: usize) -> Result<String, Refusal> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            let byte = bytes.get(at).copied().unwrap_or_default();
            Err(Refusal::whole("encoding", format!("invalid UTF-8 at byte {} (0x{byte:02x})", at + offset)))
        }
    }
}

/// UTF-16 without a mark: in Western and mixed text nearly every other byte is zero.
fn looks_utf16(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = &bytes[..bytes.len().min(4096) / 2 * 2];
    let (mut even, mut odd) = (0_usize, 0_usize);
    for pair in head.chunks_exact(2) {
        even += usize::from(pair[0] == 0);
        odd += usize::from(pair[1] == 0);
    }
    let pairs = head.len() / 2;
    if pairs < 4 {
        return None;
    }
    if odd * 10 > pairs * 7 && even == 0 {
        return Some(UTF_16LE);
    }
    (even * 10 > pairs * 7 && odd == 0).then_some(UTF_16BE)
}

/// Whether decoded text is Chinese rather than another legacy encoding misread: most of the non-ASCII characters are
/// common Han characters (GB2312 has 6,763 of them; a misread Latin-1 text lands elsewhere) or Chinese signs.
fn reads_as_chinese(text: &str) -> bool {
    let (mut han, mut signs, mut other) = (0_usize, 0_usize, 0_usize);
    for c in text.chars().filter(|c| !c.is_ascii()) {
        match c as u32 {
            _ if is_han(c) && is_gb2312(c) => han += 1,
            0x3000..=0x303F | 0xFF00..=0xFFEF | 0x2010..=0x2027 | 0xB7 | 0xD7 | 0x2103 => signs += 1,
            _ => other += 1,
        }
    }
    han >= 2 && han > signs && other * 20 <= han + signs
}

/// Whether a character is in GB2312's Han rows: lead byte 0xB0–0xF7, trail byte 0xA1–0xFE in GB18030.
fn is_gb2312(c: char) -> bool {
    let mut buffer = [0_u8; 4];
    let (bytes, _, _) = GB18030.encode(c.encode_utf8(&mut buffer));
    matches!(bytes.as_ref(), [0xb0..=0xf7, 0xa1..=0xfe])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_one_text() {
        let text = "格物致知：经济学 economics 的第 3 章，供给与需求。";
        let (gb, _, _) = GB18030.encode(text);
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let with = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for (bytes, name) in [
            (text.as_bytes().to_vec(), "UTF-8"),
            (with(b"\xef\xbb\xbf", text.as_bytes()), "UTF-8"),
            (with(b"\xff\xfe", &le), "UTF-16LE"),
            (with(b"\xfe\xff", &be), "UTF-16BE"),
            (gb.into_owned(), "GB18030"),
        ] {
            assert_eq!(decode(&bytes).unwrap(), (text.to_owned(), name));
        }
        let plain: Vec<u8> = "no mark here".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&plain).unwrap(), ("no mark here".to_owned(), "UTF-16LE"));
    }

    #[test]
    fn refusals_say_what_was_found() {
        assert_eq!(decode(b"").unwrap_err().rule, "empty");
        assert_eq!(decode(b"\x7fELF\x02\x01\x01\0\0\0\0\0").unwrap_err().rule, "binary");
        let latin = decode(b"na\xefve caf\xe9 and more").unwrap_err();
        assert_eq!((latin.rule, latin.detail.as_str()), ("encoding", "invalid UTF-8 at byte 2 (0xef)"));
        assert_eq!(decode(b"\xff\xfea").unwrap_err().rule, "encoding");
        assert_eq!(decode("é".repeat(40).as_bytes().get(1..).unwrap()).unwrap_err().rule, "encoding");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = decode(&bytes);
        }
    }
}
