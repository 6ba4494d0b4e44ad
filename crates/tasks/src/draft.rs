//! What a generator makes: request and reference, before a task adds identity and language.

use crate::item::{Language, Reference, Request, Turn};
use crate::random::Random;

/// An item without identity.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) request: Request,
    pub(crate) reference: Reference,
    pub(crate) chance: Option<f64>,
    pub(crate) metadata: Vec<(&'static str, String)>,
}

impl Draft {
    /// A multiple-choice question; the right choice comes first in `choices` and is shuffled here.
    pub(crate) fn choice(
        language: Language,
        kind: &str,
        question: &str,
        choices: &[String],
        random: &mut Random,
    ) -> Self {
        let mut order: Vec<usize> = (0..choices.len()).collect();
        random.shuffle(&mut order);
        let answer = order.iter().position(|&index| index == 0).unwrap_or(0);
        Self::ordered_choice(
            language,
            kind,
            question,
            order.iter().map(|&index| choices[index].clone()).collect(),
            answer,
        )
    }

    /// A multiple-choice question with its choices in a fixed order, such as yes and no.
    pub(crate) fn ordered_choice(
        language: Language,
        kind: &str,
        question: &str,
        choices: Vec<String>,
        answer: usize,
    ) -> Self {
        let (context, delimiter) = match language {
            Language::En => (format!("Question: {question}\nAnswer:"), " "),
            Language::Zh => (format!("问题：{question}\n答案："), ""),
        };
        Self {
            chance: Some(1.0 / choices.len() as f64),
            request: Request::Choice { context, delimiter: delimiter.to_owned(), choices },
            reference: Reference::Choice(answer),
            metadata: vec![("kind", kind.to_owned())],
        }
    }

    /// A question to a chat model.
    pub(crate) fn generate(kind: &str, question: String, max_tokens: usize, reference: Reference) -> Self {
        Self {
            request: Request::Generate {
                turns: vec![Turn { role: "user".to_owned(), content: question }],
                max_tokens,
                stop: Vec::new(),
            },
            reference,
            chance: None,
            metadata: vec![("kind", kind.to_owned())],
        }
    }

    /// The draft with one more line of metadata.
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }
}

/// The text in the given language.
pub(crate) fn say(language: Language, english: String, chinese: String) -> String {
    match language {
        Language::En => english,
        Language::Zh => chinese,
    }
}

/// One of a pair of texts, by language.
pub(crate) fn word(language: Language, pair: (&'static str, &'static str)) -> &'static str {
    match language {
        Language::En => pair.0,
        Language::Zh => pair.1,
    }
}
