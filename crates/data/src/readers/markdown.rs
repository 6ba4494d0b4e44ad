//! Markdown: the text as written, so that citations are spans of what the author sees; front matter to metadata.

use super::{Draft, Emit, Refusal, decode};

pub(super) fn read(bytes: &[u8], emit: &mut Emit<'_>) -> Result<(), Refusal> {
    let (text, _) = decode(bytes)?;
    let mut draft = Draft::default();
    let mut body = text.as_str();
    if let Some((front, rest)) = front_matter(&text) {
        body = rest;
        for line in front.lines() {
            // Nested values start with white space or `-`; only plain `key: value` lines are kept.
            if let Some((key, value)) = line.split_once(':')
                && !key.is_empty()
                && !key.starts_with([' ', '\t', '-', '#'])
            {
                let value = value.trim().trim_matches(['"', '\'']);
                if !value.is_empty() {
                    draft.metadata.insert(key.trim().to_lowercase(), value.to_owned());
                }
            }
        }
        draft.title = draft.metadata.remove("title");
        draft.licence = draft.metadata.remove("license").or_else(|| draft.metadata.remove("licence"));
    }
    if draft.title.is_none() {
        draft.title = body.lines().find_map(|line| line.strip_prefix("# ")).map(|t| t.trim().to_owned());
    }
    draft.text = body.to_owned();
    emit(Ok(draft));
    Ok(())
}

/// Splits off a block between two lines `---` at the very start.
fn front_matter(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"))?;
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some((&rest[..at], &rest[at + line.len()..]));
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Draft {
        let mut out = Vec::new();
        read(text.as_bytes(), &mut |d| out.push(d)).unwrap();
        out.remove(0).unwrap()
    }

    #[test]
    fn front_matter_goes_to_metadata() {
        let draft =
            one("---\ntitle: \"供给\"\nlicense: CC-BY-4.0\ntags:\n  - x: y\n---\n# 标题\n正文 body\n");
        assert_eq!(draft.title.as_deref(), Some("供给"));
        assert_eq!(draft.licence.as_deref(), Some("CC-BY-4.0"));
        assert_eq!(draft.text, "# 标题\n正文 body\n");
        assert!(draft.metadata.is_empty());
    }

    #[test]
    fn without_front_matter_the_text_is_untouched() {
        let draft = one("# Title\n---\nnot: front\n---\n");
        assert_eq!(draft.text, "# Title\n---\nnot: front\n---\n");
        assert_eq!(draft.title.as_deref(), Some("Title"));
        assert_eq!(one("---\nnever closed").text, "---\nnever closed");
    }
}
