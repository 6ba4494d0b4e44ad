//! A document: a piece of text with its origin, the unit of every decision.

use std::collections::BTreeMap;

/// Where a document came from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Source {
    /// Path of the file, relative to the corpus root where there is one.
    pub path: String,
    /// Place inside the file: `line 12`, `elements row 79`; empty for a whole file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub locator: String,
    /// BLAKE3 of the file's bytes, hexadecimal.
    pub hash: String,
}

/// One value of a table row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Field {
    /// Column name.
    pub name: String,
    /// Value as text, exactly as the source prints it.
    pub value: String,
}

/// A table row, kept beside the text it was rendered to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Table name.
    pub table: String,
    /// Value of the primary key, or the row number.
    pub key: String,
    /// The non-null columns, in order.
    pub fields: Vec<Field>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Document {
    /// BLAKE3 of source path, locator and text, hexadecimal, 32 digits: the document's identity everywhere.
    pub id: String,
    /// The text. Citations are byte spans of this string.
    pub text: String,
    /// Where it came from.
    pub source: Source,
    /// Title, if the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// ISO 639-1 code: `en`, `zh`, …; `und` if undetermined.
    pub language: String,
    /// SPDX expression, or `unknown`.
    pub licence: String,
    /// The row, if the source is a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// Anything else the reader found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}
