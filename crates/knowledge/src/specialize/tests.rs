//! Splits, wordings, lineage and measurement of items.

use super::*;
use crate::{
    AskOptions, Verdict, look_up,
    testing::{Double, elements, pack, prose, row},
};

fn options() -> SpecializeOptions {
    SpecializeOptions { facts: 8, held_out: 4, evaluation: 20, ..SpecializeOptions::default() }
}

#[test]
fn the_lines_share_no_wording_and_no_held_out_fact() {
    let (_dir, pack) = pack(&elements());
    let made = compile(&pack, &options()).unwrap();
    assert_eq!(made, compile(&pack, &options()).unwrap());
    assert_ne!(made, compile(&pack, &SpecializeOptions { seed: 9, ..options() }).unwrap());
    let trained: BTreeSet<&str> = made.train.iter().map(|i| i.fact.as_str()).collect();
    let wordings: BTreeSet<&str> = made.train.iter().map(|i| i.wording.as_str()).collect();
    let asked: BTreeSet<&str> = made.train.iter().map(|i| i.question.text.as_str()).collect();
    assert_eq!(made.trained_facts(), 8);
    assert!(made.unseen_phrasing.len() >= 16 && made.never_trained.len() >= 16);
    for item in &made.unseen_phrasing {
        assert!(trained.contains(item.fact.as_str()));
        assert!(!wordings.contains(item.wording.as_str()) && !asked.contains(item.question.text.as_str()));
    }
    for item in &made.never_trained {
        assert!(!trained.contains(item.fact.as_str()), "{}", item.fact);
    }
    for fact in trained.iter().filter(|f| !f.is_empty()) {
        let count = |form: Form| made.train.iter().filter(|i| i.fact == *fact && i.form == form).count();
        assert!(count(Form::Question) >= 9, "{fact}");
        assert_eq!(count(Form::Statement) + count(Form::Attribute), 2, "{fact}");
    }
    for form in [Form::Reversed, Form::Cloze, Form::Reading] {
        assert!(made.train.iter().any(|i| i.form == form), "{form:?}");
    }
    assert!(made.train.iter().any(|i| i.question.language == "zh"));
    let mut ids: Vec<&str> = made.items().map(|i| i.question.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), made.items().count());
}

#[test]
fn every_answer_stands_in_the_bytes_its_item_names() {
    let documents = elements();
    let (_dir, pack) = pack(&documents);
    let made = compile(&pack, &options()).unwrap();
    for item in made.items() {
        let question = &item.question;
        let document = documents.iter().find(|d| d.id == question.document).unwrap();
        assert_eq!(document.text[question.start..question.end], question.value, "{question:?}");
        assert!(item.messages.last().unwrap().content.ends_with(&question.text));
        assert_eq!(item.origins[0].start, question.start);
    }
    let derivations = made.derivations();
    assert!(derivations.len() >= made.items().count());
    assert!(derivations.iter().all(|d| documents.iter().any(|x| x.id == d.parent)));
    let both = made.train.iter().find(|i| i.form == Form::Reversed).unwrap();
    let name = format!("item {}", both.question.id);
    assert!(derivations.iter().filter(|d| d.child == name).count() >= 2);
}

#[test]
fn prose_gives_no_held_out_fact_away() {
    let mut documents = elements();
    documents.push(prose(
        "gold.md",
        "The metal called gold carries the symbol Au in every textbook of the world.",
    ));
    let (_dir, pack) = pack(&documents);
    let options = SpecializeOptions {
        facts: 1,
        held_out: 3,
        cloze: 100,
        relations: vec!["elements.symbol".into()],
        ..options()
    };
    let mut given = 0;
    for seed in 0..8 {
        let made = compile(&pack, &SpecializeOptions { seed, ..options.clone() }).unwrap();
        let held = made.never_trained.iter().any(|i| i.fact == "elements.symbol/gold");
        let shown = made.train.iter().any(|i| i.form == Form::Cloze && i.question.text.contains("textbook"));
        assert!(!(held && shown), "seed {seed}");
        given += usize::from(shown);
    }
    assert!(given > 0, "where gold is trained, the sentence may be used");
}

#[test]
fn every_wording_of_a_fact_is_answered_by_look_up() {
    let (_dir, pack) = pack(&elements());
    let options = SpecializeOptions { facts: 100, held_out: 4, evaluation: 500, wordings: 99, ..options() };
    let made = compile(&pack, &options).unwrap();
    let mut wrong = Vec::new();
    let questions: Vec<_> = made.items().filter(|i| i.form == Form::Question).collect();
    for item in questions.iter().copied() {
        let answer = look_up(&pack, &item.question.text, &AskOptions::default()).unwrap();
        if crate::question_grade(&item.question, &answer) != Verdict::Correct {
            wrong.push(format!("{} | {} | {}", item.question.text, item.question.answer, answer.text));
        }
    }
    assert!(wrong.len() * 50 <= questions.len(), "{wrong:#?}");
}

#[test]
fn any_table_and_any_glossary_can_be_tuned_on() {
    let mut documents: Vec<_> = (0..9)
        .map(|i| {
            let (key, depth) = (i.to_string(), (100 + i).to_string());
            row(
                "lakes",
                &key,
                &[
                    ("name", &format!("Lake {}", ["Ada", "Bo", "Cy"][i / 3].repeat(i % 3 + 1))),
                    ("depth", &depth),
                ],
            )
        })
        .collect();
    documents.push(prose("a.md", "Scarcity refers to the fact that wants exceed resources."));
    documents.push(prose("b.md", "机会成本是指为得到某种东西而放弃的东西。"));
    let (_dir, pack) = pack(&documents);
    let made = compile(&pack, &SpecializeOptions { held_out: 2, ..options() }).unwrap();
    let asked = |text: &str| made.items().any(|i| i.question.text.contains(text));
    assert!(asked("depth of Lake Ada") && asked("Which lake has the depth"), "{made:#?}");
    assert!(asked("carcity") && asked("机会成本"));
    let (_dir, pack) = crate::testing::pack(&[prose("c.md", "Nothing is defined here at all, just words.")]);
    let error = compile(&pack, &options()).unwrap_err().to_string();
    assert!(error.contains("value_words"), "{error}");
}

#[test]
fn models_are_graded_item_by_item() {
    let (_dir, pack) = pack(&elements());
    let made = compile(&pack, &options()).unwrap();
    let mut double = Double { copies: true };
    let alone = closed_book(&mut double, &made.unseen_phrasing, true, &mut |_, _| {}).unwrap();
    assert_eq!(alone.len(), made.unseen_phrasing.len());
    assert!(correctness(&alone).iter().all(|&c| c == 0.0));
    let helped =
        with_retrieval(&pack, &mut double, &made.never_trained, &AskOptions::default(), &mut |_, _| {})
            .unwrap();
    let right: f64 = correctness(&helped).iter().sum();
    assert!(right >= 0.8 * helped.len() as f64, "{helped:#?}");
    assert_eq!(helped[0].item, made.never_trained[0].question.id);
}

#[test]
fn replay_is_the_models_own_text_and_five_in_a_hundred() {
    struct Writer;
    impl model::LanguageModel for Writer {
        fn name(&self) -> &str {
            "writer"
        }
        fn context_length(&self) -> usize {
            64
        }
        fn count_tokens(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }
        fn chat_prompt(&self, _: &[Message]) -> Result<String, model::Error> {
            Err(model::Error::Request("general text is not a conversation".into()))
        }
        fn log_likelihood(&mut self, _: &str, _: &[&str]) -> Result<Vec<model::LogLikelihood>, model::Error> {
            Ok(Vec::new())
        }
        fn rolling_log_likelihood(
            &mut self,
            _: &str,
            _: usize,
        ) -> Result<model::RollingLogLikelihood, model::Error> {
            Err(model::Error::Request("not here".into()))
        }
        fn generate(
            &mut self,
            _: &str,
            options: &model::GenerateOptions,
            _: &mut dyn FnMut(&str) -> bool,
        ) -> Result<model::Generation, model::Error> {
            assert_eq!((options.temperature, options.top_p, options.max_tokens), (1.0, 1.0, 30));
            // One passage in eight ends at once.
            let text = if options.seed % 8 == 0 {
                String::new()
            } else {
                " word".repeat(30) + &options.seed.to_string()
            };
            Ok(model::Generation {
                text,
                tokens: Vec::new(),
                log_probabilities: Vec::new(),
                prompt_tokens: 0,
                finish: model::Finish::Length,
            })
        }
    }
    let made = replay(&mut Writer, 60, 30, 3, &mut |_, _| {}).unwrap();
    assert_eq!(made, replay(&mut Writer, 60, 30, 3, &mut |_, _| {}).unwrap());
    assert_ne!(made, replay(&mut Writer, 60, 30, 4, &mut |_, _| {}).unwrap());
    assert!((40..60).contains(&made.len()));
    let openers: BTreeSet<&str> = made.iter().map(|r| r.text.split(" word").next().unwrap()).collect();
    assert!(openers.len() >= 20, "{openers:?}");
    assert!(made.iter().all(|r| r.tokens >= 30));
    assert_eq!(replay_tokens(9500, 0.05), 500);
    assert_eq!((replay_tokens(100, 1.0), replay_tokens(100, 0.0)), (0, 0));
    assert!(replay(&mut Writer, 1, 0, 0, &mut |_, _| {}).is_err());
}
