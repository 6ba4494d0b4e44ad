//! Network addresses: those that may be a person's host, and those that only show how something is written.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use super::{checks, context, free};

/// Kind of an address that stands for an example; it takes all its occurrences in the text with it.
pub(super) const EXAMPLE: &str = "";

/// Judges the IPv4 address written at a span.
pub(super) fn ipv4(text: &str, span: &Range<usize>) -> Option<&'static str> {
    let address: Ipv4Addr = text.get(span.clone())?.parse().ok()?;
    // Four small numbers are a version or a section far more often than an address.
    let small = address.octets().iter().all(|o| *o < 40);
    let named = context(text, span.start, &["version", "release", " ver.", "版本", "section", " oid", "rfc"]);
    let unlikely = small || named || (low(address) && !placed(text, span));
    if reserved(address) || unlikely || network(text, span) || service(address) {
        return None;
    }
    Some(if regular(address) || shown(text, span) { EXAMPLE } else { "ip_address" })
}

/// Versions, sections and object identifiers begin with small numbers (`9.4.146.26`, `2.5.29.46`).
fn low(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    a < 20 && b < 100
}

/// Whether what stands around the numbers speaks of a network.
fn placed(text: &str, span: &Range<usize>) -> bool {
    const WORDS: &[&str] = &[
        "ip",
        "ipv4",
        "address",
        "addresses",
        "addr",
        "host",
        "hosts",
        "login",
        "logged",
        "client",
        "server",
        "peer",
        "remote",
        "connection",
        "connected",
        "ping",
        "user",
        "visitor",
    ];
    const CHINESE: &[&str] = &["地址", "来自", "主机", "登录", "访问", "客户端", "服务器"];
    let (before, after) = around(text, span, 40);
    let line = before.rsplit('\n').next().unwrap_or(before).to_lowercase();
    let word = line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word));
    let port = after.starts_with(':') && after[1..].starts_with(|c: char| c.is_ascii_digit());
    let link = line.ends_with("://") || line.ends_with('@');
    word || CHINESE.iter().any(|word| line.contains(word)) || port || link || after.starts_with(" - - ")
}

/// Addresses no person's host has: special purposes (IANA registry), networks and their broadcast addresses.
fn reserved(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        // The first and last number of a network, not of a host.
        || matches!(d, 0 | 255)
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
}

/// Services for everybody, whose addresses are published to be entered: resolvers, and the entry of Google's
/// interfaces. (Those of small numbers only are no addresses to this module anyway.)
fn service(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    matches!(
        (a, b, c, d),
        (208, 67, 220 | 222, 220 | 222)
            | (149, 112, 112, 9..=12 | 112)
            | (223, 5, 5, 5)
            | (223, 6, 6, 6)
            | (114, 114, 114 | 115, 110 | 114 | 115 | 119)
            | (119, 29, 29, 29)
            | (180, 76, 76, 76)
            | (77, 88, 8, 1..=88)
            | (94, 140, 14 | 15, 14..=16)
            | (185, 228, 168 | 169, _)
            | (199, 36, 153, 4..=11)
    )
}

/// Numbers made up by rule: equal steps, digits in order, one digit only.
fn regular(address: Ipv4Addr) -> bool {
    let numbers = address.octets().map(i16::from);
    let steps = numbers.windows(2).all(|w| w[1] - w[0] == numbers[1] - numbers[0]);
    let digits: String = numbers.iter().map(i16::to_string).collect();
    let first = digits.as_bytes()[0];
    steps || "1234567890".starts_with(&digits) || digits.bytes().all(|b| b == first)
}

/// Whether a prefix length follows: a network.
fn network(text: &str, span: &Range<usize>) -> bool {
    let after = &text.as_bytes()[span.end..];
    matches!(after, [b'/', digit, ..] if digit.is_ascii_digit())
}

/// Whether the address is a setting, the entry of a named server, or said to be an example.
fn shown(text: &str, span: &Range<usize>) -> bool {
    const WORDS: &[&str] = &["e.g.", "for instance", "dummy", "例如", "比如", "示例", "样例", "举例"];
    let bytes = text.as_bytes();
    let (before, after) = around(text, span, 60);
    let lower = before.to_lowercase();
    // `80:203.0.113.7:80`: forwarding of ports.
    let digit = |at: Option<usize>| at.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    let forwarded = span.start >= 2
        && bytes[span.start - 1] == b':'
        && digit(span.start.checked_sub(2))
        && bytes.get(span.end) == Some(&b':')
        && digit(Some(span.end + 1));
    // An interface is described with its mask.
    let masked = before.contains("255.255.") || after.contains("255.255.");
    // The word, not a name such as `example.com`.
    let example = lower
        .match_indices("example")
        .any(|(at, word)| !lower[..at].ends_with(['@', '.']) && !lower[at + word.len()..].starts_with('.'));
    example
        || WORDS.iter().any(|word| lower.contains(word))
        || forwarded
        || masked
        || option(before)
        || server(before, after)
}

/// What stands before and after a span, at most that many bytes each.
fn around<'a>(text: &'a str, span: &Range<usize>, bytes: usize) -> (&'a str, &'a str) {
    let start = text.floor_char_boundary(span.start.saturating_sub(bytes));
    let end = text.ceil_char_boundary((span.end + bytes).min(text.len()));
    (&text[start..span.start], &text[span.end..end])
}

/// `--address=203.0.113.7`, `--address 203.0.113.7`: the value of an option of a command.
fn option(before: &str) -> bool {
    let before = before.trim_end_matches(['"', '\'', '[']);
    let token = match before.strip_suffix('=') {
        Some(name) => name.rsplit(char::is_whitespace).next(),
        None if before.ends_with(' ') => before.trim_end().rsplit(char::is_whitespace).next(),
        None => None,
    };
    let token = token.map(|token| token.replace('\\', ""));
    token.is_some_and(|token| {
        token.strip_prefix("--").is_some_and(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
    })
}

/// `www.name.org (203.0.113.7)`, `www.name.org: 203.0.113.7`, or the line `203.0.113.7 www.name.org`: what the domain
/// name system says of a server. Names of customers' lines hold numbers and do not count.
fn server(before: &str, after: &str) -> bool {
    let name = |word: &str| {
        let labels: Vec<&str> = word.split('.').collect();
        labels.len() >= 2
            && labels.iter().all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
            && labels.last().is_some_and(|top| checks::domain(top))
    };
    let last = |text: &str| text.rsplit(char::is_whitespace).next().is_some_and(name);
    let told = before.strip_suffix(": ").or_else(|| before.strip_suffix(" (")).is_some_and(last);
    let table = (before.is_empty() || before.ends_with('\n'))
        && after.starts_with([' ', '\t'])
        && after.lines().next().and_then(|line| line.split_whitespace().next()).is_some_and(name);
    told || table
}

/// The IPv6 address that begins with a run of letters and digits, if it can be a host's.
pub(super) fn ipv6(text: &str, run: &Range<usize>) -> Option<(&'static str, Range<usize>)> {
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
    let [first, second, ..] = address.segments();
    let global = (0x2000..0x4000).contains(&first);
    // Documentation (RFC 3849, RFC 9637) and the experimental network that was closed in 2006 (RFC 3701).
    let unused =
        (first, second) == (0x2001, 0x0db8) || (first == 0x3fff && second < 0x1000) || first == 0x3ffe;
    let short = written.contains("::");
    // Public resolvers (a port may follow) and the servers of the root of the domain name system.
    let resolver = short
        && match (first, second) {
            (0x2001, 0x4860) | (0x2606, 0x4700) | (0x2620, 0x00fe) => groups <= 5,
            (0x2001, 0x0500..=0x0503 | 0x07fd | 0x07fe | 0x0dc3) => groups <= 4,
            _ => false,
        };
    let plausible = global && if short { groups >= 3 } else { long };
    if !plausible || unused || resolver || network(text, &span) || !free(bytes, &span) {
        return None;
    }
    Some((if shown(text, &span) { EXAMPLE } else { "ip_address" }, span))
}
