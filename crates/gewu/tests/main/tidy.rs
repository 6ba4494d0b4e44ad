//! Rules of the source tree: who may use whom, file length, module docs, `unsafe`, printing, names.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom among the workspace's crates; a crate without a line uses none.
const MAY_USE: &[(&str, &[&str])] = &[
    ("ops", &["kernels"]),
    // `model` names the number formats of `kernels` in its readers and writers.
    ("model", &["ops", "kernels"]),
    ("data", &["tasks", "ledger"]),
    ("train", &["model", "data", "tasks", "ledger"]),
    ("align", &["train", "model", "tasks", "statistics", "ledger"]),
    ("probe", &["model", "train", "tasks", "statistics", "ledger"]),
    ("eval", &["model", "tasks", "statistics", "ledger"]),
    ("knowledge", &["model", "data", "tasks", "ledger"]),
    ("serve", &["model", "ledger"]),
    (
        "gewu",
        &[
            "kernels",
            "ops",
            "model",
            "tasks",
            "ledger",
            "statistics",
            "data",
            "train",
            "align",
            "probe",
            "eval",
            "knowledge",
            "serve",
        ],
    ),
];

const MOST_LINES: usize = 500;

/// Module names that attract everything.
const FORBIDDEN_NAMES: &[&str] = &["utils", "util", "common", "helper", "helpers", "misc", "core"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn crates() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").exists())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every Rust file of a crate with its path below the root and its text.
fn files(name: &str) -> Vec<(String, String)> {
    rust_files(&root().join("crates").join(name))
        .into_iter()
        .map(|path| {
            let shown = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            (shown, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn crates_use_only_what_the_design_allows() {
    let names = crates();
    assert!(names.len() >= 10, "the crates are not where this test looks: {names:?}");
    let mut problems = Vec::new();
    for name in &names {
        let text = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        let allowed = MAY_USE.iter().find(|(user, _)| user == name).map_or(&[][..], |(_, used)| used);
        let used = manifest.get("dependencies").and_then(|table| table.as_table());
        for used in used.into_iter().flat_map(|table| table.keys()) {
            if names.contains(used) && !allowed.contains(&used.as_str()) {
                problems.push(format!("crate `{name}` must not use `{used}`"));
            }
        }
    }
    report(&problems);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut problems = Vec::new();
    for (path, text) in crates().iter().flat_map(|name| files(name)) {
        let lines = text.lines().count();
        if lines > MOST_LINES {
            problems.push(format!("{path} has {lines} lines; split it at a seam (most {MOST_LINES})"));
        }
        if !text.starts_with("//! ") {
            problems.push(format!("{path} must begin with a `//! ` line that says what it is"));
        }
        let path = Path::new(&path);
        let names = path.components().filter_map(|part| Path::new(part.as_os_str()).file_stem()?.to_str());
        for name in names.filter(|name| FORBIDDEN_NAMES.contains(name)) {
            problems.push(format!("{} is named `{name}`; name it after what it does", path.display()));
        }
    }
    report(&problems);
}

#[test]
fn only_kernels_is_unsafe_and_only_gewu_prints() {
    let words = |parts: &[&str]| parts.concat();
    let unsafe_block = [words(&["unsa", "fe {"]), words(&["unsa", "fe fn"]), words(&["unsa", "fe impl"])];
    let printing = [
        words(&["print", "ln!("]),
        words(&["eprint", "ln!("]),
        words(&["dbg", "!("]),
        words(&[" prin", "t!("]),
    ];
    let mut problems = Vec::new();
    for name in crates() {
        for (path, text) in files(&name) {
            // An example may count allocations, which takes an allocator of its own.
            let may_be_unsafe = name == "kernels" || path.contains("/examples/");
            if !may_be_unsafe && unsafe_block.iter().any(|word| text.contains(word)) {
                problems.push(format!("{path}: `unsafe` belongs into `kernels`"));
            }
            // Examples print their result; tests may say that they were skipped.
            let may_print = name == "gewu" || path.contains("/examples/") || path.contains("tests");
            if may_print {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                let skips = line.contains("skip") || line.contains("SKIP");
                if !skips && printing.iter().any(|word| line.contains(word)) {
                    problems.push(format!("{path}:{}: only `gewu` prints", number + 1));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn no_registry_host_is_named() {
    let hosts = [
        ["pypi", ".org"].concat(),
        ["files.python", "hosted"].concat(),
        ["npmjs", ".org"].concat(),
        ["npmjs", ".com"].concat(),
        ["crates", ".io"].concat(),
    ];
    let mut paths: Vec<PathBuf> =
        crates().iter().flat_map(|name| rust_files(&root().join("crates").join(name))).collect();
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.file_name().is_some_and(|name| name != "Cargo.lock") {
            paths.push(path);
        }
    }
    let mut problems = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap_or_default();
        for host in hosts.iter().filter(|host| text.contains(host.as_str())) {
            problems.push(format!("{} names `{host}`; go through the ordinary client", path.display()));
        }
    }
    report(&problems);
}

#[test]
fn the_readme_and_the_check_agree() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let ci = read(".ci/run");
    for name in ["README.md", "README.zh.md"] {
        let text = read(name);
        for command in ["cargo run --release -- run", "cargo test --release --workspace"] {
            assert!(text.contains(command), "{name} must show `{command}`");
        }
    }
    assert!(ci.contains("cargo test --release --workspace") && ci.contains("set -euo pipefail"));
}
