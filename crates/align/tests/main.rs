//! The trained requests against the public test sets and the built-in items: nothing of those is trained on.

use std::collections::BTreeSet;
use std::path::Path;

use align::preferences::split;

fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    // Chinese is compared by pairs of characters.
    words
        .flat_map(|word| match word.is_ascii() {
            true => vec![word.to_string()],
            false => {
                let chars: Vec<char> = word.chars().collect();
                chars.windows(2).map(|pair| pair.iter().collect()).collect()
            }
        })
        .collect()
}

/// Share of common words.
fn jaccard(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let common = a.intersection(b).count();
    common as f64 / (a.len() + b.len() - common).max(1) as f64
}

fn most_alike(others: &[String], limit: f64) -> Vec<String> {
    let others: Vec<(&String, BTreeSet<String>)> = others.iter().map(|text| (text, words(text))).collect();
    let mut found = Vec::new();
    for trained in split(false) {
        let row = words(&trained.prompt);
        for (other, its) in &others {
            let alike = jaccard(&row, its);
            if alike >= limit {
                found.push(format!("{alike:.2}: `{}` is like `{other}`", trained.prompt));
            }
        }
    }
    found
}

#[test]
fn no_built_in_item_is_trained_on() {
    let items: Vec<String> = tasks::protected_texts(0).into_iter().map(|item| item.text).collect();
    assert!(items.len() > 100);
    let found = most_alike(&items, 0.8);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_public_test_prompt_is_trained_on() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.is_dir() {
        println!(
            "SKIPPED: no_public_test_prompt_is_trained_on needs the public test data in `{}`",
            data.display()
        );
        return;
    }
    let mut prompts: Vec<String> = Vec::new();
    for part in ["test", "train", "val"] {
        let text =
            std::fs::read_to_string(data.join(format!("refusal_direction/harmful_{part}.json"))).unwrap();
        let items: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        prompts.extend(items.iter().filter_map(|item| item["instruction"].as_str().map(str::to_string)));
    }
    let text = std::fs::read_to_string(data.join("xstest/xstest_prompts.csv")).unwrap();
    prompts.extend(text.lines().skip(1).filter_map(|line| line.split(',').nth(1).map(str::to_string)));
    assert!(prompts.len() > 900);
    // Request forms are common language: "How do I blow up a …?" has six of eight words in common with another.
    let found = most_alike(&prompts, 0.78);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
