//! Comma- and tab-separated tables: one record document per row.

use std::path::Path;

use super::{Draft, Emit, Refusal, decode, row_text, row_title};
use crate::{Field, Record, SourceConfig};

pub(super) fn read(path: &Path, _: &SourceConfig, emit: &mut Emit<'_>) -> Result<(), Refusal> {
    let bytes = std::fs::read(path).map_err(|e| Refusal::whole("unreadable", e.to_string()))?;
    let (text, _) = decode(&bytes)?;
    let tabs = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    let table = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let mut rows = csv::ReaderBuilder::new()
        .delimiter(if tabs { b'\t' } else { b',' })
        .flexible(true)
        .from_reader(text.as_bytes());
    let malformed = |e: csv::Error| Refusal::whole("malformed", e.to_string());
    let names: Vec<String> = rows.headers().map_err(malformed)?.iter().map(|n| n.trim().to_owned()).collect();
    let key_column = names.iter().position(|n| ["id", "key", "编号"].contains(&n.to_lowercase().as_str()));
    for (index, row) in rows.records().enumerate() {
        let number = index + 1;
        let locator = format!("row {number}");
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                emit(Err(Refusal::at(locator, "malformed", error.to_string())));
                continue;
            }
        };
        if row.len() > names.len() {
            let detail = format!("{} values for {} columns", row.len(), names.len());
            emit(Err(Refusal::at(locator, "malformed", detail)));
            continue;
        }
        let fields = names.iter().zip(&row).filter(|(_, value)| !value.is_empty());
        let fields =
            fields.map(|(name, value)| Field { name: name.clone(), value: value.to_owned() }).collect();
        let key = key_column.and_then(|c| row.get(c)).filter(|k| !k.is_empty());
        let key = key.map_or_else(|| number.to_string(), str::to_owned);
        let record = Record { table: table.clone(), key, fields };
        let (text, title) = (row_text(&record), row_title(&record));
        emit(Ok(Draft { locator, text, title, record: Some(record), ..Draft::default() }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("元素.csv");
        std::fs::write(&path, "id,名称,熔点\n26,铁,\"1,538\"\n27,钴,\nbad,row,1,2\n").unwrap();
        let mut out = Vec::new();
        read(&path, &SourceConfig::of(&path), &mut |d| out.push(d)).unwrap();
        let iron = out[0].as_ref().unwrap();
        assert_eq!(iron.text, "id: 26\n名称: 铁\n熔点: 1,538");
        assert_eq!(iron.title.as_deref(), Some("铁"));
        let record = out[1].as_ref().unwrap().record.as_ref().unwrap();
        assert_eq!((record.table.as_str(), record.key.as_str(), record.fields.len()), ("元素", "27", 2));
        assert_eq!(out[2].as_ref().unwrap_err().detail, "4 values for 3 columns");
    }
}
