//! E-mail addresses of persons: not those of roles, mailing lists and machines, and no examples.

use super::{Finding, checks};

/// Every e-mail address of a person, in order.
pub(super) fn find(text: &str) -> Vec<Finding> {
    let bytes = text.as_bytes();
    let mut found: Vec<Finding> = Vec::new();
    for (at, _) in text.match_indices('@') {
        let start = local_start(bytes, at);
        let end = domain_end(bytes, at + 1);
        if start == at || bytes[at - 1] == b'.' || text[start..at].contains("..") {
            continue;
        }
        // `\-` is a hyphen in manual pages and in Markdown.
        let local = text[start..at].replace('\\', "").to_ascii_lowercase();
        let domain = text[at + 1..end].replace('\\', "").to_ascii_lowercase();
        let labels: Vec<&str> = domain.split('.').collect();
        let proper = labels.len() >= 2
            && labels
                .iter()
                .all(|l| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-'))
            && labels.last().is_some_and(|top| checks::domain(top));
        // `user@host.com` inside an address of a service is a place, not a person.
        let inside = text[..start].ends_with("://") || local == "git";
        let joined = found.last().is_some_and(|f| f.span.end > start);
        let person =
            proper && !(example(&local, &labels) || shared(&local, &labels) || machine(&local, &labels));
        if person && !inside && !joined && bytes.get(end) != Some(&b'_') && bytes.get(end) != Some(&b'@') {
            found.push(Finding { kind: "email", span: start..end });
        }
    }
    found
}

/// Where the part before the `@` begins; `at` if there is none.
fn local_start(bytes: &[u8], at: usize) -> usize {
    let inside = |i: usize| match bytes[i] {
        b'.' | b'_' | b'%' | b'+' | b'-' => true,
        b'\\' => bytes[i + 1] == b'-',
        byte => byte.is_ascii_alphanumeric(),
    };
    let mut start = at;
    while start > 0 && at - start < 64 && inside(start - 1) {
        start -= 1;
    }
    // `\fI`, `\f5`: the change of font before a word of a manual page.
    let font = start > 0
        && bytes[start - 1] == b'\\'
        && bytes[start] == b'f'
        && bytes.get(start + 1).is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if font && start + 2 < at {
        start += 2;
    }
    while start < at && !bytes[start].is_ascii_alphanumeric() && bytes[start] != b'_' {
        start += 1;
    }
    start
}

/// Where the domain that begins at `from` ends.
fn domain_end(bytes: &[u8], from: usize) -> usize {
    let inside = |i: usize| match bytes[i] {
        b'.' | b'-' => true,
        b'\\' => bytes.get(i + 1) == Some(&b'-'),
        byte => byte.is_ascii_alphanumeric(),
    };
    let mut end = from;
    while end < bytes.len() && end - from < 253 && inside(end) {
        end += 1;
    }
    while end > from && !bytes[end - 1].is_ascii_alphanumeric() {
        end -= 1;
    }
    end
}

/// Names that stand for any domain.
const DOMAINS: &str = " domain somedomain yourdomain mydomain company somecompany yourcompany mycompany somewhere nowhere \
    foo bar baz foobar yoursite mysite site hostname invalid localhost ";

/// Names that stand for any person, without dots, hyphens and digits at the end.
const NAMES: &str = " user username myuser youruser someuser testuser test tester testing someone somebody anyone anybody \
    nobody foo bar baz foobar name yourname myname firstname lastname firstnamelastname firstlast email emailaddress \
    youremail myemail example sample demo dummy fake johndoe janedoe jdoe joebloggs jbloggs account myaccount myiamaccount \
    youremailaccount person people recipient sender xxx xyz abc abcd ";

/// Whether one of the space-separated words of a list is this one.
fn listed(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == word)
}

/// An address made up to show what one looks like.
fn example(local: &str, labels: &[&str]) -> bool {
    let [rest @ .., _top] = labels else { return false };
    // Set aside for examples with everything under it (RFC 2606).
    if rest.contains(&"example") {
        return true;
    }
    // The name under which a domain was registered: before `.com`, before `.co.uk`.
    let second = matches!(rest.last(), Some(&("co" | "com" | "ac" | "or" | "org" | "net" | "edu" | "gov")));
    let registered = rest.iter().rev().nth(usize::from(second && rest.len() > 1));
    if registered.is_some_and(|name| listed(DOMAINS, name)) {
        return true;
    }
    let letters: String = local.chars().filter(|c| !matches!(c, '.' | '-' | '_')).collect();
    // No Gmail name is shorter than six signs; a tag may follow.
    let gmail = matches!(labels, [.., "gmail" | "googlemail", "com"])
        && letters.split('+').next().is_some_and(|name| name.len() < 6);
    gmail || listed(NAMES, letters.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// Mailboxes of an office (RFC 2142) and others that no one person is behind.
const ROLES: &str = " info marketing sales support abuse noc security postmaster hostmaster usenet news webmaster www uucp \
    ftp admin admins administrator sysadmin root contact help helpdesk service office press jobs privacy billing feedback \
    enquiries inquiries hello discuss noreply no-reply donotreply do-not-reply mailer-daemon majordomo listserv \
    bugs bug perlbug ";

/// A mailing list or the mailbox of an office.
fn shared(local: &str, labels: &[&str]) -> bool {
    let host = matches!(labels[0], "lists" | "list" | "listserv" | "mailman" | "vger")
        || matches!(labels, [.., "freelists", "org"] | [.., "googlegroups", "com"] | [.., "groups", "io"]);
    let ends = [
        "-bugs",
        "-list",
        "-lists",
        "-users",
        "-devel",
        "-announce",
        "-discuss",
        "-request",
        "-owner",
        "-porters",
        "-maintainers",
        "-commits",
    ];
    let begins = ["bug-", "bugs-", "help-"];
    host || listed(ROLES, local)
        || ends.iter().any(|end| local.ends_with(end))
        || begins.iter().any(|begin| local.starts_with(begin))
}

/// The account of a program, the name of a protocol's extension, the identifier of a message.
fn machine(local: &str, labels: &[&str]) -> bool {
    // Service accounts of a cloud.
    if labels.contains(&"gserviceaccount") {
        return true;
    }
    // Algorithms and extensions of secure shell carry a name of this form (RFC 4251, section 6).
    if matches!(labels, ["openssh", "com"] | ["libssh", "org"]) {
        return true;
    }
    let digits = |text: &str, count: usize| {
        text.len() >= count && text.bytes().take(count).all(|b| b.is_ascii_digit())
    };
    let hexadecimal = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    let uuid = local.len() == 36
        && local.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && local.split('-').all(hexadecimal);
    labels == ["mail", "gmail", "com"] || local.ends_with(".fsf") || uuid || digits(local, 14)
}
