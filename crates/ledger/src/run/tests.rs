//! Interrupted, resumed, foreign and altered runs.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::{Artifact, Error, Manifest, Run, Stage, hash_folder};

fn manifest(seed: u64) -> Manifest {
    Manifest {
        recipe: "test".into(),
        seed,
        configuration: json!({"govern": {"threshold": 0.5}}),
        environment: [("cpu".to_owned(), "scalar".to_owned())].into(),
    }
}

fn write(stage: &mut Stage, text: &str) -> Result<(), Error> {
    stage.metric("length", text.len() as f64);
    stage.ledger.add_artifacts(&[Artifact { hash: text.into(), ..Artifact::default() }])?;
    crate::write_atomic(stage.folder.join("out.txt"), text.as_bytes())
}

fn whole(folder: &Path) -> Result<(String, String, String), Error> {
    let mut run = Run::open(folder, &manifest(1))?;
    let first = run.stage("first", "a", |stage| write(stage, "一"))?;
    let second = run.stage("second", "b", |stage| {
        let text = fs::read_to_string(first.join("out.txt")).unwrap();
        write(stage, &format!("{text}二"))
    })?;
    run.finish()?;
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    Ok((hash_folder(second)?, run.ledger().content_hash()?, metrics))
}

#[test]
fn a_stage_that_fails_is_done_again_with_the_same_result() {
    let temporary = tempfile::tempdir().unwrap();
    let expected = whole(&temporary.path().join("straight")).unwrap();
    let folder = temporary.path().join("interrupted");
    {
        let mut run = Run::open(&folder, &manifest(1)).unwrap();
        run.stage("first", "a", |stage| write(stage, "一")).unwrap();
        let failed: Result<_, Error> = run.stage("second", "b", |stage| {
            write(stage, "half")?;
            Err(Error::Busy("interrupted".into()))
        });
        assert!(failed.is_err());
        assert!(!folder.join("second").exists());
        assert!(Run::continues(&folder, &manifest(1)));
        assert!(!Run::continues(&folder, &manifest(2)));
    }
    // A crash after the rename and before the record: the folder exists, run.json does not know it.
    fs::create_dir(folder.join("second")).unwrap();
    fs::write(folder.join("second/stray"), "x").unwrap();
    assert_eq!(whole(&folder).unwrap(), expected);
    assert!(!Run::continues(&folder, &manifest(1)));
    assert_eq!(whole(&folder).unwrap(), expected);
}

#[test]
fn finished_stages_are_not_run_twice() {
    let folder = tempfile::tempdir().unwrap();
    whole(folder.path()).unwrap();
    let mut run = Run::open(folder.path(), &manifest(1)).unwrap();
    run.stage::<Error>("first", "a", |_| panic!("ran again")).unwrap();
    assert_eq!(run.stages().len(), 2);
    assert_eq!(run.times().len(), 2);
}

#[test]
fn other_settings_inputs_or_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    whole(folder.path()).unwrap();
    let message = Run::open(folder.path(), &manifest(2)).unwrap_err().to_string();
    assert!(message.contains("`seed` was 1, is 2"), "{message}");
    let mut other = manifest(1);
    other.configuration = json!({"govern": {"threshold": 0.6}});
    let message = Run::open(folder.path(), &other).unwrap_err().to_string();
    assert!(message.contains("`configuration.govern.threshold` was 0.5, is 0.6"), "{message}");
    let mut run = Run::open(folder.path(), &manifest(1)).unwrap();
    assert!(matches!(Run::open(folder.path(), &manifest(1)), Err(Error::Busy(_))));
    let inputs = run.stage::<Error>("first", "z", |_| Ok(()));
    assert!(matches!(inputs, Err(Error::OtherInputs { .. })));
    fs::write(folder.path().join("first/out.txt"), "changed").unwrap();
    let altered = run.stage::<Error>("first", "a", |_| Ok(()));
    assert!(matches!(altered, Err(Error::Altered { .. })));
    drop(run);
    Run::reopen(folder.path()).unwrap().reseal("first").unwrap();
    let mut run = Run::open(folder.path(), &manifest(1)).unwrap();
    run.stage::<Error>("first", "a", |_| panic!("ran again")).unwrap();
}

#[test]
fn a_deleted_stage_and_those_after_it_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let expected = whole(folder.path()).unwrap();
    fs::remove_dir_all(folder.path().join("first")).unwrap();
    assert_eq!(whole(folder.path()).unwrap(), expected);
}

#[test]
fn folders_that_are_no_runs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
    assert!(matches!(Run::open(folder.path(), &manifest(1)), Err(Error::NotARun(_))));
    fs::write(folder.path().join("run.json"), "{").unwrap();
    assert!(matches!(Run::open(folder.path(), &manifest(1)), Err(Error::Json { .. })));
}

#[test]
fn a_discarded_stage_takes_those_after_it_along() {
    let folder = tempfile::tempdir().unwrap();
    let expected = whole(folder.path()).unwrap();
    let mut run = Run::reopen(folder.path()).unwrap();
    assert_eq!(run.discard_from("second").unwrap(), ["second"]);
    assert!(!folder.path().join("second").exists() && folder.path().join("first").exists());
    assert!(!fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap().contains("second"));
    drop(run);
    assert_eq!(whole(folder.path()).unwrap(), expected);
    assert!(matches!(Run::reopen(folder.path().join("nowhere")), Err(Error::NoRun(_))));
}

#[test]
fn a_checkpoint_outlives_an_interruption_and_goes_with_the_finished_stage() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::open(folder.path(), &manifest(1)).unwrap();
    let failed: Result<_, Error> = run.stage("long", "a", |stage| {
        fs::create_dir_all(stage.checkpoint).unwrap();
        fs::write(stage.checkpoint.join("state"), "7").unwrap();
        Err(Error::Busy("interrupted".into()))
    });
    assert!(failed.is_err());
    drop(run);
    let mut run = Run::open(folder.path(), &manifest(1)).unwrap();
    run.stage("long", "a", |stage| {
        let state = fs::read_to_string(stage.checkpoint.join("state")).unwrap();
        write(stage, &state)
    })
    .unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("long/out.txt")).unwrap(), "7");
    assert!(!folder.path().join("long.checkpoint").exists());
}
