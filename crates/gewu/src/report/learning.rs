//! The part of the page about what the model learned: closed-book answers before and after, the training's curve.

use maud::{Markup, html};
use serde_json::Value;

use super::page::{both, number, text};
use super::plot::{self, Curve, Dot};

/// Key of a line of items, and what a reader calls it.
const LINES: &[(&str, &str)] = &[
    ("unseen_phrasing", "trained facts, new wordings · 训练过的事实，新问法"),
    ("never_trained", "facts never trained · 从未训练的事实"),
];

/// The section; empty if the run did not specialize.
pub(super) fn section(part: &Value) -> Markup {
    let (known, training) = (&part["closed_book"], &part["training"]);
    let mut dots: Vec<Dot> =
        LINES.iter().map(|(key, label)| before_and_after(&known[key], (*label).into())).collect();
    dots.push(share(
        &part["retrieval_never_trained"],
        "never trained, from the documents · 据文档回答".into(),
    ));
    html! {
        @if let Some(reason) = part["absent"].as_str() {
            section {
                h2 { (both("What the model learned", "模型学到了什么")) }
                p { (both("Nothing", "无")) ": " (reason) }
            }
        } @else if !part.is_null() {
            section {
                h2 { (both("What the model learned", "模型学到了什么")) }
                p {
                    (number(&part["facts"])) " " (both("facts", "条事实")) ", "
                    (number(&part["examples"])) " " (both("examples", "个样例")) ", "
                    (number(&training["tokens"])) " " (both("tokens read", "个词元")) ", "
                    (number(&training["trained_parameters"])) " " (both("trained parameters", "个训练参数"))
                }
                p { (both("Asked without the documents; hollow dot: before.", "不看文档作答；空心点：训练前。")) }
                (plot::dots(&dots))
                (perplexity(&part["perplexity"]))
                (loss(training))
                details {
                    summary { (both("Some answers", "回答示例")) }
                    @for sample in part["samples"].as_array().into_iter().flatten() {
                        article {
                            p.question { (text(&sample["question"])) }
                            p {
                                (both("before", "训练前")) ": " (text(&sample["before"])) " → "
                                strong { (text(&sample["after"])) } " · "
                                (both("expected", "应为")) " " (text(&sample["expected"]))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The section of a plain training; empty if there was none.
pub(super) fn training(part: &Value) -> Markup {
    let training = &part["training"];
    html! {
        @if !part.is_null() {
            section {
                h2 { (both("Training", "训练")) }
                p {
                    (number(&part["examples"])) " " (both("examples", "个样例")) ", "
                    (number(&training["steps"])) " " (both("steps", "步")) ", "
                    (number(&training["tokens"])) " " (both("tokens read", "个词元")) ", "
                    (number(&training["trained_parameters"])) " " (both("trained parameters", "个训练参数"))
                }
                (perplexity(&part["perplexity"]))
                (loss(training))
            }
        }
    }
}

/// The section of mixtures of the specialized model and the one as it came; empty if there are none.
pub(super) fn mixtures(part: &Value) -> Markup {
    let rows: Vec<&Value> = part["mixtures"].as_array().into_iter().flatten().collect();
    let label =
        |row: &Value| format!("{:.0} % · {:.2}", 100.0 * number(&row["share"]), number(&row["perplexity"]));
    let dots: Vec<Dot> = rows.iter().map(|row| share(&row["facts"], label(row))).collect();
    html! {
        @if !rows.is_empty() {
            section {
                h2 { (both("Merged back with the model as it came", "与原模型合并")) }
                p {
                    (both(
                        "Share of the specialized model and perplexity of a general text; dots: trained facts, new wordings.",
                        "专门模型的占比与一般文本的困惑度；点：训练过的事实，新问法。",
                    ))
                }
                (plot::dots(&dots))
            }
        }
    }
}

/// A share with its interval.
pub(super) fn share(value: &Value, label: String) -> Dot {
    let interval = &value["interval"];
    Dot {
        label,
        value: number(&value["share"]),
        interval: interval["low"].as_f64().zip(interval["high"].as_f64()),
        note: format!("{:.0} % · n {}", 100.0 * number(&value["share"]), number(&value["n"])),
        ..Dot::default()
    }
}

/// A share after a change, with the share before as a hollow dot.
pub(super) fn before_and_after(line: &Value, label: String) -> Dot {
    let after = share(&line["after"], label);
    let before = line["before"]["share"].as_f64();
    let note = format!("{:.0} → {}", 100.0 * before.unwrap_or_default(), after.note);
    Dot { before, note, ..after }
}

/// What a change cost on a general text.
pub(super) fn perplexity(value: &Value) -> Markup {
    html! {
        @if !value.is_null() {
            p {
                (both("Perplexity of a general text", "一般文本的困惑度")) ": "
                (format!("{:.3} → {:.3} ({:+.2} %)", number(&value["before"]), number(&value["after"]),
                    100.0 * number(&value["change"])))
                @if !value["interval"].is_null() {
                    (format!(", {:+.1} … {:+.1} %", 100.0 * number(&value["interval"]["low"]),
                        100.0 * number(&value["interval"]["high"])))
                }
                " · " (text(&value["text"])) ", " (number(&value["tokens"])) " " (both("tokens", "个词元"))
            }
        }
    }
}

/// The loss of every step with the held-out loss along the way, and the norms of the gradients.
pub(super) fn loss(training: &Value) -> Markup {
    let steps = |key: &str| -> Vec<(f64, f64)> {
        let values = training[key].as_array().into_iter().flatten();
        values.enumerate().map(|(step, value)| (step as f64 + 1.0, number(value))).collect()
    };
    let curve = |label: &str, points| Curve { label: label.into(), points };
    let held_out = training["held_out"].as_array().into_iter().flatten();
    let held_out: Vec<(f64, f64)> = held_out.map(|at| (number(&at[0]), number(&at[1]))).collect();
    let mut losses = vec![curve("loss · 损失", steps("losses"))];
    if held_out.len() > 1 {
        losses.push(curve("held out · 留出", held_out));
    }
    let norms = curve("gradient norm · 梯度范数", steps("gradient_norms"));
    html! {
        (plot::curves(&losses, "step · 步"))
        (plot::curves(&[norms], "step · 步"))
    }
}
