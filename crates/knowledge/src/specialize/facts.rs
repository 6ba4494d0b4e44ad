//! Facts: which are trained and which are held out, and the items they give.

use std::collections::{BTreeMap, BTreeSet};

use ledger::Stream;

use super::{Form, Item, Origin, SpecializeOptions, messages, wordings};
use crate::{
    Error, Pack,
    check::tokens,
    lexicon::Relation,
    pack::StoredFact,
    packs,
    passage::word_count,
    questions::{Category, Question, askable, capitalized, category, chinese_name},
    support::candidate,
    terms::is_chinese,
};

/// Longest definition that is an answer.
const DEFINITION_WORDS: f64 = 30.0;

/// A fact with all that items of it need.
pub(super) struct Chosen {
    pub(super) relation: Relation,
    pub(super) fact: StoredFact,
    /// What the entity is called in a question, and in Chinese.
    pub(super) called: String,
    chinese: Option<String>,
    /// The value as it is answered, with its unit.
    answer: String,
    /// Whether no other entity has this value.
    unique: bool,
    /// The cell that names the entity, if there is one.
    name: Option<StoredFact>,
}

impl Chosen {
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.relation.key, self.called)
    }
}

/// The facts to train and the facts never to train.
pub(super) fn choose(pack: &Pack, options: &SpecializeOptions) -> Result<(Vec<Chosen>, Vec<Chosen>), Error> {
    let askable = askable(pack)?;
    let mut lists = Vec::new();
    for (key, named) in wanted(&askable, options) {
        let found = askable.iter().find(|(r, _)| r.key == key);
        let Some((relation, facts)) = found else {
            if !named {
                continue;
            }
            return Err(Error::Request(format!(
                "the pack has no askable relation `{key}`; leave it out of the relations, or see `gewu data trace`"
            )));
        };
        lists.push((relation.clone(), facts.iter().filter(|f| fits(&key, f, options)).cloned().collect()));
    }
    let available: usize = lists.iter().map(|(_, facts): &(_, Vec<StoredFact>)| facts.len()).sum();
    if available < 2 {
        return Err(Error::Request(
            "the pack has no two short facts to tune on: it needs table rows with a name and short values, or definitions; add such documents or raise `value_words`".into(),
        ));
    }
    let mut random = Stream::new(options.seed, "knowledge.specialize.facts");
    for (_, facts) in &mut lists {
        random.shuffle(facts);
    }
    // Of a small source at most a third is held out.
    let held_out = options.held_out.min(available / 3);
    let mut held = Vec::new();
    let mut trained = Vec::new();
    take_evenly(&mut lists, held_out, &mut held);
    take_evenly(&mut lists, options.facts, &mut trained);
    let names = names(pack)?;
    let holders = holders(&askable);
    let describe = |picked: Vec<(Relation, StoredFact)>| -> Result<Vec<Chosen>, Error> {
        picked.into_iter().map(|(r, f)| described(pack, r, f, &names, &holders)).collect()
    };
    Ok((describe(trained)?, describe(held)?))
}

/// The relations to take, and whether the caller named them.
fn wanted(askable: &[(Relation, Vec<StoredFact>)], options: &SpecializeOptions) -> Vec<(String, bool)> {
    if !options.relations.is_empty() {
        return options.relations.iter().map(|r| (r.clone(), true)).collect();
    }
    let mut tables: Vec<&str> = askable.iter().filter_map(|(r, _)| r.key.split('.').next()).collect();
    tables.dedup();
    let mut out: Vec<String> = Vec::new();
    let mut known = false;
    for table in tables {
        for key in packs::tuned_relations(table) {
            known = true;
            if !out.iter().any(|o| o == key) {
                out.push(key.to_owned());
            }
        }
    }
    if !known {
        out = askable.iter().map(|(r, _)| r.key.clone()).collect();
    } else if askable.iter().any(|(r, _)| r.key == "definition") {
        out.push("definition".into());
    }
    out.into_iter().map(|key| (key, false)).collect()
}

fn fits(key: &str, fact: &StoredFact, options: &SpecializeOptions) -> bool {
    let most = if key == "definition" { DEFINITION_WORDS } else { options.value_words as f64 };
    let words = word_count(&fact.value);
    // Two values in one cell make no single answer.
    let single = key == "definition" || !fact.value.contains([',', ';', '，', '；', '|', '/']);
    words > 0.0 && words <= most && single && fact.qualifier.is_empty()
}

/// Takes facts from the lists in turn until there are `count` more or none is left.
fn take_evenly(
    lists: &mut [(Relation, Vec<StoredFact>)],
    count: usize,
    out: &mut Vec<(Relation, StoredFact)>,
) {
    let wanted = out.len() + count;
    while out.len() < wanted {
        let before = out.len();
        for (relation, facts) in lists.iter_mut() {
            if out.len() < wanted
                && let Some(fact) = facts.pop()
            {
                out.push((relation.clone(), fact));
            }
        }
        if out.len() == before {
            break;
        }
    }
}

/// The cell that names each entity.
fn names(pack: &Pack) -> Result<BTreeMap<i64, StoredFact>, Error> {
    let mut out = BTreeMap::new();
    for fact in pack.all_facts()? {
        let named = pack.lexicon.entities.get(&fact.entity).is_some_and(|(name, _)| *name == fact.value);
        if named {
            out.entry(fact.entity).or_insert(fact);
        }
    }
    Ok(out)
}

/// How many entities have each value of each relation.
fn holders(askable: &[(Relation, Vec<StoredFact>)]) -> BTreeMap<(i64, String), usize> {
    let mut out = BTreeMap::new();
    for fact in askable.iter().flat_map(|(_, facts)| facts) {
        *out.entry((fact.relation, fact.value.to_lowercase())).or_insert(0) += 1;
    }
    out
}

fn described(
    pack: &Pack,
    relation: Relation,
    fact: StoredFact,
    names: &BTreeMap<i64, StoredFact>,
    holders: &BTreeMap<(i64, String), usize>,
) -> Result<Chosen, Error> {
    let name = pack.lexicon.entities.get(&fact.entity).map_or("", |(name, _)| name.as_str());
    // Names of a known table are common nouns.
    let common = packs::wordings(&relation.key).is_some();
    let called = if common { name.to_lowercase() } else { name.to_owned() };
    let chinese = match chinese_name(pack, fact.entity)? {
        _ if is_chinese(name) => Some(name.to_owned()),
        found => found.filter(|_| is_chinese(&relation.zh) && relation.key != "definition"),
    };
    let unique = holders.get(&(fact.relation, fact.value.to_lowercase())) == Some(&1);
    let text = candidate(pack, fact.clone(), "").text;
    let answer = if category(&relation, &fact) == Category::Definition {
        text
    } else {
        text.trim_end_matches(['.', '。']).to_owned()
    };
    let name = names.get(&fact.entity).cloned();
    Ok(Chosen { relation, fact, called, chinese, answer, unique, name })
}

/// Puts names into a wording.
fn fill(chosen: &Chosen, wording: &str, chinese: bool) -> String {
    let called = if chinese { chosen.chinese.as_deref().unwrap_or(&chosen.called) } else { &chosen.called };
    let table = chosen.relation.key.split('.').next().unwrap_or_default();
    let kind = table.strip_suffix('s').filter(|_| table.is_ascii()).unwrap_or("entry").replace('_', " ");
    wording
        .replace("{r}", if chinese { &chosen.relation.zh } else { &chosen.relation.name })
        .replace("{e}", called)
        .replace("{E}", &capitalized(called))
        .replace("{k}", &kind)
        .replace("{v}", &chosen.answer)
}

fn origin(pack: &Pack, fact: &StoredFact) -> Result<Vec<Origin>, Error> {
    let spans = std::iter::once(fact.place).chain(fact.second);
    spans
        .map(|span| {
            let document = pack.document(span.document)?.document;
            Ok(Origin { document, start: span.start, end: span.end })
        })
        .collect()
}

/// The item that a wording makes of a fact.
pub(super) fn item(
    pack: &Pack,
    chosen: &Chosen,
    form: Form,
    wording: &str,
    chinese: bool,
) -> Result<Item, Error> {
    let reversed = form == Form::Reversed;
    let about = chosen.name.as_ref().filter(|_| reversed).unwrap_or(&chosen.fact);
    let mut origins = origin(pack, about)?;
    if reversed {
        origins.extend(origin(pack, &chosen.fact)?);
    }
    let text = fill(chosen, wording, chinese);
    let first = origins.first().cloned().unwrap_or(Origin { document: String::new(), start: 0, end: 0 });
    let question = Question {
        id: String::new(),
        category: if reversed { Category::Name } else { category(&chosen.relation, &chosen.fact) },
        language: if chinese || is_chinese(&text) { "zh" } else { "en" }.into(),
        answer: if reversed { about.value.clone() } else { chosen.answer.clone() },
        value: about.value.clone(),
        unit: if reversed { String::new() } else { about.unit.clone() },
        document: first.document,
        start: first.start,
        end: first.end,
        text,
    };
    let messages = messages(&question.text);
    Ok(Item { question, form, fact: chosen.id(), wording: wording.to_owned(), messages, origins })
}

/// `count` of a list in random order; all of them if there are fewer.
fn some<'a>(random: &mut Stream, list: &[&'a str], count: usize) -> Vec<&'a str> {
    let mut list = list.to_vec();
    random.shuffle(&mut list);
    list.truncate(count);
    list
}

/// Training items of facts.
pub(super) fn training(
    pack: &Pack,
    trained: &[Chosen],
    options: &SpecializeOptions,
) -> Result<Vec<Item>, Error> {
    let mut out = Vec::new();
    for chosen in trained {
        let mut random = Stream::new(options.seed, &format!("knowledge.specialize.train.{}", chosen.id()));
        let set = wordings::of(&chosen.relation.key);
        let mut add = |form: Form, wording: &str, chinese: bool| -> Result<(), Error> {
            out.push(item(pack, chosen, form, wording, chinese)?);
            Ok(())
        };
        let native = is_chinese(&chosen.called);
        if !native {
            for wording in some(&mut random, &set.train, options.wordings) {
                add(Form::Question, wording, false)?;
            }
            let forms = [(Form::Statement, &set.statements), (Form::Attribute, &set.attributes)];
            for turn in 0..options.statements {
                let (form, list) = &forms[turn % forms.len()];
                for wording in some(&mut random, list, 1) {
                    add(*form, wording, false)?;
                }
            }
            if chosen.unique && chosen.name.is_some() {
                for wording in some(&mut random, &set.reversed, options.reversed) {
                    add(Form::Reversed, wording, false)?;
                }
            }
        }
        if chosen.chinese.is_some() {
            // Where everything is Chinese, so are all wordings.
            let count = if native { options.wordings } else { options.chinese };
            for wording in some(&mut random, &set.zh_train, count) {
                add(Form::Question, wording, true)?;
            }
        }
    }
    Ok(out)
}

/// Trained facts in wordings never trained: every fact once, then every fact in a second wording, until there are
/// enough.
pub(super) fn unseen(
    pack: &Pack,
    trained: &[Chosen],
    options: &SpecializeOptions,
) -> Result<Vec<Item>, Error> {
    line(
        pack,
        trained,
        options,
        "unseen",
        |set, native| {
            if native { set.zh_unseen.clone() } else { set.unseen.clone() }
        },
    )
}

/// Facts held out, in wordings of both kinds.
pub(super) fn never(pack: &Pack, held: &[Chosen], options: &SpecializeOptions) -> Result<Vec<Item>, Error> {
    line(pack, held, options, "never", |set, native| {
        let both = if native { [&set.zh_unseen, &set.zh_train] } else { [&set.unseen, &set.train] };
        both.into_iter().flatten().copied().collect()
    })
}

fn line(
    pack: &Pack,
    facts: &[Chosen],
    options: &SpecializeOptions,
    name: &str,
    wordings_of: impl Fn(&wordings::Set, bool) -> Vec<&'static str>,
) -> Result<Vec<Item>, Error> {
    let mut random = Stream::new(options.seed, &format!("knowledge.specialize.{name}"));
    let mut lists: Vec<(&Chosen, Vec<&str>)> = facts
        .iter()
        .map(|chosen| {
            let all = wordings_of(&wordings::of(&chosen.relation.key), is_chinese(&chosen.called));
            let count = all.len();
            (chosen, some(&mut random, &all, count))
        })
        .collect();
    let mut out: Vec<Item> = Vec::new();
    // Which facts come in the sample is the seed's choice, not the order of the relations.
    random.shuffle(&mut lists);
    while out.len() < options.evaluation {
        let before = out.len();
        for (chosen, list) in &mut lists {
            if out.len() < options.evaluation
                && let Some(wording) = list.pop()
            {
                out.push(item(pack, chosen, Form::Question, wording, is_chinese(&chosen.called))?);
            }
        }
        if out.len() == before {
            break;
        }
    }
    Ok(out)
}

/// Whether a text about an entity gives away one of its held-out facts.
pub(super) fn gives_away(pack: &Pack, held: &[Chosen], document: &str, text: &str) -> Result<bool, Error> {
    let words: BTreeSet<String> = tokens(text).into_iter().map(|t| t.0).collect();
    for chosen in held {
        let named = tokens(&chosen.called).into_iter().all(|t| words.contains(&t.0));
        let own = pack.number_of(document)? == Some(chosen.fact.place.document);
        if (named || own) && crate::check::find(&chosen.fact.value, text).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
