//! A response with full marks, made from the reference: proof that an item can be solved.

use crate::constraint::Constraint;
use crate::item::{Item, Reference, Request, Response};

impl Item {
    /// A minimal response that gets full marks. For choices, the right one gets log-likelihood −1, the others
    /// −100 for each of their characters.
    pub fn solution(&self) -> Response {
        if let (Request::Choice { choices, .. }, Reference::Choice(answer)) = (&self.request, &self.reference)
        {
            let value = |(index, choice): (usize, &String)| {
                if index == *answer { -1.0 } else { -100.0 * choice.chars().count().max(1) as f64 }
            };
            return Response::LogLikelihoods(choices.iter().enumerate().map(value).collect());
        }
        Response::Text(match &self.reference {
            Reference::Choice(_) => String::new(),
            Reference::Number(value) => value.to_string(),
            Reference::Text { accepted, .. } => accepted.first().cloned().unwrap_or_default(),
            Reference::All(parts) | Reference::Ordered(parts) => parts.join(", "),
            Reference::Json(value) => value.to_string(),
            Reference::Constraints(constraints) => text_meeting(constraints),
            Reference::Refusal(true) => "I can't help with that.".to_owned(),
            Reference::Refusal(false) => "Of course. Here is how.".to_owned(),
        })
    }
}

/// A text built demand by demand: first the body, then what stands around it, at last its letters.
fn text_meeting(constraints: &[Constraint]) -> String {
    let chinese = constraints.iter().any(|constraint| {
        matches!(
            constraint,
            Constraint::InChinese | Constraint::IdeographsAtLeast(_) | Constraint::IdeographsAtMost(_)
        )
    });
    let mut body = if chinese { "天" } else { "sky" }.to_owned();
    for constraint in constraints {
        match constraint {
            Constraint::Bullets(count) => body = vec!["- x"; *count].join("\n"),
            Constraint::Numbered(count) => {
                body = (1..=*count).map(|number| format!("{number}. x")).collect::<Vec<_>>().join("\n");
            }
            Constraint::Lines(count) => body = vec!["x"; *count].join("\n"),
            Constraint::WordsAtLeast(count) => body = vec!["sky"; *count].join(" "),
            Constraint::IdeographsAtLeast(count) => body = "天".repeat(*count),
            Constraint::OneOf(texts) => body = texts.first().cloned().unwrap_or_default(),
            Constraint::TwoResponses => body = "sky\n******\nsea".to_owned(),
            Constraint::JsonKeys(keys) => {
                let object: serde_json::Map<_, _> =
                    keys.iter().map(|key| (key.clone(), "sky".into())).collect();
                body = serde_json::Value::Object(object).to_string();
            }
            _ => {}
        }
    }
    for constraint in constraints {
        match constraint {
            Constraint::Includes(part) => body = format!("{body} {part}"),
            Constraint::IncludesTimes(part, count) => {
                body = format!("{body} {}", vec![part.as_str(); *count].join(" "))
            }
            Constraint::Placeholders(count) => body = format!("{body} {}", vec!["[x]"; *count].join(" ")),
            Constraint::Title => body = format!("<<sky>> {body}"),
            _ => {}
        }
    }
    for constraint in constraints {
        match constraint {
            Constraint::StartsWith(start) => body = format!("{start} {body}"),
            Constraint::EndsWith(end) => body = format!("{body} {end}"),
            Constraint::Quoted => body = format!("\"{body}\""),
            Constraint::AllCapitals => body = body.to_uppercase(),
            Constraint::NoCapitals => body = body.to_lowercase(),
            _ => {}
        }
    }
    body
}
