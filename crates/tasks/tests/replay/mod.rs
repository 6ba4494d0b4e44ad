//! Recorded verdicts of others: the rules of this crate must reach the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tasks::{gsm8k, ifeval};

/// A file of the public test data, or `None`, said loudly, where it is absent.
fn public(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(path);
    if path.exists() {
        Some(path)
    } else {
        eprintln!("SKIPPED: there is no {}", path.display());
        None
    }
}

fn objects(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ifeval_verdicts_are_those_of_the_reference() {
    let Some(prompts) = public("ifeval/input_data.jsonl") else { return };
    let prompts = ifeval::read(&prompts).unwrap();
    let responses: BTreeMap<String, String> =
        objects(&public("ifeval/input_response_data_gpt4_20231107_145030.jsonl").unwrap())
            .into_iter()
            .map(|row| {
                (row["prompt"].as_str().unwrap().to_owned(), row["response"].as_str().unwrap().to_owned())
            })
            .collect();
    let verdicts: BTreeMap<u64, Value> = objects(&public("ifeval/reference_verdicts_gpt4.jsonl").unwrap())
        .into_iter()
        .map(|row| (row["key"].as_u64().unwrap(), row))
        .collect();
    assert_eq!((prompts.len(), verdicts.len()), (541, 541));
    for (mode, name, published_prompts, published_instructions) in
        [(ifeval::Mode::Strict, "strict", 76.89, 83.57), (ifeval::Mode::Loose, "loose", 79.30, 85.37)]
    {
        let (mut equal, mut all, mut followed, mut prompts_followed) = (0, 0, 0, 0);
        let mut differing: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for prompt in &prompts {
            let found = ifeval::judge(prompt, &responses[&prompt.prompt], mode);
            let wanted = verdicts[&prompt.key][name].as_array().unwrap();
            prompts_followed += usize::from(found.iter().all(|verdict| verdict.unwrap_or(true)));
            for ((found, wanted), instruction) in found.iter().zip(wanted).zip(&prompt.instruction_id_list) {
                all += 1;
                followed += usize::from(found.unwrap_or(true));
                if *found == wanted.as_bool() {
                    equal += 1;
                } else {
                    differing.entry(instruction).or_default().push(prompt.key);
                }
            }
        }
        let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
        println!(
            "{name}: {equal} of {all} verdicts equal, prompts {:.2} %, instructions {:.2} %, differing {differing:?}",
            percent(prompts_followed, prompts.len()),
            percent(followed, all)
        );
        assert!(equal * 100 >= all * 99, "{name}: {equal} of {all}, differing {differing:?}");
        // Two language detectors may disagree on a short text; nothing else may differ.
        let detecting =
            ["change_case:english_capital", "change_case:english_lowercase", "language:response_language"];
        assert!(differing.keys().all(|instruction| detecting.contains(instruction)), "{name}: {differing:?}");
        assert!((percent(prompts_followed, prompts.len()) - published_prompts).abs() <= 0.4);
        assert!((percent(followed, all) - published_instructions).abs() <= 0.4);
    }
}

#[test]
fn gsm8k_answers_are_judged_as_recorded() {
    let Some(solutions) = public("gsm8k/example_model_solutions.jsonl") else { return };
    let (mut equal, mut all) = (0, 0);
    let mut correct: BTreeMap<&str, usize> = BTreeMap::new();
    for row in objects(&solutions) {
        for model in ["6b_finetuning", "175b_verification"] {
            let found = gsm8k::is_correct(
                row[model]["solution"].as_str().unwrap(),
                row["ground_truth"].as_str().unwrap(),
            );
            equal += usize::from(found == row[model]["is_correct"].as_bool().unwrap());
            all += 1;
            *correct.entry(model).or_default() += usize::from(found);
        }
    }
    assert_eq!((equal, all), (2638, 2638));
    assert_eq!((correct["6b_finetuning"], correct["175b_verification"]), (286, 742));
    let problems = gsm8k::read(&public("gsm8k/test.jsonl").unwrap()).unwrap();
    assert_eq!(problems.len(), 1319);
    assert!(problems.iter().all(|problem| gsm8k::strict_answer(&problem.answer).is_some()));
}

#[test]
fn the_two_readings_of_an_answer_differ_where_they_should() {
    assert_eq!(gsm8k::strict_answer("so\n#### 1,200"), Some("1,200"));
    assert_eq!(gsm8k::strict_answer("It is 12."), None);
    assert_eq!(gsm8k::flexible_answer("3 + 4 is $7.50."), Some("$7.50."));
    assert!(gsm8k::same_answer("$7.50.", "7.5"));
    assert!(!gsm8k::same_answer("7", "8"));
    assert!(!gsm8k::same_answer("", ""));
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let path = std::env::temp_dir().join(format!("gewu-ifeval-{}.jsonl", std::process::id()));
    std::fs::write(
        &path,
        "{\"key\": 1, \"prompt\": \"p\", \"instruction_id_list\": [\"a\"], \"kwargs\": []}\n",
    )
    .unwrap();
    let error = ifeval::read(&path).unwrap_err().to_string();
    assert!(error.contains("line 1: 1 instructions with 0 arguments"), "{error}");
    std::fs::write(&path, "\n{oops\n").unwrap();
    let error = gsm8k::read(&path).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(ifeval::read(&path).is_err());
}

#[test]
fn unknown_instructions_are_not_judged() {
    let prompt = ifeval::Prompt {
        key: 1,
        prompt: String::new(),
        instruction_id_list: vec!["no:such".into(), "punctuation:no_comma".into()],
        kwargs: vec![serde_json::Map::new(), serde_json::Map::new()],
    };
    assert_eq!(ifeval::judge(&prompt, "fine", ifeval::Mode::Strict), [None, Some(true)]);
    assert_eq!(ifeval::judge(&prompt, "  ", ifeval::Mode::Loose), [None, Some(false)]);
}
