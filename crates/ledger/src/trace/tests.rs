//! Tracing, idempotent stages and durability of the ledger.

use crate::{AnswerRow, Decision, Derivation, DocumentRow, Ledger};

fn derivation(parent: &str, child: &str, kind: &str) -> Derivation {
    Derivation { parent: parent.into(), child: child.into(), kind: kind.into(), location: String::new() }
}

fn fill(ledger: &mut Ledger) {
    let document =
        DocumentRow { id: "d1".into(), path: "元素.db".into(), bytes: 7, ..DocumentRow::default() };
    ledger.add_documents(&[document]).unwrap();
    ledger
        .add_decisions(&[Decision {
            document: "d1".into(),
            rule: "quality.symbols".into(),
            action: "keep".into(),
            value: Some(0.01),
            threshold: Some(0.1),
            detail: "数字".into(),
        }])
        .unwrap();
    ledger
        .add_derivations(&[
            derivation("d1", "s1", "shard"),
            derivation("s1", "p1", "passage"),
            derivation("p1", "a1", "citation"),
        ])
        .unwrap();
    let answer = AnswerRow { id: "a1".into(), question: "熔点?".into(), ..AnswerRow::default() };
    ledger.add_answers(&[answer]).unwrap();
}

#[test]
fn a_byte_is_followed_to_an_answer_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path().join("ledger.sqlite")).unwrap();
    fill(&mut ledger);
    let trace = ledger.trace("d1").unwrap();
    assert_eq!(trace.document.unwrap().path, "元素.db");
    assert_eq!(trace.decisions[0].detail, "数字");
    let products: Vec<_> = trace.products.iter().map(|s| (s.distance, s.derivation.child.as_str())).collect();
    assert_eq!(products, [(1, "s1"), (2, "p1"), (3, "a1")]);
    let back = ledger.trace("a1").unwrap();
    assert_eq!(back.sources.last().unwrap().derivation.parent, "d1");
    assert!(ledger.trace("nothing").unwrap().is_unknown());
    assert_eq!(ledger.ids_with_prefix("a", 5).unwrap(), ["a1"]);
    assert_eq!(ledger.remove_derivations(&["s1"]).unwrap(), 2);
    assert_eq!(ledger.trace("d1").unwrap().products, []);
}

#[test]
fn a_cycle_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path().join("l")).unwrap();
    ledger.add_derivations(&[derivation("a", "b", "x"), derivation("b", "a", "x")]).unwrap();
    assert_eq!(ledger.trace("a").unwrap().products.len(), 2);
}

#[test]
fn a_stage_started_again_leaves_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.begin_stage("govern").unwrap();
    fill(&mut ledger);
    let hash = ledger.content_hash().unwrap();
    drop(ledger);
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.begin_stage("ask").unwrap();
    ledger.add_derivations(&[derivation("p1", "a2", "citation")]).unwrap();
    assert_ne!(ledger.content_hash().unwrap(), hash);
    ledger.begin_stage("ask").unwrap();
    assert_eq!(ledger.content_hash().unwrap(), hash);
    ledger.begin_stage("govern").unwrap();
    fill(&mut ledger);
    assert_eq!(ledger.content_hash().unwrap(), hash);
}

#[test]
fn a_file_that_is_no_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    std::fs::write(&path, "not a database, 不是数据库, long enough to look like a header".repeat(20))
        .unwrap();
    let message = Ledger::open(&path).unwrap_err().to_string();
    assert!(message.contains("ledger.sqlite"), "{message}");
    assert!(Ledger::open("/nowhere/ledger").is_err());
}
