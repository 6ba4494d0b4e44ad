//! Known sources: what their columns are called in questions. A table not listed here works as well, under the
//! names of its columns.

pub(crate) mod elements;
mod elements_names;

/// How questions name a column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Table.
    pub(crate) table: &'static str,
    /// Column.
    pub(crate) column: &'static str,
    /// The relation, in English: completes "The … of gold is".
    pub(crate) name: &'static str,
    /// The relation, in Chinese.
    pub(crate) zh: &'static str,
    /// Other wordings; ` … ` stands for up to six words.
    pub(crate) phrases: &'static [&'static str],
    /// Other wordings, in Chinese; `…` stands for up to eight characters.
    pub(crate) zh_phrases: &'static [&'static str],
}

/// The entry of a column, if its table is a known source.
pub(crate) fn column(table: &str, column: &str) -> Option<&'static Column> {
    elements::COLUMNS.iter().find(|c| c.table == table && c.column == column)
}

/// Names of an entity that the source itself does not give: the Chinese names of the elements.
pub(crate) fn aliases(table: &str, key: &str) -> Vec<&'static str> {
    match table {
        "elements" => elements_names::chinese(key)
            .map(|(simplified, more)| std::iter::once(simplified).chain(more.iter().copied()).collect()),
        _ => None,
    }
    .unwrap_or_default()
}
