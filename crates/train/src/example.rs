//! What a model learns from: a run of tokens and which of them count.

use std::ops::Range;

use model::Message;
use model::template::ChatTemplate;
use model::tokenizer::Tokenizer;

use crate::Error;

/// One document or conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Everything the model reads.
    pub tokens: Vec<u32>,
    /// The tokens it has to predict; the first token has nothing before it and never counts.
    pub scored: Range<usize>,
}

impl Example {
    /// A text of which every token but the first counts.
    pub fn whole(tokens: Vec<u32>) -> Self {
        let scored = 1..tokens.len().max(1);
        Self { tokens, scored }
    }

    /// A text with the tokenizer's beginning token, if it wants one, and its end token.
    pub fn text(tokenizer: &Tokenizer, text: &str) -> Self {
        let mut tokens: Vec<u32> = tokenizer.beginning().into_iter().collect();
        tokens.extend(tokenizer.encode(text));
        tokens.extend(tokenizer.vocabulary().eos);
        Self::whole(tokens)
    }

    /// A hash of what all of them hold, in order.
    pub fn hash(examples: &[Self]) -> String {
        let mut bytes = Vec::new();
        for example in examples {
            for number in [example.tokens.len(), example.scored.start, example.scored.end] {
                bytes.extend((number as u64).to_le_bytes());
            }
            bytes.extend(example.tokens.iter().flat_map(|token| token.to_le_bytes()));
        }
        ledger::hash_bytes(bytes)
    }
}

/// A conversation whose last message is the assistant's: the model learns that answer and the marker that ends
/// it, nothing else. The prompt is tokenized by itself, exactly as it is when the model is asked.
///
/// # Errors
/// The conversation has no question, its last message is not the assistant's, or the template refuses it.
pub fn chat_example(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[Message],
) -> Result<Example, Error> {
    let Some((answer, before)) =
        messages.split_last().filter(|(last, before)| last.role == "assistant" && !before.is_empty())
    else {
        return Err(Error::Request(
            "a conversation to learn from needs a question and, last, the assistant's answer".into(),
        ));
    };
    let quote =
        |message: &Message| Message::new(tokenizer.quote(&message.role), tokenizer.quote(&message.content));
    let quoted: Vec<Message> = before.iter().map(quote).collect();
    let prompt = template.render(&quoted)?;
    let mut tokens = tokenizer.encode_prompt(&prompt);
    if let Some(beginning) = tokenizer.beginning()
        && tokens.first() != Some(&beginning)
    {
        tokens.insert(0, beginning);
    }
    let start = tokens.len();
    tokens.extend(tokenizer.encode(&answer.content));
    let mut whole = quoted;
    whole.push(quote(answer));
    tokens.extend(end_of_turn(tokenizer, template, &prompt, &whole)?);
    let scored = start..tokens.len();
    Ok(Example { tokens, scored })
}

/// The token with which the template ends an answer; the end of text if it shows none.
fn end_of_turn(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    prompt: &str,
    whole: &[Message],
) -> Result<Option<u32>, Error> {
    let rendered = template.render(whole)?;
    // Templates may trim an answer; what follows it is looked for after its last word.
    let content = whole.last().map_or("", |message| message.content.trim());
    let after = rendered
        .strip_prefix(prompt)
        .or_else(|| rendered.rfind(content).map(|at| &rendered[at..]))
        .and_then(|rest| rest.trim_start().strip_prefix(content));
    let marker = after.and_then(|rest| {
        let tokens = tokenizer.encode_prompt(rest.trim_start());
        tokens.first().copied().filter(|token| tokenizer.is_end(*token))
    });
    Ok(marker.or(tokenizer.vocabulary().eos))
}

#[cfg(test)]
mod tests {
    use model::template::CHATML;

    use super::*;
    use crate::vocabulary::{self, Learned};

    fn tokenizer() -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        Learned::bytes().write(folder.path()).unwrap();
        vocabulary::open(folder.path()).unwrap()
    }

    fn conversation() -> Vec<Message> {
        vec![
            Message::new("system", "简短"),
            Message::new("user", "What is <|im_end|>?"),
            Message::new("assistant", "格 marker."),
        ]
    }

    #[test]
    fn the_answer_and_its_end_count() {
        let tokenizer = tokenizer();
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        let example = chat_example(&tokenizer, &template, &conversation()).unwrap();
        let scored = &example.tokens[example.scored.clone()];
        assert_eq!(tokenizer.decode(scored), "格 marker.");
        assert_eq!(scored.last().copied(), tokenizer.marker("<|im_end|>"));
        assert_eq!(example.scored.end, example.tokens.len());
        // The marker the user typed is text: only the template's markers are tokens.
        let ends = example.tokens.iter().filter(|token| Some(**token) == tokenizer.marker("<|im_end|>"));
        assert_eq!(ends.count(), 3);
        // The prompt is the one the model sees when it is asked.
        let asked = template.render(&[
            conversation()[0].clone(),
            Message::new("user", tokenizer.quote("What is <|im_end|>?")),
        ]);
        assert_eq!(example.tokens[..example.scored.start], tokenizer.encode_prompt(&asked.unwrap()));
    }

    #[test]
    fn a_template_of_its_own_ends_in_its_own_way() {
        let tokenizer = tokenizer();
        let source = "{% for m in messages %}{{ m.role }}: {{ m.content|trim }}{% if m.role == 'assistant' %}\
            <|endoftext|>{% endif %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
        let template = ChatTemplate::new(source, "", "").unwrap();
        let example = chat_example(&tokenizer, &template, &conversation()).unwrap();
        assert_eq!(example.tokens.last().copied(), tokenizer.marker("<|endoftext|>"));
    }

    #[test]
    fn what_has_no_answer_is_refused() {
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        for messages in [&conversation()[..2], &conversation()[2..], &[]] {
            assert!(chat_example(&tokenizer(), &template, messages).is_err());
        }
    }

    #[test]
    fn a_text_ends() {
        let tokenizer = tokenizer();
        let example = Example::text(&tokenizer, "明月");
        assert_eq!((example.tokens.len(), example.tokens.last()), (7, Some(&0)));
        assert_eq!(example.scored, 1..7);
        assert!(Example::whole(Vec::new()).scored.is_empty());
    }
}
