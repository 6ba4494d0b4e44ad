//! GSM8K (Cobbe et al. 2021): its file format and the ways its answers are read off a solution.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use crate::Error;

/// One problem of the public file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Problem {
    /// The question.
    pub question: String,
    /// The worked solution; the answer follows `####`.
    pub answer: String,
}

/// Reads the public file, one JSON object on each line.
///
/// # Errors
/// If the file cannot be read or a line is not a problem.
pub fn read(path: &Path) -> Result<Vec<Problem>, Error> {
    crate::lines::read(path)
}

/// The number after the first `#### `, as written.
pub fn strict_answer(solution: &str) -> Option<&str> {
    static MARKED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"#### (\-?[0-9\.\,]+)").expect("a valid pattern"));
    MARKED.captures(solution).and_then(|found| found.get(1)).map(|number| number.as_str())
}

/// The last number of the solution, as written.
pub fn flexible_answer(solution: &str) -> Option<&str> {
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"-?[$0-9.,]{2,}|-?[0-9]+").expect("a valid pattern"));
    NUMBER.find_iter(solution).last().map(|number| number.as_str())
}

/// Whether two answers are the same number: thousands separators, currency signs, a final period and zeros
/// after the decimal point do not count.
pub fn same_answer(left: &str, right: &str) -> bool {
    let value =
        |text: &str| text.replace([',', '$', '%'], "").trim().trim_end_matches('.').parse::<f64>().ok();
    value(left).is_some_and(|left| value(right).is_some_and(|right| left == right))
}

/// Whether a solution reaches the answer of the reference solution, by the last number of each.
pub fn is_correct(solution: &str, reference: &str) -> bool {
    let answer = |text: &str| strict_answer(text).or_else(|| flexible_answer(text)).map(str::to_owned);
    answer(solution).is_some_and(|left| answer(reference).is_some_and(|right| same_answer(&left, &right)))
}
