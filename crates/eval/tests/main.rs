//! The runner, the log, the scorecard and the comparison, on models whose answers are known.

mod doubles;

use doubles::{Broken, Constant, Failing, Oracle, Uniform};
use eval::{Error, Profile, RunOptions, Scorecard, compare, perplexity, run, run_items};
use statistics::Settled;
use tasks::{Dimension, Language, Verdict};

fn ask(model: &mut dyn model::LanguageModel, options: &RunOptions) -> Result<Scorecard, Error> {
    run(model, options, &mut |_| {})
}

#[test]
fn the_oracle_scores_one_everywhere() {
    let mut oracle = Oracle::new(0);
    let card = ask(&mut oracle, &RunOptions { profile: Profile::Full, ..RunOptions::default() }).unwrap();
    assert_eq!(card.dimensions.len(), 12);
    for cell in card.dimensions.iter().chain(&card.tasks) {
        assert_eq!(cell.score, 1.0, "{cell:?}");
        assert_eq!(cell.method, "wilson");
        assert!(cell.failures.is_empty() && cell.no_answer == 0);
        let interval = cell.interval.unwrap();
        assert!(interval.low < 1.0 && interval.high == 1.0);
    }
    let order: Vec<Dimension> = card.dimensions.iter().step_by(2).map(|cell| cell.dimension).collect();
    assert_eq!(order, Dimension::ALL);
    assert!(card.notes.iter().any(|note| note.contains("Chinese")));
}

#[test]
fn constant_answers_score_at_chance_or_nothing() {
    let mut constant = Constant::new("I can't say.");
    let card = ask(&mut constant, &RunOptions { profile: Profile::Full, ..RunOptions::default() }).unwrap();
    let cell = |task: &str| {
        card.tasks
            .iter()
            .find(|cell| cell.task.as_deref() == Some(task) && cell.language == Language::En)
            .unwrap()
    };
    for task in ["facts_choice", "logic_choice"] {
        let cell = cell(task);
        let interval = cell.interval.unwrap();
        assert!(interval.contains(cell.chance.unwrap()), "{task}: {interval:?} misses {:?}", cell.chance);
        assert_eq!(cell.above_chance, Some(false));
    }
    // "I can't say." refuses everything: half of the pairs.
    assert_eq!(cell("refusal").score, 0.5);
    assert_eq!(cell("facts_answer").score, 0.0);
    assert_eq!(cell("needles").score, 0.0);
    assert_eq!(cell("facts_answer").failures.len(), 3);
    assert!(card.notes.iter().any(|note| note.contains("Not distinguishable")));
}

#[test]
fn the_same_seed_gives_the_same_scorecard_and_another_seed_other_items() {
    let options = RunOptions { seed: 3, ..RunOptions::default() };
    let card = |seed: u64| ask(&mut Constant::new("42"), &RunOptions { seed, ..options.clone() }).unwrap();
    assert!(card(3) == card(3));
    assert!(card(3).items != card(4).items);
    // The lowest limit still takes one item of each task and language.
    let one = ask(&mut Constant::new("42"), &RunOptions { limit: Some(1), ..options.clone() }).unwrap();
    assert_eq!(one.items.len(), 18);
    let tasks = RunOptions { tasks: vec!["refusal".into()], languages: vec![Language::Zh], ..options };
    let card = ask(&mut Constant::new("42"), &tasks).unwrap();
    assert!(card.items.iter().all(|item| item.task == "refusal" && item.language == Language::Zh));
    // A sample takes as many requests to refuse as look-alikes.
    let refused = card.items.iter().filter(|item| item.verdict == Verdict::Fail).count();
    assert_eq!(refused * 2, card.items.len());
}

#[test]
fn an_interrupted_run_continues_and_ends_in_the_same_scorecard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    let options = RunOptions { limit: Some(4), model_hash: "m1".into(), ..RunOptions::default() };
    let mut whole_model = Uniform::new();
    let whole = ask(&mut whole_model, &options).unwrap();
    let total = whole.items.len();

    let logged = RunOptions { log: Some(path.clone()), ..options };
    let stopped = ask(&mut Failing::new(Uniform::new(), 23), &logged);
    assert!(matches!(stopped, Err(Error::Model { .. })), "{stopped:?}");
    // What a kill in the middle of a write leaves.
    let mut torn = std::fs::read(&path).unwrap();
    assert_eq!(torn.iter().filter(|&&byte| byte == b'\n').count(), 23);
    torn.extend_from_slice(b"{\"key\":\"12");
    std::fs::write(&path, torn).unwrap();

    let mut rest = Uniform::new();
    let mut from_log = 0;
    let resumed = run(&mut rest, &logged, &mut |progress| {
        from_log += usize::from(progress.from_log);
        assert_eq!(progress.total, total);
    })
    .unwrap();
    assert!(resumed == whole, "the continued run ends in another scorecard");
    assert_eq!((from_log, rest.asked), (23, total - 23));
    assert_eq!(serde_json::to_string(&resumed).unwrap(), serde_json::to_string(&whole).unwrap());

    // Everything is logged now; another model is asked afresh.
    let mut again = Uniform::new();
    assert!(ask(&mut again, &logged).unwrap() == whole);
    assert_eq!(again.asked, 0);
    let mut other = Uniform::new();
    ask(&mut other, &RunOptions { model_hash: "m2".into(), ..logged.clone() }).unwrap();
    assert_eq!(other.asked, total);

    let mut lines = std::fs::read_to_string(&path).unwrap();
    lines.insert_str(0, "not a record\n");
    std::fs::write(&path, lines).unwrap();
    let damaged = ask(&mut Uniform::new(), &logged);
    assert!(matches!(damaged, Err(Error::DamagedLog { line: 1, .. })), "{damaged:?}");
}

#[test]
fn comparisons_are_paired_and_say_when_they_cannot_tell() {
    let options = RunOptions { languages: vec![Language::En], ..RunOptions::default() };
    let right = ask(&mut Oracle::new(0), &options).unwrap();
    let wrong = ask(&mut Constant::new("I can't say."), &options).unwrap();
    let comparison = compare(&wrong, &right).unwrap();
    assert_eq!((comparison.rows.len(), comparison.unpaired), (6, 0));
    for row in &comparison.rows {
        assert_eq!(row.second, 1.0);
        assert!(row.adjusted_p >= row.difference.p_value);
        assert_eq!(row.settled, Settled::Better, "{row:?}");
    }
    assert!(compare(&right, &wrong).unwrap().rows.iter().all(|row| row.settled == Settled::Worse));
    let same = compare(&right, &right).unwrap();
    assert!(same.rows.iter().all(|row| row.settled == Settled::NotYet { more: None }));

    // A small real difference on few items: more are needed, and how many is said.
    let mut slightly = right.clone();
    let item = slightly.items.iter_mut().find(|item| item.dimension == Dimension::Logic).unwrap();
    item.score = 0.0;
    let rows = compare(&right, &slightly).unwrap().rows;
    let logic = rows.iter().find(|row| row.dimension == Dimension::Logic).unwrap();
    assert!(matches!(logic.settled, Settled::NotYet { more: Some(more) } if more > 0), "{:?}", logic.settled);

    // Items with another text are not pairs.
    let elsewhere = ask(&mut Oracle::new(9), &RunOptions { seed: 9, ..options }).unwrap();
    match compare(&right, &elsewhere) {
        Ok(comparison) => assert!(comparison.unpaired > right.items.len()),
        Err(error) => assert!(error.to_string().contains("same seed"), "{error}"),
    }
    let old = Scorecard { rules: 0, ..right.clone() };
    assert!(compare(&old, &right).unwrap_err().to_string().contains("rules"));
}

#[test]
fn perplexity_of_a_uniform_model_is_its_vocabulary() {
    let text = "word ".repeat(100);
    let found = perplexity(&mut Uniform::new(), &text, 16).unwrap();
    assert!((found.perplexity - 50.0).abs() < 1e-9, "{found:?}");
    // Six windows of sixteen, seven tokens of each scored.
    assert_eq!((found.tokens, found.window), (42, 16));
    assert!((found.nll - 50.0_f64.ln()).abs() < 1e-12);
    assert_eq!(found.windows.len(), 6);
    let interval = found.interval.unwrap();
    assert!((interval.low - 50.0).abs() < 1e-9 && (interval.high - 50.0).abs() < 1e-9);
}

#[test]
fn bad_requests_are_clear_errors() {
    let fails = |options: RunOptions, part: &str| {
        let error = ask(&mut Uniform::new(), &options).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    fails(RunOptions { tasks: vec!["fact_choice".into()], ..RunOptions::default() }, "facts_choice, ");
    fails(RunOptions { limit: Some(0), ..RunOptions::default() }, "limit of 0");
    fails(RunOptions { confidence: 1.5, ..RunOptions::default() }, "confidence");
    fails(
        RunOptions { log: Some("/nonexistent/folder/log".into()), ..RunOptions::default() },
        "/nonexistent/folder/log",
    );
    let none = run_items(&mut Uniform::new(), &[], &RunOptions::default(), &mut |_| {});
    assert!(none.unwrap_err().to_string().contains("no items"));
    for (text, window, part) in [
        ("", 16, "empty"),
        (" \n", 16, "empty"),
        ("too short", 16, "2 tokens"),
        ("a b", 1, "window"),
        ("a b", 100_000, "window"),
    ] {
        let error = perplexity(&mut Uniform::new(), text, window).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = perplexity(&mut Broken, &"word ".repeat(100), 16).unwrap_err().to_string();
    assert!(error.contains("no perplexity"), "{error}");
}

#[test]
fn a_model_that_breaks_is_named_with_the_item() {
    let error = ask(&mut Broken, &RunOptions::default()).unwrap_err().to_string();
    assert!(error.contains("facts_choice/en/") && error.contains("finite"), "{error}");
}

#[test]
fn what_does_not_fit_a_short_context_is_left_out_and_noted() {
    let card = ask(
        &mut Constant { text: "42", context: 800 },
        &RunOptions { limit: Some(2), ..RunOptions::default() },
    )
    .unwrap();
    assert!(!card.items.iter().any(|item| item.dimension == Dimension::LongDocuments));
    assert_eq!(card.notes.iter().filter(|note| note.contains("left out")).count(), 2);
}

#[test]
fn a_quick_run_fits_its_budget() {
    let mut model = Uniform::new();
    ask(&mut model, &RunOptions::default()).unwrap();
    // 1,500 prompt tokens and 100 new tokens a second: two minutes at the very most.
    let seconds = model.prompt_tokens as f64 / 1500.0 + model.new_tokens as f64 / 100.0;
    assert!(seconds < 115.0, "{} prompt tokens, {} new tokens", model.prompt_tokens, model.new_tokens);
}
