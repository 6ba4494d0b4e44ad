//! Demands on the form of a response that a program can verify, for English and Chinese.

use serde::{Deserialize, Serialize};

/// A verifiable demand on the form of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// At least this many words (maximal runs of letters, digits and apostrophes).
    WordsAtLeast(usize),
    /// At most this many words, and at least one.
    WordsAtMost(usize),
    /// At least this many ideographs.
    IdeographsAtLeast(usize),
    /// At most this many ideographs, and at least one.
    IdeographsAtMost(usize),
    /// Exactly this many non-blank lines.
    Lines(usize),
    /// Exactly this many lines that begin with `- `, `* ` or `• `.
    Bullets(usize),
    /// Exactly this many numbered lines, `1.`, `2.`, … in order (`1)` and `1、` count as well).
    Numbered(usize),
    /// Contains the text, ignoring case.
    Includes(String),
    /// Contains the text at least this many times, ignoring case.
    IncludesTimes(String, usize),
    /// Does not contain the text, ignoring case; the response is not blank.
    Excludes(String),
    /// Begins with the text, ignoring case and surrounding white space.
    StartsWith(String),
    /// Ends with the text, ignoring case and surrounding white space.
    EndsWith(String),
    /// Has letters and all of them are capitals.
    AllCapitals,
    /// Has letters and none of them is a capital.
    NoCapitals,
    /// Has text but no ASCII or Chinese comma.
    NoComma,
    /// Has text but no decimal digit.
    NoDigits,
    /// Is a JSON object with these keys, perhaps inside a code fence.
    JsonKeys(Vec<String>),
    /// Begins and ends with a double quotation mark (`"…"` or `“…”`).
    Quoted,
    /// Has a title in `<<…>>` or `《…》`.
    Title,
    /// At least this many placeholders in square brackets.
    Placeholders(usize),
    /// Exactly one of these texts, apart from white space and closing punctuation.
    OneOf(Vec<String>),
    /// At least half of the letters are ideographs.
    InChinese,
    /// No ideographs, and at least one ASCII letter.
    InEnglish,
    /// Exactly two different parts separated by a line `******`.
    TwoResponses,
}

impl Constraint {
    /// Whether `response` meets the demand. A blank response meets none.
    pub fn is_met(&self, response: &str) -> bool {
        let text = response.trim();
        if text.is_empty() {
            return false;
        }
        match self {
            Self::WordsAtLeast(count) => words(text) >= *count,
            Self::WordsAtMost(count) => (1..=*count).contains(&words(text)),
            Self::IdeographsAtLeast(count) => ideographs(text) >= *count,
            Self::IdeographsAtMost(count) => (1..=*count).contains(&ideographs(text)),
            Self::Lines(count) => lines(text).count() == *count,
            Self::Bullets(count) => lines(text).filter(|line| is_bullet(line)).count() == *count,
            Self::Numbered(count) => is_numbered(text, *count),
            Self::Includes(part) => contains(text, part),
            Self::IncludesTimes(part, count) => {
                !part.is_empty() && text.to_lowercase().matches(&part.to_lowercase()).count() >= *count
            }
            Self::Excludes(part) => !contains(text, part),
            Self::StartsWith(start) => text.to_lowercase().starts_with(&start.to_lowercase()),
            Self::EndsWith(end) => text.to_lowercase().ends_with(&end.to_lowercase()),
            Self::AllCapitals => has_letter(text) && !text.chars().any(char::is_lowercase),
            Self::NoCapitals => has_letter(text) && !text.chars().any(char::is_uppercase),
            Self::NoComma => !text.contains([',', '，']),
            Self::NoDigits => !text.chars().any(|character| character.is_ascii_digit()),
            Self::JsonKeys(keys) => crate::grade::json_in(text).is_some_and(|value| {
                value.as_object().is_some_and(|object| {
                    object.len() == keys.len() && keys.iter().all(|key| object.contains_key(key))
                })
            }),
            Self::Quoted => is_quoted(text),
            Self::Title => [("<<", ">>"), ("《", "》")].iter().any(|(open, close)| {
                text.split_once(open)
                    .and_then(|(_, rest)| rest.split_once(close))
                    .is_some_and(|(title, _)| !title.trim().is_empty() && !title.contains('\n'))
            }),
            Self::Placeholders(count) => placeholders(text) >= *count,
            Self::OneOf(texts) => {
                let bare = text.trim_end_matches(['.', '。', '!', '！']).trim();
                texts.iter().any(|allowed| bare == allowed.trim_end_matches(['.', '。', '!', '！']))
            }
            Self::InChinese => {
                let letters = text.chars().filter(|character| character.is_alphabetic()).count();
                letters > 0 && ideographs(text) * 2 >= letters
            }
            Self::InEnglish => {
                ideographs(text) == 0 && text.chars().any(|character| character.is_ascii_alphabetic())
            }
            Self::TwoResponses => {
                let parts: Vec<&str> = text.split("******").map(str::trim).collect();
                parts.len() == 2 && parts.iter().all(|part| !part.is_empty()) && parts[0] != parts[1]
            }
        }
    }
}

fn words(text: &str) -> usize {
    text.split(|character: char| !(character.is_alphanumeric() || character == '\'' || character == '’'))
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .count()
}

/// Number of ideographs of the unified blocks (U+3400–4DBF, U+4E00–9FFF, U+20000 and above).
pub(crate) fn ideographs(text: &str) -> usize {
    text.chars()
        .filter(|character| matches!(character, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}'))
        .count()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn is_bullet(line: &str) -> bool {
    ["- ", "* ", "• "].iter().any(|mark| line.starts_with(mark))
}

fn is_numbered(text: &str, count: usize) -> bool {
    let numbers: Vec<usize> = lines(text)
        .filter_map(|line| {
            let digits = line.find(|character: char| !character.is_ascii_digit())?;
            let follows = line[digits..].chars().next()?;
            if matches!(follows, '.' | ')' | '、' | '．') { line[..digits].parse().ok() } else { None }
        })
        .collect();
    numbers == (1..=count).collect::<Vec<_>>()
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

fn has_letter(text: &str) -> bool {
    text.chars().any(|character| character.is_uppercase() || character.is_lowercase())
}

fn is_quoted(text: &str) -> bool {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .or_else(|| text.strip_prefix('“').and_then(|rest| rest.strip_suffix('”')));
    inner.is_some_and(|inner| !inner.trim().is_empty())
}

fn placeholders(text: &str) -> usize {
    text.split('[')
        .skip(1)
        .filter(|rest| {
            rest.find(']').is_some_and(|end| !rest[..end].trim().is_empty() && !rest[..end].contains('\n'))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::Constraint::{self, *};

    #[test]
    fn each_constraint_accepts_and_rejects() {
        let cases: Vec<(Constraint, &str, &str)> = vec![
            (WordsAtLeast(3), "one two three", "one two"),
            (WordsAtMost(3), "don't stop now", "one two three four"),
            (IdeographsAtLeast(3), "春天来了", "春天 here"),
            (IdeographsAtMost(4), "春天来了。", "春天已经来了"),
            (Lines(2), "a\n\nb", "a"),
            (Bullets(2), "- a\n* b", "- a\n- b\n- c"),
            (Numbered(2), "1. a\n2、b", "2. a\n1. b"),
            (Includes("Tea".into()), "green tea", "coffee"),
            (IncludesTimes("tea".into(), 2), "Tea and tea", "tea"),
            (Excludes("tea".into()), "coffee", "Tea"),
            (StartsWith("dear".into()), " Dear Ann", "Hi, dear"),
            (EndsWith("谢谢。".into()), "我们走了，谢谢。", "谢谢。再见"),
            (AllCapitals, "HELLO, 2!", "Hello"),
            (NoCapitals, "hello 2", "Hello"),
            (NoComma, "a b", "a，b"),
            (NoDigits, "two", "2"),
            (JsonKeys(vec!["a".into()]), "```json\n{\"a\": 1}\n```", "{\"a\": 1, \"b\": 2}"),
            (Quoted, "“你好”", "\"hello"),
            (Title, "《春》\n正文", "春"),
            (Placeholders(2), "[name], [date]", "[name] []"),
            (OneOf(vec!["Yes".into(), "No".into()]), "Yes.", "Yes, it is."),
            (InChinese, "今天天气很好 OK", "hello 你"),
            (InEnglish, "fine", "fine 好"),
            (TwoResponses, "a\n******\nb", "a\n******\na"),
        ];
        for (constraint, good, bad) in cases {
            assert!(constraint.is_met(good), "{constraint:?} should accept {good:?}");
            assert!(!constraint.is_met(bad), "{constraint:?} should reject {bad:?}");
            assert!(!constraint.is_met("  \n"), "{constraint:?} should reject a blank response");
        }
    }
}
