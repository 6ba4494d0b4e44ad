//! The part of the page about the inside of the model: copying heads, the refusal direction, what tuning changed.

use maud::{Markup, html};
use serde_json::Value;

use super::page::{both, number, text};
use super::plot::{self, Bar, Curve, Dot};

/// The section; empty if the run did not look inside.
pub(super) fn section(part: &Value) -> Markup {
    html! {
        @if !part.is_null() {
            section {
                h2 { (both("Inside the model", "模型内部")) }
                (direction(&part["refusal_direction"]))
                (heads(&part["heads"]))
                (tuning(&part["tuning"]))
            }
        }
    }
}

fn direction(part: &Value) -> Markup {
    let effect = &part["effect"];
    let arm = |arm: &Value, label: String| Dot {
        label,
        value: number(&arm["rate"]),
        interval: arm["interval"]["low"].as_f64().zip(arm["interval"]["high"].as_f64()),
        note: format!("{:.0} %", 100.0 * number(&arm["rate"])),
        ..Dot::default()
    };
    let mut dots = vec![
        arm(&effect["baseline"], "as it is · 原样".into()),
        arm(&effect["removed"], "direction removed · 去除该方向".into()),
    ];
    for (index, control) in effect["controls"].as_array().into_iter().flatten().enumerate() {
        dots.push(arm(control, format!("random direction {} · 随机方向", index + 1)));
    }
    let beyond = &effect["beyond_control"];
    html! {
        h3 { (both("The direction that carries refusal", "承载拒答的方向")) }
        @if let Some(reason) = part["absent"].as_str() {
            p { (both("None was found", "未找到")) ": " (reason) }
        } @else if !effect.is_null() {
            p { (both("Share of unsafe held-out requests refused, with one direction of the stream removed.",
                "去除残差流中一个方向后，对不安全请求的拒答比例。"))
                " " (both("Beyond the controls", "超出对照")) ": "
                (format!("{:.0} ", 100.0 * number(&beyond["value"])))
                (format!("[{:.0}, {:.0}]", 100.0 * number(&beyond["interval"]["low"]), 100.0 * number(&beyond["interval"]["high"])))
                " " (both("points; after block", "个百分点；位于第")) " "
                (number(&part["selected"]["direction"]["layer"])) }
            (plot::dots(&dots))
        }
    }
}

fn heads(part: &Value) -> Markup {
    let dots: Vec<Dot> = part["top"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|head| Dot {
            label: format!("block {} head {} · 层与头", number(&head["layer"]), number(&head["head"])),
            value: number(&head["prefix_matching"]),
            note: format!("{:.2}", number(&head["prefix_matching"])),
            ..Dot::default()
        })
        .collect();
    html! {
        @if !part.is_null() {
            h3 { (both("Heads that copy", "复制头")) }
            p { (both("Attention to what followed the same token before, in repeated random text; mean of all heads",
                "在重复的随机文本中，对同一词元此前后继的注意力；所有头的均值"))
                ": " (format!("{:.3}", number(&part["mean_prefix_matching"]))) }
            (plot::dots(&dots))
        }
    }
}

fn tuning(part: &Value) -> Markup {
    let layers = part["activations"]["layers"].as_array().cloned().unwrap_or_default();
    let curve = |key: &str, label: &str| Curve {
        label: label.into(),
        points: layers.iter().map(|layer| (number(&layer["layer"]), number(&layer[key]))).collect(),
    };
    let groups: Vec<Bar> = part["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|group| Bar {
            label: text(&group["name"]),
            value: 100.0 * number(&group["relative"]),
            note: format!(
                "{:.2} % · rank {:.1}",
                100.0 * number(&group["relative"]),
                number(&group["effective_rank"])
            ),
        })
        .collect();
    html! {
        @if !part.is_null() {
            h3 { (both("What tuning changed", "调优改变了什么")) }
            p { (both("Change of the stream by layer, on fixed prompts (relative norm; rounding included).",
                "固定提示下各层残差流的变化（相对范数，含舍入）。")) }
            (plot::curves(&[curve("relative", "relative change · 相对变化"), curve("lens_divergence", "lens divergence · 透镜散度")], "layer · 层"))
            details { summary { (both("Weights by block and kind: size of the change, effective rank", "按层与种类：变化大小与有效秩")) }
                (plot::bars(&groups)) }
        }
    }
}
