//! Facts of tables and definitions: who, what, value, unit, and the bytes that say so.

use std::collections::{BTreeMap, HashMap};

use data::{Document, Record};

use crate::{definition, packs, passage::word_count, terms::name_key};

/// A span of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the document in the corpus.
    pub(crate) document: usize,
    /// First byte of its text.
    pub(crate) start: usize,
    /// First byte after.
    pub(crate) end: usize,
}

/// A thing questions are about.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) document: usize,
    pub(crate) name: String,
    /// Other names; a symbol keeps its case.
    pub(crate) aliases: Vec<(String, AliasKind)>,
}

/// How an alias is recognised in a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasKind {
    /// Anywhere, in any case.
    Name,
    /// In this case only, and not where it is a common word.
    Symbol,
    /// After `element`, `atomic number`, `原子序数`.
    Number,
}

/// What is said of entities.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    /// `table.column`, or `definition`.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) zh: String,
    pub(crate) phrases: Vec<String>,
}

/// One fact.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) entity: usize,
    pub(crate) relation: usize,
    /// Tells rows of the same entity apart: the allotrope.
    pub(crate) qualifier: String,
    pub(crate) value: String,
    pub(crate) place: Place,
    pub(crate) unit: String,
    /// Where the unit stands, or the cell that links the row to the value.
    pub(crate) second: Option<Place>,
    pub(crate) cited: String,
}

/// All that a corpus says in facts.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) entities: Vec<Entity>,
    pub(crate) relations: Vec<Relation>,
    pub(crate) facts: Vec<Fact>,
    /// Entity of each record document.
    pub(crate) entity_of: HashMap<usize, usize>,
}

/// Columns that tell the rows of one entity apart, first present wins.
const QUALIFIERS: &[&str] = &["allotrope", "variant", "form", "year", "年份"];
/// Columns that hold a short symbol of the entity.
const SYMBOLS: &[&str] = &["symbol", "ticker", "code", "abbreviation", "符号", "代码"];
const TITLES: &[&str] = &["title", "name", "名称", "标题", "题名"];
/// The table that describes columns: unit, meaning, literature.
const METADATA: &str = "propertymetadata";

/// Byte spans of the values of a row in its text (`column: value` lines), with the span of the column's name.
/// A value that governance changed, say by redaction, has none.
pub(crate) fn field_places(document: &Document, record: &Record) -> Vec<Option<(usize, usize)>> {
    let mut at = 0;
    record
        .fields
        .iter()
        .map(|field| {
            let line = format!("{}: {}", field.name, field.value);
            let found = document.text.get(at..)?.find(&line)? + at;
            let end = found + line.len();
            at = end;
            Some((end - field.value.len(), end))
        })
        .collect()
}

fn title(record: &Record) -> Option<&str> {
    TITLES.iter().find_map(|wanted| {
        let field = record.fields.iter().find(|f| f.name.eq_ignore_ascii_case(wanted))?;
        (word_count(&field.value) <= 12.0).then_some(field.value.trim())
    })
}

fn value<'a>(record: &'a Record, column: &str) -> Option<&'a str> {
    record.fields.iter().find(|f| f.name == column).map(|f| f.value.as_str())
}

/// What `propertymetadata` says of a column.
struct Meaning {
    unit: String,
    unit_place: Option<Place>,
    cited: String,
}

fn meanings(documents: &[Document]) -> BTreeMap<(String, String), Meaning> {
    let mut out = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        let Some(record) = document.record.as_ref().filter(|r| r.table == METADATA) else { continue };
        let (Some(table), Some(column)) = (value(record, "table_name"), value(record, "column_name")) else {
            continue;
        };
        let places = field_places(document, record);
        let unit_at = record.fields.iter().position(|f| f.name == "unit");
        let unit_place = unit_at.and_then(|i| places.get(i).copied().flatten());
        let unit_place = unit_place.map(|(start, end)| Place { document: index, start, end });
        let unit = if unit_place.is_some() { value(record, "unit").unwrap_or_default() } else { "" };
        let text = |name: &str| value(record, name).unwrap_or_default().trim().to_owned();
        let meaning = Meaning { unit: unit.to_owned(), unit_place, cited: text("citation_keys") };
        out.insert((table.to_owned(), column.to_owned()), meaning);
    }
    out
}

/// Compiles the facts of a corpus.
pub(crate) fn compile(documents: &[Document]) -> Facts {
    let meanings = meanings(documents);
    let mut facts = Facts::default();
    // (column, key) of a titled table → entity: how other tables refer to it.
    let mut keys: HashMap<(String, String), usize> = HashMap::new();
    // table → key → document: tables that only name something, reached by `table_id`.
    let mut named: HashMap<(String, String), usize> = HashMap::new();
    let records = || documents.iter().enumerate().filter_map(|(i, d)| Some((i, d, d.record.as_ref()?)));
    for (index, _, record) in records().filter(|(_, _, r)| r.table != METADATA) {
        let Some(name) = title(record) else { continue };
        named.insert((record.table.clone(), record.key.clone()), index);
        let mut aliases = vec![(name_key(name), AliasKind::Name)];
        for field in &record.fields {
            if SYMBOLS.contains(&field.name.to_lowercase().as_str()) && field.value.chars().count() <= 8 {
                aliases.push((field.value.clone(), AliasKind::Symbol));
            }
        }
        aliases.extend(
            packs::aliases(&record.table, &record.key).iter().map(|a| (name_key(a), AliasKind::Name)),
        );
        if record.table == "elements" {
            aliases.push((record.key.clone(), AliasKind::Number));
        }
        let entity = facts.entities.len();
        if let Some(first) = record.fields.first().filter(|f| f.value == record.key) {
            keys.entry((first.name.clone(), record.key.clone())).or_insert(entity);
        }
        facts.entities.push(Entity { document: index, name: name.to_owned(), aliases });
        facts.entity_of.insert(index, entity);
    }
    for (index, _, record) in records().filter(|(_, _, r)| r.table != METADATA && title(r).is_none()) {
        let link = record.fields.iter().find_map(|f| keys.get(&(f.name.clone(), f.value.clone())));
        if let Some(&entity) = link {
            facts.entity_of.insert(index, entity);
        }
    }
    let mut relations: BTreeMap<String, usize> = BTreeMap::new();
    for (index, document, record) in records().filter(|(_, _, r)| r.table != METADATA) {
        let Some(&entity) = facts.entity_of.get(&index) else { continue };
        let qualifier = QUALIFIERS.iter().find_map(|q| value(record, q)).unwrap_or_default();
        for (field, place) in record.fields.iter().zip(field_places(document, record)) {
            let Some((start, end)) = place else { continue };
            let skip = field.value.trim().is_empty() || QUALIFIERS.contains(&field.name.as_str());
            // The cell that says whom the row is about is no fact of its own.
            let link =
                title(record).is_none() && keys.contains_key(&(field.name.clone(), field.value.clone()));
            if skip || link || (field.name == "id" && record.table != "elements") {
                continue;
            }
            let meaning = meanings.get(&(record.table.clone(), field.name.clone()));
            let key = format!("{}.{}", record.table, field.name);
            let relation = *relations.entry(key).or_insert_with(|| {
                facts.relations.push(relation_of(&record.table, &field.name));
                facts.relations.len() - 1
            });
            let mut fact = Fact {
                entity,
                relation,
                qualifier: qualifier.to_owned(),
                value: field.value.trim().to_owned(),
                place: Place { document: index, start, end },
                unit: meaning.map(|m| m.unit.clone()).unwrap_or_default(),
                second: meaning.and_then(|m| m.unit_place.clone()),
                cited: meaning.map(|m| m.cited.clone()).unwrap_or_default(),
            };
            let lead = field.value.len() - field.value.trim_start().len();
            fact.place.start += lead;
            fact.place.end = fact.place.start + fact.value.len();
            if let Some((target, start, end, text)) =
                referred(documents, &named, record, &field.name, &field.value)
            {
                fact.second =
                    Some(std::mem::replace(&mut fact.place, Place { document: target, start, end }));
                fact.value = text;
            } else if let (true, Some((unit, from, to))) = (fact.unit.is_empty(), unit_of_column(&field.name))
            {
                // `melting point (K)`: the unit stands in the column's name, two bytes before the value.
                let name_start = start.saturating_sub(field.name.len() + 2);
                fact.unit = unit;
                fact.second = Some(Place { document: index, start: name_start + from, end: name_start + to });
            }
            facts.facts.push(fact);
        }
    }
    definitions(documents, &mut facts);
    facts
}

/// The unit in a column name such as `熔点 (K)` or `mass [kg]`, with its bytes.
fn unit_of_column(column: &str) -> Option<(String, usize, usize)> {
    let (open, close) = [('(', ')'), ('[', ']'), ('（', '）')].into_iter().find_map(|(a, b)| {
        column
            .ends_with(b)
            .then(|| column.rfind(a).map(|i| (i + a.len_utf8(), column.len() - b.len_utf8())))?
    })?;
    let unit = column.get(open..close)?.trim();
    (!unit.is_empty() && unit.chars().count() <= 16).then(|| (unit.to_owned(), open, close))
}

/// The name a cell such as `series_id: 8` refers to, with its place, when the source says so: a table called
/// `series` has a titled row 8.
fn referred(
    documents: &[Document],
    named: &HashMap<(String, String), usize>,
    record: &Record,
    column: &str,
    key: &str,
) -> Option<(usize, usize, usize, String)> {
    let table =
        packs::column(&record.table, column).map_or(column.strip_suffix("_id")?, |c| match c.column {
            "group_id" => "",
            other => other.strip_suffix("_id").unwrap_or_default(),
        });
    let plural = format!("{table}s");
    let target =
        [table, plural.as_str()].iter().find_map(|t| named.get(&((*t).to_owned(), key.to_owned())))?;
    let document = documents.get(*target)?;
    let row = document.record.as_ref().filter(|r| r.table != record.table)?;
    let name = title(row)?;
    let at = row.fields.iter().position(|f| f.value.trim() == name)?;
    let (start, end) = field_places(document, row).get(at).copied().flatten()?;
    let lead = document.text.get(start..end)?.find(name)?;
    Some((*target, start + lead, start + lead + name.len(), name.to_owned()))
}

fn relation_of(table: &str, column: &str) -> Relation {
    let key = format!("{table}.{column}");
    let plain =
        column.split(['(', '[', '（']).next().unwrap_or(column).replace(['_', '-'], " ").trim().to_owned();
    match packs::column(table, column) {
        Some(c) => {
            let phrases =
                [c.name, c.zh].iter().chain(c.phrases).chain(c.zh_phrases).map(|p| (*p).to_owned()).collect();
            Relation { key, name: c.name.to_owned(), zh: c.zh.to_owned(), phrases }
        }
        None => Relation { key, name: plain.clone(), zh: plain.clone(), phrases: vec![plain] },
    }
}

/// Adds the definitions of prose documents: term → meaning.
fn definitions(documents: &[Document], facts: &mut Facts) {
    let found: Vec<(usize, definition::Definition)> = documents
        .iter()
        .enumerate()
        .filter(|(_, d)| d.record.is_none())
        .flat_map(|(i, d)| definition::definitions(d).into_iter().map(move |x| (i, x)))
        .collect();
    if found.is_empty() {
        return;
    }
    let relation = facts.relations.len();
    let phrases = [
        "definition",
        "define",
        "meaning of",
        "what does … mean",
        "定义",
        "含义",
        "是什么意思",
        "什么是",
        "是指什么",
    ];
    facts.relations.push(Relation {
        key: "definition".into(),
        name: "definition".into(),
        zh: "定义".into(),
        phrases: phrases.map(str::to_owned).to_vec(),
    });
    for (document, definition) in found {
        let entity = facts.entities.len();
        let aliases = vec![(name_key(&definition.term), AliasKind::Name)];
        facts.entities.push(Entity { document, name: definition.term, aliases });
        facts.facts.push(Fact {
            entity,
            relation,
            qualifier: String::new(),
            value: definition.meaning,
            place: Place { document, start: definition.start, end: definition.end },
            unit: String::new(),
            second: None,
            cited: String::new(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, row};

    #[test]
    fn rows_become_facts_with_units_links_and_places() {
        let documents = elements();
        let facts = compile(&documents);
        let find = |name: &str, key: &str| {
            let fact = facts
                .facts
                .iter()
                .find(|f| facts.entities[f.entity].name == name && facts.relations[f.relation].key == key);
            fact.unwrap_or_else(|| panic!("{name} {key}")).clone()
        };
        let text = |p: &Place| documents[p.document].text[p.start..p.end].to_owned();
        let melting = find("Gold", "phasetransitions.melting_point");
        assert_eq!((melting.value.as_str(), melting.unit.as_str()), ("1337.33", "K"));
        assert_eq!(
            (text(&melting.place), text(melting.second.as_ref().unwrap())),
            ("1337.33".into(), "K".into())
        );
        let series = find("Gold", "elements.series_id");
        assert_eq!(
            (series.value.as_str(), text(&series.place).as_str()),
            ("Transition metals", "Transition metals")
        );
        assert_eq!(text(series.second.as_ref().unwrap()), "8");
        assert_eq!(find("Gold", "elements.group_id").value, "11");
        for fact in &facts.facts {
            assert_eq!(text(&fact.place), fact.value);
        }
    }

    #[test]
    fn any_table_works_under_its_column_names() {
        let documents =
            vec![row("矿物", "1", &[("名称", "石英"), ("硬度 (Mohs)", "7"), ("first_described", "1530")])];
        let facts = compile(&documents);
        let hardness = facts.facts.iter().find(|f| f.value == "7").unwrap();
        assert_eq!(hardness.unit, "Mohs");
        let second = hardness.second.as_ref().unwrap();
        assert_eq!(&documents[0].text[second.start..second.end], "Mohs");
        assert!(facts.relations.iter().any(|r| r.name == "first described"));
        assert!(facts.relations.iter().any(|r| r.name == "硬度"));
    }

    #[test]
    fn a_redacted_value_gives_no_fact() {
        let mut documents =
            vec![row("people", "1", &[("name", "Ada"), ("mail", "a@b.example"), ("born", "1815")])];
        documents[0].text = documents[0].text.replace("a@b.example", "[EMAIL]");
        let facts = compile(&documents);
        let values: Vec<&str> = facts.facts.iter().map(|f| f.value.as_str()).collect();
        assert_eq!(values, ["Ada", "1815"]);
    }
}
