//! Bad input gives a clear message and exit code 2, never a panic.

use std::fs;

use crate::tool::{fails, gewu, outcome, skip, succeeds};

#[test]
fn a_wrong_recipe_key_is_named_with_its_neighbors() {
    let home = tempfile::tempdir().unwrap();
    let recipe = home.path().join("mine.toml");
    fs::write(&recipe, "stages = ['pull']\n[govern.near]\ntreshold = 0.9\n").unwrap();
    fails(gewu(home.path()).arg("run").arg(&recipe), 2, "`govern.near.threshold`");
    fails(gewu(home.path()).args(["run", "--set", "ask.qestions=3"]), 2, "`ask.questions`");
    fails(gewu(home.path()).args(["run", "life-cycel"]), 2, "life-cycle");
    fails(gewu(home.path()).args(["run", "missing.toml"]), 2, "missing.toml");
    fails(gewu(home.path()).args(["run", "--sed", "1"]), 2, "--seed");
}

#[test]
fn missing_and_damaged_models_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let generate = |model: &std::path::Path, expected: &str| {
        fails(gewu(home.path()).args(["generate", "--prompt", "你好", "--model"]).arg(model), 2, expected);
    };
    generate(&home.path().join("无.gguf"), "does not exist");
    for (name, bytes) in [
        ("empty.gguf", Vec::new()),
        ("text.gguf", b"this is no model at all".to_vec()),
        ("short.gguf", b"GGUF\x03\x00\x00\x00".to_vec()),
        ("absurd.gguf", [b"GGUF\x03\x00\x00\x00".as_slice(), &[0xff; 64]].concat()),
    ] {
        let path = home.path().join(name);
        fs::write(&path, bytes).unwrap();
        generate(&path, name);
        fails(
            gewu(home.path())
                .args(["convert", "--type", "Q8_0"])
                .arg(&path)
                .arg(home.path().join("out.gguf")),
            2,
            name,
        );
        assert!(!home.path().join("out.gguf").exists());
    }
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    generate(&folder, "folder");
    fails(gewu(home.path()).args(["generate", "--prompt", "", "--model", "x"]), 2, "empty");
}

#[test]
fn documents_that_are_none_are_reported() {
    let home = tempfile::tempdir().unwrap();
    let (docs, out) = (home.path().join("docs"), home.path().join("out"));
    fs::create_dir(&docs).unwrap();
    let govern = || {
        let mut command = gewu(home.path());
        command.args(["data", "govern"]).arg(&docs).arg("--out").arg(&out);
        command
    };
    assert_ne!(govern().output().unwrap().status.code(), Some(0));
    fs::write(docs.join("image.bin"), [0u8, 159, 146, 150, 255, 0, 1, 2].repeat(500)).unwrap();
    let (code, _, error) = outcome(&govern().output().unwrap());
    assert!(code == 2 && !error.contains("panicked"), "{code}: {error}");
    let text =
        "格物致知：这是一份关于黄金与钨的笔记，写得足够长，以便治理规则把它当作正文保留下来。".repeat(8);
    fs::write(docs.join("笔记.txt"), text).unwrap();
    let report: serde_json::Value = serde_json::from_str(&succeeds(govern().arg("--json"))).unwrap();
    assert_eq!(report["documents_kept"], 1, "{report}");
    fails(gewu(home.path()).args(["data", "trace", "00", "--run"]).arg(&docs), 2, "ledger.sqlite");
    fails(gewu(home.path()).args(["data", "trace", "zz", "--run"]).arg(&out), 2, "zz");
    fails(gewu(home.path()).args(["data", "govern", "/nowhere/文件", "--out"]).arg(&out), 2, "/nowhere/文件");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_that_looks_finished() {
    const NAME: &str = "a_full_disk_leaves_nothing_that_looks_finished";
    let home = tempfile::tempdir().unwrap();
    // A closed standard output of a program that prints.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = gewu(home.path()).arg("list").stdout(full).output().unwrap();
    assert_eq!(outcome(&output).0, 1, "{output:?}");
    // A file system of one megabyte, where this user may mount one.
    let mount = home.path().join("small");
    fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&mount)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skip(NAME, "mounting a small file system needs root");
    }
    let docs = home.path().join("docs");
    fs::create_dir(&docs).unwrap();
    for number in 0..400u64 {
        // Text that does not compress: hexadecimal hashes between words.
        let text: String =
            (0..120).map(|i| format!("word {} ", ledger::hash_bytes(format!("{number}/{i}")))).collect();
        fs::write(docs.join(format!("{number}.txt")), text).unwrap();
    }
    let out = mount.join("run");
    let output = gewu(home.path())
        .args(["run", "documents", "--docs"])
        .arg(&docs)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let finished = out.join("govern").exists() || out.join("report.html").exists();
    let _ = std::process::Command::new("umount").arg(&mount).status();
    let (code, _, error) = outcome(&output);
    assert!(code == 1 && !error.contains("panicked") && !finished, "{code}, finished {finished}: {error}");
}

#[test]
fn a_plan_says_what_training_needs_and_nothing_is_trained() {
    let home = tempfile::tempdir().unwrap();
    let plan = ["train", "--plan", "--shape", "qwen2.5-7b", "--gflops", "100", "--memory", "24", "--json"];
    let plan: serde_json::Value = serde_json::from_str(&succeeds(gewu(home.path()).args(plan))).unwrap();
    let ways = plan["ways"].as_array().unwrap();
    let way = |tuned: &str, recompute: bool| {
        ways.iter().find(|way| way["tuned"] == tuned && way["thrift"]["recompute"] == recompute).unwrap()
    };
    assert_eq!(way("full", true)["fits"], false);
    assert_eq!(way("qlora", true)["fits"], true);
    assert!(way("qlora", true)["bytes"]["peak"].as_u64() < way("qlora", false)["bytes"]["peak"].as_u64());
    assert!(way("full", true)["step_seconds"].as_f64().unwrap() > 100.0);
    let table = succeeds(gewu(home.path()).args(["train", "--plan", "--shape", "gpt-5m", "--gflops", "100"]));
    assert!(table.contains("adamw_8bit") && table.contains("recomputing"), "{table}");
    fails(gewu(home.path()).args(["train", "--plan", "--shape", "gpt-9"]), 2, "qwen3-235b-a22b");
    fails(gewu(home.path()).args(["train", "--shape", "gpt-5m"]), 2, "--plan");
    fails(gewu(home.path()).args(["train", "--plan", "--shape", "tiny", "--batch", "0"]), 2, "at least 1");
    let optimizers = succeeds(gewu(home.path()).args(["list", "optimizers"]));
    assert!(["adamw", "adamw_8bit", "muon", "apollo"].iter().all(|name| optimizers.contains(name)));
}
