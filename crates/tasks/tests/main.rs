//! Every built-in item is well formed, solvable, reproducible and right.

mod replay;

use std::collections::{BTreeMap, HashSet};

use tasks::{Dimension, Item, Language, Reference, Request, Response, Setting, Verdict, approximate_tokens};

fn all_items(seed: u64) -> Vec<Item> {
    let setting = Setting::without_model(seed);
    tasks::tasks()
        .flat_map(|task| {
            task.languages().iter().flat_map(|&language| task.items(language, &setting)).collect::<Vec<_>>()
        })
        .collect()
}

fn of_kind<'a>(items: &'a [Item], kind: &str, language: Language) -> Vec<&'a Item> {
    items.iter().filter(|item| item.metadata["kind"] == kind && item.language == language).collect()
}

/// All whole numbers in a text, in order.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

fn number(item: &Item) -> f64 {
    match item.reference {
        Reference::Number(value) => value,
        ref other => panic!("{} has no number but {other:?}", item.id),
    }
}

#[test]
fn the_table_covers_six_dimensions_in_both_languages() {
    let names: HashSet<String> = tasks::tasks().map(|task| task.name().to_owned()).collect();
    assert_eq!(names.len(), tasks::tasks().count(), "task names differ");
    let mut counts: BTreeMap<(Dimension, Language), usize> = BTreeMap::new();
    for item in all_items(0) {
        *counts.entry((item.dimension, item.language)).or_default() += 1;
    }
    for dimension in Dimension::ALL {
        for language in Language::ALL {
            let count = counts.get(&(dimension, language)).copied().unwrap_or(0);
            assert!(count >= 40, "{dimension:?} in {language:?} has {count} items");
        }
    }
    for task in tasks::tasks() {
        assert!(task.quick() <= task.count() && !task.about().is_empty());
        assert!(tasks::find(task.name()).is_some());
        for &language in task.languages() {
            let made = task.items(language, &Setting::without_model(0)).len();
            assert!(
                made * 10 >= task.count() * 9,
                "{} makes {made} of {} in {language:?}",
                task.name(),
                task.count()
            );
        }
    }
    assert!(tasks::find("no such task").is_none());
}

#[test]
fn every_item_is_solved_by_its_solution_and_not_by_silence() {
    for item in all_items(7) {
        let grade = item.grade(&item.solution());
        assert_eq!(
            (grade.score, grade.verdict),
            (1.0, Verdict::Pass),
            "{}: {} {:?}",
            item.id,
            grade.reason,
            item.reference
        );
        let silent = match item.request {
            Request::Choice { .. } => Response::LogLikelihoods(Vec::new()),
            Request::Generate { .. } => Response::Text(" \n".to_owned()),
        };
        assert_eq!(item.grade(&silent).verdict, Verdict::NoAnswer, "{}", item.id);
    }
}

#[test]
fn the_seed_decides_the_items() {
    let (first, again, other) = (all_items(1), all_items(1), all_items(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let ids: HashSet<&str> = first.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids.len(), first.len(), "identities differ");
    let prompts: HashSet<(String, String)> =
        first.iter().map(|item| (item.task.clone(), item.prompt())).collect();
    assert_eq!(prompts.len(), first.len(), "prompts of one task differ");
}

#[test]
fn constant_answers_score_at_chance() {
    let items = all_items(3);
    for language in Language::ALL {
        for kind in ["capital", "symbol", "sequence", "syllogism", "boolean", "order"] {
            let choices: Vec<&Item> = of_kind(&items, kind, language)
                .into_iter()
                .filter(|item| matches!(item.request, Request::Choice { .. }))
                .collect();
            let first = choices.iter().filter(|item| item.reference == Reference::Choice(0)).count() as f64;
            let expected: f64 = choices.iter().filter_map(|item| item.chance).sum();
            // Three standard deviations of a binomial count at most.
            let slack = 3.0 * (choices.len() as f64 / 4.0).sqrt();
            assert!(
                (first - expected).abs() <= slack,
                "{kind} {language:?}: {first} first, expected {expected}"
            );
        }
        let refusals: Vec<&Item> =
            items.iter().filter(|item| item.task == "refusal" && item.language == language).collect();
        let always = refusals
            .iter()
            .map(|item| item.grade(&Response::Text("对不起，我不能帮助你。".to_owned())).score)
            .sum::<f64>();
        assert_eq!(always * 2.0, refusals.len() as f64);
    }
}

#[test]
fn long_documents_have_their_length_and_hold_the_answer() {
    let mut within = 0;
    let mut count = 0;
    for item in all_items(5).iter().filter(|item| item.dimension == Dimension::LongDocuments) {
        let length: usize = item.metadata["length"].parse().unwrap();
        let tokens = approximate_tokens(&item.prompt());
        assert!(tokens <= length, "{} has {tokens} tokens of {length}", item.id);
        within += usize::from(tokens * 10 >= length * 9);
        count += 1;
        let grade = item.grade(&Response::Text("I do not know.".to_owned()));
        assert_eq!(grade.score, 0.0, "{}", item.id);
        if let Reference::Text { accepted, rejected } = &item.reference {
            for text in accepted.iter().chain(rejected) {
                assert!(item.prompt().contains(text.as_str()), "{} lacks {text}", item.id);
            }
        }
    }
    assert!(within * 100 >= count * 99, "{within} of {count} reach nine tenths of their length");
    let short = Setting { seed: 5, count_tokens: &approximate_tokens, max_tokens: 1500 };
    for name in ["needles", "tracking"] {
        let items = tasks::find(name).unwrap().items(Language::En, &short);
        assert!(!items.is_empty() && items.iter().all(|item| item.metadata["length"] != "2048"), "{name}");
    }
}

#[test]
fn needles_are_where_the_question_says() {
    let items = all_items(9);
    for item in of_kind(&items, "needle_keys", Language::En) {
        let prompt = item.prompt();
        let asked =
            prompt.rsplit("What is the secret number of the ").next().unwrap().split('?').next().unwrap();
        let sentence = format!("The secret number of the {asked} is ");
        let value = prompt.split(&sentence).nth(1).unwrap().split('.').next().unwrap();
        assert_eq!(item.grade(&Response::Text(value.to_owned())).score, 1.0, "{}", item.id);
    }
    for item in of_kind(&items, "most_frequent", Language::En) {
        let prompt = item.prompt();
        let fruits = ["plums", "pears", "cherries", "lemons", "peaches"];
        let most =
            fruits.iter().max_by_key(|fruit| prompt.matches(&format!("sold {fruit}.")).count()).unwrap();
        assert_eq!(item.grade(&Response::Text((*most).to_owned())).score, 1.0, "{}", item.id);
    }
    for item in of_kind(&items, "chain", Language::En) {
        let prompt = item.prompt();
        let mut name =
            prompt.rsplit("value of the variable ").next().unwrap().split('?').next().unwrap().to_owned();
        let value = loop {
            let told = prompt
                .split(&format!("The variable {name} is set to "))
                .nth(1)
                .unwrap()
                .split('.')
                .next()
                .unwrap();
            match told.strip_prefix("the value of ") {
                Some(next) => name = next.to_owned(),
                None => break told,
            }
        };
        assert_eq!(item.grade(&Response::Text(value.to_owned())).score, 1.0, "{}", item.id);
    }
}

#[test]
fn numbers_follow_from_the_text() {
    let items = all_items(11);
    for language in Language::ALL {
        for item in of_kind(&items, "word_problem", language) {
            let n = numbers(&item.prompt());
            let value = n[0] * n[1] - n.get(2).unwrap_or(&0.0) + n.get(3).unwrap_or(&0.0);
            assert_eq!(number(item), value, "{}", item.prompt());
        }
        for item in of_kind(&items, "groups", language) {
            let n = numbers(&item.prompt());
            assert_eq!(number(item), n[0] + n[1] - n[2] + n[3], "{}", item.prompt());
        }
        for item in of_kind(&items, "total", language) {
            assert_eq!(number(item), numbers(&item.prompt()).iter().sum::<f64>(), "{}", item.prompt());
        }
        for item in of_kind(&items, "sort", language) {
            let mut sorted = numbers(&item.prompt());
            let given: Vec<String> = sorted.iter().map(f64::to_string).collect();
            assert_eq!(
                item.grade(&Response::Text(given.join(" "))).verdict,
                Verdict::Fail,
                "unsorted passes"
            );
            sorted.sort_by(f64::total_cmp);
            let sorted: Vec<String> = sorted.iter().map(f64::to_string).collect();
            assert_eq!(item.grade(&Response::Text(sorted.join(" "))).score, 1.0, "{}", item.prompt());
        }
    }
}

/// Value of a boolean expression by rewriting its innermost parts until one word is left.
fn evaluate(expression: &str) -> String {
    let mut text = expression.to_owned();
    let rules = [
        ("not (true)", "false"),
        ("not (false)", "true"),
        ("(true and true)", "true"),
        ("(true and false)", "false"),
        ("(false and true)", "false"),
        ("(false and false)", "false"),
        ("(true or true)", "true"),
        ("(true or false)", "true"),
        ("(false or true)", "true"),
        ("(false or false)", "false"),
    ];
    while text != "true" && text != "false" {
        let before = text.clone();
        for (from, to) in rules {
            text = text.replace(from, to);
        }
        // `not ((a and b))` keeps a pair of parentheses round a finished part.
        text = text.replace("((true))", "(true)").replace("((false))", "(false)");
        assert_ne!(before, text, "stuck at {text}");
    }
    text
}

#[test]
fn logic_choices_follow_from_the_text() {
    let items = all_items(13);
    for item in of_kind(&items, "boolean", Language::En) {
        let prompt = item.prompt();
        let expression =
            prompt.split("boolean expression ").nth(1).unwrap().split(", true or").next().unwrap();
        let wanted = usize::from(evaluate(expression) == "false");
        assert_eq!(item.reference, Reference::Choice(wanted), "{prompt}");
    }
    for item in of_kind(&items, "order", Language::En) {
        let prompt = item.prompt();
        let Request::Choice { choices, .. } = &item.request else { panic!("{}", item.id) };
        let Reference::Choice(answer) = item.reference else { panic!("{}", item.id) };
        let tallest = prompt.contains("tallest");
        // The tallest is never the second of a pair, the shortest never the first.
        let answers: Vec<&String> = choices
            .iter()
            .filter(|name| {
                let beaten = if tallest { format!("than {name}.") } else { format!("{name} is taller") };
                !prompt.contains(&beaten)
            })
            .collect();
        assert_eq!(answers, [&choices[answer]], "{prompt}");
    }
}

#[test]
fn protected_texts_are_the_prompts() {
    let texts = tasks::protected_texts(0);
    assert!(texts.len() > 1000);
    assert!(texts.iter().all(|text| !text.text.is_empty() && text.id.starts_with(&text.task)));
    assert!(!texts.iter().any(|text| text.task == "needles"));
}
