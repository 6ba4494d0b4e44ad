//! Questions with known answers, generated from a pack: the same seed gives the same questions.

use std::collections::HashMap;

use ledger::Stream;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Pack,
    check::tokens,
    lexicon::Relation,
    number::is_number,
    pack::StoredFact,
    packs,
    passage::{sentences, word_count},
    support::candidate,
    terms::{is_chinese, is_stop, runs, stem},
};

/// What kind of answer a question wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A number, with its unit where the source gives one.
    Number,
    /// A year.
    Year,
    /// A name, symbol or other short text.
    Name,
    /// A place in a classification: group, period, block, series.
    Class,
    /// The missing words of a sentence.
    Cloze,
    /// What a term means.
    Definition,
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// `category/language/number`.
    pub id: String,
    /// What kind of answer it wants.
    pub category: Category,
    /// `en` or `zh`.
    pub language: String,
    /// The question.
    pub text: String,
    /// The answer: value and unit, or text.
    pub answer: String,
    /// The value alone.
    pub value: String,
    /// The unit, or empty.
    pub unit: String,
    /// The document that holds the answer.
    pub document: String,
    /// First byte of the answer in it.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
}

/// Wordings for any relation; `{r}` is the relation, `{e}` the entity.
const PLAIN: &[&str] = &[
    "What is the {r} of {e}?",
    "Please give the {r} of {e}.",
    "I am looking for the {r} of {e}. What is it?",
    "Could you tell me what {r} is listed for {e}?",
    "For {e}, what {r} does the source report?",
    "{E}: {r}?",
];
const PLAIN_ZH: &[&str] = &[
    "{e}的{r}是什么？",
    "请给出{e}的{r}。",
    "我想知道{e}的{r}，请回答。",
    "{e}的{r}？",
    "资料中{e}的{r}记为多少？",
];
const PLAIN_ZH_NUMBER: &[&str] = &["{e}的{r}是多少？", "请问{e}的{r}有多少？"];

/// Freer wordings of some relations, by `table.column`.
const FREE: &[(&str, &[&str], &[&str])] = &[
    (
        "phasetransitions.melting_point",
        &[
            "At what temperature does {e} melt?",
            "How hot must {e} get before it starts melting?",
            "When heated, {e} turns liquid at which temperature?",
        ],
        &["{e}在多少度熔化？", "{e}要加热到多少才会融化？"],
    ),
    (
        "phasetransitions.boiling_point",
        &["At what temperature does {e} boil?", "How hot does {e} have to be to boil?"],
        &["{e}在什么温度下沸腾？"],
    ),
    (
        "elements.density",
        &["How dense is {e}?", "How much does one cubic centimeter of {e} weigh?"],
        &["{e}的密度有多大？", "一立方厘米的{e}有多重？"],
    ),
    (
        "elements.discovery_year",
        &[
            "When was {e} discovered?",
            "In which year was {e} first found?",
            "Up to which year had nobody found {e}?",
        ],
        &["{e}是哪一年被发现的？", "人们什么时候发现了{e}？"],
    ),
    (
        "elements.discoverers",
        &["Who discovered {e}?", "Who is credited with the discovery of {e}?"],
        &["{e}是由谁发现的？", "谁发现了{e}？"],
    ),
    (
        "elements.discovery_location",
        &["Where was {e} discovered?", "In which country was {e} discovered?"],
        &["{e}是在哪个国家发现的？"],
    ),
    (
        "elements.symbol",
        &["Which symbol stands for {e}?", "How is {e} abbreviated in the periodic table?"],
        &["{e}用什么符号表示？"],
    ),
    (
        "elements.name",
        &[
            "Which element has the symbol {s}?",
            "What element does the symbol {s} stand for?",
            "Which element has atomic number {n}?",
        ],
        &["符号{s}是哪种元素的英文名称？", "原子序数为{n}的元素英文名是什么？"],
    ),
    (
        "elements.atomic_number",
        &["How many protons does an atom of {e} have?"],
        &["{e}原子有多少个质子，即质子数是多少？"],
    ),
    (
        "elements.atomic_weight",
        &["What is the standard atomic weight of {e}?", "How heavy is an atom of {e}, in daltons?"],
        &["{e}的相对原子质量是多少？"],
    ),
    (
        "elements.group_id",
        &["Which group of the periodic table does {e} belong to?"],
        &["{e}在元素周期表的第几族？"],
    ),
    ("elements.period", &["Which row of the periodic table is {e} in?"], &["{e}位于第几周期？"]),
    ("elements.block", &["Which block of the periodic table is {e} in?"], &["{e}属于哪个区？"]),
    (
        "elements.series_id",
        &["What kind of element is {e}?", "To which family does {e} belong?"],
        &["{e}属于哪一类元素？"],
    ),
    ("elements.en_pauling", &["How electronegative is {e} on the Pauling scale?"], &["{e}的电负性是多少？"]),
    ("elements.lattice_structure", &["What crystal structure does {e} have?"], &["{e}的晶体结构是什么？"]),
    (
        "elements.abundance_crust",
        &["How abundant is {e} in the Earth's crust?"],
        &["{e}在地壳中的含量是多少？"],
    ),
    ("elements.price_per_kg", &["How expensive is a kilogram of {e}?"], &["一公斤{e}的价格是多少？"]),
    (
        "elements.electronic_configuration",
        &["How are the electrons of {e} arranged?"],
        &["{e}的核外电子如何排布？"],
    ),
];

const CLOZE: &[&str] =
    &["Fill the gap: {s}", "Which words are missing? “{s}”", "Complete the statement: {s}"];
const CLOZE_ZH: &[&str] = &["填空：{s}", "补全这句话：“{s}”"];
const DEFINITION: &[&str] =
    &["What is {e}?", "Define {e}.", "What does {e} mean?", "What is the meaning of {e}?"];
const DEFINITION_ZH: &[&str] = &["什么是{e}？", "{e}是什么意思？", "{e}的定义是什么？"];

/// Columns no one asks for: colours of drawing programs, flags.
const SKIPPED: &[&str] = &["_color", "is_", "_unc", "uncertainty", "atomic_number", "description"];

pub(crate) fn category(relation: &Relation, fact: &StoredFact) -> Category {
    let column = relation.key.rsplit('.').next().unwrap_or("");
    match column {
        "definition" => Category::Definition,
        "group_id" | "period" | "block" | "series_id" => Category::Class,
        _ if column.contains("year") => Category::Year,
        _ if is_number(&fact.value) => Category::Number,
        _ => Category::Name,
    }
}

/// The facts that make clear questions, by relation in the order of the source: short values that are the only one of
/// their kind, of entities whose name is theirs alone.
pub(crate) fn askable(pack: &Pack) -> Result<Vec<(Relation, Vec<StoredFact>)>, Error> {
    let mut by_relation: Vec<(Relation, Vec<StoredFact>)> = Vec::new();
    let mut several: HashMap<(i64, i64, String), usize> = HashMap::new();
    let mut holders: HashMap<String, usize> = HashMap::new();
    let facts = pack.all_facts()?;
    for fact in &facts {
        *several.entry((fact.entity, fact.relation, fact.qualifier.clone())).or_default() += 1;
    }
    for (name, _) in pack.lexicon.entities.values() {
        *holders.entry(name.to_lowercase()).or_default() += 1;
    }
    for fact in facts {
        let Some(relation) = pack.lexicon.relation(fact.relation) else { continue };
        let column = relation.key.rsplit('.').next().unwrap_or("");
        let own = packs::column(relation.key.split('.').next().unwrap_or(""), column);
        let skipped = SKIPPED.iter().any(|s| column.contains(s)) && column != "electronic_configuration";
        let only = several[&(fact.entity, fact.relation, fact.qualifier.clone())] == 1;
        let plain = own.is_some() || !relation.key.starts_with("elements.");
        let short = word_count(&fact.value) <= 8.0 || relation.key == "definition";
        // A name that several rows or documents carry makes no clear question.
        let alone = pack
            .lexicon
            .entities
            .get(&fact.entity)
            .is_some_and(|(n, _)| holders.get(&n.to_lowercase()) == Some(&1));
        let titled = matches!(column, "name" | "名称" | "title") && own.is_none();
        if skipped && column != "atomic_number" || !only || !plain || !short || !alone || titled {
            continue;
        }
        match by_relation.iter_mut().find(|(r, _)| r.id == relation.id) {
            Some((_, list)) => list.push(fact),
            None => by_relation.push((relation.clone(), vec![fact])),
        }
    }
    Ok(by_relation)
}

/// Generates `count` questions: three in ten Chinese where the pack has Chinese names, a fifth statements with a gap
/// where it has prose, no question twice.
///
/// # Errors
/// [`Error::Request`] if the pack gives no question at all.
pub fn generate(pack: &Pack, count: usize, seed: u64) -> Result<Vec<Question>, Error> {
    let mut random = Stream::new(seed, "knowledge.questions");
    let by_relation = askable(pack)?;
    let gaps = statements(pack)?;
    if by_relation.is_empty() && gaps.is_empty() {
        return Err(Error::Request("the pack gives no questions: it has no facts and no sentences".into()));
    }
    let mut out: Vec<Question> = Vec::new();
    let mut attempts = 0;
    while out.len() < count && attempts < count * 30 {
        attempts += 1;
        let made = if !gaps.is_empty() && (by_relation.is_empty() || random.below(5) == 0) {
            gap_question(&gaps, random.below(gaps.len()), &mut random)
        } else {
            let (relation, list) = &by_relation[random.below(by_relation.len())];
            fact_question(pack, relation, &list[random.below(list.len())], &mut random)?
        };
        let Some(mut question) = made else { continue };
        if out.iter().any(|q| q.text == question.text) {
            continue;
        }
        let kind = serde_json::to_value(question.category).ok().and_then(|v| v.as_str().map(str::to_owned));
        question.id = format!("{}/{}/{:04}", kind.unwrap_or_default(), question.language, out.len());
        out.push(question);
    }
    Ok(out)
}

fn pick<'a>(random: &mut Stream, list: &[&'a str]) -> &'a str {
    list[random.below(list.len())]
}

/// The first Chinese name of an entity.
pub(crate) fn chinese_name(pack: &Pack, entity: i64) -> Result<Option<String>, Error> {
    let names: Vec<String> = pack.read(|c| {
        c.prepare_cached("SELECT alias FROM aliases WHERE entity = ?1 AND kind = 0 ORDER BY rowid")?
            .query_map([entity], |row| row.get(0))?
            .collect()
    })?;
    Ok(names.into_iter().find(|n| is_chinese(n)))
}

/// A text with its first letter as a capital.
pub(crate) fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

fn fact_question(
    pack: &Pack,
    relation: &Relation,
    fact: &StoredFact,
    random: &mut Stream,
) -> Result<Option<Question>, Error> {
    let Some((name, _)) = pack.lexicon.entities.get(&fact.entity) else { return Ok(None) };
    let kind = category(relation, fact);
    let chinese_name = chinese_name(pack, fact.entity)?;
    let chinese =
        is_chinese(name) || (chinese_name.is_some() && is_chinese(&relation.zh) && random.below(10) < 3);
    let called = if chinese {
        chinese_name.unwrap_or_else(|| name.clone())
    } else if kind == Category::Definition {
        name.clone()
    } else {
        name.to_lowercase()
    };
    let free = FREE.iter().find(|(key, _, _)| *key == relation.key);
    let number = is_number(&fact.value);
    let template = match (kind, chinese, free) {
        (Category::Definition, false, _) => pick(random, DEFINITION),
        (Category::Definition, true, _) => pick(random, DEFINITION_ZH),
        (_, false, Some((key, list, _))) if *key == "elements.name" || random.below(2) == 0 => {
            pick(random, list)
        }
        (_, true, Some((key, _, list))) if *key == "elements.name" || random.below(2) == 0 => {
            pick(random, list)
        }
        (_, false, _) => pick(random, PLAIN),
        (_, true, _) if number && random.below(2) == 0 => pick(random, PLAIN_ZH_NUMBER),
        (_, true, _) => pick(random, PLAIN_ZH),
    };
    let entity = match (fact.qualifier.is_empty(), chinese) {
        (true, _) => called,
        (false, true) => format!("{called}（{}）", fact.qualifier),
        (false, false) => format!("{called} ({})", fact.qualifier),
    };
    let cell = |column: &str| -> Result<String, Error> {
        let wanted = pack.lexicon.relations.iter().find(|r| r.key == format!("elements.{column}"));
        let Some(relation) = wanted else { return Ok(String::new()) };
        Ok(pack
            .facts(fact.entity, Some(relation.id))?
            .into_iter()
            .next()
            .map(|f| f.value)
            .unwrap_or_default())
    };
    let capital = capitalized(&entity);
    let text = template
        .replace("{r}", if chinese { &relation.zh } else { &relation.name })
        .replace("{e}", &entity)
        .replace("{E}", &capital)
        .replace("{s}", &if template.contains("{s}") { cell("symbol")? } else { String::new() })
        .replace("{n}", &if template.contains("{n}") { cell("atomic_number")? } else { String::new() });
    let document = pack.document(fact.place.document)?.document;
    Ok(Some(Question {
        id: String::new(),
        category: kind,
        language: if chinese { "zh" } else { "en" }.into(),
        answer: candidate(pack, fact.clone(), "").text,
        value: fact.value.clone(),
        unit: fact.unit.clone(),
        text,
        document,
        start: fact.place.start,
        end: fact.place.end,
    }))
}

/// A sentence of prose, as bytes of a document.
pub(crate) struct Statement {
    pub(crate) document: String,
    start: usize,
    pub(crate) text: String,
    words: Vec<String>,
}

/// Sentences of 6 to 40 words that occur once in the pack.
pub(crate) fn statements(pack: &Pack) -> Result<Vec<Statement>, Error> {
    let mut out: Vec<Statement> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let rows: Vec<(String, i64, i64, String)> = pack.read(|c| {
        c.prepare(
            "SELECT d.document, p.first, p.last, d.text FROM passages p JOIN documents d ON d.id = p.document ORDER BY p.id",
        )?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?
        .collect()
    })?;
    for (document, first, last, text) in rows {
        for (start, end) in sentences(&text, first as usize, last as usize) {
            let sentence = &text[start..end];
            let words = word_count(sentence);
            let closed = sentence.ends_with(['.', '。', '!', '！']);
            let odd = sentence.contains(['_', '|', '“', '"', '「', ':', '：', '”']);
            if !(6.0..=40.0).contains(&words) || !closed || odd {
                continue;
            }
            *seen.entry(sentence.to_lowercase()).or_default() += 1;
            out.push(Statement {
                document: document.clone(),
                start,
                words: tokens(sentence).into_iter().map(|t| t.0).collect(),
                text: sentence.to_owned(),
            });
        }
    }
    out.retain(|s| seen[&s.text.to_lowercase()] == 1);
    Ok(out)
}

pub(crate) fn gap_question(statements: &[Statement], index: usize, random: &mut Stream) -> Option<Question> {
    let statement = &statements[index];
    let text = &statement.text;
    let chinese = is_chinese(text);
    let words = runs(text);
    // A content word that occurs once, not the first.
    let places: Vec<(usize, usize)> = words
        .iter()
        .enumerate()
        .skip(1)
        .map(|(_, &(s, e, han))| {
            // Of a Chinese run two characters are taken.
            let wide = text[s..e].char_indices().nth(2).filter(|_| han).map_or(e, |(i, _)| s + i);
            (s, wide)
        })
        .filter(|&(s, e)| {
            let word = &text[s..e];
            let long = word.chars().count() > if chinese { 1 } else { 3 };
            long && !is_stop(&stem(&word.to_lowercase())) && text.matches(word).count() == 1
        })
        .collect();
    if places.is_empty() {
        return None;
    }
    let (start, end) = places[random.below(places.len())];
    // Another sentence that fits around the gap would make the question ambiguous.
    let words = |text: &str| tokens(text).into_iter().map(|t| t.0).collect::<Vec<_>>();
    let (left, right) = (words(&text[..start]), words(&text[end..]));
    let fits = |s: &&Statement| {
        s.words.len() > left.len() + right.len() && s.words.starts_with(&left) && s.words.ends_with(&right)
    };
    if left.len() + right.len() < 4 || statements.iter().filter(fits).count() != 1 {
        return None;
    }
    let gapped = format!("{}____{}", &text[..start], &text[end..]);
    let template = pick(random, if chinese { CLOZE_ZH } else { CLOZE });
    Some(Question {
        id: String::new(),
        category: Category::Cloze,
        language: if chinese { "zh" } else { "en" }.into(),
        text: template.replace("{s}", &gapped),
        answer: text[start..end].to_owned(),
        value: text[start..end].to_owned(),
        unit: String::new(),
        document: statement.document.clone(),
        start: statement.start + start,
        end: statement.start + end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, pack, prose};

    #[test]
    fn questions_have_their_answer_in_the_source_and_repeat_with_the_seed() {
        let mut documents = elements();
        documents.push(prose("铜.txt", "铜是人类最早使用的金属之一，广泛用于电线和管道的制造。"));
        let (_dir, pack) = pack(&documents);
        let questions = generate(&pack, 60, 7).unwrap();
        assert_eq!(questions, generate(&pack, 60, 7).unwrap());
        assert_ne!(questions, generate(&pack, 60, 8).unwrap());
        assert!(questions.len() > 40);
        for question in &questions {
            let document = documents.iter().find(|d| d.id == question.document).unwrap();
            assert_eq!(&document.text[question.start..question.end], question.value);
        }
        for wanted in [Category::Number, Category::Year, Category::Name, Category::Class, Category::Cloze] {
            assert!(questions.iter().any(|q| q.category == wanted), "{wanted:?}");
        }
        assert!(questions.iter().any(|q| q.language == "zh"));
    }
}
