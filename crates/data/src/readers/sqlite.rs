//! SQLite tables: one record document per row, opened read-only.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Draft, Emit, Refusal, row_text, row_title};
use crate::{Field, Record, SourceConfig};

pub(super) fn read(path: &Path, options: &SourceConfig, emit: &mut Emit<'_>) -> Result<(), Refusal> {
    let malformed = |e: rusqlite::Error| Refusal::whole("malformed", e.to_string());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags).map_err(malformed)?;
    let present = names(&database, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .map_err(malformed)?
        .into_iter()
        .filter(|name| !name.starts_with("sqlite_"))
        .collect::<Vec<_>>();
    if let Some(missing) = options.tables.iter().find(|t| !present.contains(t)) {
        let detail = format!("no table `{missing}`; there are {}", present.join(", "));
        return Err(Refusal::whole("malformed", detail));
    }
    let chosen = if options.tables.is_empty() { &present } else { &options.tables };
    for table in chosen {
        if let Err(error) = rows(&database, table, emit) {
            emit(Err(Refusal::at(table.clone(), "malformed", error.to_string())));
        }
    }
    Ok(())
}

fn names(database: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    database.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn rows(database: &Connection, table: &str, emit: &mut Emit<'_>) -> rusqlite::Result<()> {
    let mut info = database.prepare(&format!("PRAGMA table_info({})", quote(table)))?;
    let columns: Vec<(String, i64)> =
        info.query_map([], |row| Ok((row.get("name")?, row.get("pk")?)))?.collect::<Result<_, _>>()?;
    let mut keys: Vec<(i64, usize)> =
        columns.iter().enumerate().filter(|(_, (_, pk))| *pk > 0).map(|(i, (_, pk))| (*pk, i)).collect();
    keys.sort_unstable();
    // SQLite writes each number the way it prints it; binary values are no text.
    let list: Vec<String> = columns
        .iter()
        .map(|(name, _)| quote(name))
        .map(|c| format!("CASE typeof({c}) WHEN 'blob' THEN NULL ELSE CAST({c} AS TEXT) END"))
        .collect();
    let order: Vec<String> =
        keys.iter().filter_map(|(_, i)| columns.get(*i)).map(|(n, _)| quote(n)).collect();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let mut statement =
        database.prepare(&format!("SELECT {} FROM {}{order}", list.join(", "), quote(table)))?;
    let mut found = statement.query([])?;
    let mut number = 0_u64;
    while let Some(row) = found.next()? {
        number += 1;
        let mut values = Vec::with_capacity(columns.len());
        for column in 0..columns.len() {
            values.push(match row.get_ref(column)? {
                rusqlite::types::ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            });
        }
        let key: Vec<&str> = keys.iter().filter_map(|(_, i)| values.get(*i)?.as_deref()).collect();
        let key = if key.is_empty() { number.to_string() } else { key.join("/") };
        let fields = columns.iter().zip(&values).filter_map(|((name, _), value)| {
            value.as_ref().filter(|v| !v.is_empty()).map(|v| Field { name: name.clone(), value: v.clone() })
        });
        let record = Record { table: table.to_owned(), key, fields: fields.collect() };
        let locator = format!("{table} row {}", record.key);
        let (text, title) = (row_text(&record), row_title(&record));
        emit(Ok(Draft { locator, text, title, record: Some(record), ..Draft::default() }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_keys_numbers_and_missing_tables() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.db");
        let database = Connection::open(&path).unwrap();
        database
            .execute_batch(
                "CREATE TABLE elements (n INTEGER PRIMARY KEY, name TEXT, mass REAL, icon BLOB, note TEXT);
                 INSERT INTO elements VALUES (79, '金 Gold', 196.96657, x'00ff', NULL), (1, 'Hydrogen', 1.008, NULL, '');
                 CREATE TABLE \"odd \"\"name\" (a TEXT); INSERT INTO \"odd \"\"name\" VALUES ('x');",
            )
            .unwrap();
        drop(database);
        let mut out = Vec::new();
        let mut options = SourceConfig::of(&path);
        read(&path, &options, &mut |d| out.push(d.unwrap())).unwrap();
        let places: Vec<&str> = out.iter().map(|d| d.locator.as_str()).collect();
        assert_eq!(places, ["elements row 1", "elements row 79", "odd \"name row 1"]);
        assert_eq!(out[1].text, "n: 79\nname: 金 Gold\nmass: 196.96657");
        options.tables = vec!["absent".into()];
        let refusal = read(&path, &options, &mut |_| {}).unwrap_err();
        assert!(refusal.detail.contains("no table `absent`; there are elements"));
    }
}
