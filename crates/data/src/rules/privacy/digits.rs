//! Forms made of digit groups: phones, cards, social security numbers, IPv4 addresses.

use std::ops::Range;

use super::{addresses, checks, context, free};

/// Most groups looked at.
const GROUPS: usize = 8;

/// Digit groups with one separator between two.
struct Groups {
    spans: Vec<Range<usize>>,
    separators: Vec<u8>,
}

impl Groups {
    /// Reads groups from a run of digits on.
    fn read(bytes: &[u8], first: &Range<usize>) -> Self {
        let mut groups = Self { spans: vec![first.clone()], separators: Vec::new() };
        let mut end = first.end;
        while groups.spans.len() < GROUPS {
            let Some(separator @ (b' ' | b'-' | b'.')) = bytes.get(end).copied() else { break };
            let start = end + 1;
            let length =
                bytes[start..].iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len() - start);
            if length == 0 {
                break;
            }
            end = start + length;
            groups.spans.push(start..end);
            groups.separators.push(separator);
        }
        groups
    }

    /// The span of the first groups if they have these lengths and one and the same separator.
    fn shape(&self, lengths: &[usize], separators: &[u8]) -> Option<Range<usize>> {
        let spans = self.spans.get(..lengths.len())?;
        let between = self.separators.get(..lengths.len() - 1)?;
        let same = between.windows(2).all(|w| w[0] == w[1]);
        let allowed = between.iter().all(|s| separators.contains(s));
        let fits = spans.iter().zip(lengths).all(|(span, length)| span.len() == *length);
        (same && allowed && fits).then(|| spans[0].start..spans[spans.len() - 1].end)
    }
}

fn value(bytes: &[u8], span: &Range<usize>) -> u32 {
    bytes[span.clone()].iter().take(9).fold(0, |v, d| v * 10 + u32::from(d.wrapping_sub(b'0')))
}

/// Recognizes a number that begins with this run of digits.
pub(super) fn number(text: &str, run: &Range<usize>) -> Option<(&'static str, Range<usize>)> {
    let bytes = text.as_bytes();
    let groups = Groups::read(bytes, run);
    if let Some(address) = ipv4(text, &groups) {
        return Some(address);
    }
    if let Some(span) = card(bytes, &groups) {
        return Some(("bank_card", span));
    }
    if let Some(span) = ssn(text, &groups) {
        return Some(("ssn", span));
    }
    let span = chinese_mobile(bytes, &groups)
        .or_else(|| chinese_fixed(text, &groups))
        .or_else(|| american(text, &groups))?;
    Some(("phone", span))
}

fn ipv4(text: &str, groups: &Groups) -> Option<(&'static str, Range<usize>)> {
    let spans = groups.spans.get(..4)?;
    let bytes = text.as_bytes();
    let dots =
        groups.separators.get(..3)?.iter().all(|s| *s == b'.') && groups.separators.get(3) != Some(&b'.');
    let span = spans[0].start..spans[3].end;
    if !dots || !free(bytes, &span) {
        return None;
    }
    Some((addresses::ipv4(text, &span)?, span))
}

fn card(bytes: &[u8], groups: &Groups) -> Option<Range<usize>> {
    let shapes: &[&[usize]] = &[
        &[4, 4, 4, 4, 3],
        &[4, 4, 4, 4, 2],
        &[4, 4, 4, 4, 1],
        &[4, 4, 4, 4],
        &[4, 6, 5],
        &[4, 6, 4],
        &[6, 13],
        &[13],
        &[14],
        &[15],
        &[16],
        &[17],
        &[18],
        &[19],
    ];
    shapes.iter().find_map(|shape| {
        let span = groups.shape(shape, b" -")?;
        let digits: Vec<u8> = bytes[span.clone()].iter().copied().filter(u8::is_ascii_digit).collect();
        // More groups of the same kind: a row of numbers, not a card.
        let next = groups.separators.get(shape.len() - 1).is_some() || after_number(bytes, span.start);
        let row = shape.len() > 1 && next;
        (!row && free(bytes, &span) && checks::card_issuer(&digits) && checks::luhn(&digits)).then_some(span)
    })
}

/// Whether a space and a decimal or hexadecimal number stand before a place.
fn after_number(bytes: &[u8], start: usize) -> bool {
    let Some(before) = bytes[..start].strip_suffix(b" ") else { return false };
    let word = before.iter().rev().take(8).take_while(|b| b.is_ascii_alphanumeric());
    let (all, digits) = word.fold((true, 0), |(all, digits), b| {
        (all && b.is_ascii_hexdigit(), digits + usize::from(b.is_ascii_digit()))
    });
    all && digits >= 2
}

fn ssn(text: &str, groups: &Groups) -> Option<Range<usize>> {
    const WORDS: &[&str] = &["ssn", "social security", "社会安全号", "社会保障号", "社保号"];
    let bytes = text.as_bytes();
    let part = |i: usize| groups.spans.get(i).map_or(0, |span| value(bytes, span));
    if let Some(span) = groups.shape(&[3, 2, 4], b"- ") {
        let named = groups.separators.first() == Some(&b'-') || context(text, span.start, WORDS);
        return (named && free(bytes, &span) && checks::ssn(part(0), part(1), part(2))).then_some(span);
    }
    let span = groups.shape(&[9], b"")?;
    let number = value(bytes, &span);
    let valid = checks::ssn(number / 1_000_000, number / 10_000 % 100, number % 10_000);
    (valid && context(text, span.start, WORDS) && free(bytes, &span)).then_some(span)
}

/// `+86` or `0086` before a place, with what joins them: where the whole number starts.
fn country_code(bytes: &[u8], start: usize, codes: &[&[u8]]) -> usize {
    let mut at = start;
    while at > 0 && matches!(bytes[at - 1], b' ' | b'-' | b')' | b'(') && start - at < 2 {
        at -= 1;
    }
    for code in codes {
        if bytes[..at].ends_with(code) {
            let mut begin = at - code.len();
            if begin > 0 && bytes[begin - 1] == b'(' && bytes.get(at) == Some(&b')') {
                begin -= 1;
            }
            return begin;
        }
    }
    start
}

fn mobile(bytes: &[u8], start: usize) -> bool {
    bytes.get(start) == Some(&b'1') && matches!(bytes.get(start + 1), Some(b'3'..=b'9'))
}

fn chinese_mobile(bytes: &[u8], groups: &Groups) -> Option<Range<usize>> {
    // `8613812345678` in one run.
    if let Some(span) = groups.shape(&[13], b"")
        && bytes[span.clone()].starts_with(b"86")
        && mobile(bytes, span.start + 2)
        && free(bytes, &span)
    {
        let start = if span.start > 0 && bytes[span.start - 1] == b'+' { span.start - 1 } else { span.start };
        return Some(start..span.end);
    }
    // `86 138 1234 5678`: the code is the first group, or stands before the number.
    let skip = usize::from(matches!(&bytes[groups.spans[0].clone()], b"86" | b"0086"));
    let rest =
        Groups { spans: groups.spans[skip..].to_vec(), separators: groups.separators.get(skip..)?.to_vec() };
    let first = rest.spans.first()?.start;
    let shapes: &[&[usize]] = &[&[11], &[3, 4, 4], &[3, 8], &[7, 4]];
    let span = shapes.iter().find_map(|shape| rest.shape(shape, b" -"))?;
    // A whole number of mebibytes is the size of something.
    let size = std::str::from_utf8(&bytes[span.clone()]).ok().and_then(|digits| digits.parse::<u64>().ok());
    if size.is_some_and(|bytes| bytes.is_multiple_of(1 << 20)) {
        return None;
    }
    // A `+` right before the number starts another country's code.
    let foreign = first > 0 && bytes[first - 1] == b'+';
    if foreign || !mobile(bytes, first) {
        return None;
    }
    let start = if skip == 1 {
        groups.spans[0].start
            - usize::from(groups.spans[0].start > 0 && bytes[groups.spans[0].start - 1] == b'+')
    } else {
        country_code(bytes, span.start, &[b"+86", b"0086"])
    };
    let after = span.end;
    let whole = start..after;
    (free(bytes, &whole) && (skip == 1 || start < span.start || free(bytes, &span))).then_some(whole)
}

/// Area code and subscriber: `010-62345678`, `(0571) 8765 4321`, `0755-2345678`.
fn chinese_fixed(text: &str, groups: &Groups) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let area = groups.spans.first()?.clone();
    let code = &bytes[area.clone()];
    let valid = matches!(code, b"010" | [b'0', b'2', b'0'..=b'9'] | [b'0', b'3'..=b'9', _, _]);
    if !valid {
        return None;
    }
    let (subscriber, start) = if bytes.get(area.end) == Some(&b')') {
        let open = area.start.checked_sub(1).filter(|i| bytes.get(*i) == Some(&b'('))?;
        let mut from = area.end + 1;
        from += usize::from(bytes.get(from) == Some(&b' '));
        let length =
            bytes.get(from..)?.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len() - from);
        (from..from + length, open)
    } else {
        let joined = groups.separators.first() == Some(&b'-')
            || (groups.separators.first() == Some(&b' ')
                && context(text, area.start, &["电话", "传真", "tel", "phone", "fax", "热线", "座机"]));
        (groups.spans.get(1).filter(|_| joined)?.clone(), area.start)
    };
    let digits = bytes.get(subscriber.clone())?;
    let fits = matches!(digits.len(), 7 | 8) && matches!(digits.first(), Some(b'2'..=b'8'));
    let start = country_code(bytes, start, &[b"+86", b"0086"]);
    let span = start..subscriber.end;
    (fits && free(bytes, &span)).then_some(span)
}

fn american(text: &str, groups: &Groups) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let words = &["phone", "tel", "call", "cell", "mobile", "fax", "contact", "电话", "手机"];
    let first = groups.spans.first()?.clone();
    // `(415) 555-0132`
    if bytes.get(first.end) == Some(&b')') && first.len() == 3 {
        let open = first.start.checked_sub(1).filter(|i| bytes.get(*i) == Some(&b'('))?;
        let mut from = first.end + 1;
        from += usize::from(matches!(bytes.get(from), Some(b' ' | b'-')));
        let rest = bytes.get(from..)?;
        let length = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        let tail = Groups::read(bytes, &(from..from + length));
        let span = tail.shape(&[3, 4], b"- .")?;
        if !checks::nanp(value(bytes, &first), value(bytes, &tail.spans[0])) {
            return None;
        }
        let whole = country_code(bytes, open, &[b"+1", b"1"])..span.end;
        return free(bytes, &whole).then_some(whole);
    }
    // `+1 415 555 0132`, `1-415-555-0132`: the code is the first group.
    let skip = usize::from(&bytes[first.clone()] == b"1" && groups.spans.len() >= 4);
    let spans = groups.spans.get(skip..)?;
    let rest = Groups { spans: spans.to_vec(), separators: groups.separators.get(skip..)?.to_vec() };
    let plus = first.start > 0 && bytes[first.start - 1] == b'+';
    if let Some(span) = rest.shape(&[3, 3, 4], b"-. ") {
        let dashed = rest.separators.first() == Some(&b'-');
        let sure = dashed || plus || context(text, first.start, words);
        let valid = checks::nanp(value(bytes, &rest.spans[0]), value(bytes, &rest.spans[1]));
        let start = if skip == 1 {
            first.start - usize::from(plus)
        } else {
            country_code(bytes, span.start, &[b"+1"])
        };
        let whole = start..span.end;
        return (sure && valid && free(bytes, &whole)).then_some(whole);
    }
    // `+14155550132` in one run.
    let span = groups.shape(&[11], b"").filter(|_| plus && bytes[first.start] == b'1')?;
    let valid = checks::nanp(
        value(bytes, &(span.start + 1..span.start + 4)),
        value(bytes, &(span.start + 4..span.start + 7)),
    );
    let whole = span.start - 1..span.end;
    (valid && free(bytes, &whole)).then_some(whole)
}
