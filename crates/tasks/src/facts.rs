//! Factuality: common knowledge from the tables beside this file.

mod tables;

use crate::draft::{Draft, say, word};
use crate::item::{Language, Reference};
use crate::random::Random;
use crate::task::Setting;
use tables::{COUNTRIES, ELEMENTS, GENERAL};

/// A question with its right answer, other names of that answer, and wrong answers of the same kind.
struct Fact {
    kind: &'static str,
    question: String,
    answer: String,
    also: Vec<String>,
    wrong: Vec<String>,
}

/// Multiple choice of four by log-likelihood.
pub(crate) fn choice(index: usize, language: Language, _: &Setting, random: &mut Random) -> Option<Draft> {
    let fact = fact(index, language, random);
    let mut choices = vec![fact.answer];
    choices.extend(random.sample(&fact.wrong, 3).into_iter().cloned());
    Some(Draft::choice(language, fact.kind, &fact.question, &choices, random))
}

/// Short free answer; naming a wrong answer of the same kind as well fails.
pub(crate) fn answer(index: usize, language: Language, _: &Setting, random: &mut Random) -> Option<Draft> {
    let fact = fact(index, language, random);
    let question = say(
        language,
        format!("{} Answer with the name or number only.", fact.question),
        format!("{}请只回答名称或数字。", fact.question),
    );
    // The question may itself name a thing of the answer's kind, which is then no wrong answer.
    let rejected =
        fact.wrong.into_iter().filter(|wrong| !crate::grade::mentions(&fact.question, wrong)).collect();
    let mut accepted = vec![fact.answer];
    accepted.extend(fact.also);
    Some(Draft::generate(fact.kind, question, 24, Reference::Text { accepted, rejected }))
}

fn fact(index: usize, language: Language, random: &mut Random) -> Fact {
    match index % 5 {
        0 => capital(language, random),
        1 => continent(language, random),
        2 => symbol(language, random),
        3 => atomic_number(language, random),
        _ => general(language, random),
    }
}

fn capital(language: Language, random: &mut Random) -> Fact {
    let row = random.pick(COUNTRIES);
    let (country, answer) = (word(language, row.name), word(language, row.capital));
    Fact {
        kind: "capital",
        question: say(
            language,
            format!("What is the capital of {country}?"),
            format!("{country}的首都是哪座城市？"),
        ),
        answer: answer.to_owned(),
        also: Vec::new(),
        // Neighbours first: capitals of the same continent are the harder wrong answers.
        wrong: COUNTRIES
            .iter()
            .filter(|other| other.capital != row.capital && other.continent == row.continent)
            .map(|other| word(language, other.capital).to_owned())
            .collect(),
    }
}

fn continent(language: Language, random: &mut Random) -> Fact {
    let row = random.pick(COUNTRIES);
    let country = word(language, row.name);
    Fact {
        kind: "continent",
        question: say(
            language,
            format!("On which continent is {country}?"),
            format!("{country}位于哪个大洲？"),
        ),
        answer: word(language, row.continent).to_owned(),
        also: Vec::new(),
        wrong: tables::CONTINENTS
            .iter()
            .filter(|other| **other != row.continent)
            .map(|other| word(language, *other).to_owned())
            .collect(),
    }
}

fn symbol(language: Language, random: &mut Random) -> Fact {
    let row = random.pick(ELEMENTS);
    let element = word(language, row.name);
    Fact {
        kind: "symbol",
        question: say(
            language,
            format!("Which chemical element has the symbol {}?", row.symbol),
            format!("化学符号{}代表哪种元素？", row.symbol),
        ),
        answer: element.to_owned(),
        also: tables::spellings(element),
        wrong: other_elements(language, row.number),
    }
}

fn atomic_number(language: Language, random: &mut Random) -> Fact {
    let row = random.pick(ELEMENTS);
    let element = word(language, row.name);
    Fact {
        kind: "atomic_number",
        question: say(
            language,
            format!("Which chemical element has the atomic number {}?", row.number),
            format!("原子序数为{}的化学元素是什么？", row.number),
        ),
        answer: element.to_owned(),
        also: tables::spellings(element),
        wrong: other_elements(language, row.number),
    }
}

fn other_elements(language: Language, number: u32) -> Vec<String> {
    ELEMENTS
        .iter()
        .filter(|other| other.number != number)
        .map(|other| word(language, other.name).to_owned())
        .collect()
}

fn general(language: Language, random: &mut Random) -> Fact {
    let row = random.pick(GENERAL);
    let (question, answer, wrong) = match language {
        Language::En => (row.english.0, row.english.1, row.english.2),
        Language::Zh => (row.chinese.0, row.chinese.1, row.chinese.2),
    };
    Fact {
        kind: "general",
        question: question.to_owned(),
        answer: answer.to_owned(),
        also: Vec::new(),
        wrong: wrong.iter().map(|wrong| (*wrong).to_owned()).collect(),
    }
}
