//! Sentences and words of English text, close to the tokenizers the public rules use.

/// Words whose period does not end a sentence, in lower case and without it.
const ABBREVIATIONS: &[&str] = &[
    "dr", "mr", "mrs", "ms", "prof", "sr", "jr", "st", "vs", "e.g", "i.e", "inc", "ltd", "co", "corp", "u.s",
    "u.k", "p.s", "p.p.s", "a.m", "p.m", "no", "gen", "col", "sen", "rep", "gov", "capt", "lt", "mt", "jan",
    "feb", "aug", "sept", "oct", "nov", "dec", "ph.d",
];

/// Number of sentences: pieces that end in `.`, `?` or `!`, perhaps with closing quotes or brackets, before
/// white space, unless the period belongs to an abbreviation, an initial or a list number.
pub(super) fn count(text: &str) -> usize {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let mut sentences = 0;
    let mut open = false;
    for (index, token) in tokens.iter().enumerate() {
        open = true;
        if ends_sentence(token, tokens.get(index + 1).copied()) {
            sentences += 1;
            open = false;
        }
    }
    sentences + usize::from(open)
}

fn ends_sentence(token: &str, next: Option<&str>) -> bool {
    let bare = token.trim_end_matches(['"', '\'', ')', ']', '}', '”', '’', '*']);
    let Some(last) = bare.chars().next_back() else { return false };
    if matches!(last, '?' | '!') {
        return true;
    }
    if last != '.' {
        return false;
    }
    let Some(next) = next else { return true };
    let word = bare.trim_end_matches('.').trim_start_matches(['(', '"', '\'', '“', '[']);
    let starts_lower =
        next.trim_start_matches(['"', '\'', '(', '[', '“']).chars().next().is_some_and(char::is_lowercase);
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let number = !word.is_empty() && word.chars().all(|character| character.is_ascii_digit());
    let abbreviation = ABBREVIATIONS.contains(&word.to_lowercase().as_str());
    let ellipsis = bare.ends_with("...");
    !(abbreviation
        || initial
        || (number && starts_lower)
        || ((ellipsis || word.contains('.')) && starts_lower))
}

/// Word tokens: punctuation at the edges is its own token, contractions are split, hyphens are kept.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| {
        character.is_whitespace()
            || matches!(
                character,
                ',' | ';'
                    | ':'
                    | '!'
                    | '?'
                    | '('
                    | ')'
                    | '['
                    | ']'
                    | '{'
                    | '}'
                    | '<'
                    | '>'
                    | '"'
                    | '“'
                    | '”'
                    | '&'
                    | '#'
                    | '$'
                    | '%'
                    | '@'
            )
    })
    .flat_map(|token| {
        // NLTK splits `it's` into `it` and `'s`; of the two only the first can be in capitals with a letter
        // unless the clitic is, too.
        let split = token
            .char_indices()
            .find(|(_, character)| matches!(character, '\'' | '’'))
            .map_or(token.len(), |(index, _)| index);
        let (head, tail) = token.split_at(split);
        [head, tail]
    })
    .filter(|token| !token.is_empty())
}
