//! `metrics.jsonl`: one measured value a line, without times.

/// One line for a metric of a stage. A value that is not finite becomes `null`.
pub(crate) fn line(stage: &str, name: &str, value: f64) -> String {
    let mut text = serde_json::json!({"stage": stage, "name": name, "value": value}).to_string();
    text.push('\n');
    text
}
