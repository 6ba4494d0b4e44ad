//! Runs that are killed continue after the last finished stage with the same results.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::tool::{fails, filled_home, gewu, succeeds};

fn write_documents(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..300u64 {
        let sentences: String = (0..40)
            .map(|i| {
                let hash = ledger::hash_bytes(format!("{number}/{i}"));
                format!("Sample {number} holds sentence {i} about the place called {}. ", &hash[..6])
            })
            .collect();
        fs::write(folder.join(format!("{number:03}.txt")), sentences).unwrap();
    }
    fs::write(
        folder.join("黄金.md"),
        "# 黄金\n\n黄金是一种金属，符号为 Au，原子序数为 79，密度为 19.3 克每立方厘米。".repeat(4),
    )
    .unwrap();
}

/// What a run left, without times.
fn results(folder: &Path) -> (String, Vec<String>) {
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert_eq!(record["finished"], true, "{record}");
    let stages = record["stages"].as_array().unwrap().iter().map(|stage| stage["hash"].to_string()).collect();
    (ledger::hash_file(folder.join("scorecard.json")).unwrap(), stages)
}

#[test]
fn a_killed_run_continues_with_the_same_results() {
    let home = tempfile::tempdir().unwrap();
    let docs = home.path().join("docs");
    write_documents(&docs);
    let recipe = home.path().join("small.toml");
    fs::write(&recipe, "name = 'small'\nstages = ['pull', 'govern', 'index', 'report']\n[pull]\nmodel = ''\n[govern.quality]\nenabled = false\n").unwrap();
    let run = |out: &Path| {
        let mut command = gewu(home.path());
        command.arg("run").arg(&recipe).arg("--docs").arg(&docs).arg("--out").arg(out);
        command
    };
    let straight = home.path().join("straight");
    succeeds(&mut run(&straight));
    let expected = results(&straight);
    for milliseconds in [5, 40, 80, 120, 200, 400, 800] {
        let out = home.path().join(format!("killed-{milliseconds}"));
        let mut child = run(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        succeeds(&mut run(&out));
        assert_eq!(results(&out), expected, "killed after {milliseconds} ms");
        assert!(
            !fs::read_dir(&out)
                .unwrap()
                .flatten()
                .any(|e| e.file_name().to_string_lossy().contains("partial"))
        );
    }
    fails(run(&straight).args(["--seed", "5"]), 2, "seed");
    fails(run(&straight).args(["--set", "govern.near.threshold=0.9"]), 2, "threshold");
    fails(
        gewu(home.path()).args(["run", "documents", "--docs"]).arg(&docs).arg("--out").arg(&docs),
        2,
        "not empty",
    );
}

#[test]
fn a_deleted_document_is_gone_from_the_run() {
    let home = tempfile::tempdir().unwrap();
    let (docs, out) = (home.path().join("docs"), home.path().join("out"));
    write_documents(&docs);
    let recipe = home.path().join("small.toml");
    fs::write(&recipe, "name = 'small'\nstages = ['pull', 'govern', 'index', 'report']\n[pull]\nmodel = ''\n[govern.quality]\nenabled = false\n").unwrap();
    let mut run = gewu(home.path());
    run.arg("run").arg(&recipe).arg("--docs").arg(&docs).arg("--out").arg(&out);
    succeeds(&mut run);
    let documents = data::corpus::read(&out.join("govern")).unwrap();
    let chosen = documents.iter().find(|document| document.source.path.contains("黄金")).unwrap();
    let trace = succeeds(gewu(home.path()).args(["data", "trace", &chosen.id, "--run"]).arg(&out));
    assert!(trace.contains("黄金"), "{trace}");
    let proof = succeeds(gewu(home.path()).args(["data", "delete", &chosen.id, "--json", "--run"]).arg(&out));
    let proof: serde_json::Value = serde_json::from_str(&proof).unwrap();
    assert_eq!(proof["clean"], true, "{proof}");
    assert!(
        !data::corpus::read(&out.join("govern")).unwrap().iter().any(|document| document.id == chosen.id)
    );
    // The same command makes the report again from what is left.
    succeeds(&mut run);
    assert!(out.join("report.html").exists());
    // What the ledger knows of the deletion and of the survivors outlives that run.
    let ledger = ledger::Ledger::open(out.join("ledger.sqlite")).unwrap();
    assert_eq!(ledger.trace(&chosen.id).unwrap().deletions.len(), 1);
    for left in data::corpus::read(&out.join("govern")).unwrap() {
        let trace = ledger.trace(&left.id).unwrap();
        assert!(trace.products.iter().any(|product| product.derivation.kind == "shard"), "{trace:?}");
    }
    drop(ledger);
    // An id that is no document is refused before anything is removed.
    fails(
        gewu(home.path()).args(["data", "delete", "documents-00000.jsonl.zst", "--run"]).arg(&out),
        2,
        "no document",
    );
    assert!(out.join("report.html").exists());
}

#[test]
fn a_filled_cache_works_without_the_network() {
    let Some(home) = filled_home("a_filled_cache_works_without_the_network") else { return };
    let out = tempfile::tempdir().unwrap();
    // Without a search path neither pip nor npm can be started.
    let run = gewu(&home)
        .env("PATH", "")
        .args(["run", "documents", "--out"])
        .arg(out.path().join("run"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let generated = gewu(&home)
        .env("PATH", "")
        .args(["generate", "--prompt", "The capital of France is", "--max-tokens", "5", "--json"])
        .output()
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&generated.stdout).unwrap();
    assert_eq!(value["generated_tokens"], 5, "{value}");
    let empty = tempfile::tempdir().unwrap();
    fails(gewu(empty.path()).env("PATH", "").args(["pull", "pypi:mendeleev"]), 1, "pip");
}
