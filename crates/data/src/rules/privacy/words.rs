//! Forms made of letters and digits: keys, account and passport numbers.

use std::ops::Range;

use super::{Finding, checks, context, free};

/// Every private key block; one that is cut off ends with the text.
pub(super) fn private_keys(text: &str) -> Vec<Finding> {
    const MARK: &str = "PRIVATE KEY-----";
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(MARK).map(|at| at + from) {
        let after = at + MARK.len();
        // Looked for close by only, so that a text full of marks takes no longer.
        let near = text.floor_char_boundary(at.saturating_sub(39)).max(from);
        let head = text[near..at].rfind("-----BEGIN ").map(|head| near + head);
        let Some(start) = head else {
            from = after;
            continue;
        };
        let body = text[after..].trim_start();
        // A template names the block without holding a key.
        let key =
            body.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')).count()
                >= 32;
        if !key {
            from = after;
            continue;
        }
        let end = text[after..].find(MARK).map_or(text.len(), |close| after + close + MARK.len());
        found.push(Finding { kind: "api_key", span: start..end });
        from = end;
    }
    found
}

/// Prefixes of secrets: prefix, characters after it (least, most), whether `_` and `-` may occur.
const KEYS: &[(&str, usize, usize, bool)] = &[
    ("AKIA", 16, 16, false),
    ("ASIA", 16, 16, false),
    ("AIza", 35, 35, true),
    ("ghp_", 36, 36, false),
    ("gho_", 36, 36, false),
    ("ghs_", 36, 36, false),
    ("ghu_", 36, 36, false),
    ("ghr_", 36, 76, false),
    ("github_pat_", 40, 100, true),
    ("glpat-", 20, 40, true),
    ("sk-proj-", 32, 200, true),
    ("sk-ant-", 32, 200, true),
    ("sk-", 20, 64, false),
    ("sk_live_", 20, 100, false),
    ("sk_test_", 20, 100, false),
    ("rk_live_", 20, 100, false),
    ("xoxb-", 20, 100, true),
    ("xoxp-", 20, 100, true),
    ("xoxa-", 20, 100, true),
    ("hf_", 30, 40, false),
    ("npm_", 36, 36, false),
    ("pypi-", 50, 250, true),
    ("LTAI", 12, 26, false),
    ("AKID", 32, 32, false),
    ("SG.", 60, 70, true),
    ("eyJ", 40, 4000, true),
];

pub(super) fn api_key(text: &str, run: &Range<usize>) -> Option<Range<usize>> {
    let rest = text.get(run.start..)?;
    // Most runs start like no key; the comparison is cheap.
    let (prefix, least, most, loose) = KEYS.iter().find(|(prefix, ..)| rest.starts_with(prefix))?;
    let web_token = *prefix == "eyJ";
    let dots = web_token || *prefix == "SG.";
    let inside =
        |b: &u8| b.is_ascii_alphanumeric() || (*loose && matches!(b, b'_' | b'-')) || (dots && *b == b'.');
    let body = &rest.as_bytes()[prefix.len()..];
    let mut length = body.iter().take(most + 1).take_while(|b| inside(b)).count();
    while length > 0 && matches!(body[length - 1], b'.' | b'-') {
        length -= 1;
    }
    let body = &body[..length];
    let mixed = body.iter().any(u8::is_ascii_digit) && body.iter().any(u8::is_ascii_alphabetic);
    let parts = !web_token || body.iter().filter(|b| **b == b'.').count() == 2;
    let end = run.start + prefix.len() + length;
    let bounded = text.as_bytes().get(end).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_');
    ((*least..=*most).contains(&length) && mixed && parts && bounded).then_some(run.start..end)
}

/// `DE89370400440532013000` or in groups of four.
pub(super) fn iban(text: &str, run: &Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let head = bytes.get(run.start..run.start + 4)?;
    let form = head[..2].iter().all(u8::is_ascii_uppercase) && head[2..].iter().all(u8::is_ascii_digit);
    let length = checks::iban_length(&head[..2]).filter(|_| form && (run.len() == 4 || run.len() >= 15))?;
    let mut characters = Vec::with_capacity(length);
    let mut end = run.start;
    while characters.len() < length {
        match bytes.get(end)? {
            b if b.is_ascii_uppercase() || b.is_ascii_digit() => characters.push(*b),
            b' ' if run.len() == 4 && characters.len() % 4 == 0 => {}
            _ => return None,
        }
        end += 1;
    }
    let span = run.start..end;
    (checks::iban(&characters) && free(bytes, &span)).then_some(span)
}

/// A passport number beside the word.
pub(super) fn passport(text: &str, run: &Range<usize>) -> Option<Range<usize>> {
    let word = text.as_bytes().get(run.clone())?;
    let letters = word.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let digits = word[letters..].iter().all(u8::is_ascii_digit);
    let form = digits && matches!((letters, word.len()), (1, 9) | (2, 9) | (0, 9));
    let named = form && context(text, run.start, &["passport", "护照"]);
    (named && free(text.as_bytes(), run)).then(|| run.clone())
}
