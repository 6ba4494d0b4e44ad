//! Statements with a gap: the filled statement must stand in the source word for word.

use model::LanguageModel;

use crate::{
    Answer, AskOptions, Error, Hit, Pack, Support, SupportKind,
    ask::{cite_hit, generate, likeliest},
    check::tokens,
    prompt,
    terms::is_stop,
};

/// A statement around a gap.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) left: String,
    pub(crate) right: String,
}

/// Passages looked at; a statement of common words ranks low.
const CLOZE_HITS: usize = 24;
/// Longest filling, in words or ideographs.
const LONGEST: usize = 8;

/// The statement of a question such as `Fill the gap: Bees make ____ from nectar.`
pub(crate) fn parse(question: &str) -> Option<Gap> {
    let at = question.find("__")?;
    let left = &question[..at];
    let right = question[at..].trim_start_matches('_');
    if right.contains("__") {
        return None;
    }
    let start = left.rfind(['“', '"', '「']).or_else(|| left.rfind([':', '：']));
    let start = start.map_or(0, |i| i + left[i..].chars().next().map_or(0, char::len_utf8));
    let right = right.trim_end_matches(['”', '"', '」', ' ']);
    let gap = Gap { left: left[start..].trim().to_owned(), right: right.trim().to_owned() };
    (tokens(&gap.left).len() + tokens(&gap.right).len() >= 3).then_some(gap)
}

/// A filling found in a passage, as bytes of the passage.
struct Filling {
    hit: usize,
    start: usize,
    end: usize,
    text: String,
}

/// Places of a passage where both sides of the gap stand, with one to `LONGEST` words between them.
fn fillings(hits: &[Hit], gap: &Gap) -> Vec<Filling> {
    let words = |text: &str| tokens(text).into_iter().map(|t| t.0).collect::<Vec<_>>();
    let (left, right) = (words(&gap.left), words(&gap.right));
    let (left, right) = (left.as_slice(), right.as_slice());
    let mut out = Vec::new();
    for (hit, found) in hits.iter().enumerate() {
        let held = tokens(&found.text);
        for from in 0..held.len() {
            let before = &held[..from];
            if before.len() < left.len()
                || before[from - left.len()..].iter().zip(left).any(|(a, b)| a.0 != *b)
            {
                continue;
            }
            for to in from + 1..=held.len().min(from + LONGEST) {
                let fits =
                    held.len() - to >= right.len() && held[to..].iter().zip(right).all(|(a, b)| a.0 == *b);
                let crosses = held[from..to].windows(2).any(|w| crosses(&found.text[w[0].2..w[1].1]));
                if fits && !crosses && (!right.is_empty() || ends_sentence(&found.text[held[to - 1].2..])) {
                    let (start, end) = (held[from].1, held[to - 1].2);
                    out.push(Filling { hit, start, end, text: found.text[start..end].to_owned() });
                }
            }
        }
    }
    out
}

const ENDS: [char; 8] = ['。', '！', '？', '；', '!', '?', ';', '\n'];

/// Whether the text between two words holds the end of a sentence.
fn crosses(between: &str) -> bool {
    between.contains(ENDS) || between.contains(". ")
}

/// Whether a sentence ends where `rest` begins.
fn ends_sentence(rest: &str) -> bool {
    let rest = rest.trim_start_matches([')', '"', '”']);
    let dot = rest
        .strip_prefix('.')
        .is_some_and(|after| after.is_empty() || after.starts_with(char::is_whitespace));
    dot || rest.starts_with(ENDS) || rest.trim().is_empty()
}

/// Answers a statement with a gap.
pub(crate) fn fill(
    pack: &Pack,
    model: &mut dyn LanguageModel,
    question: &str,
    gap: &Gap,
    options: &AskOptions,
    exclude: &[i64],
) -> Result<Answer, Error> {
    let hits = pack.search_without(
        &format!("{} {}", gap.left, gap.right),
        options.support.max(CLOZE_HITS),
        exclude,
    )?;
    let support: Vec<Support> = hits
        .iter()
        .map(|h| Support {
            text: h.text.clone(),
            document: h.document.clone(),
            start: h.start,
            end: h.end,
            kind: SupportKind::Passage,
            score: h.score,
        })
        .take(options.support.max(1))
        .collect();
    let found = fillings(&hits, gap);
    let Some(first) = found.first() else {
        let reason =
            if hits.is_empty() { "nothing in the source matches" } else { "no passage holds the statement" };
        return Ok(Answer::abstain(format!("{reason}: {}", short(question)), support, 0.0));
    };
    let statement = format!("{} ____ {}", gap.left, gap.right);
    let prompt = prompt::cloze(&hits[first.hit].text, &statement);
    let said = generate(model, &prompt, 16)?;
    let words =
        |text: &str| tokens(text).into_iter().map(|t| t.0).filter(|t| !is_stop(t)).collect::<Vec<_>>();
    let (mut calls, spoken) = (1, words(&said));
    let chosen = match found.iter().position(|f| words(&f.text) == spoken) {
        Some(index) => index,
        None if found.iter().all(|f| f.text == first.text) => 0,
        None => {
            calls += 1;
            likeliest(model, &prompt, &found.iter().map(|f| f.text.clone()).collect::<Vec<_>>())?[0]
        }
    };
    let filling = &found[chosen];
    let hit = &hits[filling.hit];
    let mut answer = Answer::abstain("the filled statement stands in the cited passage", support, 1.0);
    (answer.abstained, answer.text, answer.model_calls) = (false, filling.text.clone(), calls);
    answer.citations = vec![cite_hit(pack, hit, hit.start + filling.start, hit.start + filling.end)?];
    Ok(answer)
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_parsed_and_filled() {
        let gap = parse("Complete: “Used in ____, jewelry and coins.”").unwrap();
        assert_eq!((gap.left.as_str(), gap.right.as_str()), ("Used in", ", jewelry and coins."));
        let hit = Hit {
            document: "d".into(),
            path: String::new(),
            locator: String::new(),
            start: 0,
            end: 0,
            heading: String::new(),
            text: "Used in electronics, jewelry and coins. 金用于电子工业和首饰。".into(),
            cells: false,
            score: 1.0,
        };
        assert_eq!(fillings(std::slice::from_ref(&hit), &gap)[0].text, "electronics");
        let gap = parse("填空：金用于____和首饰。").unwrap();
        assert_eq!(fillings(&[hit], &gap)[0].text, "电子工业");
        assert!(parse("What is gold?").is_none() && parse("a __ b __ c").is_none());
    }
}
