//! Questions: retrieve, let the model answer from the support, check against the source, cite or abstain.

use model::{GenerateOptions, LanguageModel};

use crate::{
    Answer, AskOptions, Citation, Error, Hit, Pack, Role, Support,
    check::{self, Claim},
    cloze, definition,
    number::{all_occur, is_number},
    pack::Span,
    passage::{sentences, word_count},
    prompt,
    support::{Candidate, Retrieved, Weights, fuse, retrieve},
};

/// Answers a question from a pack.
///
/// The model reads the support and writes an answer; numbers and units in it must occur in the cited span, text must
/// stand there word for word. An answer that fails is replaced by the candidate of the source that the model finds
/// likeliest; without a candidate the system abstains. Every answer comes with spans that contain it.
///
/// # Errors
/// [`Error::Request`] for an empty question; [`Error::Pack`] if a text is not the one that was stored; model errors.
pub fn ask(
    pack: &Pack,
    model: &mut dyn LanguageModel,
    question: &str,
    options: &AskOptions,
) -> Result<Answer, Error> {
    let question = question.trim();
    if question.is_empty() {
        return Err(Error::Request("the question is empty; ask something".into()));
    }
    if !options.retrieval {
        return closed_book(model, question, options);
    }
    let exclude = excluded(pack, options)?;
    if let Some(gap) = cloze::parse(question) {
        return cloze::fill(pack, model, question, &gap, options, &exclude);
    }
    let found = retrieve(pack, question, options, &exclude)?;
    let support = fuse(pack, &found, options.support)?;
    if !found.candidates.is_empty() {
        return from_candidates(pack, model, question, options, &found, support);
    }
    if let Some(reason) = &found.missing {
        return Ok(Answer::abstain(reason.clone(), support, 0.0));
    }
    from_passages(pack, model, question, options, &found, support)
}

/// Numbers of the documents to ignore; an id the pack does not hold is ignored anyway.
pub(crate) fn excluded(pack: &Pack, options: &AskOptions) -> Result<Vec<i64>, Error> {
    let numbers: Result<Vec<_>, _> = options.exclude.iter().map(|id| pack.number_of(id)).collect();
    Ok(numbers?.into_iter().flatten().collect())
}

fn closed_book(model: &mut dyn LanguageModel, question: &str, options: &AskOptions) -> Result<Answer, Error> {
    let prompt = model.chat_prompt(&prompt::closed_book(question))?;
    let text = generate(model, &prompt, options.max_tokens)?;
    let mut answer = Answer::abstain("the model alone", Vec::new(), 0.0);
    (answer.abstained, answer.text, answer.model_calls) = (false, text, 1);
    Ok(answer)
}

/// One greedy line.
pub(crate) fn generate(
    model: &mut dyn LanguageModel,
    prompt: &str,
    max_tokens: usize,
) -> Result<String, Error> {
    let stop = vec!["\n".to_owned()];
    let options = GenerateOptions { max_tokens, stop, ..GenerateOptions::default() };
    Ok(model.generate(prompt, &options, &mut |_| true)?.text.trim().to_owned())
}

/// The continuation with the highest mean log-likelihood per token; the first of equals.
pub(crate) fn likeliest(
    model: &mut dyn LanguageModel,
    prompt: &str,
    texts: &[String],
) -> Result<Vec<usize>, Error> {
    let continuations: Vec<String> = texts.iter().map(|t| format!(" {t}")).collect();
    let continuations: Vec<&str> = continuations.iter().map(String::as_str).collect();
    let scores = model.log_likelihood(prompt, &continuations)?;
    let mean: Vec<f64> = scores.iter().map(|s| s.sum / s.tokens.max(1) as f64).collect();
    let mut order: Vec<usize> = (0..mean.len()).collect();
    order.sort_by(|&a, &b| mean[b].total_cmp(&mean[a]).then(a.cmp(&b)));
    Ok(order)
}

/// Longest table value that is one answer; longer ones are prose and answered by a sentence.
const VALUE_WORDS: f64 = 20.0;

fn from_candidates(
    pack: &Pack,
    model: &mut dyn LanguageModel,
    question: &str,
    options: &AskOptions,
    found: &Retrieved,
    support: Vec<Support>,
) -> Result<Answer, Error> {
    let candidates = &found.candidates;
    let lines: Vec<&str> = candidates.iter().take(4).map(|c| c.sentence.as_str()).collect();
    let prompt = prompt::facts(&lines, question);
    let text = generate(model, &prompt, options.max_tokens)?;
    let said = candidates.iter().find(|c| check::says(&text, &Claim::of(c)));
    let ambiguous = candidates.iter().any(|c| c.text != candidates[0].text);
    let (chosen, reason, calls) = match said {
        Some(candidate) => (candidate, "the model's answer equals the cited value", 1),
        None if !ambiguous => {
            (&candidates[0], "the model's answer differed; the one value of the source is given", 1)
        }
        None => {
            let texts: Vec<String> = candidates.iter().map(|c| c.text.clone()).collect();
            let order = likeliest(model, &prompt, &texts)?;
            (&candidates[order[0]], "the likeliest of the source's values", 2)
        }
    };
    let definition = pack.lexicon.relation(chosen.fact.relation).is_some_and(|r| r.key == "definition");
    let mut answer =
        if !definition && !is_number(&chosen.fact.value) && word_count(&chosen.fact.value) > VALUE_WORDS {
            sentence_of_value(pack, model, &prompt, chosen, &text, support)?
        } else {
            from_fact(pack, chosen, reason, support, 1.0)?
        };
    answer.model_calls += calls;
    Ok(answer)
}

/// A long value: the sentence the model wrote, or the one it finds likeliest.
fn sentence_of_value(
    pack: &Pack,
    model: &mut dyn LanguageModel,
    prompt: &str,
    chosen: &Candidate,
    said: &str,
    support: Vec<Support>,
) -> Result<Answer, Error> {
    let Span { document, start, end } = chosen.fact.place;
    let text = pack.document(document)?.text;
    let spans = sentences(&text, start, end);
    // A description begins with what the thing is.
    let description =
        pack.lexicon.relation(chosen.fact.relation).is_some_and(|r| r.key.ends_with(".description"));
    let (index, calls) = match spans.iter().position(|&(s, e)| check::stands_in(said, &text[s..e])) {
        Some(index) => (index, 0),
        None if description => (0, 0),
        None => {
            let texts: Vec<String> = spans.iter().map(|&(s, e)| text[s..e].to_owned()).collect();
            (likeliest(model, prompt, &texts)?[0], 1)
        }
    };
    let (start, end) = spans.get(index).copied().unwrap_or((start, end));
    let span = Span { document, start, end };
    let mut answer = answered(text[start..end].to_owned(), "a sentence of the cited value", support, 1.0);
    answer.citations = vec![cite(pack, span, Role::Value, &chosen.fact.cited)?];
    answer.model_calls = calls;
    Ok(answer)
}

fn answered(text: String, reason: &str, support: Vec<Support>, confidence: f64) -> Answer {
    Answer { text, abstained: false, ..Answer::abstain(reason, support, confidence) }
}

/// The answer that a fact gives, checked against its source.
pub(crate) fn from_fact(
    pack: &Pack,
    candidate: &Candidate,
    reason: &str,
    support: Vec<Support>,
    confidence: f64,
) -> Result<Answer, Error> {
    let mut answer = answered(candidate.text.clone(), reason, support, confidence);
    let fact = &candidate.fact;
    answer.citations.push(cite(pack, fact.place, Role::Value, &fact.cited)?);
    if let Some(second) = fact.second {
        let role = if fact.unit.is_empty() { Role::Link } else { Role::Unit };
        answer.citations.push(cite(pack, second, role, "")?);
    }
    checked(pack, answer)
}

/// Abstains if the cited spans do not contain the answer.
fn checked(pack: &Pack, answer: Answer) -> Result<Answer, Error> {
    if check::resolves(pack, &answer)? {
        return Ok(answer);
    }
    Ok(Answer::abstain("the cited span does not contain the answer", answer.support, answer.confidence))
}

/// A citation of bytes of a document.
pub(crate) fn cite(pack: &Pack, span: Span, role: Role, cited: &str) -> Result<Citation, Error> {
    let document = pack.document(span.document)?;
    let quote = document.text.get(span.start..span.end).ok_or_else(|| Error::Pack {
        path: pack.path.clone(),
        reason: format!("bytes {}..{} are not in document `{}`", span.start, span.end, document.document),
    })?;
    Ok(Citation {
        quote: quote.to_owned(),
        document: document.document.clone(),
        path: document.path,
        locator: document.locator,
        start: span.start,
        end: span.end,
        role,
        cited: cited.to_owned(),
    })
}

/// Cites bytes of a passage.
pub(crate) fn cite_hit(pack: &Pack, hit: &Hit, start: usize, end: usize) -> Result<Citation, Error> {
    let number = pack.number_of(&hit.document)?.unwrap_or(-1);
    cite(pack, Span { document: number, start, end }, Role::Passage, "")
}

/// Coverage demanded of a sentence when the question asks for a known relation of something the pack does not know.
const STRICT_COVERAGE: f64 = 0.9;

/// A sentence of a passage with the share of the question that it, its heading and the sentence before it cover.
struct Sentence<'a> {
    hit: &'a Hit,
    start: usize,
    end: usize,
    covered: f64,
}

/// A free question over text: the sentence that covers what is asked, if there is one.
fn from_passages(
    pack: &Pack,
    model: &mut dyn LanguageModel,
    question: &str,
    options: &AskOptions,
    found: &Retrieved,
    support: Vec<Support>,
) -> Result<Answer, Error> {
    let subject = definition::subject(question);
    let weights = Weights::of(pack, question)?;
    // What is asked of the named thing must stand in the sentence itself, not merely near it.
    let mut rest = question.to_owned();
    for mention in found.linked.mentions.iter().rev() {
        rest.replace_range(mention.start..mention.end, " ");
    }
    let rest_weights = Weights::of(pack, &rest)?;
    let named = !found.linked.mentions.is_empty() && subject.is_none();
    let mut scored = Vec::new();
    for hit in found.hits.iter().filter(|h| !h.cells).take(options.support.max(1)) {
        let mut before = 0;
        for (start, end) in sentences(&hit.text, 0, hit.text.len()) {
            let defines = subject.is_none_or(|s| definition::begins_with(&hit.text[start..end], s));
            let read = format!("{} {}", hit.heading, &hit.text[before..end]);
            // A number in the question names something: an isotope, a year. It must be there.
            let own = format!("{} {}", hit.heading, &hit.text[start..end]);
            let asked = !named || rest_weights.coverage(&own) >= options.coverage;
            if defines && asked && all_occur(question, &read) {
                scored.push(Sentence { hit, start, end, covered: weights.coverage(&read) });
            }
            before = start;
        }
    }
    scored.sort_by(|a, b| b.covered.total_cmp(&a.covered));
    let Some(best) = scored.first() else {
        return Ok(Answer::abstain("nothing in the source matches the question", support, 0.0));
    };
    let (confidence, hit) = (best.covered, best.hit);
    let demanded = if found.linked.relations.is_empty() {
        options.coverage
    } else {
        STRICT_COVERAGE.max(options.coverage)
    };
    if confidence < demanded {
        let reason = format!("the best sentence covers {:.0} % of the question", confidence * 100.0);
        return Ok(Answer::abstain(reason, support, confidence));
    }
    // Only sentences nearly as good as the best may be the answer.
    scored.retain(|s| s.hit == hit && s.covered >= (confidence - 0.15).max(demanded));
    scored.truncate(4);
    let prompt = prompt::passage(&hit.text, question);
    let text = generate(model, &prompt, options.max_tokens)?;
    let within = scored.iter().find_map(|s| {
        let (start, end) = check::find(&text, &hit.text[s.start..s.end])?;
        Some((s.start + start, s.start + end))
    });
    let (span, calls) = match within {
        Some(span) => (span, 1),
        None if scored.len() == 1 => ((scored[0].start, scored[0].end), 1),
        None => {
            let texts: Vec<String> = scored.iter().map(|s| hit.text[s.start..s.end].to_owned()).collect();
            let order = likeliest(model, &prompt, &texts)?;
            ((scored[order[0]].start, scored[order[0]].end), 2)
        }
    };
    let mut answer =
        answered(hit.text[span.0..span.1].to_owned(), "words of the cited passage", support, confidence);
    answer.citations = vec![cite_hit(pack, hit, hit.start + span.0, hit.start + span.1)?];
    answer.model_calls = calls;
    checked(pack, answer)
}
