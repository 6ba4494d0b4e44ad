//! Governance end to end: real folders, bad files, determinism, deletion, a full disk.

use std::{fs, path::Path};

use data::{
    Error, GovernConfig, GovernReport, QualityProfile,
    generator::{Planted, generate},
    govern,
};
use ledger::Ledger;

fn run(config: &GovernConfig, out: &Path) -> Result<(GovernReport, Ledger), Error> {
    let mut ledger = Ledger::open(out.with_extension("sqlite"))?;
    let report = govern(config, out, &mut ledger, &mut |_| {})?;
    Ok((report, ledger))
}

const EN: &str = "The council of Ashford repaired the old stone bridge in the spring, and the engineer who measured it \
    wrote that it would stand for another century. The farmers of the valley were glad, for it is the shortest way to \
    the market and the mill, and nobody had wanted to go around by the northern road in winter.";
const ZH: &str = "青石镇议会在春天修复了那座古老的石桥，测量它的工程师写道，这座桥还可以再用一百年。山谷里的农民都很高兴，\
    因为这是去集市和磨坊最近的路，冬天里谁也不愿意绕行北边的山道。";

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

#[test]
fn a_folder_with_good_and_bad_files() {
    let near = EN.replace("glad", "pleased");
    let numbered = [1, 2].map(|n| format!("{EN} It cost {n}00 dollars."));
    let private = format!("{ZH} 联系人手机13812345678，邮箱 wang@qq.com。");
    let dir = folder(&[
        ("a.txt", EN.as_bytes()),
        ("b/copy.txt", format!("  {EN}\n").replace(' ', "  ").as_bytes()),
        ("c.md", near.as_bytes()),
        ("d.txt", numbered[0].as_bytes()),
        ("e.txt", numbered[1].as_bytes()),
        ("zh.txt", ZH.as_bytes()),
        ("私.txt", private.as_bytes()),
        ("binary.txt", b"\x7fELF\x00\x01\x02"),
        ("latin.txt", b"caf\xe9 and na\xefve words"),
        ("empty.txt", b""),
        ("broken.pdf", b"%PDF-1.4\nnothing that follows"),
        ("program.exe", b"MZ"),
        ("table.csv", "id,name,mass\n1,氢,1.008\n2,Helium,4.0026\n".as_bytes()),
        ("LICENSE", b"Attribution 4.0 International"),
    ]);
    let out = dir.path().join("out");
    let (report, ledger) = run(&GovernConfig::of(dir.path().join("in")), &out).unwrap();
    let documents = data::corpus::read(&out).unwrap();
    let mut paths: Vec<&str> = documents.iter().map(|d| d.source.path.as_str()).collect();
    paths.dedup();
    // `a.txt` goes for one of the two with figures and `zh.txt` for the one with more text; `c.md` differs too much.
    assert_eq!(paths, ["c.md", "d.txt", "e.txt", "table.csv", "私.txt"], "{:?}", report.dropped);
    let dropped: Vec<(&str, u64)> = report.dropped.iter().map(|(rule, n)| (rule.as_str(), *n)).collect();
    assert_eq!(
        dropped,
        [
            ("duplicate.exact", 1),
            ("duplicate.near", 2),
            ("read.binary", 1),
            ("read.empty", 1),
            ("read.encoding", 1),
            ("read.licence-text", 1),
            ("read.malformed", 1),
            ("read.unsupported", 1)
        ]
    );
    assert_eq!(report.documents_kept, 6);
    assert_eq!(report.funnel.last().unwrap().left, 6);
    assert!(documents.iter().all(|d| d.licence == "CC-BY-4.0"));
    let private = documents.iter().find(|d| d.source.path == "私.txt").unwrap();
    assert!(private.text.contains("手机[PHONE]，邮箱 [EMAIL]。") && private.language == "zh");
    assert_eq!((report.redacted["phone"], report.redacted["email"]), (1, 1));
    // Every kept document has a decision of every rule that looked at it; nothing private is in the ledger.
    let explained = data::trace(&ledger, &private.id, Some(&out), &[]).unwrap();
    let rules: Vec<&str> = explained.ledger.decisions.iter().map(|d| d.rule.as_str()).collect();
    assert_eq!(rules, ["licence", "language", "privacy.email", "privacy.phone", "quality"]);
    assert!(!explained.to_string().contains("13812345678"));
    let bytes = fs::read(ledger.path()).unwrap();
    assert!(!bytes.windows(11).any(|w| w == b"13812345678"));
}

#[test]
fn a_removed_copy_is_explained_with_its_difference() {
    let longer = format!("{EN} So they said.");
    let dir = folder(&[("long.txt", longer.as_bytes()), ("short.txt", EN.as_bytes())]);
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    let (report, ledger) = run(&GovernConfig::of(&input), &out).unwrap();
    assert_eq!((report.documents_kept, report.near.confirmed), (1, 1));
    let id = ledger::short_hash(&["short.txt", "", EN]);
    let explained = data::trace(&ledger, &id, Some(&out), &[&input]).unwrap();
    let difference = explained.related[0].difference.as_deref().unwrap();
    assert!(explained.related[0].place == "long.txt" && difference.contains("So they said"), "{difference}");
    assert!(matches!(data::trace(&ledger, "0", Some(&out), &[]), Err(Error::UnknownDocument(_))));
}

fn generated(dir: &Path, documents: usize) -> (GovernConfig, data::generator::Generated) {
    let corpus = generate(documents, 7);
    let lines: String =
        corpus.documents.iter().map(|d| serde_json::json!({"text": d.text}).to_string() + "\n").collect();
    fs::write(dir.join("corpus.jsonl"), lines).unwrap();
    let mut config = GovernConfig::of(dir.join("corpus.jsonl"));
    config.contamination.items.clone_from(&corpus.items);
    config.shard_bytes = 200_000;
    (config, corpus)
}

#[test]
fn planted_truth_is_recovered_with_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let (config, corpus) = generated(dir.path(), 1500);
    let mut contents = Vec::new();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let out = dir.path().join(format!("out{threads}"));
        let (report, ledger) = pool.install(|| run(&config, &out)).unwrap();
        assert!(report.shards.len() > 3);
        contents.push((ledger::hash_folder(&out).unwrap(), ledger.content_hash().unwrap(), report));
    }
    assert_eq!(contents[0], contents[1]);
    let planted =
        |test: fn(&Planted) -> bool| corpus.documents.iter().filter(|d| test(&d.planted)).count() as u64;
    let report = &contents[0].2;
    let dropped = |rule: &str| report.dropped.get(rule).copied().unwrap_or(0);
    assert_eq!(dropped("duplicate.exact"), planted(|p| matches!(p, Planted::Exact { .. })));
    assert_eq!(dropped("contamination"), planted(|p| matches!(p, Planted::Leak { .. })));
    let near = planted(|p| matches!(p, Planted::Near { .. }));
    assert!(dropped("duplicate.near") <= near && dropped("duplicate.near") * 100 >= near * 92, "{report:?}");
    assert_eq!(report.dropped.keys().filter(|rule| rule.starts_with("quality")).count(), 0, "{report:?}");
}

struct Index {
    entries: Vec<(String, String)>,
    file: std::path::PathBuf,
}

impl data::Derived for Index {
    fn name(&self) -> String {
        "index".into()
    }

    fn remove(&mut self, ids: &[String]) -> Result<u64, String> {
        let before = self.entries.len();
        self.entries.retain(|(id, _)| !ids.contains(id));
        fs::write(&self.file, format!("{:?}", self.entries)).map_err(|e| e.to_string())?;
        Ok((before - self.entries.len()) as u64)
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        vec![self.file.clone()]
    }

    fn holds(&self, id: &str, _: &[String]) -> Result<bool, String> {
        Ok(self.entries.iter().any(|(i, _)| i == id))
    }
}

#[test]
fn deletion_leaves_no_trace_and_says_so_when_something_remains() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = generated(dir.path(), 300);
    let out = dir.path().join("out");
    let (_, mut ledger) = run(&config, &out).unwrap();
    let documents = data::corpus::read(&out).unwrap();
    let ids = [documents[3].id.clone(), documents[40].id.clone()];
    let entries = documents.iter().map(|d| (d.id.clone(), d.text.chars().take(90).collect())).collect();
    let mut index = Index { entries, file: dir.path().join("index.txt") };
    let forgotten = dir.path().join("notes.txt");
    fs::write(&forgotten, &documents[3].text).unwrap();

    let proof =
        data::delete(&out, &ids, "asked", &mut ledger, &mut [&mut index], std::slice::from_ref(&forgotten))
            .unwrap();
    assert!(!proof.clean);
    let found: Vec<_> = proof.files.iter().filter(|f| !f.found.is_empty()).collect();
    assert!(found.len() == 1 && found[0].path.ends_with("notes.txt") && found[0].found == [ids[0].clone()]);
    assert_eq!((proof.shard_entries, proof.derived_entries["index"]), (2, 2));
    assert!(proof.fragments.values().all(|n| *n > 5), "{:?}", proof.fragments);

    let left = data::corpus::read(&out).unwrap();
    assert_eq!(left.len(), documents.len() - 2);
    let trace = ledger.trace(&ids[0]).unwrap();
    assert!(
        trace.products.is_empty() && trace.document.unwrap().path.is_empty() && trace.deletions.len() == 1
    );
    for document in &left {
        let made = &ledger.trace(&document.id).unwrap().products[0].derivation;
        let line: usize = made.location.strip_prefix("line ").unwrap().parse().unwrap();
        let bytes = zstd::decode_all(fs::File::open(out.join(&made.child)).unwrap()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.lines().nth(line - 1).unwrap().contains(&document.id));
    }
    let unknown = data::delete(&out, &["no".into()], "asked", &mut ledger, &mut [], &[]);
    assert!(matches!(unknown, Err(Error::UnknownDocument(_))));
    // Governed again with the same ledger, they stay out.
    let again = govern(&config, &out, &mut ledger, &mut |_| {}).unwrap();
    assert_eq!(again.dropped["deleted"], 2);
}

#[test]
fn a_deleted_text_stays_out_under_another_name() {
    let bridge = EN.replace("stone bridge", "wooden tower").replace("valley", "coast");
    let dir = folder(&[("a.txt", EN.as_bytes()), ("b.txt", bridge.as_bytes()), ("zh.txt", ZH.as_bytes())]);
    let input = dir.path().join("in");
    let mut config = GovernConfig::of(&input);
    config.near.enabled = false;
    let out = dir.path().join("out");
    let (_, mut ledger) = run(&config, &out).unwrap();
    let id = |name: &str| {
        let documents = data::corpus::read(&out).unwrap();
        documents.iter().find(|d| d.source.path == name).map(|d| d.id.clone())
    };
    let (a, zh) = (id("a.txt").unwrap(), id("zh.txt").unwrap());
    let proof = data::delete(&out, &[a, zh.clone()], "asked", &mut ledger, &mut [], &[]).unwrap();
    assert!(proof.clean, "{proof:?}");
    // Asked for twice, it is recorded once.
    data::delete(&out, &[zh], "asked again", &mut ledger, &mut [], &[]).unwrap();

    fs::rename(input.join("a.txt"), input.join("renamed.txt")).unwrap();
    fs::rename(input.join("zh.txt"), input.join("改名.txt")).unwrap();
    let again = govern(&config, &out, &mut ledger, &mut |_| {}).unwrap();
    assert_eq!((again.documents_kept, again.dropped["deleted"]), (1, 2), "{:?}", again.dropped);
    assert!(id("b.txt").is_some() && id("renamed.txt").is_none() && id("改名.txt").is_none());
    // Without this ledger nothing is remembered.
    let (fresh, _) = run(&config, &dir.path().join("other")).unwrap();
    assert_eq!(fresh.documents_kept, 3);
}

#[test]
fn a_corpus_governed_twice_has_one_lineage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, _) = generated(dir.path(), 200);
    config.shard_bytes = 20_000;
    let out = dir.path().join("out");
    let (_, mut ledger) = run(&config, &out).unwrap();
    let before = data::corpus::read(&out).unwrap();
    // Other shards than before, and fewer.
    config.shard_bytes = 100_000;
    govern(&config, &out, &mut ledger, &mut |_| {}).unwrap();
    let documents = data::corpus::read(&out).unwrap();
    assert_eq!(documents.len(), before.len());
    for document in &documents {
        let products = ledger.trace(&document.id).unwrap().products;
        assert_eq!(products.len(), 1, "{products:?}");
        let made = &products[0].derivation;
        let line: usize = made.location.strip_prefix("line ").unwrap().parse().unwrap();
        let bytes = zstd::decode_all(fs::File::open(out.join(&made.child)).unwrap()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.lines().nth(line - 1).unwrap().contains(&document.id));
    }
}

#[test]
fn bad_input_is_refused_clearly() {
    let dir = folder(&[("only.txt", b"")]);
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    let message = |config: &GovernConfig| run(config, &out).unwrap_err().to_string();
    assert!(
        message(&GovernConfig::of(&input))
            .contains("no document is left of 1 in 1 files (dropped by read.empty 1)")
    );
    assert!(message(&GovernConfig::of(dir.path().join("nowhere"))).contains("nowhere"));
    fs::create_dir(dir.path().join("none")).unwrap();
    assert!(message(&GovernConfig::of(dir.path().join("none"))).contains("no file in"));
    let mut config = GovernConfig::of(&input);
    config.near.threshold = 1.5;
    assert!(message(&config).contains("`near.threshold` is 1.5; it must be above 0 and at most 1"));
    assert!(!out.join("manifest.json").exists());
    assert!(matches!(data::corpus::read(&out), Err(Error::Corpus { .. })));
    let unknown: Result<GovernConfig, _> = serde_json::from_str(r#"{"sources": [], "nears": {}}"#);
    assert!(unknown.unwrap_err().to_string().contains("unknown field `nears`"));
}

#[test]
fn a_changed_shard_is_noticed() {
    let dir = folder(&[("a.txt", EN.as_bytes())]);
    let out = dir.path().join("out");
    run(&GovernConfig::of(dir.path().join("in")), &out).unwrap();
    let shard = out.join("documents-00000.jsonl.zst");
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, bytes).unwrap();
    assert!(data::corpus::read(&out).unwrap_err().to_string().contains("the shard was changed"));
}

#[test]
fn textbook_modules_are_kept() {
    let books = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/openstax-economics/modules");
    let books = books.as_path();
    if !books.exists() {
        return skip("textbook_modules_are_kept: the textbook is absent");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut config = GovernConfig::of(books);
    for profile in [QualityProfile::Web, QualityProfile::Curated] {
        config.quality.profile = profile;
        let (report, _) = run(&config, &dir.path().join(format!("{profile:?}"))).unwrap();
        assert_eq!((report.documents_read, report.documents_kept), (182, 182), "{:?}", report.dropped);
    }
    let documents = data::corpus::read(&dir.path().join("Web")).unwrap();
    let definitions =
        documents.iter().flat_map(|d| d.metadata.keys()).filter(|k| k.starts_with("definition: "));
    assert!(definitions.count() > 300);
    // A definition can be cited: it stands in the text.
    let cited = documents.iter().flat_map(|d| {
        let of = |(key, meaning): (&String, &String)| {
            Some(format!("{}: {meaning}", key.strip_prefix("definition: ")?))
        };
        d.metadata.iter().filter_map(of).map(|line| d.text.contains(&line)).collect::<Vec<_>>()
    });
    assert!(cited.into_iter().all(|found| found));
}

#[test]
fn a_full_disk_leaves_nothing_finished() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=256k", "tmpfs"];
    let mounted = std::process::Command::new("mount").args(mount).arg(&small).output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        return skip("a_full_disk_leaves_nothing_finished: no right to mount a small file system");
    }
    let (config, _) = generated(dir.path(), 600);
    let mut ledger = Ledger::open(dir.path().join("l.sqlite")).unwrap();
    let out = small.join("out");
    let result = govern(&config, &out, &mut ledger, &mut |_| {});
    let names: Vec<String> = fs::read_dir(&out)
        .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let _ = std::process::Command::new("umount").arg(&small).status();
    let message = result.unwrap_err().to_string();
    assert!(message.contains("small") && message.contains("No space left"), "{message}");
    assert!(!names.iter().any(|n| n == "manifest.json" || n.ends_with(".partial")), "{names:?}");
}

/// Says that a test did not run.
fn skip(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(60))]
    #[test]
    fn readers_never_panic(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
        head in proptest::sample::select(vec!["", "%PDF-1.4\n", "<document><para>", "<html><p ", "id,name\n1,", "{\"text\":\"", "SQLite format 3\0", "---\n"]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let content = [head.as_bytes(), &bytes].concat();
        for reader in data::readers::READERS {
            for ending in reader.endings {
                let path = dir.path().join(format!("f{ending}"));
                fs::write(&path, &content).unwrap();
                let mut seen = 0;
                data::readers::read(&path, &data::SourceConfig::of(&path), &mut |_, _| seen += 1);
                proptest::prop_assert!(seen > 0, "{ending} gave neither a draft nor a reason");
            }
        }
    }
}
