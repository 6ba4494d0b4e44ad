//! Measures a pack and a model: with retrieval, from memory, with the source removed, and without a model.

use std::collections::BTreeMap;

use model::LanguageModel;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, AskOptions, Error, Pack, ask,
    check::{Claim, resolves, says},
    look_up,
    questions::{Category, Question},
};

/// A way of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// From the pack.
    Retrieval,
    /// The model alone.
    ClosedBook,
    /// From the pack without the document that holds the answer: the right outcome is to abstain.
    SourceRemoved,
    /// Table look-up without a model.
    LookUp,
}

impl Arm {
    /// Every arm, in the order of a report.
    pub const ALL: [Self; 4] = [Self::Retrieval, Self::ClosedBook, Self::SourceRemoved, Self::LookUp];
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The right answer.
    Correct,
    /// Another answer.
    Wrong,
    /// No answer.
    Abstained,
}

/// Counts of one arm; intervals are the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Questions.
    pub questions: usize,
    /// Right answers. With the source removed none counts: any answer there is a false one.
    pub correct: usize,
    /// Other answers.
    pub wrong: usize,
    /// Abstentions.
    pub abstained: usize,
    /// Answers whose citations resolve to spans that contain them.
    pub resolved: usize,
}

impl Counts {
    /// Answers given.
    pub fn answered(&self) -> usize {
        self.correct + self.wrong
    }

    fn add(&mut self, verdict: Verdict, resolved: bool) {
        self.questions += 1;
        match verdict {
            Verdict::Correct => self.correct += 1,
            Verdict::Wrong => self.wrong += 1,
            Verdict::Abstained => self.abstained += 1,
        }
        self.resolved += usize::from(resolved);
    }
}

/// One question under one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it was answered.
    pub arm: Arm,
    /// The question's id.
    pub question: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether the citations resolve to spans that contain the answer.
    pub resolved: bool,
    /// The answer.
    pub answer: Answer,
}

/// The measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Counts of each arm.
    pub arms: BTreeMap<Arm, Counts>,
    /// Counts of the arm with retrieval, by category of question.
    pub categories: BTreeMap<Category, Counts>,
    /// Counts of the arm with retrieval, by language.
    pub languages: BTreeMap<String, Counts>,
    /// Every outcome, by question.
    pub outcomes: Vec<Outcome>,
}

/// Whether an answer is right: the same number as printed by the coarser of the two, the right unit or none; or the
/// same words.
pub fn question_grade(question: &Question, answer: &Answer) -> Verdict {
    if answer.abstained {
        return Verdict::Abstained;
    }
    if says(&answer.text, &Claim { value: &question.value, unit: &question.unit }) {
        Verdict::Correct
    } else {
        Verdict::Wrong
    }
}

/// Asks every question under every arm, with the same options. `progress` receives questions done and in all.
///
/// # Errors
/// As [`ask()`].
pub fn evaluate(
    pack: &Pack,
    model: &mut dyn LanguageModel,
    questions: &[Question],
    options: &AskOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, Error> {
    let mut out = Evaluation::default();
    for (index, question) in questions.iter().enumerate() {
        for arm in Arm::ALL {
            let mut options = AskOptions { retrieval: arm != Arm::ClosedBook, ..options.clone() };
            if arm == Arm::SourceRemoved {
                options.exclude.push(question.document.clone());
            }
            let answer = match arm {
                Arm::LookUp => look_up(pack, &question.text, &options)?,
                _ => ask(pack, model, &question.text, &options)?,
            };
            let verdict = match (arm, question_grade(question, &answer)) {
                (Arm::SourceRemoved, Verdict::Correct) => Verdict::Wrong,
                (_, verdict) => verdict,
            };
            let resolved = !answer.abstained && arm != Arm::ClosedBook && resolves(pack, &answer)?;
            out.arms.entry(arm).or_default().add(verdict, resolved);
            if arm == Arm::Retrieval {
                out.categories.entry(question.category).or_default().add(verdict, resolved);
                out.languages.entry(question.language.clone()).or_default().add(verdict, resolved);
            }
            out.outcomes.push(Outcome { arm, question: question.id.clone(), verdict, resolved, answer });
        }
        progress(index + 1, questions.len());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        questions::generate,
        testing::{Double, elements, pack},
    };

    #[test]
    fn a_model_that_copies_is_right_and_one_that_babbles_is_corrected() {
        let (_dir, pack) = pack(&elements());
        let questions = generate(&pack, 40, 1).unwrap();
        for copies in [true, false] {
            let mut double = Double { copies };
            let out =
                evaluate(&pack, &mut double, &questions, &AskOptions::default(), &mut |_, _| {}).unwrap();
            let with = out.arms[&Arm::Retrieval];
            assert_eq!(with.questions, questions.len());
            assert_eq!(with.answered(), with.resolved);
            assert!(with.correct * 10 >= with.questions * 8, "{with:?}");
            assert_eq!(out.arms[&Arm::ClosedBook].correct, 0);
            let removed = out.arms[&Arm::SourceRemoved];
            assert!(removed.answered() * 10 <= removed.questions, "{removed:?}");
        }
    }

    #[test]
    fn ask_cites_or_abstains() {
        let (_dir, pack) = pack(&elements());
        let mut double = Double { copies: true };
        let mut put = |question: &str| ask(&pack, &mut double, question, &AskOptions::default()).unwrap();
        let answer = put("What is the melting point of gold?");
        assert_eq!(answer.text, "1337.33 K");
        assert_eq!(answer.citations[0].quote, "1337.33");
        assert_eq!(answer.citations[0].locator, "phasetransitions row 1");
        assert_eq!(answer.citations[0].cited, "haynes2016crc");
        assert_eq!(put("金的密度是多少？").text, "19.3 g/cm^3");
        let missing = put("What is the melting point of mercury?");
        assert!(missing.abstained && missing.reason.contains("no melting point of Mercury"), "{missing:?}");
        assert!(put("Who won the football world cup in 1998?").abstained);
        assert!(ask(&pack, &mut double, " ", &AskOptions::default()).is_err());
    }
}
