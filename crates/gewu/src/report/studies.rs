//! The parts of the page about models trained from scratch: mixers, induction, a text.

use maud::{Markup, html};
use serde_json::Value;

use super::page::{both, number, text};
use super::plot::{self, Curve, Dot};

/// Recall and parity by mixer and seed.
pub(super) fn mixers(part: &Value) -> Markup {
    let dots = |task: &str, key: &str| -> Vec<Dot> {
        let results = part[task].as_array().into_iter().flatten();
        results
            .map(|result| Dot {
                label: format!("{} · seed {}", text(&result["variant"]["name"]), number(&result["seed"])),
                value: number(&result[key]),
                note: format!(
                    "{:.2} % · {} parameters",
                    100.0 * number(&result[key]),
                    number(&result["parameters"])
                ),
                ..Dot::default()
            })
            .collect()
    };
    html! {
        @if !part.is_null() {
            section {
                h2 { (both("What mixers can do", "混合器的能力")) }
                h3 { (both("Associative recall", "联想回忆")) }
                (plot::dots(&dots("recall", "accuracy")))
                h3 { (both("Parity beyond the trained length", "超出训练长度的奇偶校验")) }
                (plot::dots(&dots("parity", "accuracy_beyond")))
            }
        }
    }
}

/// The induction study.
pub(super) fn induction(part: &Value) -> Markup {
    let seeds = part["seeds"].as_array().cloned().unwrap_or_default();
    let gains: Vec<Curve> = seeds
        .iter()
        .map(|seed| Curve {
            label: format!("seed {}", number(&seed["seed"])),
            points: seed["curve"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|point| (number(&point["step"]), number(&point["gain"])))
                .collect(),
        })
        .collect();
    let verdict = &part["verdict"];
    html! {
        @if !part.is_null() {
            section {
                h2 { (both("The birth of copying", "复制能力的诞生")) }
                p { (both("In-context gain over training, in nats, by seed.", "训练过程中的上下文增益（纳特），按种子。")) }
                (plot::curves(&gains, "step · 步"))
                dl {
                    dt { (both("seeds in which one head carries it", "由单头承载的种子数")) }
                    dd { (number(&verdict["causal_seeds"])) " / " (seeds.len()) }
                    dt { (both("seeds whose one-layer control fails to copy", "单层对照不会复制的种子数")) }
                    dd { (number(&verdict["control_seeds"])) " / " (seeds.len()) }
                    dt { (both("share lost with the top head", "去除首要头所失")) }
                    dd { (format!("{:.2}", number(&verdict["top"]["value"]))) }
                    dt { (both("share lost with another head", "去除其他头所失")) }
                    dd { (format!("{:.2}", number(&verdict["others"]["value"]))) }
                }
            }
        }
    }
}

/// A model from scratch on documents.
pub(super) fn from_scratch(part: &Value) -> Markup {
    let points = part["held_out"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|point| (number(&point[0]), number(&point[1])))
        .collect();
    html! {
        @if !part.is_null() {
            section {
                h2 { (both("A model from scratch", "从零训练的模型")) }
                p {
                    (number(&part["parameters"])) " " (both("parameters", "个参数")) ", "
                    (number(&part["documents"])) " " (both("documents", "篇文档")) ", "
                    (format!("{:.2}", number(&part["epochs"]))) " " (both("passes", "遍"))
                }
                p {
                    (both("Held-out bits per character", "留出文本每字比特数")) ": "
                    strong { (format!("{:.3}", number(&part["bits_per_character"]))) }
                    " (" (both("character frequencies alone", "仅凭字频")) ": "
                    (format!("{:.3}", number(&part["unigram_bits_per_character"]))) ")"
                }
                (plot::curves(&[Curve { label: "held-out bits per character · 每字比特".into(), points }], "step · 步"))
                h3 { (both("Samples", "样例")) }
                @for sample in part["samples"].as_array().into_iter().flatten() {
                    blockquote { (text(sample)) }
                }
            }
        }
    }
}
