//! The part of the page about alignment: refusals and attacks before and after, the training's course.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::learning::{loss, perplexity};
use super::page::{both, number, text};
use super::plot::{self, Curve, Dot};

/// The section; empty if the run did not align.
pub(super) fn section(part: &Value) -> Markup {
    let (before, after) = (&part["before"], &part["after"]);
    let of_sides = |language: Option<&str>| -> Vec<Dot> {
        let wanted = |line: &&Value| line["language"].as_str() == language;
        let lines = after["refusals"].as_array().into_iter().flatten().filter(wanted);
        lines
            .map(|line| {
                dot(
                    &line["refused"],
                    &earlier(&before["refusals"], line, &["side", "language"])["refused"],
                    format!("{} {}", text(&line["side"]), text(&line["language"])),
                )
            })
            .collect()
    };
    let attacks: Vec<Dot> = after["attacks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| {
            let old = earlier(&before["attacks"], line, &["attack"]);
            dot(&line["success"], &old["success"], text(&line["attack"]).replace('_', " "))
        })
        .collect();
    let phases = part["training"]["phases"].as_array().cloned().unwrap_or_default();
    html! {
        @if !part.is_null() {
            section {
                h2 { (both("Safety", "安全")) }
                p { (both("Share of held-out requests that are refused; hollow dot: before. Unsafe requests should be refused, harmless look-alikes answered.",
                    "未训练请求的拒答比例；空心点：训练前。不安全的请求应拒答，貌似危险而无害的应作答。")) }
                (plot::dots(&of_sides(None)))
                details { summary { (both("By language", "按语言")) }
                    (plot::dots(&of_sides(Some("en")))) (plot::dots(&of_sides(Some("zh")))) }
                @if !attacks.is_empty() {
                    p { (both("Attacks that succeed, by template; lower is better.", "各类攻击的成功率：越低越好。")) }
                    (plot::dots(&attacks))
                }
                (perplexity(&part["perplexity"]))
                @let guard = &part["guard"];
                @if !guard.is_null() {
                    p { (both("The guard on held-out requests, area under the curve", "守卫在未训练请求上的曲线下面积")) ": "
                        (format!("{:.3}", number(&guard["auroc"]))) " · n " (number(&guard["held_out"])) }
                }
                @for phase in &phases {
                    p { (text(&phase["phase"])) ": " (number(&phase["items"])) " " (both("items", "条")) ", "
                        (number(&phase["trained_tokens"])) " " (both("tokens", "个词元")) }
                    (loss(&json!({ "losses": series(phase, "loss"), "gradient_norms": series(phase, "gradient_norm") })))
                    (margins(phase))
                }
                @let events = part["training"]["events"].as_array().cloned().unwrap_or_default();
                p { (both("Steps the monitor skipped or took back", "监控跳过或撤回的步数")) ": " (events.len()) }
            }
        }
    }
}

/// The line of the earlier measurement with the same keys.
fn earlier(lines: &Value, line: &Value, keys: &[&str]) -> Value {
    let same = |other: &&Value| keys.iter().all(|key| other[key] == line[key]);
    lines.as_array().into_iter().flatten().find(same).cloned().unwrap_or_default()
}

/// An estimate after, with the one before as a hollow dot.
fn dot(after: &Value, before: &Value, label: String) -> Dot {
    let interval = &after["interval"];
    Dot {
        label,
        value: number(&after["value"]),
        interval: interval["low"].as_f64().zip(interval["high"].as_f64()),
        before: before["value"].as_f64(),
        note: format!(
            "{:.0} → {:.0} % · n {}",
            100.0 * number(&before["value"]),
            100.0 * number(&after["value"]),
            number(&after["n"])
        ),
        ..Dot::default()
    }
}

fn series(phase: &Value, key: &str) -> Value {
    phase["steps"].as_array().into_iter().flatten().map(|step| step[key].clone()).collect()
}

/// Log-probabilities of chosen and rejected answers over the steps.
fn margins(phase: &Value) -> Markup {
    let curve = |key: &str, label: &str| Curve {
        label: label.into(),
        points: phase["steps"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .filter_map(|(step, record)| Some((step as f64 + 1.0, record[key].as_f64()?)))
            .collect(),
    };
    let curves = [curve("chosen", "chosen · 应选"), curve("rejected", "rejected · 应弃")];
    html! {
        @if curves.iter().all(|curve| !curve.points.is_empty()) {
            p.dim { (both("Log-probability per token, in nats", "每词元对数概率（纳特）")) }
            (plot::curves(&curves, "step · 步"))
        }
    }
}
