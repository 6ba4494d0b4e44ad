//! Small corpora and a deterministic stand-in for a model, for the tests of this crate.

use data::{Document, Field, Record, Source};

/// A row document.
pub(crate) fn row(table: &str, key: &str, fields: &[(&str, &str)]) -> Document {
    let fields: Vec<Field> =
        fields.iter().map(|(n, v)| Field { name: (*n).to_owned(), value: (*v).to_owned() }).collect();
    let text = fields.iter().map(|f| format!("{}: {}", f.name, f.value)).collect::<Vec<_>>().join("\n");
    let locator = format!("{table} row {key}");
    Document {
        id: ledger::short_hash(&["t.db", &locator, &text]),
        text,
        source: Source { path: "t.db".into(), locator, hash: "0".repeat(64) },
        title: None,
        language: "en".into(),
        licence: "MIT".into(),
        record: Some(Record { table: table.into(), key: key.into(), fields }),
        metadata: Default::default(),
    }
}

/// A text document.
pub(crate) fn prose(path: &str, text: &str) -> Document {
    Document {
        id: ledger::short_hash(&[path, "", text]),
        text: text.to_owned(),
        source: Source { path: path.into(), locator: String::new(), hash: "0".repeat(64) },
        title: None,
        language: "en".into(),
        licence: "CC-BY-4.0".into(),
        record: None,
        metadata: Default::default(),
    }
}

/// Four elements with their side tables.
pub(crate) fn elements() -> Vec<Document> {
    let element = |key, name, symbol, group, series, density, year, uses| {
        row(
            "elements",
            key,
            &[
                ("atomic_number", key),
                ("name", name),
                ("symbol", symbol),
                ("group_id", group),
                ("series_id", series),
                ("density", density),
                ("discovery_year", year),
                ("uses", uses),
                ("sources", "Found in ores."),
            ],
        )
    };
    vec![
        element(
            "26",
            "Iron",
            "Fe",
            "8",
            "8",
            "7.874",
            "",
            "Used in steel and other alloys. Essential for humans.",
        ),
        element(
            "79",
            "Gold",
            "Au",
            "11",
            "8",
            "19.3",
            "",
            "Used in electronics, jewelry and coins. It reflects infrared radiation well.",
        ),
        element(
            "49",
            "Indium",
            "In",
            "13",
            "7",
            "7.31",
            "1863",
            "Used to coat high speed bearings and as an alloy that lowers the melting point of other metals.",
        ),
        element(
            "80",
            "Mercury",
            "Hg",
            "12",
            "8",
            "13.5336",
            "",
            "Used in thermometers, barometers and batteries.",
        ),
        row(
            "phasetransitions",
            "1",
            &[
                ("id", "1"),
                ("atomic_number", "79"),
                ("boiling_point", "3109.15"),
                ("melting_point", "1337.33"),
            ],
        ),
        row(
            "phasetransitions",
            "2",
            &[
                ("id", "2"),
                ("atomic_number", "26"),
                ("boiling_point", "3134.15"),
                ("melting_point", "1811.15"),
            ],
        ),
        row("series", "7", &[("id", "7"), ("name", "Poor metals")]),
        row("series", "8", &[("id", "8"), ("name", "Transition metals")]),
        row(
            "propertymetadata",
            "1",
            &[
                ("table_name", "elements"),
                ("column_name", "density"),
                ("description", "Density at 295K"),
                ("unit", "g/cm^3"),
                ("citation_keys", "haynes2014crc"),
            ],
        ),
        row(
            "propertymetadata",
            "2",
            &[
                ("table_name", "phasetransitions"),
                ("column_name", "melting_point"),
                ("description", "Melting point at 101.325 kPa pressure"),
                ("unit", "K"),
                ("citation_keys", "haynes2016crc"),
            ],
        ),
        row(
            "propertymetadata",
            "3",
            &[
                ("table_name", "phasetransitions"),
                ("column_name", "boiling_point"),
                ("description", "Boiling point"),
                ("unit", "K"),
                ("citation_keys", "haynes2016crc"),
            ],
        ),
    ]
}

/// Builds a pack in a temporary folder.
pub(crate) fn pack(documents: &[Document]) -> (tempfile::TempDir, crate::Pack) {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger::Ledger::open(folder.path().join("ledger.sqlite")).unwrap();
    let pack =
        crate::Pack::build(documents, folder.path().join("pack"), &mut ledger, &mut |_, _| {}).unwrap();
    (folder, pack)
}

/// A stand-in for a model: copies the end of the last fact of its prompt, or babbles.
pub(crate) struct Double {
    pub(crate) copies: bool,
}

impl model::LanguageModel for Double {
    fn name(&self) -> &str {
        "double"
    }

    fn context_length(&self) -> usize {
        2048
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn chat_prompt(&self, messages: &[model::Message]) -> Result<String, model::Error> {
        Ok(messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>().join("\n"))
    }

    fn log_likelihood(&mut self, _: &str, texts: &[&str]) -> Result<Vec<model::LogLikelihood>, model::Error> {
        Ok(texts
            .iter()
            .map(|t| model::LogLikelihood { sum: -(t.len() as f64), tokens: 1, greedy: false })
            .collect())
    }

    fn rolling_log_likelihood(
        &mut self,
        _: &str,
        _: usize,
    ) -> Result<model::RollingLogLikelihood, model::Error> {
        Err(model::Error::Request("not here".into()))
    }

    fn generate(
        &mut self,
        prompt: &str,
        _: &model::GenerateOptions,
        _: &mut dyn FnMut(&str) -> bool,
    ) -> Result<model::Generation, model::Error> {
        let last = prompt.rsplit("\n\n").next().unwrap_or("");
        let fact = last.lines().next().filter(|l| l.starts_with("Facts") || l.starts_with("事实"));
        let copied = fact.and_then(|l| l.rsplit_once(" is ").or(l.rsplit_once("是 "))).map(|(_, v)| v);
        let text = copied.filter(|_| self.copies).unwrap_or("bla").trim_end_matches(['.', '。']).to_owned();
        Ok(model::Generation {
            text,
            tokens: Vec::new(),
            log_probabilities: Vec::new(),
            prompt_tokens: 0,
            finish: model::Finish::Stop,
        })
    }
}
