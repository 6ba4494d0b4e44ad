//! Prose: statements with a gap, and texts shown with a question about them.

use std::collections::BTreeSet;

use ledger::Stream;

use super::{
    Form, Item, Origin, SpecializeOptions,
    facts::{self, Chosen},
    messages, wordings,
};
use crate::{
    Error, Pack,
    check::tokens,
    passage::{sentences, word_count},
    prompt,
    questions::{Question, gap_question, statements},
};

/// Longest text shown, in words.
const SHOWN_WORDS: f64 = 80.0;

/// Statements with a gap, from sentences that give no held-out fact away.
pub(super) fn cloze(pack: &Pack, held: &[Chosen], options: &SpecializeOptions) -> Result<Vec<Item>, Error> {
    let mut random = Stream::new(options.seed, "knowledge.specialize.cloze");
    let statements = statements(pack)?;
    let mut order: Vec<usize> = (0..statements.len()).collect();
    random.shuffle(&mut order);
    let mut out = Vec::new();
    for index in order {
        if out.len() == options.cloze {
            break;
        }
        let statement = &statements[index];
        if facts::gives_away(pack, held, &statement.document, &statement.text)? {
            continue;
        }
        let Some(question) = gap_question(&statements, index, &mut random) else { continue };
        let messages = messages(&question.text);
        out.push(of_prose(question, Form::Cloze, "gap", messages));
    }
    Ok(out)
}

fn of_prose(question: Question, form: Form, wording: &str, messages: Vec<model::Message>) -> Item {
    let origin = Origin { document: question.document.clone(), start: question.start, end: question.end };
    Item { question, form, fact: String::new(), wording: wording.into(), messages, origins: vec![origin] }
}

/// Texts with a question: the surroundings of a trained fact and the fact's question, or the passage of a statement
/// and its gap.
pub(super) fn reading(
    pack: &Pack,
    trained: &[Chosen],
    held: &[Chosen],
    options: &SpecializeOptions,
) -> Result<Vec<Item>, Error> {
    let mut random = Stream::new(options.seed, "knowledge.specialize.reading");
    let mut out = Vec::new();
    let mut order: Vec<usize> = (0..trained.len()).collect();
    random.shuffle(&mut order);
    for index in order {
        if out.len() == options.reading.div_ceil(2) {
            break;
        }
        let chosen = &trained[index];
        let set = wordings::of(&chosen.relation.key);
        let document = pack.document(chosen.fact.place.document)?;
        let (start, end) = (chosen.fact.place.start, chosen.fact.place.end);
        let Some((from, to)) = around(&document.text, start, end) else { continue };
        let shown = &document.text[from..to];
        let Some(wording) = random.choose(&set.train) else { continue };
        // A value that two lines of the text could give makes no clear question.
        let twice = crate::check::find(&chosen.fact.value, &document.text[end..to]).is_some();
        if twice || facts::gives_away(pack, held, &document.document, shown)? {
            continue;
        }
        let mut item = facts::item(pack, chosen, Form::Reading, wording, false)?;
        item.messages = prompt::reading(shown, &item.question.text);
        let origin = Origin { document: document.document, start: from, end: to };
        item.origins.push(origin);
        out.push(item);
    }
    let statements = statements(pack)?;
    let mut order: Vec<usize> = (0..statements.len()).collect();
    random.shuffle(&mut order);
    for index in order {
        if out.len() >= options.reading {
            break;
        }
        let Some(question) = gap_question(&statements, index, &mut random) else { continue };
        let Some(number) = pack.number_of(&question.document)? else { continue };
        let document = pack.document(number)?;
        let Some((from, to)) = around(&document.text, question.start, question.end) else { continue };
        let shown = &document.text[from..to];
        if facts::gives_away(pack, held, &question.document, shown)? {
            continue;
        }
        let messages = prompt::reading(shown, &question.text);
        let mut item = of_prose(question, Form::Reading, "gap", messages);
        item.origins.push(Origin { document: document.document, start: from, end: to });
        out.push(item);
    }
    Ok(out)
}

/// The sentences or lines around a span, up to [`SHOWN_WORDS`]: its own, then its neighbours in turn.
fn around(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let all = sentences(text, 0, text.len());
    let own = all.iter().position(|&(s, e)| s <= start && end <= e)?;
    let (mut first, mut last) = (own, own);
    if word_count(&text[all[own].0..all[own].1]) > SHOWN_WORDS {
        return None;
    }
    for step in 0..2 * all.len() {
        let (a, b) = if step % 2 == 0 {
            (first, (last + 1).min(all.len() - 1))
        } else {
            (first.saturating_sub(1), last)
        };
        if word_count(&text[all[a].0..all[b].1]) > SHOWN_WORDS {
            break;
        }
        (first, last) = (a, b);
    }
    let distinct: BTreeSet<String> =
        tokens(&text[all[first].0..all[last].1]).into_iter().map(|t| t.0).collect();
    (distinct.len() > 3).then_some((all[first].0, all[last].1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surroundings_are_whole_sentences_within_the_limit() {
        let sentence = "Ten words are in this sentence for the sake of it. ";
        let text = format!("{}The answer is forty-two. {}", sentence.repeat(12), sentence.repeat(12));
        let start = text.find("forty").unwrap();
        let (from, to) = around(&text, start, start + 9).unwrap();
        let shown = &text[from..to];
        assert!(shown.contains("forty-two") && shown.starts_with("Ten") && shown.ends_with('.'));
        assert!((60.0..=SHOWN_WORDS).contains(&word_count(shown)), "{}", word_count(shown));
    }
}
