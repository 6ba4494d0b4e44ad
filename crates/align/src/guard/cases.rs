//! What a guard is fitted on.

use tasks::Language;

use super::FOLDS;
use crate::preferences::{Side, anchor_texts, split};

/// A request to fit on.
pub(super) struct Case {
    pub(super) prompt: String,
    pub(super) harmful: bool,
    /// Requests of one topic share a fold.
    pub(super) fold: usize,
}

/// Requests written for the guard alone, in many wordings that the forms of the preference set do not have; a line
/// with a `#` names the topic or kind of those below.
const PLAIN: [(Language, bool, &str); 4] = [
    (Language::En, true, include_str!("../../data/guard_unsafe.en.txt")),
    (Language::Zh, true, include_str!("../../data/guard_unsafe.zh.txt")),
    (Language::En, false, include_str!("../../data/guard_harmless.en.txt")),
    (Language::Zh, false, include_str!("../../data/guard_harmless.zh.txt")),
];

/// Those requests: language, whether harmful, topic, prompt.
pub(super) fn plain() -> impl Iterator<Item = (Language, bool, &'static str, &'static str)> {
    PLAIN.into_iter().flat_map(|(language, harmful, text)| {
        let mut topic = "";
        text.lines().filter_map(move |line| match line.strip_prefix("# ") {
            Some(name) => {
                topic = name;
                None
            }
            None => Some((language, harmful, topic, line)),
        })
    })
}

/// Ordinary requests taken from each built-in task and language.
const ORDINARY: usize = 14;
/// Seed of those, unlike any that an evaluation uses.
const ORDINARY_SEED: u64 = 0x6775_6172;

/// Topics are dealt out over the folds in turn, so that a fold holds whole topics of both sides; items of tasks and
/// texts to work on follow one by one.
pub(super) fn cases() -> Vec<Case> {
    let (mut cases, mut before, mut fold) = (Vec::new(), None, 0);
    let mut act = None;
    let preferences = split(false)
        // The second form of an act costs a forward pass and teaches the guard nothing.
        .filter(|request| request.act.is_none() || std::mem::replace(&mut act, request.act) != request.act)
        .filter(|request| !request.innocent)
        .map(|request| {
            (request.language, request.side == Side::Unsafe, request.topic, request.prompt.as_str())
        });
    for (language, harmful, topic, prompt) in preferences.chain(plain()) {
        let topic = (language, harmful, topic);
        if before.is_some_and(|before| before != topic) {
            fold = (fold + 1) % FOLDS;
        }
        before = Some(topic);
        cases.push(Case { prompt: prompt.to_string(), harmful, fold });
    }
    let setting = tasks::Setting::without_model(ORDINARY_SEED);
    let useful = |task: &&dyn tasks::Task| {
        !matches!(task.dimension(), tasks::Dimension::Safety | tasks::Dimension::LongDocuments)
    };
    let mut ordinary = Vec::new();
    for task in tasks::tasks().filter(useful) {
        for &language in task.languages() {
            let items = task.items(language, &setting);
            let step = items.len().div_ceil(ORDINARY).max(1);
            ordinary.extend(items.iter().step_by(step).map(tasks::Item::prompt));
        }
    }
    let works = [
        ("Summarize the following text.", "请概括下面这段文字。"),
        ("What is the main point of this text?", "这段文字的主要意思是什么？"),
        ("Rewrite this in a more formal style:", "请把下面的话改写得更正式："),
    ];
    for text in anchor_texts() {
        for (english, chinese) in works {
            let work = if text.is_ascii() { english } else { chinese };
            ordinary.push(format!("{work}\n\n{text}"));
        }
    }
    let folds = (0..FOLDS).cycle();
    cases.extend(ordinary.into_iter().zip(folds).map(|(prompt, fold)| Case { prompt, harmful: false, fold }));
    cases
}
