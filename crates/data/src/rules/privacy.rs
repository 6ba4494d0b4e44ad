//! Personal data of structured kinds, of China and the United States: found by form, check digits and context.
//!
//! One pass looks at every `@` and every run of letters and digits; a form counts only if everything that can be
//! checked about it holds: dates, regions, check digits, number plans. Nobody's data are left alone: addresses of
//! roles, lists and machines, reserved and private networks, and what is shown as an example.

mod addresses;
mod checks;
mod digits;
mod emails;
mod words;

use std::{collections::BTreeSet, ops::Range};

/// A registered kind.
pub struct Kind {
    /// Name.
    pub name: &'static str,
    /// What replaces it.
    pub placeholder: &'static str,
    /// Its form, and what is checked.
    pub about: &'static str,
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    Kind { name: "email", placeholder: "[EMAIL]", about: "address of a person, at a domain that exists" },
    Kind {
        name: "phone",
        placeholder: "[PHONE]",
        about: "Chinese mobile and fixed, North American numbering plan",
    },
    Kind {
        name: "resident_id",
        placeholder: "[RESIDENT_ID]",
        about: "Chinese resident identity: region, date, ISO 7064 mod 11-2",
    },
    Kind {
        name: "credit_code",
        placeholder: "[CREDIT_CODE]",
        about: "unified social credit code: GB 32100 mod 31",
    },
    Kind { name: "ssn", placeholder: "[SSN]", about: "US social security number: ranges in use" },
    Kind { name: "bank_card", placeholder: "[BANK_CARD]", about: "payment card: issuer range, length, Luhn" },
    Kind { name: "iban", placeholder: "[IBAN]", about: "bank account: country length, mod 97" },
    Kind { name: "passport", placeholder: "[PASSPORT]", about: "number beside the word passport or 护照" },
    Kind {
        name: "ip_address",
        placeholder: "[IP_ADDRESS]",
        about: "public IPv4 or IPv6 address, no version number, no example",
    },
    Kind {
        name: "api_key",
        placeholder: "[API_KEY]",
        about: "secret with the prefix of a known service; private key block",
    },
];

/// A piece of personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of its kind.
    pub kind: &'static str,
    /// Byte span in the text.
    pub span: Range<usize>,
}

/// Finds personal data, in order, without overlaps.
pub fn scan(text: &str) -> Vec<Finding> {
    let bytes = text.as_bytes();
    let mut found = emails::find(text);
    found.extend(words::private_keys(text));
    found.sort_by_key(|f| f.span.start);
    let first = found.len();
    let mut taken = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if !byte.is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        // Spans found so far are passed over.
        if let Some(finding) = found[..first].get(taken).filter(|f| f.span.end <= at || f.span.contains(&at))
        {
            at = at.max(finding.span.end);
            taken += 1;
            continue;
        }
        let run = run(bytes, at);
        match recognize(text, &run) {
            Some(finding) => {
                at = finding.span.end.max(run.end.min(finding.span.end)).max(at + 1);
                found.push(finding);
            }
            None => at = run.end,
        }
    }
    found.sort_by_key(|f| (f.span.start, std::cmp::Reverse(f.span.end)));
    let examples: BTreeSet<&str> =
        found.iter().filter(|f| f.kind == addresses::EXAMPLE).map(|f| &text[f.span.clone()]).collect();
    let mut end = 0;
    found.retain(|f| {
        let free = f.span.start >= end && !examples.contains(&text[f.span.clone()]);
        end = if free { f.span.end } else { end };
        free
    });
    found
}

/// The same without the kinds named in `ignore`.
pub fn scan_without(text: &str, ignore: &[String]) -> Vec<Finding> {
    let mut found = scan(text);
    found.retain(|f| !ignore.iter().any(|kind| kind == f.kind));
    found
}

/// The text with each finding replaced by the placeholder of its kind.
pub fn redact(text: &str, findings: &[Finding]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for finding in findings {
        out.push_str(&text[at..finding.span.start]);
        out.push_str(KINDS.iter().find(|k| k.name == finding.kind).map_or("[REDACTED]", |k| k.placeholder));
        at = finding.span.end;
    }
    out.push_str(&text[at..]);
    out
}

/// The longest run of letters and digits from `start`.
fn run(bytes: &[u8], start: usize) -> Range<usize> {
    let length =
        bytes[start..].iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(bytes.len() - start);
    start..start + length
}

/// Looks at the forms that can begin with this run.
fn recognize(text: &str, run: &Range<usize>) -> Option<Finding> {
    let bytes = text.as_bytes();
    let before = run.start.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(b' ');
    if before == b'_' {
        return None;
    }
    let word = &bytes[run.clone()];
    let digit = word.first().is_some_and(u8::is_ascii_digit);
    let found = |kind: &'static str, span: Range<usize>| Some(Finding { kind, span });
    if word.len() == 18 && free(bytes, run) {
        if checks::resident_id(word) {
            return found("resident_id", run.clone());
        }
        if checks::credit_code(word) {
            return found("credit_code", run.clone());
        }
    }
    if let Some(span) = words::api_key(text, run) {
        return found("api_key", span);
    }
    if let Some(span) = words::iban(text, run) {
        return found("iban", span);
    }
    if let Some(span) = words::passport(text, run) {
        return found("passport", span);
    }
    if let Some((kind, span)) = addresses::ipv6(text, run) {
        return found(kind, span);
    }
    if !digit || word.iter().any(|b| !b.is_ascii_digit()) {
        return None;
    }
    digits::number(text, run).map(|(kind, span)| Finding { kind, span })
}

/// Whether nothing that would make it part of something longer touches a span.
fn free(bytes: &[u8], span: &Range<usize>) -> bool {
    let at = |i: usize| bytes.get(i).copied().unwrap_or(b' ');
    let back = |distance: usize| span.start.checked_sub(distance).map_or(b' ', at);
    // `\-` is a hyphen in manual pages and in Markdown.
    let escaped = |first: u8, second: u8| usize::from(first == b'\\' && second == b'-');
    let (before, before_that) = (back(1), back(2 + escaped(back(2), back(1))));
    let skip = escaped(at(span.end), at(span.end + 1));
    let (after, after_that) = (at(span.end + skip), at(span.end + skip + 1));
    let joins = |b: u8| matches!(b, b'.' | b'-' | b'/' | b',');
    let left = before.is_ascii_alphanumeric()
        || matches!(before, b'_' | b'@')
        || (joins(before) && before_that.is_ascii_alphanumeric());
    let right = after.is_ascii_alphanumeric()
        || after == b'_'
        || (joins(after)
            && (after_that.is_ascii_digit() || (after != b',' && after_that.is_ascii_lowercase())));
    !(left || right)
}

/// Whether one of the words occurs, in any case, shortly before a place.
fn context(text: &str, at: usize, words: &[&str]) -> bool {
    let mut start = at.saturating_sub(40);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let before = text[start..at].to_lowercase();
    words.iter().any(|word| before.contains(word))
}

#[cfg(test)]
mod tests;
