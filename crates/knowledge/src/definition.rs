//! Definitions in prose: glossary blocks (`term: meaning`) and defining sentences, English and Chinese.

use std::sync::OnceLock;

use data::Document;
use regex::Regex;

use crate::passage::sentences;

/// A term and what it means; the span is the meaning's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) term: String,
    pub(crate) meaning: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// `An opportunity cost is defined as …`, `Scarcity refers to …`: the verb says that it defines.
fn english() -> &'static Regex {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let term = r"(?:(?:The|A|An|the|a|an) )?(?:term )?[“\x22]?([\p{L}][\p{L}\p{N}'’-]*(?: [\p{L}\p{N}'’-]+){0,4}?)[”\x22]?";
        let verb = r"(?:is|are) defined as|refers to|refer to|is the (?:term|name|study|process|amount|ability|branch) (?:for |of |by )?|means(?: that)?";
        Regex::new(&format!(r"^{term} (?:{verb}) ?(.{{15,}})$")).expect("the pattern is constant")
    })
}

/// `X是指…`, `所谓X，是…`, `X的定义是…`, `X指的是…`.
fn chinese() -> &'static Regex {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let term = r"[“「]?([\p{Han}A-Za-z0-9·]{2,16}?)[”」]?";
        let verb = r"(?:（[^）]*）)?(?:，|,)?(?:就是指|是指|指的是|的定义是|被定义为|定义为|是一种|，是)";
        Regex::new(&format!(r"^(?:所谓)?{term}{verb}(.{{4,}})$")).expect("the pattern is constant")
    })
}

/// The definitions of a document: those its reader found (metadata `definition: term`), then defining sentences.
/// Each term is defined once, by the first that defines it.
pub(crate) fn definitions(document: &Document) -> Vec<Definition> {
    let text = &document.text;
    let mut out: Vec<Definition> = Vec::new();
    for (key, meaning) in &document.metadata {
        let Some(term) = key.strip_prefix("definition: ") else { continue };
        let block = format!("{term}: {meaning}");
        let Some(at) = text.rfind(&block) else { continue };
        let start = at + block.len() - meaning.len();
        out.push(Definition {
            term: term.to_owned(),
            meaning: meaning.clone(),
            start,
            end: start + meaning.len(),
        });
    }
    for (start, end) in sentences(text, 0, text.len()) {
        let sentence = &text[start..end];
        let found = english().captures(sentence).or_else(|| chinese().captures(sentence));
        let Some(found) = found else { continue };
        let (Some(term), Some(_)) = (found.get(1), found.get(2)) else { continue };
        let term = term.as_str();
        let pronoun =
            ["it", "this", "that", "which", "these", "they", "he", "she", "we", "what", "there", "one"]
                .contains(&term.to_lowercase().split(' ').next().unwrap_or(""));
        let known = out.iter().any(|d| d.term.eq_ignore_ascii_case(term));
        if pronoun || known || term.starts_with(['它', '这', '其', '我', '你', '他', '她']) {
            continue;
        }
        out.push(Definition { term: term.to_owned(), meaning: sentence.to_owned(), start, end });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prose;

    #[test]
    fn glossary_blocks_and_defining_sentences() {
        let mut document = prose(
            "a.md",
            "Scarcity refers to the fact that wants exceed resources. It refers to nothing else at all.\n\n\
             机会成本是指为得到某种东西而放弃的东西。它是指别的东西。\n\nutility: satisfaction from consuming",
        );
        document.metadata.insert("definition: utility".into(), "satisfaction from consuming".into());
        let found = definitions(&document);
        let terms: Vec<&str> = found.iter().map(|d| d.term.as_str()).collect();
        assert_eq!(terms, ["utility", "Scarcity", "机会成本"]);
        for definition in &found {
            assert_eq!(&document.text[definition.start..definition.end], definition.meaning);
        }
    }
}
