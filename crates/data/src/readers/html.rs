//! Visible text of HTML pages. A tolerant scanner, not a tree builder: tags end blocks, some elements are silent.

use super::{Draft, Emit, Refusal, decode};

/// Elements whose content is not the text of the page.
const SILENT: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "math", "head", "nav", "footer", "aside", "form",
    "button", "select", "iframe", "object", "canvas",
];

/// Elements whose content is never parsed for tags.
const RAW: &[&str] = &["script", "style", "noscript", "textarea"];

/// Elements inside a line.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strong", "sub", "sup", "time",
    "tt", "u", "var", "wbr",
];

/// Elements that never have an end tag.
const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];

/// Named character references that occur in running text; all others stay as written.
const ENTITIES: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("ensp", " "),
    ("emsp", " "),
    ("thinsp", " "),
    ("zwnj", ""),
    ("zwj", ""),
    ("shy", ""),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("deg", "°"),
    ("plusmn", "±"),
    ("times", "×"),
    ("divide", "÷"),
    ("middot", "·"),
    ("bull", "•"),
    ("hellip", "…"),
    ("ndash", "–"),
    ("mdash", "—"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("larr", "←"),
    ("rarr", "→"),
    ("le", "≤"),
    ("ge", "≥"),
    ("ne", "≠"),
    ("micro", "µ"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("cent", "¢"),
    ("sect", "§"),
    ("para", "¶"),
    ("frac12", "½"),
    ("frac14", "¼"),
    ("sup2", "²"),
    ("sup3", "³"),
    ("alpha", "α"),
    ("beta", "β"),
    ("gamma", "γ"),
    ("delta", "δ"),
    ("Delta", "Δ"),
    ("mu", "μ"),
    ("pi", "π"),
    ("sigma", "σ"),
    ("Omega", "Ω"),
    ("eacute", "é"),
    ("egrave", "è"),
    ("agrave", "à"),
    ("ccedil", "ç"),
    ("auml", "ä"),
    ("ouml", "ö"),
    ("uuml", "ü"),
    ("szlig", "ß"),
    ("ntilde", "ñ"),
    ("minus", "−"),
    ("infin", "∞"),
];

pub(super) fn read(bytes: &[u8], emit: &mut Emit<'_>) -> Result<(), Refusal> {
    let (page, _) = decode(bytes)?;
    emit(Ok(extract(&page)));
    Ok(())
}

struct Tag<'a> {
    name: String,
    attributes: &'a str,
    closing: bool,
    alone: bool,
}

fn extract(page: &str) -> Draft {
    let mut draft = Draft::default();
    let mut out = Text::default();
    let mut silent: Vec<String> = Vec::new();
    let mut preformatted = 0_usize;
    let mut rest = page;
    while let Some(open) = rest.find('<') {
        let (before, tail) = rest.split_at(open);
        if silent.is_empty() {
            out.put(&references(before), preformatted > 0);
        }
        let Some((tag, after)) = tag(tail) else {
            // A lone `<` is text; a comment or declaration is skipped.
            let skip = skip_markup(tail);
            if skip == 0 && silent.is_empty() {
                out.put("<", preformatted > 0);
            }
            rest = &tail[skip.max(1)..];
            continue;
        };
        rest = after;
        if !tag.closing && tag.name == "title" && draft.title.is_none() {
            let end = find_end(rest, "title");
            let title = references(&rest[..end]).split_whitespace().collect::<Vec<_>>().join(" ");
            draft.title = Some(title).filter(|t| !t.is_empty());
            rest = &rest[end..];
            continue;
        }
        if tag.name == "link"
            && attribute(tag.attributes, "rel").is_some_and(|r| r.eq_ignore_ascii_case("license"))
        {
            draft.licence = attribute(tag.attributes, "href");
        } else if tag.name == "a" && attribute(tag.attributes, "rel").as_deref() == Some("license") {
            draft.licence = draft.licence.or(attribute(tag.attributes, "href"));
        }
        if !tag.closing && RAW.contains(&tag.name.as_str()) {
            rest = &rest[find_end(rest, &tag.name)..];
            continue;
        }
        // A page that never closes its head still has a body.
        if tag.name == "body" {
            silent.clear();
        }
        if SILENT.contains(&tag.name.as_str()) && !tag.alone {
            if !tag.closing {
                silent.push(tag.name);
                continue;
            } else if let Some(at) = silent.iter().rposition(|s| *s == tag.name) {
                silent.truncate(at);
            }
        } else if silent.is_empty() {
            mark(&tag, &mut out, &mut preformatted);
        }
    }
    if silent.is_empty() {
        out.put(&references(rest), preformatted > 0);
    }
    draft.text = out.finish();
    draft
}

fn mark(tag: &Tag<'_>, out: &mut Text, preformatted: &mut usize) {
    match tag.name.as_str() {
        "pre" if tag.closing => *preformatted = preformatted.saturating_sub(1),
        "pre" => *preformatted += 1,
        _ => {}
    }
    match tag.name.as_str() {
        "br" => out.break_line(1),
        "td" | "th" if !tag.closing => out.cell(),
        "td" | "th" => {}
        "li" | "tr" | "dt" | "dd" | "option" => out.break_line(1),
        name if INLINE.contains(&name) => {}
        name if VOID.contains(&name) && name != "hr" => {}
        _ => out.break_line(2),
    }
}

/// Text with pending white space, so that blocks are separated once.
#[derive(Default)]
struct Text {
    out: String,
    breaks: usize,
    space: bool,
}

impl Text {
    fn put(&mut self, text: &str, preformatted: bool) {
        if preformatted {
            for c in text.chars() {
                match c {
                    '\n' => self.breaks = (self.breaks + 1).min(2),
                    '\r' => {}
                    _ => self.push(c),
                }
            }
            return;
        }
        for c in text.chars() {
            if c.is_whitespace() { self.space = true } else { self.push(c) }
        }
    }

    fn push(&mut self, c: char) {
        if !self.out.is_empty() {
            if self.breaks > 0 {
                self.out.extend(std::iter::repeat_n('\n', self.breaks));
            } else if self.space {
                self.out.push(' ');
            }
        }
        (self.breaks, self.space) = (0, false);
        self.out.push(c);
    }

    fn break_line(&mut self, lines: usize) {
        self.breaks = self.breaks.max(lines);
    }

    fn cell(&mut self) {
        if self.breaks == 0 && !self.out.is_empty() {
            self.out.push_str(" |");
            self.space = true;
        }
    }

    fn finish(self) -> String {
        self.out
    }
}

/// Parses a tag at the start of `text`. `None`: not a tag.
fn tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let inner = text.strip_prefix('<')?;
    let (closing, inner) = inner.strip_prefix('/').map_or((false, inner), |i| (true, i));
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let name_end =
        inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == ':')).unwrap_or(inner.len());
    let mut quote = None;
    let end = inner.bytes().enumerate().skip(name_end).find_map(|(at, byte)| match (quote, byte) {
        (None, b'>') => Some(at),
        // Quotes count only after `=`; an apostrophe elsewhere in a broken tag must not swallow the page.
        (None, b'"' | b'\'') if inner.as_bytes()[..at].trim_ascii_end().ends_with(b"=") => {
            quote = Some(byte);
            None
        }
        (Some(open), close) if open == close => {
            quote = None;
            None
        }
        _ => None,
    })?;
    let attributes = &inner[name_end..end];
    let tag =
        Tag { name: inner[..name_end].to_lowercase(), attributes, closing, alone: attributes.ends_with('/') };
    Some((tag, &inner[end + 1..]))
}

/// Bytes of a comment, declaration or processing instruction at the start of `text`; 0 if there is none.
fn skip_markup(text: &str) -> usize {
    if let Some(comment) = text.strip_prefix("<!--") {
        return comment.find("-->").map_or(text.len(), |at| at + 7);
    }
    if text.starts_with("<!") || text.starts_with("<?") || text.starts_with("</") {
        return text.find('>').map_or(text.len(), |at| at + 1);
    }
    0
}

/// Where the end tag of `name` starts, or the end of the text.
fn find_end(text: &str, name: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let start = from + at;
        let rest = &text.as_bytes()[start + 2..];
        if rest.get(..name.len()).is_some_and(|r| r.eq_ignore_ascii_case(name.as_bytes())) {
            return start;
        }
        from = start + 2;
    }
    text.len()
}

/// Value of an attribute.
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let lower = attributes.to_ascii_lowercase();
    let at = lower.match_indices(name).map(|(at, _)| at).find(|at| {
        let before = lower[..*at].chars().next_back().is_none_or(char::is_whitespace);
        before && lower[at + name.len()..].trim_start().starts_with('=')
    })?;
    let value = attributes[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split(|c: char| c.is_whitespace() || c == '/' || c == '>').next()?,
    };
    Some(references(value))
}

/// Replaces character references.
fn references(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest[1..].find(';').filter(|end| *end <= 10).and_then(|end| {
            let name = &rest[1..=end];
            let value = match name.strip_prefix('#') {
                Some(number) => {
                    let hex = number.strip_prefix(['x', 'X']);
                    let code = hex.map_or_else(|| number.parse().ok(), |h| u32::from_str_radix(h, 16).ok());
                    code.and_then(char::from_u32).filter(|c| *c != '\0').map(String::from)
                }
                None => ENTITIES.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()),
            };
            value.map(|v| (v, end + 2))
        });
        match known {
            Some((value, length)) => {
                out.push_str(&value);
                rest = &rest[length..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let draft = extract(
            "<!DOCTYPE html><html><head><title>标题 &amp; Title</title><style>p > a {}</style>\
             <link rel=\"license\" href=\"https://creativecommons.org/licenses/by/4.0/\"></head><body>\
             <nav><a href='/'>Home</a></nav><h1>One</h1><p>Price is 5&nbsp;&euro; &lt; 6 &#x4e2d;<br>next <b>bold</b>line</p>\
             <script>if (a < b) { '</p>' }</script><ul><li>甲</li><li>乙</li></ul>\
             <table><tr><td>a</td><td>b</td></tr></table><pre>x\n  y</pre><footer>no</footer></body></html>",
        );
        assert_eq!(draft.title.as_deref(), Some("标题 & Title"));
        assert_eq!(draft.licence.as_deref(), Some("https://creativecommons.org/licenses/by/4.0/"));
        assert_eq!(draft.text, "One\n\nPrice is 5 € < 6 中\nnext boldline\n\n甲\n乙\n\na | b\n\nx\n  y");
    }

    #[test]
    fn broken_pages_keep_their_text() {
        assert_eq!(
            extract("a < b and c > d <p>it's <b unclosed").text,
            "a < b and c > d\n\nit's b unclosed".replace("b unclosed", "<b unclosed")
        );
        assert_eq!(extract("<p title='a>b'>x</p><!-- never closed").text, "x");
        assert_eq!(extract("&bogus; &#xffffffff; &").text, "&bogus; &#xffffffff; &");
        assert_eq!(extract("<head><p>lost<body>kept").text, "kept");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(page in "[<>/!&;#='\"a-z中 \n-]{0,200}") {
            extract(&page);
        }
    }
}
