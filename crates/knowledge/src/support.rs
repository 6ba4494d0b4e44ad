//! Retrieval: facts of the linked entity and relation, passages by BM25, fused by reciprocal rank.

use crate::{
    Answer, Error, Hit, Pack, Support, SupportKind,
    answer::AskOptions,
    lexicon::Linked,
    number::{is_number, shown},
    pack::{Span, StoredFact},
    terms::{is_chinese, is_stop, terms},
};

/// A possible answer with the span it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// What is shown.
    pub(crate) text: String,
    /// The fact as a sentence, in the language of the question.
    pub(crate) sentence: String,
    pub(crate) fact: StoredFact,
}

/// What was found for a question.
#[derive(Debug, Default)]
pub(crate) struct Retrieved {
    pub(crate) linked: Linked,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) hits: Vec<Hit>,
    /// Entity and relation are named, but the pack has no such fact.
    pub(crate) missing: Option<String>,
}

/// Constant of reciprocal rank fusion (Cormack, Clarke, Büttcher 2009).
const FUSION: f64 = 60.0;

/// Retrieves support for a question.
pub(crate) fn retrieve(
    pack: &Pack,
    question: &str,
    options: &AskOptions,
    exclude: &[i64],
) -> Result<Retrieved, Error> {
    let linked = pack.lexicon.link(question, exclude);
    let hits = pack.search_without(question, options.support.max(1) * 2, exclude)?;
    let mut found = Retrieved { hits, ..Retrieved::default() };
    let best = linked.relations.first().map_or(0, |(_, weight)| *weight);
    let relations: Vec<i64> = linked.relations.iter().filter(|(_, w)| *w == best).map(|(r, _)| *r).collect();
    let relations = if relations.is_empty() { whole_subject(pack, question, &linked) } else { relations };
    for mention in &linked.mentions {
        for &entity in &mention.entities {
            for &relation in &relations {
                let facts = pack.facts(entity, Some(relation))?;
                found.candidates.extend(
                    facts.into_iter().filter(|f| usable(f, exclude)).map(|f| candidate(pack, f, question)),
                );
            }
        }
        // The first name that has such a fact is what the question is about.
        if !found.candidates.is_empty() {
            break;
        }
    }
    if let Some(named) = found.candidates.iter().position(|c| names_qualifier(question, &c.fact.qualifier)) {
        let qualifier = found.candidates[named].fact.qualifier.clone();
        found.candidates.retain(|c| c.fact.qualifier == qualifier);
    } else if question.contains(['(', '（']) {
        // `Selenium (gray)`: another form in brackets than the source has.
        found.candidates.retain(|c| c.fact.qualifier.is_empty());
    }
    if found.candidates.is_empty() && !linked.mentions.is_empty() && !linked.relations.is_empty() {
        let entity = linked
            .mentions
            .first()
            .and_then(|m| m.entities.first())
            .and_then(|e| pack.lexicon.entities.get(e));
        let relation = linked.relations.first().and_then(|(r, _)| pack.lexicon.relation(*r));
        if let (Some((entity, _)), Some(relation)) = (entity, relation) {
            found.missing = Some(format!("the source gives no {} of {entity}", relation.name));
        }
    }
    found.linked = linked;
    Ok(found)
}

/// A question that is nothing but a name (`What is scarcity?`) asks for its definition or description.
fn whole_subject(pack: &Pack, question: &str, linked: &Linked) -> Vec<i64> {
    let Some(mention) = linked.mentions.first() else { return Vec::new() };
    let rest = terms(question)
        .into_iter()
        .any(|t| !(is_stop(&t.text) || (mention.start < t.end && t.start < mention.end)));
    let wanted = |key: &str| key == "definition" || key.ends_with(".description");
    if rest {
        Vec::new()
    } else {
        pack.lexicon.relations.iter().filter(|r| wanted(&r.key)).map(|r| r.id).collect()
    }
}

fn names_qualifier(question: &str, qualifier: &str) -> bool {
    !qualifier.is_empty() && question.to_lowercase().contains(&qualifier.to_lowercase())
}

fn usable(fact: &StoredFact, exclude: &[i64]) -> bool {
    !exclude.contains(&fact.place.document) && !fact.second.is_some_and(|s| exclude.contains(&s.document))
}

/// The answer and the sentence a fact makes.
pub(crate) fn candidate(pack: &Pack, fact: StoredFact, question: &str) -> Candidate {
    let mut text = if is_number(&fact.value) { shown(&fact.value) } else { fact.value.clone() };
    if !fact.unit.is_empty() {
        text = if fact.unit == "%" { format!("{text}%") } else { format!("{text} {}", fact.unit) };
    }
    let name = pack.lexicon.entities.get(&fact.entity).map_or("", |(name, _)| name.as_str());
    let relation = pack.lexicon.relation(fact.relation);
    let zh = is_chinese(question);
    let relation = relation.map_or("", |r| if zh { r.zh.as_str() } else { r.name.as_str() });
    // In a Chinese question the entity is called what the question calls it.
    let called = if zh {
        pack.lexicon.link(question, &[]).mentions.into_iter().find(|m| m.entities.contains(&fact.entity))
    } else {
        None
    };
    let name = called.map_or(name, |m| &question[m.start..m.end]);
    let qualifier = if fact.qualifier.is_empty() { String::new() } else { format!(" ({})", fact.qualifier) };
    let sentence = if zh {
        format!("{name}{qualifier}的{relation}是 {text}。")
    } else {
        format!("The {relation} of {}{qualifier} is {text}.", name.to_lowercase())
    };
    Candidate { text, sentence, fact }
}

/// The support of an answer, best first: facts and passages fused by rank.
pub(crate) fn fuse(pack: &Pack, found: &Retrieved, most: usize) -> Result<Vec<Support>, Error> {
    let mut out = Vec::new();
    for (rank, candidate) in found.candidates.iter().enumerate() {
        let Span { document, start, end } = candidate.fact.place;
        out.push(Support {
            text: candidate.sentence.clone(),
            document: pack.document(document)?.document,
            start,
            end,
            kind: SupportKind::Triple,
            score: 2.0 / (FUSION + rank as f64 + 1.0),
        });
    }
    for (rank, hit) in found.hits.iter().enumerate() {
        let same =
            out.iter_mut().find(|s| s.document == hit.document && hit.start <= s.start && s.end <= hit.end);
        let score = 1.0 / (FUSION + rank as f64 + 1.0);
        match same {
            Some(support) => support.score += score,
            None => out.push(Support {
                text: hit.text.clone(),
                document: hit.document.clone(),
                start: hit.start,
                end: hit.end,
                kind: SupportKind::Passage,
                score,
            }),
        }
    }
    out.sort_by(|a, b| b.score.total_cmp(&a.score));
    out.truncate(most.max(1));
    Ok(out)
}

/// The words of a question with their inverse document frequencies. A word the pack has never seen weighs most.
pub(crate) struct Weights(Vec<(String, f64)>);

impl Weights {
    /// Weighs the words of a question; function words weigh nothing.
    pub(crate) fn of(pack: &Pack, question: &str) -> Result<Self, Error> {
        let passages = pack.size()?.passages as f64;
        let mut out: Vec<(String, f64)> = Vec::new();
        for term in terms(question) {
            if is_stop(&term.text) || out.iter().any(|(seen, _)| *seen == term.text) {
                continue;
            }
            let quoted = format!("\"{}\"", term.text.replace('"', "\"\""));
            let frequency: i64 = pack.read(|c| {
                c.prepare_cached("SELECT COUNT(*) FROM passage_index WHERE passage_index MATCH ?1")?
                    .query_row([&quoted], |row| row.get(0))
            })?;
            let frequency = frequency as f64;
            out.push((term.text, ((passages - frequency + 0.5) / (frequency + 0.5) + 1.0).ln()));
        }
        Ok(Self(out))
    }

    /// The share of the weight that a text covers, 0 to 1.
    pub(crate) fn coverage(&self, text: &str) -> f64 {
        let held: std::collections::HashSet<String> = terms(text).into_iter().map(|t| t.text).collect();
        let all: f64 = self.0.iter().map(|(_, weight)| weight).sum();
        let found: f64 =
            self.0.iter().filter(|(term, _)| held.contains(term)).map(|(_, weight)| weight).sum();
        if all > 0.0 && found > 0.0 { found / all } else { 0.0 }
    }
}

/// Answers by table look-up alone, without a model: the baseline every figure stands beside.
///
/// # Errors
/// As [`crate::ask`].
pub fn look_up(pack: &Pack, question: &str, options: &AskOptions) -> Result<Answer, Error> {
    let exclude = crate::ask::excluded(pack, options)?;
    let found = retrieve(pack, question, options, &exclude)?;
    let support = fuse(pack, &found, options.support)?;
    match found.candidates.as_slice() {
        [only] => crate::ask::from_fact(pack, only, "table look-up", support, 1.0),
        _ => Ok(Answer::abstain("no single fact is named", support, 0.0)),
    }
}
