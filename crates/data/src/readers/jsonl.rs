//! JSON lines, plain or zstd: one document per line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde_json::Value;

use super::{Draft, Emit, Refusal};
use crate::SourceConfig;

/// A longer line is refused: it is not a document but a mistake, or an attack with compressed zeros.
const LONGEST_LINE: u64 = 256 << 20;

pub(super) fn read(path: &Path, options: &SourceConfig, emit: &mut Emit<'_>) -> Result<(), Refusal> {
    let broken = |e: std::io::Error| Refusal::whole("unreadable", e.to_string());
    let file = File::open(path).map_err(broken)?;
    let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zst"));
    let mut input: Box<dyn BufRead> = if packed {
        Box::new(BufReader::with_capacity(1 << 18, zstd::Decoder::new(file).map_err(broken)?))
    } else {
        Box::new(BufReader::with_capacity(1 << 18, file))
    };
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let locator = format!("line {number}");
        let read = (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => break,
            Ok(_) if line.len() as u64 == LONGEST_LINE => {
                return Err(Refusal::at(
                    locator,
                    "malformed",
                    format!("line longer than {LONGEST_LINE} bytes"),
                ));
            }
            Ok(_) => {}
            Err(error) => return Err(Refusal::at(locator, "unreadable", error.to_string())),
        }
        let bytes = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&line);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        emit(draft(bytes, locator, &options.text_field));
    }
    Ok(())
}

fn draft(line: &[u8], locator: String, field: &str) -> Result<Draft, Refusal> {
    match serde_json::from_slice::<Value>(line) {
        Ok(value) => of_value(value, locator, field),
        Err(error) => Err(Refusal::at(locator, "malformed", error.to_string())),
    }
}

/// A document of a JSON object: its text stands in `field`, as a string or as a list of lines.
pub(super) fn of_value(value: Value, locator: String, field: &str) -> Result<Draft, Refusal> {
    let Value::Object(mut object) = value else {
        return Err(Refusal::at(locator, "malformed", "not a JSON object"));
    };
    let text = match object.remove(field) {
        Some(Value::String(text)) => Some(text),
        Some(Value::Array(lines)) => {
            lines.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|lines| lines.join("\n"))
        }
        _ => None,
    };
    let Some(text) = text else {
        return Err(Refusal::at(locator, "malformed", format!("no text in field `{field}`")));
    };
    let mut draft = Draft { locator, text, ..Draft::default() };
    let plain = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    draft.title = object.remove("title").map(plain);
    draft.licence = object.remove("license").or_else(|| object.remove("licence")).map(plain);
    draft.metadata =
        object.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, value)| (name, plain(value))).collect();
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, bytes: &[u8]) -> Vec<Result<Draft, Refusal>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut out = Vec::new();
        super::super::read(&path, &SourceConfig::of(&path), &mut |_, d| out.push(d));
        out
    }

    #[test]
    fn fields_become_metadata_and_bad_lines_are_named() {
        let lines = "{\"text\":\"水 water\",\"title\":\"T\",\"n\":3,\"license\":\"MIT\"}\n\nnot json\n[1]\n{\"a\":1}\n";
        let out = run("a.jsonl", lines.as_bytes());
        let first = out[0].as_ref().unwrap();
        assert_eq!((first.text.as_str(), first.title.as_deref()), ("水 water", Some("T")));
        assert_eq!((first.licence.as_deref(), first.metadata["n"].as_str()), (Some("MIT"), "3"));
        let places: Vec<&str> = out[1..].iter().map(|r| r.as_ref().unwrap_err().locator.as_str()).collect();
        assert_eq!(places, ["line 3", "line 4", "line 5"]);
    }

    #[test]
    fn zstd_and_a_truncated_stream() {
        let text: String = (0..2000).map(|i| format!("{{\"text\":\"document {i} 文档\"}}\n")).collect();
        let packed = zstd::encode_all(text.as_bytes(), 3).unwrap();
        assert_eq!(run("a.jsonl.zst", &packed).len(), 2000);
        let cut = run("a.jsonl.zst", &packed[..packed.len() / 2]);
        assert_eq!(cut.last().unwrap().as_ref().unwrap_err().rule, "unreadable");
    }
}
