//! The rule of each of the 25 instructions.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::sentences;

/// Whether `response` follows `instruction`; `None` if the instruction or an argument is unknown.
pub(super) fn check(instruction: &str, arguments: &Map<String, Value>, response: &str) -> Option<bool> {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let number = |name: &str| arguments.get(name).and_then(Value::as_f64).map(|value| value as usize);
    let list = |name: &str| -> Option<Vec<&str>> {
        arguments.get(name)?.as_array()?.iter().map(Value::as_str).collect()
    };
    let trimmed = response.trim();
    Some(match instruction {
        "keywords:existence" => list("keywords")?.iter().all(|keyword| finds(keyword, response)),
        "keywords:frequency" => {
            let found =
                insensitive(text("keyword")?.trim()).map_or(0, |pattern| pattern.find_iter(response).count());
            related(found, text("relation")?, number("frequency")?)?
        }
        "keywords:forbidden_words" => {
            !list("forbidden_words")?.iter().any(|word| finds(&format!(r"\b{word}\b"), response))
        }
        "keywords:letter_frequency" => {
            let letter = text("letter")?.trim().to_lowercase();
            // For anything but a letter of the alphabet the public rule draws a random one.
            if letter.len() != 1 || !letter.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return None;
            }
            let found = response.to_lowercase().matches(&letter).count();
            related(found, text("let_relation")?, number("let_frequency")?)?
        }
        "language:response_language" => {
            let wanted = text("language")?;
            // Swahili is in the public set and not in the detector.
            if wanted == "sw" {
                return None;
            }
            detected(response).is_none_or(|code| code == wanted)
        }
        "length_constraints:number_sentences" => {
            related(sentences::count(response), text("relation")?, number("num_sentences")?)?
        }
        "length_constraints:number_paragraphs" => paragraphs(response) == number("num_paragraphs"),
        "length_constraints:number_words" => {
            let found = pattern(r"\w+").find_iter(response).count();
            related(found, text("relation")?, number("num_words")?)?
        }
        "length_constraints:nth_paragraph_first_word" => {
            nth_paragraph(response, number("num_paragraphs")?, number("nth_paragraph")?, text("first_word")?)
        }
        "detectable_content:number_placeholders" => {
            pattern(r"\[.*?\]").find_iter(response).count() >= number("num_placeholders")?
        }
        "detectable_content:postscript" => {
            let marker = text("postscript_marker")?.trim();
            let rule = match marker {
                "P.P.S" => r"(?m)\s*p\.\s?p\.\s?s.*$".to_owned(),
                "P.S." => r"(?m)\s*p\.\s?s\..*$".to_owned(),
                other => format!(r"(?m)\s*{}.*$", regex::escape(&other.to_lowercase())),
            };
            Regex::new(&rule).ok()?.is_match(&response.to_lowercase())
        }
        "detectable_format:number_bullet_lists" => {
            let stars = pattern(r"(?m)^\s*\*[^\*].*$").find_iter(response).count();
            let dashes = pattern(r"(?m)^\s*-.*$").find_iter(response).count();
            stars + dashes == number("num_bullets")?
        }
        "detectable_format:constrained_response" => {
            ["My answer is yes.", "My answer is no.", "My answer is maybe."]
                .iter()
                .any(|answer| trimmed.contains(answer))
        }
        "detectable_format:number_highlighted_sections" => highlights(response) >= number("num_highlights")?,
        "detectable_format:multiple_sections" => {
            let splitter = regex::escape(text("section_spliter")?.trim());
            let sections = Regex::new(&format!(r"\s?{splitter}\s?\d+\s?")).ok()?;
            sections.split(response).count() > number("num_sections")?
        }
        "detectable_format:json_format" => is_json(trimmed),
        "detectable_format:title" => pattern(r"<<[^\n]+>>")
            .find_iter(response)
            .any(|title| !title.as_str().trim_start_matches('<').trim_end_matches('>').trim().is_empty()),
        "combination:two_responses" => two_responses(response),
        "combination:repeat_prompt" => {
            trimmed.to_lowercase().starts_with(&text("prompt_to_repeat")?.trim().to_lowercase())
        }
        "startend:end_checker" => {
            let end = text("end_phrase")?.trim().to_lowercase();
            trimmed.trim_matches('"').to_lowercase().ends_with(&end)
        }
        "startend:quotation" => {
            trimmed.chars().count() > 1 && trimmed.starts_with('"') && trimmed.ends_with('"')
        }
        "change_case:capital_word_frequency" => {
            let found = sentences::words(response).filter(|word| is_upper(word)).count();
            related(found, text("capital_relation")?, number("capital_frequency")?)?
        }
        "change_case:english_capital" => is_upper(response) && is_english(response),
        "change_case:english_lowercase" => is_lower(response) && is_english(response),
        "punctuation:no_comma" => !response.contains(','),
        _ => return None,
    })
}

fn related(found: usize, relation: &str, wanted: usize) -> Option<bool> {
    match relation {
        "less than" => Some(found < wanted),
        "at least" => Some(found >= wanted),
        _ => None,
    }
}

/// A pattern of this file, which is known to be valid.
fn pattern(rule: &str) -> Regex {
    Regex::new(rule).expect("a pattern of this file is valid")
}

/// A keyword is a pattern in the public rule; one that is no valid pattern stands for itself.
fn insensitive(rule: &str) -> Option<Regex> {
    let build = |rule: &str| RegexBuilder::new(rule).case_insensitive(true).build();
    build(rule).or_else(|_| build(&regex::escape(rule))).ok()
}

fn finds(rule: &str, response: &str) -> bool {
    insensitive(rule).is_some_and(|pattern| pattern.is_match(response))
}

/// ISO 639-1 code of the language, where one is detected.
fn detected(response: &str) -> Option<&'static str> {
    use whatlang::Lang;
    Some(match whatlang::detect_lang(response)? {
        Lang::Eng => "en",
        Lang::Deu => "de",
        Lang::Fra => "fr",
        Lang::Spa => "es",
        Lang::Ita => "it",
        Lang::Por => "pt",
        Lang::Rus => "ru",
        Lang::Bul => "bg",
        Lang::Ukr => "uk",
        Lang::Ara => "ar",
        Lang::Pes => "fa",
        Lang::Urd => "ur",
        Lang::Hin => "hi",
        Lang::Mar => "mr",
        Lang::Nep => "ne",
        Lang::Ben => "bn",
        Lang::Guj => "gu",
        Lang::Kan => "kn",
        Lang::Pan => "pa",
        Lang::Tam => "ta",
        Lang::Tel => "te",
        Lang::Tha => "th",
        Lang::Kor => "ko",
        Lang::Jpn => "ja",
        Lang::Cmn => "zh",
        Lang::Vie => "vi",
        Lang::Fin => "fi",
        Lang::Tur => "tr",
        Lang::Pol => "pl",
        other => other.code(),
    })
}

/// Whether the text is English; an undetectable one passes, as in the public rule. The detector is told the
/// text in lower case, which a text in capitals needs.
fn is_english(response: &str) -> bool {
    detected(&response.to_lowercase()).is_none_or(|code| code == "en")
}

/// At least one cased letter, and none of the other case.
fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
}

fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
}

/// Paragraphs between `***`; blank ones may stand at the ends only.
fn paragraphs(response: &str) -> Option<usize> {
    let parts: Vec<&str> = pattern(r"\s?\*\*\*\s?").split(response).collect();
    let mut count = parts.len();
    for (index, part) in parts.iter().enumerate() {
        if part.trim().is_empty() {
            if index > 0 && index + 1 < parts.len() {
                return None;
            }
            count -= 1;
        }
    }
    Some(count)
}

fn nth_paragraph(response: &str, paragraphs: usize, nth: usize, first_word: &str) -> bool {
    let parts: Vec<&str> = response.split("\n\n").collect();
    let count = parts.iter().filter(|part| !part.trim().is_empty()).count();
    // The public rule counts paragraphs that are not blank but picks from all of them.
    if nth == 0 || nth > count {
        return false;
    }
    let Some(word) = parts[nth - 1].split_whitespace().next() else { return false };
    let word = word.trim_start_matches('\'').trim_start_matches('"');
    let end = word.find(['.', ',', '?', '!', '\'', '"']).unwrap_or(word.len());
    count == paragraphs && word[..end].to_lowercase() == first_word.to_lowercase()
}

fn highlights(response: &str) -> usize {
    let single = pattern(r"\*[^\n\*]*\*")
        .find_iter(response)
        .filter(|found| !found.as_str().trim_matches('*').trim().is_empty())
        .count();
    let double = pattern(r"\*\*[^\n\*]*\*\*")
        .find_iter(response)
        .filter(|found| !found.as_str().trim_start_matches("**").trim_end_matches("**").trim().is_empty())
        .count();
    single + double
}

fn is_json(trimmed: &str) -> bool {
    let mut text = trimmed;
    for fence in ["```json", "```Json", "```JSON", "```"] {
        text = text.strip_prefix(fence).unwrap_or(text);
    }
    serde_json::from_str::<Value>(text.strip_suffix("```").unwrap_or(text).trim()).is_ok()
}

fn two_responses(response: &str) -> bool {
    let parts: Vec<&str> = response.split("******").collect();
    let mut kept: Vec<&str> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if !part.trim().is_empty() {
            kept.push(part.trim());
        } else if index > 0 && index + 1 < parts.len() {
            return false;
        }
    }
    kept.len() == 2 && kept[0] != kept[1]
}
