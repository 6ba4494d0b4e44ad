//! Definitions in prose: glossary blocks (`term: meaning`) and defining sentences, English and Chinese.

use std::sync::OnceLock;

use data::Document;
use regex::Regex;

use crate::{
    check::tokens,
    passage::sentences,
    terms::{is_stop, stem},
};

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
        let verb = r"(?:is|are) defined as|refers to|refer to|is the (?:term|name|study|process|amount|ability|branch) (?:for |of |by )?";
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

/// The subject of a question that asks what something is and nothing else: `What is scarcity?`, `什么是稀缺？`.
/// `What is the capital of France?` asks for something else.
pub(crate) fn subject(question: &str) -> Option<&str> {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        let term = "(?:an? |the )?(?:term )?";
        let asks = format!(
            "(?:define|what does|what (?:is|are) the (?:meaning|definition) of) {term}(?P<a>[^?]+?)(?: mean)?"
        );
        let is = "what (?:is|are) (?P<the>the )?(?:an? )?(?P<b>[^?]+?)";
        let chinese = "(?:请问)?什么是(?P<c>[^？?]+)|(?P<d>[^？?，]+?)(?:是什么意思|的定义是什么|是什么)";
        Regex::new(&format!(r"^\s*(?:(?i:{asks}|{is})|{chinese})[?？.。]*\s*$"))
            .expect("the pattern is constant")
    });
    let found = pattern.captures(question)?;
    let subject = ["a", "b", "c", "d"].iter().find_map(|name| found.name(name))?.as_str().trim();
    let phrase = subject.split_whitespace().any(|w| is_stop(&w.to_lowercase()));
    let other = found.name("the").is_some() && phrase;
    (!other && subject.split_whitespace().count() <= 8 && !subject.contains('的')).then_some(subject)
}

/// Whether a sentence says what `subject` is: starts with it, then a verb of being.
pub(crate) fn begins_with(sentence: &str, subject: &str) -> bool {
    let words = |text: &str| tokens(text).into_iter().map(|t| stem(&t.0)).collect::<Vec<_>>();
    let (mut held, wanted) = (words(sentence), words(subject));
    if held.first().is_some_and(|w| ["a", "an", "the"].contains(&w.as_str())) {
        held.remove(0);
    }
    let verb = held.get(wanted.len()).map_or("", String::as_str);
    held.starts_with(&wanted)
        && ["is", "ar", "are", "was", "wa", "mean", "refer", "describ", "是", "指", "即"].contains(&verb)
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
        let verb = [" are", " is"].iter().any(|v| term.ends_with(v));
        let known = out.iter().any(|d| d.term.eq_ignore_ascii_case(term));
        if pronoun || verb || known || term.starts_with(['它', '这', '其', '我', '你', '他', '她']) {
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

    #[test]
    fn questions_for_a_definition_are_told_from_others() {
        for (question, expected) in [
            ("What is scarcity?", Some("scarcity")),
            ("What does opportunity cost mean?", Some("opportunity cost")),
            ("Define utility.", Some("utility")),
            ("什么是机会成本？", Some("机会成本")),
            ("机会成本是什么意思？", Some("机会成本")),
            ("What is the meaning of unit of account?", Some("unit of account")),
            ("What is certificate of deposit (CD)?", Some("certificate of deposit (CD)")),
            ("What is the money supply?", Some("money supply")),
            ("What is the capital of France?", None),
            ("Who discovered gold?", None),
            ("金的熔点是什么？", None),
        ] {
            assert_eq!(subject(question), expected, "{question}");
        }
        assert!(begins_with("A monopoly is a market with one seller.", "monopoly"));
        assert!(!begins_with("Every monopoly is costly.", "monopoly"));
    }
}
