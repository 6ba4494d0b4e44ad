//! JSON: a list of objects, one document each, or a single object.

use serde_json::Value;

use super::{Draft, Emit, Refusal, jsonl};

/// Reads a whole file; `field` of each object holds its text.
pub(super) fn read(
    path: &std::path::Path,
    options: &crate::SourceConfig,
    emit: &mut Emit<'_>,
) -> Result<(), Refusal> {
    let bytes = std::fs::read(path).map_err(|error| Refusal::whole("unreadable", error.to_string()))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let value = serde_json::from_slice::<Value>(bytes)
        .map_err(|error| Refusal::whole("malformed", error.to_string()))?;
    documents(value, &options.text_field).for_each(emit);
    Ok(())
}

fn documents(value: Value, field: &str) -> impl Iterator<Item = Result<Draft, Refusal>> {
    let (items, many) = match value {
        Value::Array(items) => (items, true),
        one => (vec![one], false),
    };
    items.into_iter().enumerate().map(move |(index, item)| {
        let locator = if many { format!("item {}", index + 1) } else { String::new() };
        jsonl::of_value(item, locator, field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_lines_become_texts_and_strays_are_named() {
        let value = serde_json::json!([
            {"paragraphs": ["明月几时有。", "把酒问青天。"], "author": "苏轼", "title": "水调歌头"},
            {"author": "nobody"},
            7,
        ]);
        let found: Vec<_> = documents(value, "paragraphs").collect();
        let first = found[0].as_ref().unwrap();
        assert_eq!(first.text, "明月几时有。\n把酒问青天。");
        assert_eq!((first.locator.as_str(), first.title.as_deref()), ("item 1", Some("水调歌头")));
        assert_eq!(first.metadata["author"], "苏轼");
        assert_eq!(found[1].as_ref().unwrap_err().locator, "item 2");
        assert_eq!(found[2].as_ref().unwrap_err().rule, "malformed");
    }

    #[test]
    fn a_damaged_file_is_refused_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("诗.json");
        std::fs::write(&path, "[{\"text\": \"a\"}, {").unwrap();
        let mut seen = 0;
        let refused = read(&path, &crate::SourceConfig::of(&path), &mut |_| seen += 1).unwrap_err();
        assert_eq!((refused.rule, seen), ("malformed", 0));
        std::fs::write(&path, "{\"text\": \"一首\"}").unwrap();
        read(&path, &crate::SourceConfig::of(&path), &mut |draft| {
            assert_eq!(draft.unwrap().text, "一首");
            seen += 1;
        })
        .unwrap();
        assert_eq!(seen, 1);
    }
}
