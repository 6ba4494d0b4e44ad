//! Known sources: what their columns are called in questions. A table not listed here works as well, under the
//! names of its columns.

pub(crate) mod elements;
mod elements_names;
mod elements_wordings;

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

/// Wordings of one relation for tuning, beside the general ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wordings {
    /// `table.column`.
    pub(crate) key: &'static str,
    /// Questions for training; `{e}` is the entity, `{E}` with a capital, `{r}` the relation.
    pub(crate) train: &'static [&'static str],
    /// Questions that are never trained on.
    pub(crate) unseen: &'static [&'static str],
    /// Questions from the value `{v}` to the entity.
    pub(crate) reversed: &'static [&'static str],
    /// Questions for training, in Chinese.
    pub(crate) zh_train: &'static [&'static str],
    /// Questions that are never trained on, in Chinese.
    pub(crate) zh_unseen: &'static [&'static str],
}

/// The wordings of a relation of a known source.
pub(crate) fn wordings(key: &str) -> Option<&'static Wordings> {
    elements_wordings::WORDINGS.iter().find(|w| w.key == key)
}

/// The relations of a known table that tuning takes, in order of preference; none if the table is unknown.
pub(crate) fn tuned_relations(table: &str) -> Vec<&'static str> {
    let of = |w: &&Wordings| w.key.split('.').next() == Some(table);
    elements_wordings::WORDINGS.iter().filter(of).map(|w| w.key).collect()
}
