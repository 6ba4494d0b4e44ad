//! The page: one HTML file without outside assets, narrow enough for a phone, its language switched by a check box.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::plot::{self, Bar, Dot};

const STYLE: &str = include_str!("page.css");

/// A text in both languages; the style shows one of them.
pub(super) fn both(en: &str, zh: &str) -> Markup {
    html! { span.en lang="en" { (en) } span.zh lang="zh" { (zh) } }
}

/// The whole page.
pub(crate) fn page(scorecard: &Value, times: &BTreeMap<String, f64>, ledger: &[(&str, u64)]) -> String {
    let recipe = scorecard["run"]["recipe"].as_str().unwrap_or_default();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Gewu · " (recipe) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                input #language type="checkbox" aria-label="中文";
                main {
                    header {
                        h1 { "Gewu 格物 · " (recipe) }
                        label for="language" { span.en { "中文" } span.zh { "English" } }
                    }
                    (inputs(&scorecard["inputs"]))
                    (governance(&scorecard["governance"]))
                    (super::learning::section(&scorecard["specialize"]))
                    (super::learning::mixtures(&scorecard["merge"]))
                    (super::learning::training(&scorecard["train"]))
                    (super::behavior::section(&scorecard["align"]))
                    (super::inside::section(&scorecard["probe"]))
                    (super::studies::from_scratch(&scorecard["text"]))
                    (super::studies::mixers(&scorecard["mixers"]))
                    (super::studies::induction(&scorecard["induction"]))
                    (super::answers::section(&scorecard["ask"]))
                    (evaluation(&scorecard["evaluation"], &scorecard["evaluation_before"]))
                    (timings(times))
                    (environment(&scorecard["run"], ledger))
                }
            }
        }
    }
    .into_string()
}

fn section(present: &Value, title: Markup, body: impl FnOnce() -> Markup) -> Markup {
    html! { @if !present.is_null() { section { h2 { (title) } (body()) } } }
}

fn inputs(inputs: &Value) -> Markup {
    section(inputs, both("Inputs", "输入"), || {
        html! {
            dl {
                @for (role, input) in inputs.as_object().into_iter().flatten() {
                    dt { @if role == "model" { (both("Model", "模型")) } @else { (both("Documents", "文档")) } }
                    dd {
                        (text(&input["source"])) " " (text(&input["version"])) " · " (text(&input["licence"]))
                        br; code { (text(&input["hash"])) }
                    }
                }
            }
        }
    })
}

fn governance(report: &Value) -> Markup {
    section(report, both("What was kept of the documents", "文档治理"), || {
        let read = number(&report["documents_read"]);
        let mut bars = vec![Bar { label: "read 读入".into(), value: read, note: format!("{read}") }];
        for step in report["funnel"].as_array().into_iter().flatten() {
            let (dropped, left) = (number(&step["dropped"]), number(&step["left"]));
            bars.push(Bar {
                label: text(&step["rule"]), value: left, note: format!("−{dropped} → {left}")
            });
        }
        html! {
            p {
                (both(
                    "Each line is a rule; the bar is what is left after it. Every decision is in ledger.sqlite: gewu data trace ID --run DIR.",
                    "每一行是一条规则，横条是其后剩余的文档。每个决定都记录在 ledger.sqlite 中：gewu data trace ID --run DIR。",
                ))
            }
            (plot::bars(&bars))
        }
    })
}

fn evaluation(card: &Value, earlier: &Value) -> Markup {
    section(card, both("Scorecard", "评分"), || {
        let rows = |key: &str| -> Vec<Dot> {
            let before = |cell: &Value| {
                let same =
                    |other: &&Value| ["task", "dimension", "language"].iter().all(|k| other[k] == cell[k]);
                earlier[key]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(same)
                    .and_then(|cell| cell["score"].as_f64())
            };
            let cells = card[key].as_array().into_iter().flatten();
            cells.map(|cell| Dot { before: before(cell), ..dot(cell) }).collect()
        };
        let (dots, tasks) = (rows("dimensions"), rows("tasks"));
        html! {
            p { (text(&card["model"])) " · "
                (both("dot: score; line: 95 % interval; hollow dot: the model as it came; tick: score of ignoring the question",
                    "圆点：得分；横线：95% 区间；空心点：原模型；短竖线：不看题目的得分")) }
            (plot::dots(&dots))
            details { summary { (both("By task", "按任务")) } (plot::dots(&tasks)) }
            ul { @for note in card["notes"].as_array().into_iter().flatten() { li { (text(note)) } } }
        }
    })
}

fn dot(cell: &Value) -> Dot {
    let interval = &cell["interval"];
    let name = cell["task"].as_str().or(cell["dimension"].as_str()).unwrap_or_default();
    let score = number(&cell["score"]);
    Dot {
        label: format!("{} · {}", name.replace('_', " "), text(&cell["language"])),
        value: score,
        interval: interval["low"].as_f64().zip(interval["high"].as_f64()),
        chance: cell["chance"].as_f64(),
        note: format!("{:.0} % · n {}", 100.0 * score, number(&cell["n"])),
        ..Dot::default()
    }
}

fn timings(times: &BTreeMap<String, f64>) -> Markup {
    let bars: Vec<Bar> = times
        .iter()
        .map(|(stage, seconds)| Bar {
            label: stage.clone(),
            value: *seconds,
            note: format!("{seconds:.1} s"),
        })
        .collect();
    html! { section { h2 { (both("Time", "用时")) } (plot::bars(&bars)) } }
}

fn environment(run: &Value, ledger: &[(&str, u64)]) -> Markup {
    let configuration = serde_json::to_string_pretty(&run["configuration"]).unwrap_or_default();
    html! {
        section {
            h2 { (both("Evidence", "凭据")) }
            dl {
                @for (name, value) in run["environment"].as_object().into_iter().flatten() {
                    dt { (name) } dd { (text(value)) }
                }
                dt { "seed" } dd { (run["seed"]) }
                dt { "ledger.sqlite" }
                dd { @for (table, rows) in ledger { (table) " " (rows) " · " } }
            }
            details { summary { (both("Recipe", "配方")) } pre { (configuration) } }
        }
    }
}

pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_from_outside_is_escaped_and_nothing_is_loaded() {
        let card = json!({
            "run": {"recipe": "<script>alert(1)</script>", "seed": 1, "environment": {}, "configuration": {}},
            "governance": {"documents_read": 3, "funnel": [{"rule": "a&b", "dropped": 1, "left": 2}]},
            "evaluation": {"model": "模型", "dimensions": [{"dimension": "logic", "language": "zh", "n": 2,
                "score": 0.5, "interval": {"low": 0.1, "high": 0.9}}], "tasks": [], "notes": []},
        });
        let page = page(&card, &BTreeMap::from([("pull".to_owned(), 1.5)]), &[("documents", 3)]);
        assert!(!page.contains("<script"));
        assert!(page.contains("a&amp;b") && page.contains("模型") && page.contains("logic · zh"));
        assert!(!page.contains("http") && !page.contains("src="));
    }
}
