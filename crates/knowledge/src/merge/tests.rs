//! Merges against mergekit's recorded results, and everything that must be refused.

use std::fs;
use std::path::{Path, PathBuf};

use model::weights::Tensor;
use model::weights::safetensors::{self, SafeTensors};
use model::{Checkpoint, convert};
use serde_json::{Value as Json, json};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/merge").join(name)
}

fn request(method: Method, output: PathBuf) -> MergeRequest {
    MergeRequest {
        method,
        base: method.info().needs_base.then(|| fixture("base")),
        models: vec![(fixture("finance"), 0.7), (fixture("medicine"), 0.5)],
        density: None,
        t: None,
        lambda: None,
        normalize: None,
        seed: 0,
        format: "F32".into(),
        output,
    }
}

fn run(request: &MergeRequest) -> Result<MergeSummary, Error> {
    merge(request, &mut |_| {})
}

/// The largest difference between two sets of tensors of the same names.
fn distance(left: &Path, right: &Path) -> f32 {
    let open = |path: &Path| {
        if path.is_dir() { SafeTensors::open(path).unwrap() } else { SafeTensors::file(path).unwrap() }
    };
    let (left, right) = (open(left), open(right));
    assert!(left.tensors.keys().eq(right.tensors.keys()));
    let mut largest = 0.0f32;
    for name in left.tensors.keys() {
        let (x, y) = (left.tensor(name).unwrap(), right.tensor(name).unwrap());
        assert_eq!(x.shape, y.shape, "{name}");
        let pairs = x.to_f32().unwrap().into_iter().zip(y.to_f32().unwrap());
        largest = pairs.map(|(x, y)| (x - y).abs()).fold(largest, f32::max);
    }
    largest
}

/// The requests whose results `scripts/record_merge_fixtures.py` recorded.
fn recorded(output: impl Fn(&str) -> PathBuf) -> Vec<(&'static str, MergeRequest)> {
    let of = |name, method| (name, request(method, output(name)));
    let mut cases = vec![
        of("linear", Method::Linear),
        of("linear_sum", Method::Linear),
        of("slerp", Method::Slerp),
        of("task_arithmetic", Method::TaskArithmetic),
        of("ties", Method::Ties),
        of("ties_sum", Method::Ties),
    ];
    cases[1].1.normalize = Some(false);
    cases[2].1.models.truncate(1);
    cases[2].1.t = Some(0.3);
    cases[3].1.lambda = Some(0.8);
    (cases[4].1.density, cases[4].1.lambda) = (Some(0.4), Some(0.9));
    (cases[5].1.density, cases[5].1.normalize) = (Some(0.25), Some(false));
    cases[5].1.models.iter_mut().for_each(|(_, weight)| *weight = 0.6);
    cases
}

#[test]
fn deterministic_methods_equal_mergekit() {
    let folder = tempfile::tempdir().unwrap();
    for (name, request) in recorded(|name| folder.path().join(name)) {
        let summary = run(&request).unwrap();
        let error = distance(&request.output, &fixture(&format!("{name}.safetensors")));
        assert!(error <= 1e-6, "{name}: {error}");
        println!("{name}: largest difference {error:e}");
        // The methods are told apart: another one's record is far.
        let other = if name == "linear" { "linear_sum.safetensors" } else { "linear.safetensors" };
        assert!(distance(&request.output, &fixture(other)) > 1e-3, "{name}");
        assert_eq!(summary.tensors, 20, "{name}");
    }
}

#[test]
fn gguf_and_safetensors_merge_in_one_order_under_chinese_names() {
    let folder = tempfile::tempdir().unwrap();
    let 目录 = folder.path().join("模型 合并");
    fs::create_dir(&目录).unwrap();
    let gguf = |name: &str, as_name: &str| {
        let path = 目录.join(as_name);
        convert::convert(&fixture(name), &path, convert::type_named("F32").unwrap()).unwrap();
        path
    };
    let mut mixed = request(Method::TaskArithmetic, 目录.join("结果"));
    mixed.lambda = Some(0.8);
    mixed.models[0].0 = gguf("finance", "金融.gguf");
    run(&mixed).unwrap();
    assert!(distance(&mixed.output, &fixture("task_arithmetic.safetensors")) <= 1e-6);

    // The other way around: into a GGUF file, then back into a folder.
    mixed.models[0].0 = fixture("finance");
    mixed.base = Some(gguf("base", "基座.gguf"));
    mixed.output = 目录.join("结果.gguf");
    run(&mixed).unwrap();
    let back = 目录.join("返回");
    convert::convert(&mixed.output, &back, convert::type_named("F32").unwrap()).unwrap();
    assert!(distance(&back, &fixture("task_arithmetic.safetensors")) <= 1e-6);
    assert_eq!(Checkpoint::open(&mixed.output).unwrap().tokenizer().unwrap().len(), 64);
}

#[test]
fn dare_is_its_seed_and_on_average_task_arithmetic() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| {
        let all = SafeTensors::open(path).unwrap();
        all.tensor("model.embed_tokens.weight").unwrap().to_f32().unwrap()
    };
    let exact = folder.path().join("exact");
    run(&request(Method::TaskArithmetic, exact.clone())).unwrap();
    let exact = read(&exact);
    let mut sum = vec![0.0f64; exact.len()];
    let dare = |seed: u64, name: &str| {
        let mut request = request(Method::DareLinear, folder.path().join(name));
        (request.seed, request.density) = (seed, Some(0.5));
        run(&request).unwrap();
        read(&request.output)
    };
    let seeds = 40;
    for seed in 0..seeds {
        let found = dare(seed, &format!("{seed}"));
        sum.iter_mut().zip(&found).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    assert_eq!(dare(3, "again"), dare(3, "and again"));
    assert_ne!(dare(3, "one"), dare(4, "other"));
    let error: f64 =
        sum.iter().zip(&exact).map(|(sum, value)| (sum / seeds as f64 - f64::from(*value)).powi(2)).sum();
    // An entry's variance is d² (1/density - 1): 0.056² + 0.015² for one draw, a 40th of it for the mean.
    let expected = (0.056f64.powi(2) + 0.015f64.powi(2)) / seeds as f64;
    let mean = error / exact.len() as f64;
    assert!((0.7..1.4).contains(&(mean / expected)), "{mean} {expected}");
    let mut ties = request(Method::DareTies, folder.path().join("ties"));
    ties.density = Some(1.0);
    let mut trimmed = request(Method::Ties, folder.path().join("trimmed"));
    (trimmed.density, trimmed.normalize) = (Some(1.0), Some(false));
    run(&ties).unwrap();
    run(&trimmed).unwrap();
    assert_eq!(distance(&ties.output, &trimmed.output), 0.0);
}

#[test]
fn a_model_merged_with_its_base_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = request(Method::TaskArithmetic, folder.path().join("whole"));
    whole.models = vec![(fixture("finance"), 1.0)];
    let summary = run(&whole).unwrap();
    assert!(distance(&whole.output, &fixture("finance")) <= 1e-7);
    assert!((summary.account.cosines[0][0] - 1.0).abs() < 1e-12);
    assert_eq!(summary.account.shared, 0);
    whole.models[0].1 = 0.0;
    whole.output = folder.path().join("none");
    run(&whole).unwrap();
    assert_eq!(distance(&whole.output, &fixture("base")), 0.0);
}

#[test]
fn the_account_is_that_of_independent_changes() {
    let folder = tempfile::tempdir().unwrap();
    let mut request = request(Method::Ties, folder.path().join("out"));
    let mut heard = Vec::new();
    let summary = merge(&request, &mut |at| heard.push((at.tensor.to_string(), at.done, at.of))).unwrap();
    assert_eq!((heard.len(), heard[0].clone()), (20, ("embed".into(), 1, 20)));
    let account = &summary.account;
    assert_eq!(account.compared, Compared::TaskVectors);
    let conflicts = account.sign_conflicts as f64 / account.shared as f64;
    // Two independent symmetric changes: half the signs differ, the cosine is 0.
    assert!((conflicts - 0.5).abs() < 0.03 && account.cosines[0][1].abs() < 0.05, "{account:?}");
    assert!((account.norms[0] / account.norms[1] - 8.0 / 3.0).abs() < 0.1, "{account:?}");
    assert_eq!(summary.parameters.density, Some(0.2));
    let json = serde_json::to_string(&summary).unwrap();
    let read: MergeSummary = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (read.method, read.parameters, read.models),
        (Method::Ties, summary.parameters, summary.models)
    );
    request.output = folder.path().join("again");
    assert_eq!(run(&request).unwrap().account, summary.account);
    assert_eq!(
        fs::read(folder.path().join("out/model.safetensors")).unwrap(),
        fs::read(folder.path().join("again/model.safetensors")).unwrap()
    );
}

/// A copy of `finance` whose JSON file and tensors were changed.
fn changed(
    folder: &Path,
    file: &str,
    change: impl FnOnce(&mut Json),
    tensors: impl FnOnce(&mut Vec<(String, Tensor)>),
) -> PathBuf {
    let path = folder.join("changed");
    fs::create_dir(&path).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(fixture("finance").join(name), path.join(name)).unwrap();
    }
    let mut json: Json = serde_json::from_slice(&fs::read(path.join(file)).unwrap()).unwrap();
    change(&mut json);
    fs::write(path.join(file), json.to_string()).unwrap();
    let stored = SafeTensors::open(&fixture("finance")).unwrap();
    let mut all: Vec<_> =
        stored.tensors.keys().map(|name| (name.clone(), stored.tensor(name).unwrap())).collect();
    tensors(&mut all);
    let plan: Vec<_> =
        all.iter().map(|(name, tensor)| (name.clone(), tensor.format, tensor.shape.clone())).collect();
    safetensors::write(&path.join("model.safetensors"), &plan, |index| Ok(all[index].1.clone())).unwrap();
    path
}

fn embedding(all: &mut [(String, Tensor)]) -> &mut Tensor {
    &mut all.iter_mut().find(|(name, _)| name == "model.embed_tokens.weight").unwrap().1
}

type Change = (&'static str, &'static str, fn(&mut Json), fn(&mut Vec<(String, Tensor)>));

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let changes: &[Change] = &[
        (
            "vocabularies have 66 and 64",
            "config.json",
            |json| json["vocab_size"] = json!(66),
            |all| {
                let embed = embedding(all);
                *embed = Tensor::from_f32(vec![66, 32], &[0.5; 66 * 32]);
            },
        ),
        (
            "embeddings are untied",
            "config.json",
            |json| json["tie_word_embeddings"] = json!(false),
            |all| {
                let head = embedding(all).clone();
                all.push(("lm_head.weight".into(), head));
            },
        ),
        ("attention.rope.base: 20000", "config.json", |json| json["rope_theta"] = json!(20_000.0), |_| {}),
        (
            "one is qwen2",
            "config.json",
            |json| json["model_type"] = json!("qwen2"),
            |all| {
                for index in 0..2 {
                    for (part, rows) in [("q", 32), ("k", 16), ("v", 16)] {
                        let name = format!("model.layers.{index}.self_attn.{part}_proj.bias");
                        all.push((name, Tensor::from_f32(vec![rows], &vec![0.0; rows])));
                    }
                }
            },
        ),
        (
            "`model.embed_tokens.weight`|tensor `embed` has shape [63, 32]",
            "config.json",
            |_| {},
            |all| {
                *embedding(all) = Tensor::from_f32(vec![63, 32], &[0.5; 63 * 32]);
            },
        ),
        (
            "token 10 is `B` there and `)` here",
            "tokenizer.json",
            |json| {
                let vocabulary = &mut json["model"]["vocab"];
                let other = vocabulary["B"].clone();
                (vocabulary["B"], vocabulary[")"]) = (json!(10), other);
            },
            |_| {},
        ),
        (
            "token 63 is `AB` there",
            "tokenizer.json",
            |json| {
                let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
                let last = vocabulary.len() - 1;
                vocabulary.retain(|_, id| *id != json!(last));
                json["model"]["merges"] = json!([["A", "B"]]);
                json["model"]["vocab"]["AB"] = json!(last);
            },
            |_| {},
        ),
        (
            "not finite at element 7",
            "config.json",
            |_| {},
            |all| {
                embedding(all).bytes[7 * 4..8 * 4].copy_from_slice(&f32::NAN.to_le_bytes());
            },
        ),
    ];
    for (expected, file, json, tensors) in changes {
        let folder = tempfile::tempdir().unwrap();
        let path = changed(folder.path(), file, json, tensors);
        for output in ["out", "out.gguf"] {
            let mut request = request(Method::Ties, folder.path().join(output));
            request.models[1].0 = path.clone();
            let error = run(&request).unwrap_err().to_string();
            println!("{error}");
            let known = expected.split('|').any(|part| error.contains(part));
            assert!(known, "{expected}: {error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{expected}");
        }
    }
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = || folder.path().join("out");
    let refused = |method, expected: &str, change: &dyn Fn(&mut MergeRequest)| {
        let mut request = request(method, output());
        change(&mut request);
        let error = run(&request).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{expected}");
    };
    refused(Method::Linear, "no parameter `density`", &|request| request.density = Some(0.5));
    refused(Method::Linear, "has no base", &|request| request.base = Some(fixture("base")));
    refused(Method::Linear, "sum to 0", &|request| request.models[0].1 = -0.5);
    refused(Method::Linear, "no model", &|request| request.models.clear());
    refused(Method::Ties, "needs `base`", &|request| request.base = None);
    refused(Method::Ties, "above 0", &|request| request.density = Some(0.0));
    refused(Method::Slerp, "to one model, not 2", &|_| {});
    refused(Method::Ties, "not finite", &|request| request.models[1].1 = f64::NAN);
    refused(Method::Ties, "choose one of F32", &|request| request.format = "Q2_K".into());
    refused(Method::Ties, "safetensors cannot hold", &|request| request.format = "Q8_0".into());
    refused(Method::Ties, "exists", &|request| request.output = fixture("base"));
    assert!(Method::named("slurp").unwrap_err().to_string().contains("dare_ties"));
    for info in METHODS {
        assert_eq!(Method::named(info.name).unwrap(), info.method);
        assert_eq!(json!(info.method), json!(info.name));
    }
}
