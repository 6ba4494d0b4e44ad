//! Chat templates: the Jinja text a checkpoint carries, turned into a prompt.
//!
//! Rendering follows transformers' `apply_chat_template`: `trim_blocks`, `lstrip_blocks`, Python's string
//! methods, `raise_exception`, `strftime_now`, `tojson`. The date that `strftime_now` prints is fixed, as a
//! prompt must not depend on the clock.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use crate::{Error, Message};

/// Used when a checkpoint carries no template: ChatML, the format of Qwen and SmolLM2.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
    + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// What `strftime_now` prints: 26 July 2024, the date Llama 3 templates fall back to.
const FIXED_DATE: &[(&str, &str)] = &[
    ("%d", "26"),
    ("%b", "Jul"),
    ("%B", "July"),
    ("%m", "07"),
    ("%Y", "2024"),
    ("%y", "24"),
    ("%A", "Friday"),
    ("%a", "Fri"),
    ("%H", "00"),
    ("%M", "00"),
    ("%S", "00"),
];

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    beginning: String,
    end: String,
}

impl ChatTemplate {
    /// Compiles `source`; `beginning` and `end` are what it sees as `bos_token` and `eos_token`.
    pub fn new(source: &str, beginning: &str, end: &str) -> Result<Self, Error> {
        let invalid = |error| Error::Unsupported(format!("the chat template does not compile: {error:#}"));
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(invalid)?,
        );
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| {
            FIXED_DATE.iter().fold(format, |text, (code, value)| text.replace(code, value))
        });
        environment.add_template_owned("chat", source.to_string()).map_err(invalid)?;
        Ok(Self { environment, source: source.into(), beginning: beginning.into(), end: end.into() })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The prompt for the assistant's next turn. Errors with the template's own message if it refuses the
    /// conversation.
    pub fn render(&self, messages: &[Message]) -> Result<String, Error> {
        let refused = |error: minijinja::Error| {
            Error::Request(format!("the chat template refuses this conversation: {error:#}"))
        };
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => message.content.as_str() })
            .collect();
        let template = self.environment.get_template("chat").map_err(refused)?;
        template
            .render(context! {
                messages, add_generation_prompt => true,
                bos_token => self.beginning.as_str(), eos_token => self.end.as_str(),
            })
            .map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[(&str, &str)]) -> Result<String, Error> {
        let messages: Vec<_> = messages.iter().map(|(role, text)| Message::new(*role, *text)).collect();
        ChatTemplate::new(source, "<s>", "</s>")?.render(&messages)
    }

    #[test]
    fn chatml_marks_every_turn() {
        let prompt = render(CHATML, &[("system", "简短"), ("user", "什么是惯性？")]).unwrap();
        assert_eq!(
            prompt,
            "<|im_start|>system\n简短<|im_end|>\n<|im_start|>user\n什么是惯性？<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn python_methods_and_loop_controls_work() {
        let source = "{{ bos_token }}{% for m in messages %}\n  {% if loop.index > 2 %}{% break %}{% endif %}\n\
            {{ m.content.strip().split(':')[-1].lower() if m['content'].startswith('A') else m.content|trim }};\n\
            {% endfor %}\n{{ strftime_now('%d %b %Y') }}{{ messages|length }}{{ {'键': 1}|tojson }}";
        let prompt = render(source, &[("user", " x "), ("user", "AB:CD "), ("user", "z")]).unwrap();
        assert_eq!(prompt, "<s>x;\ncd;\n26 Jul 20243{\"键\": 1}");
    }

    #[test]
    fn a_refusal_keeps_its_message() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[("user", "x")]).unwrap_err();
        assert!(matches!(&error, Error::Request(text) if text.contains("roles must alternate")), "{error}");
        let error = render("{% if %}", &[]).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
}
