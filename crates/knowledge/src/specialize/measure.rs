//! Measuring a model on items, closed-book and with retrieval.

use model::LanguageModel;
use serde::{Deserialize, Serialize};

use super::Item;
use crate::{Answer, AskOptions, Error, Pack, Verdict, ask, prompt, question_grade};

/// What a model made of one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// The item's id.
    pub item: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What was answered.
    pub text: String,
}

/// Asks the model alone, greedily, and grades by [`question_grade`]. With `examples`, two answered questions come
/// first: what a model that was never tuned needs to see how short an answer should be. Results are in the order of
/// the items, so those of two models pair up.
///
/// # Errors
/// Model errors.
pub fn closed_book(
    model: &mut dyn LanguageModel,
    items: &[Item],
    examples: bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Graded>, Error> {
    let mut out = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let messages = if examples { prompt::with_examples(&item.messages) } else { item.messages.clone() };
        let prompt = model.chat_prompt(&messages)?;
        let text = crate::ask::generate(model, &prompt, tokens_for(item))?;
        let mut answer = Answer::abstain("the model alone", Vec::new(), 0.0);
        (answer.abstained, answer.text) = (false, text);
        let verdict = question_grade(&item.question, &answer);
        out.push(Graded { item: item.question.id.clone(), verdict, text: answer.text });
        progress(index + 1, items.len());
    }
    Ok(out)
}

/// Room for an answer a little longer than the known one; a long answer is a wrong one.
fn tokens_for(item: &Item) -> usize {
    (item.answer().chars().count() / 2 + 12).min(96)
}

/// Asks with retrieval and grades by [`question_grade`].
///
/// # Errors
/// As [`ask()`].
pub fn with_retrieval(
    pack: &Pack,
    model: &mut dyn LanguageModel,
    items: &[Item],
    options: &AskOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Graded>, Error> {
    let mut out = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let answer = ask(pack, model, &item.question.text, options)?;
        let verdict = question_grade(&item.question, &answer);
        out.push(Graded { item: item.question.id.clone(), verdict, text: answer.text });
        progress(index + 1, items.len());
    }
    Ok(out)
}

/// 1 for every right answer, else 0: what a paired interval takes.
pub fn correctness(graded: &[Graded]) -> Vec<f64> {
    graded.iter().map(|g| f64::from(u8::from(g.verdict == Verdict::Correct))).collect()
}
