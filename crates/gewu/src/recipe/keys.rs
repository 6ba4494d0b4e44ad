//! Laying one table over another whose keys are the only ones allowed.

use toml::{Table, Value};

/// Overwrites values of `base` by those of `top`. Errors with the full key and its nearest neighbors if `base` has no
/// such key, or if one holds a table and the other does not.
pub(super) fn overlay(base: &mut Table, top: Table) -> Result<(), String> {
    overlay_at(base, top, "")
}

fn overlay_at(base: &mut Table, top: Table, prefix: &str) -> Result<(), String> {
    for (key, value) in top {
        let path = format!("{prefix}{key}");
        let Some(place) = base.get_mut(&key) else {
            let known = nearest(&key, base.keys().map(String::as_str));
            let known: Vec<String> = known.iter().map(|key| format!("`{prefix}{key}`")).collect();
            return Err(format!("unknown key `{path}`; nearest: {}", known.join(", ")));
        };
        match (place, value) {
            // The keys of a shape go by its kind; whether they fit is seen when the recipe is read.
            (place @ Value::Table(_), Value::Table(value))
                if path.ends_with("schedule.shape") && value.contains_key("kind") =>
            {
                *place = Value::Table(value);
            }
            (Value::Table(inner), Value::Table(value)) => overlay_at(inner, value, &format!("{path}."))?,
            (Value::Table(_), _) => return Err(format!("`{path}` is a table, not a single value")),
            (place, value) => *place = fitting(place, value, &path)?,
        }
    }
    Ok(())
}

/// The value, if it has the type of what it replaces; a whole number may stand for a float.
fn fitting(place: &Value, value: Value, path: &str) -> Result<Value, String> {
    match (place, value) {
        (Value::Float(_), Value::Integer(whole)) => Ok(Value::Float(whole as f64)),
        (place, value) if place.same_type(&value) => Ok(value),
        (place, value) => {
            Err(format!("`{path}` must be of type {}, not {} `{value}`", place.type_str(), value.type_str()))
        }
    }
}

/// Applies `key.inner=value`; the value is TOML, or plain text where the key holds text.
pub(super) fn assign(base: &mut Table, assignment: &str) -> Result<(), String> {
    let Some((path, text)) = assignment.split_once('=') else {
        return Err(format!("`{assignment}` is not of the form key=value"));
    };
    let (path, text) = (path.trim(), text.trim());
    let parsed =
        toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut table| table.remove("value"));
    let holds_text = matches!(lookup(base, path), Some(Value::String(_)));
    let value = match parsed {
        Some(value) if !holds_text || value.is_str() => value,
        _ => Value::String(text.to_owned()),
    };
    let mut keys = path.rsplit('.');
    let last = keys.next().unwrap_or_default();
    let mut top = Table::from_iter([(last.to_owned(), value)]);
    for key in keys {
        top = Table::from_iter([(key.to_owned(), Value::Table(top))]);
    }
    overlay(base, top)
}

fn lookup<'a>(base: &'a Table, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = base.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.as_table()?.get(key))
}

/// The three names with the smallest edit distance to `wanted`, nearest first.
pub(super) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<(usize, &str)> = names.map(|name| (distance(wanted, name), name)).collect();
    names.sort();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "种子"), 2);
        assert_eq!(nearest("sed", ["stages", "seed", "ask"].into_iter()), ["seed", "ask", "stages"]);
    }

    fn base() -> Table {
        toml::from_str("seed = 1\nname = 'a'\n[near]\nthreshold = 0.8\nrows = 6").unwrap()
    }

    #[test]
    fn assignments_keep_types() {
        let mut table = base();
        assign(&mut table, "near.threshold=1").unwrap();
        assign(&mut table, "name = 007").unwrap();
        assign(&mut table, "name=名字").unwrap();
        assert_eq!(table["near"]["threshold"], Value::Float(1.0));
        assert_eq!(table["name"], Value::String("名字".into()));
        assert!(assign(&mut table, "seed=many").unwrap_err().contains("integer"));
        assert!(assign(&mut table, "near=1").unwrap_err().contains("table"));
        assert!(assign(&mut table, "seed").is_err());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_neighbors() {
        let message = assign(&mut base(), "near.treshold=1").unwrap_err();
        assert!(
            message.contains("`near.treshold`") && message.contains("nearest: `near.threshold`"),
            "{message}"
        );
    }
}
