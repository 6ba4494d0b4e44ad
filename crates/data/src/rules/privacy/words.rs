//! Forms made of letters and digits: e-mail addresses, keys, account and passport numbers, IPv6 addresses.

use std::{net::Ipv6Addr, ops::Range};

use super::{Finding, checks, context, free};

/// Every e-mail address, in order.
pub(super) fn emails(text: &str) -> Vec<Finding> {
    let bytes = text.as_bytes();
    let mut found: Vec<Finding> = Vec::new();
    for (at, _) in text.match_indices('@') {
        let local = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-');
        let mut start = at - bytes[..at].iter().rev().take(64).take_while(|b| local(b)).count();
        while start < at && !bytes[start].is_ascii_alphanumeric() && bytes[start] != b'_' {
            start += 1;
        }
        let name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        let mut end = at + 1 + bytes[at + 1..].iter().take(253).take_while(|b| name(b)).count();
        while end > at + 1 && !bytes[end - 1].is_ascii_alphanumeric() {
            end -= 1;
        }
        if start == at || bytes[at - 1] == b'.' || text[start..at].contains("..") {
            continue;
        }
        let domain = &text[at + 1..end];
        let labels: Vec<&str> = domain.split('.').collect();
        let proper = labels.len() >= 2
            && labels
                .iter()
                .all(|l| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-'))
            && labels.last().is_some_and(|top| checks::domain(top));
        // `user@host.com` inside an address of a service is a place, not a person.
        let inside = text[..start].ends_with("://") || &text[start..at] == "git";
        let joined = found.last().is_some_and(|f| f.span.end > start);
        if proper && !inside && !joined && bytes.get(end) != Some(&b'_') && bytes.get(end) != Some(&b'@') {
            found.push(Finding { kind: "email", span: start..end });
        }
    }
    found
}

/// Every private key block; one that is cut off ends with the text.
pub(super) fn private_keys(text: &str) -> Vec<Finding> {
    const MARK: &str = "PRIVATE KEY-----";
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(MARK).map(|at| at + from) {
        let after = at + MARK.len();
        let head = text[..at].rfind("-----BEGIN ").filter(|head| at - head < 40 && *head >= from);
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

/// An IPv6 address that can be a host's.
pub(super) fn ipv6(text: &str, run: &Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if run.len() > 4
        || bytes.get(run.end) != Some(&b':')
        || !bytes[run.clone()].iter().all(u8::is_ascii_hexdigit)
    {
        return None;
    }
    if run.start > 0 && matches!(bytes[run.start - 1], b':' | b'.' | b'-' | b'_' | b'/') {
        return None;
    }
    let inside = |b: &u8| b.is_ascii_hexdigit() || *b == b':';
    let mut end = run.start + bytes[run.start..].iter().take(46).take_while(|b| inside(b)).count();
    while end > run.start && bytes[end - 1] == b':' {
        end -= 1;
    }
    let span = run.start..end;
    let address: Ipv6Addr = text.get(span.clone())?.parse().ok()?;
    let written = &text[span.clone()];
    let groups = written.split(':').filter(|g| !g.is_empty()).count();
    let long = written.split(':').any(|g| g.len() >= 3);
    let first = address.segments()[0];
    let global = (0x2000..0x4000).contains(&first);
    let documentation = first == 0x2001 && address.segments()[1] == 0x0db8;
    let plausible = if written.contains("::") { global && groups >= 3 } else { long && first != 0 };
    let network = bytes.get(end) == Some(&b'/') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    (plausible && !documentation && !network && free(bytes, &span)).then_some(span)
}
