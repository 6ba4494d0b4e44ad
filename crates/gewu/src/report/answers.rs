//! The part of the page about questions: four ways of answering, and a few answers with the text they cite.

use maud::{Markup, html};
use serde_json::Value;

use super::page::{both, number, text};
use super::plot::{self, Dot};

/// Key of an arm, and what a reader calls it in both languages.
const ARMS: &[(&str, &str, &str)] = &[
    ("retrieval", "from the documents", "据文档回答"),
    ("closed_book", "model alone", "仅凭模型"),
    ("look_up", "table look-up, no model", "无模型查表"),
];

/// The section; empty if nothing was asked.
pub(super) fn section(ask: &Value) -> Markup {
    let arms = &ask["arms"];
    let mut right: Vec<Dot> = ARMS
        .iter()
        .filter(|(key, _, _)| !arms[key].is_null())
        .map(|(key, en, zh)| dot(&arms[key]["correct"], format!("{en} · {zh}")))
        .collect();
    if !arms["retrieval"].is_null() {
        right.push(dot(&arms["retrieval"]["citations_resolve"], "citations that hold · 引用可核".into()));
    }
    let mut failures = Vec::new();
    if !arms["retrieval"].is_null() {
        failures.push(dot(&arms["retrieval"]["wrong"], "wrong answers · 答错".into()));
        failures.push(dot(&arms["retrieval"]["abstained"], "declined though answerable · 可答而未答".into()));
    }
    if !arms["source_removed"].is_null() {
        failures
            .push(dot(&arms["source_removed"]["wrong"], "answers with the source removed · 去源仍答".into()));
    }
    html! {
        @if !ask.is_null() {
            section {
                h2 { (both("Questions to the documents", "向文档提问")) }
                p { (both("Right answers: higher is better.", "答对的比例：越高越好。")) }
                (plot::dots(&right))
                p { (both("Failures: lower is better.", "失误的比例：越低越好。")) }
                (plot::dots(&failures))
                h3 { (both("Some answers", "回答示例")) }
                @for sample in ask["samples"].as_array().into_iter().flatten() { (answer(sample)) }
            }
        }
    }
}

fn dot(share: &Value, label: String) -> Dot {
    let interval = &share["interval"];
    Dot {
        label,
        value: number(&share["share"]),
        interval: interval["low"].as_f64().zip(interval["high"].as_f64()),
        note: format!("{:.0} % · n {}", 100.0 * number(&share["share"]), number(&share["n"])),
        ..Dot::default()
    }
}

fn answer(sample: &Value) -> Markup {
    let verdict = match sample["verdict"].as_str() {
        Some("correct") => both("right", "正确"),
        Some("wrong") => both("wrong", "错误"),
        _ => both("no answer", "未作答"),
    };
    html! {
        article {
            p.question { (text(&sample["question"])) }
            p {
                strong { @if text(&sample["answer"]).is_empty() { "—" } @else { (text(&sample["answer"])) } }
                " · " (verdict) " · " (both("expected", "应为")) " " (text(&sample["expected"]))
            }
            @if text(&sample["answer"]).is_empty() { p.dim { (text(&sample["reason"])) } }
            @for entry in sample["citations"].as_array().into_iter().flatten() {
                @let citation = &entry["citation"];
                details {
                    summary {
                        (text(&citation["path"])) " " (text(&citation["locator"]))
                        ", " (both("bytes", "字节")) " " (number(&citation["start"])) "–" (number(&citation["end"]))
                    }
                    blockquote {
                        "… " (text(&entry["before"])) mark { (text(&citation["quote"])) } (text(&entry["after"])) " …"
                    }
                    @if !text(&citation["cited"]).is_empty() {
                        p.dim { (both("The source cites", "来源所引")) ": " (text(&citation["cited"])) }
                    }
                }
            }
        }
    }
}
