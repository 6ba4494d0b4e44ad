//! Embedded recipes, overlays, and keys that do not exist.

use super::*;
use crate::failure::exit_code;

#[test]
fn every_embedded_recipe_resolves() {
    for embedded in EMBEDDED {
        for full in [false, true] {
            let recipe = Recipe::load(embedded.name, &Overrides { full, ..Overrides::default() }).unwrap();
            assert_eq!(recipe.name, embedded.name);
            assert!(!recipe.about.is_empty());
        }
    }
}

#[test]
fn every_recipe_file_is_embedded() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, EMBEDDED.len());
}

#[test]
fn overrides_win() {
    let set = ["ask.questions=7".to_owned(), "near=".to_owned()];
    let overrides =
        Overrides { full: true, seed: Some(9), docs: Some("文件"), set: &set[..1], ..Overrides::default() };
    let recipe = Recipe::load("life-cycle", &overrides).unwrap();
    assert_eq!((recipe.ask.questions, recipe.seed, recipe.pull.source.as_str()), (7, 9, "文件"));
    assert_eq!(recipe.evaluate.profile, "full");
    assert_eq!(recipe.govern_config(Vec::new()).unwrap().quality.profile, data::QualityProfile::Curated);
    assert!(Recipe::load("life-cycle", &Overrides { set: &set, ..Overrides::default() }).is_err());
}

#[test]
fn mistakes_are_named() {
    for (text, expected) in [
        ("stagse = []", "`stages`"),
        ("stages = ['govern', 'plul']", "pull"),
        ("stages = ['index', 'pull']", "before"),
        ("[govern.near]\ntreshold = 1", "`govern.near.threshold`"),
        ("[full.ask]\nqestions = 1", "`ask.questions`"),
        ("seed = 'x'", "integer"),
        ("stages = ['pull']\nname = '../x'", "folder"),
        ("stages = ['pull', 'govern', 'evaluate']\n[pull]\nmodel = ''", "needs a model"),
        ("stages = ['pull']\n[evaluate]\ntasks = ['logic']", "logic_choice"),
        ("stages = ['pull']\n[evaluate]\nlanguages = ['fr']", "`fr`"),
        ("stages = [", "recipe"),
        ("", "empty"),
    ] {
        let error = Recipe::resolve(text, "test", &Overrides::default()).unwrap_err();
        let message = crate::failure::message(&error);
        assert!(message.contains(expected), "{text}: {message}");
        assert_eq!(exit_code(&error), 2, "{text}");
    }
    let message = Recipe::load("lifecycle", &Overrides::default()).unwrap_err().to_string();
    assert!(message.contains("life-cycle"), "{message}");
}

#[test]
fn a_schedule_changes_its_shape_as_a_whole() {
    let load = |set: &str| {
        let set = [set.to_owned()];
        Recipe::load("train", &Overrides { set: &set, ..Overrides::default() })
    };
    let recipe = load("train.tuning.schedule.shape={kind=\"wsd\", decay=0.2, floor=0.0}").unwrap();
    assert_eq!(recipe.train.tuning.schedule.shape, train::Shape::Wsd { decay: 0.2, floor: 0.0 });
    assert!(load("train.tuning.schedule.shape={kind=\"wsd\"}").is_err());
    let recipe = load("train.tuning.optimizer.method=muon").unwrap();
    assert_eq!(recipe.train.tuning.optimizer.method, train::Method::Muon);
    let error = load("train.tuning.optimizer.momentum=1.0").unwrap_err();
    assert!(error.to_string().contains("momentum"), "{error}");
    let error = load("train.tuning.keep_best=true").unwrap_err();
    assert!(error.to_string().contains("evaluate_every"), "{error}");
}
