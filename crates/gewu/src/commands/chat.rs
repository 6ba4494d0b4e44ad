//! `gewu chat`: a conversation in the terminal; Ctrl-C ends the reply under way, or the conversation.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use align::guard::{Decision, Guard};
use anyhow::{Context, Result};
use model::{Checkpoint, LanguageModel, Message};

use super::options::{ModelArguments, SamplingArguments, print_line, print_text};
use crate::progress::say;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A guard (`guard.json` of an aligned run): requests and replies are judged before they are shown
    #[arg(long, value_name = "FILE")]
    guard: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut model = arguments.model.open()?;
    let guard = arguments.guard.as_deref().map(Guard::load).transpose()?;
    let template = Checkpoint::open(&arguments.model.path()?)?.chat_template(model.tokenizer())?;
    let stop = Arc::new(AtomicBool::new(false));
    let replying = Arc::new(AtomicBool::new(false));
    let (stop_handler, replying_handler) = (stop.clone(), replying.clone());
    ctrlc::set_handler(move || {
        if !replying_handler.load(Ordering::SeqCst) {
            std::process::exit(0);
        }
        stop_handler.store(true, Ordering::SeqCst);
    })
    .context("cannot listen for Ctrl-C")?;
    say(format!("{}: /reset starts again, /exit or Ctrl-D ends, Ctrl-C stops a reply", model.name()));
    let opening: Vec<Message> =
        arguments.system.iter().map(|text| Message::new("system", text.as_str())).collect();
    let mut messages = opening.clone();
    for line in prompted_lines() {
        let line = line?;
        match line.trim() {
            "" => continue,
            "/exit" => break,
            "/reset" => {
                messages.clone_from(&opening);
                continue;
            }
            text => messages.push(Message::new("user", text)),
        }
        let judged = match (&guard, messages.last()) {
            (Some(guard), Some(request)) => {
                let request = &request.content;
                let judgment =
                    guard.judge_alone(model.transformer(), model.tokenizer(), &template, request)?;
                Some((guard, judgment))
            }
            _ => None,
        };
        let mut check = judged.as_ref().map(|(guard, judgment)| guard.watch(judgment));
        let prompt = fitting_prompt(&model, &mut messages, opening.len(), arguments.sampling.max_tokens)?;
        stop.store(false, Ordering::SeqCst);
        replying.store(true, Ordering::SeqCst);
        let reply = model.generate(&prompt, &arguments.sampling.options(), &mut |piece| {
            let fine = check.as_mut().is_none_or(|check| check.push(piece) == Decision::Continue);
            fine && print_text(piece).is_ok() && !stop.load(Ordering::SeqCst)
        });
        replying.store(false, Ordering::SeqCst);
        print_line("")?;
        if judged.as_ref().is_some_and(|(_, judgment)| judgment.risky) {
            say("(the guard takes this request for unsafe)");
        }
        match reply {
            Ok(reply) => messages.push(Message::new("assistant", reply.text)),
            Err(error) => {
                say(format!("error: {error}"));
                messages.pop();
            }
        }
    }
    Ok(())
}

/// The lines of standard input, each asked for with a prompt.
fn prompted_lines() -> impl Iterator<Item = Result<String>> {
    let mut lines = std::io::stdin().lock().lines();
    std::iter::from_fn(move || {
        if crate::progress::is_interactive() {
            eprint!("> ");
        }
        lines.next().map(|line| line.context("cannot read standard input"))
    })
}

/// The prompt of the conversation; the oldest turns are forgotten when it no longer leaves room for a reply.
fn fitting_prompt(
    model: &dyn LanguageModel,
    messages: &mut Vec<Message>,
    opening: usize,
    reply: usize,
) -> Result<String> {
    loop {
        let prompt = model.chat_prompt(messages)?;
        let room = model.context_length().saturating_sub(reply.min(model.context_length() / 2));
        if model.count_tokens(&prompt) <= room || messages.len() <= opening + 1 {
            return Ok(prompt);
        }
        // A user's turn and its reply go together.
        let last = (opening + 2).min(messages.len() - 1);
        messages.drain(opening..last);
        say("(the oldest turn no longer fits and is forgotten)");
    }
}
