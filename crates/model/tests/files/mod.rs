//! Conversions there and back, and files that are not what they claim.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kernels::quant::Format;
use model::convert::convert;
use model::weights::Tensor;
use model::weights::gguf::{self, Gguf, Value};
use model::{Checkpoint, Error};
use proptest::prelude::*;

use crate::tiny;

const FAMILIES: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Everything a checkpoint holds, read to the end; the first error otherwise.
fn read_all(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let tokenizer = checkpoint.tokenizer()?;
    tokenizer.encode_prompt("格物 <|im_end|>");
    checkpoint.chat_template(&tokenizer)?;
    let mut all = BTreeMap::new();
    for block in 0..checkpoint.config().layers.len() {
        for part in ["query", "key", "value", "output"] {
            let name = format!("blocks.{block}.mixer.{part}");
            let tensor = checkpoint.tensor(&name)?;
            tensor.to_f32()?;
            all.insert(name, tensor);
        }
    }
    all.insert("embed".into(), checkpoint.tensor("embed")?);
    Ok(all)
}

#[test]
fn a_checkpoint_survives_gguf_and_back() {
    for family in FAMILIES {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        tiny::write(&at("start"), family);
        convert(&at("start"), &at("middle.gguf"), Format::F32).unwrap();
        convert(&at("middle.gguf"), &at("end"), Format::F32).unwrap();
        let (start, end) = (at("start/model.safetensors"), at("end/model.safetensors"));
        assert_eq!(fs::read(start).unwrap().len(), fs::read(end).unwrap().len());
        assert_eq!(read_all(&at("start")).unwrap(), read_all(&at("end")).unwrap(), "{family}");
        let (first, last) = (Checkpoint::open(&at("start")).unwrap(), Checkpoint::open(&at("end")).unwrap());
        assert_eq!(first.config(), last.config());
        let text = "ab aba 格物 1234 <think>";
        let ids = |checkpoint: &Checkpoint| checkpoint.tokenizer().unwrap().encode(text);
        assert_eq!(ids(&first), ids(&last));
        assert_eq!(ids(&first), ids(&Checkpoint::open(&at("middle.gguf")).unwrap()));
    }
}

#[test]
fn quantized_files_hold_the_announced_formats() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    tiny::write(&at("start"), "qwen3");
    for (format, embed) in [
        (Format::F16, Format::F16),
        (Format::BF16, Format::BF16),
        (Format::Q8_0, Format::Q8_0),
        (Format::Q4_0, Format::Q8_0),
    ] {
        let out = at(&format!("{}.gguf", format.name()));
        convert(&at("start"), &out, format).unwrap();
        let gguf = Gguf::open(&out).unwrap();
        assert_eq!(gguf.tensors["token_embd.weight"].format, embed);
        assert_eq!(gguf.tensors["blk.1.ffn_down.weight"].format, format);
        assert_eq!(gguf.tensors["blk.1.attn_q_norm.weight"].format, Format::F32);
        read_all(&out).unwrap();
    }
    let refused = convert(&at("start"), &at("folder"), Format::Q8_0).unwrap_err();
    assert!(refused.to_string().contains("safetensors cannot hold Q8_0"), "{refused}");
    assert!(!at("folder").exists());
}

#[test]
fn an_existing_folder_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let start = temporary.path().join("start");
    tiny::write(&start, "llama");
    assert!(convert(&start, &start, Format::F32).is_err());
    read_all(&start).unwrap();
}

#[test]
fn a_failed_write_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("out.gguf");
    let plan = vec![("a".to_string(), Format::F32, vec![4]), ("b".to_string(), Format::F32, vec![4])];
    let result = gguf::write(&path, &BTreeMap::new(), &plan, |index| match index {
        0 => Ok(Tensor { format: Format::F32, shape: vec![4], bytes: vec![0; 16] }),
        _ => Err(Error::Request("the source broke".into())),
    });
    assert!(result.is_err());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn every_metadata_type_survives() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("all.gguf");
    let metadata: BTreeMap<String, Value> = [
        ("a", Value::u32(7)),
        ("b", Value::f32(-0.5)),
        ("c", Value::bool(true)),
        ("d", Value::String("格物".into())),
        ("e", Value::i32s(&[-1, 2])),
        ("f", Value::Strings(vec!["".into(), "😀".into()])),
        ("g", Value::Lists(vec![Value::Strings(vec!["x".into()]), Value::i32s(&[])])),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into();
    gguf::write(&path, &metadata, &[], |_| Err(Error::Request("no tensors".into()))).unwrap();
    let read = Gguf::open(&path).unwrap();
    assert_eq!(read.metadata, metadata);
    assert_eq!(read.metadata["e"].as_integers(), Some(vec![-1, 2]));
}

/// A GGUF header after magic and version 3.
fn file(parts: &[&[u8]]) -> Vec<u8> {
    [b"GGUF".as_slice(), &3u32.to_le_bytes()]
        .into_iter()
        .chain(parts.iter().copied())
        .flatten()
        .copied()
        .collect()
}

fn refusal(bytes: &[u8]) -> String {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("bad.gguf");
    fs::write(&path, bytes).unwrap();
    Gguf::open(&path).unwrap_err().to_string()
}

#[test]
fn hostile_headers_are_named() {
    let n = |value: u64| value.to_le_bytes();
    let i = |value: u32| value.to_le_bytes();
    let name = |text: &'static [u8]| [&n(text.len() as u64)[..], text].concat();
    let tensor = |dims: &[u64], kind: u32, offset: u64| {
        let dims: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
        [&name(b"t")[..], &i((dims.len() / 8) as u32), &dims, &i(kind), &n(offset)].concat()
    };
    for (bytes, expected) in [
        (b"".to_vec(), "truncated"),
        (b"PK\x03\x04....".to_vec(), "GGUF"),
        ([b"GGUF".as_slice(), &9u32.to_le_bytes()].concat(), "version 9"),
        ([b"GGUF".as_slice(), &3u32.to_be_bytes()].concat(), "big-endian"),
        (file(&[&n(u64::MAX), &n(0)]), "tensor count"),
        (file(&[&n(0), &n(1 << 60)]), "metadata count"),
        (file(&[&n(0), &n(1), &n(1 << 50), &[0; 64]]), "metadata key 0"),
        (file(&[&n(0), &n(1), &name(b"\xff\xfe"), &i(4), &i(1)]), "UTF-8"),
        (file(&[&n(0), &n(1), &name(b"k"), &i(77), &i(1)]), "unknown value type 77"),
        (file(&[&n(0), &n(1), &name(b"k"), &i(9), &i(10), &n(1 << 61), &[0; 32]]), "`k`"),
        (file(&[&n(0), &n(2), &name(b"k"), &i(4), &i(1), &name(b"k"), &i(4), &i(1)]), "occurs twice"),
        (file(&[&n(0), &n(1), &name(b"general.alignment"), &i(4), &i(3)]), "power of two"),
        (file(&[&n(1), &n(0), &tensor(&[4], 0, 0)]), "beyond the end"),
        (file(&[&n(1), &n(0), &tensor(&[4], 0, 5), &[0; 64]]), "multiple of 32"),
        (file(&[&n(1), &n(0), &tensor(&[1 << 40, 1 << 40], 0, 0), &[0; 64]]), "too large"),
        (file(&[&n(1), &n(0), &tensor(&[0], 0, 0), &[0; 64]]), "empty"),
        (file(&[&n(1), &n(0), &tensor(&[31], 8, 0), &[0; 64]]), "Q8_0 blocks"),
        (file(&[&n(1), &n(0), &tensor(&[32], 99, 0), &[0; 64]]), "99"),
        (file(&[&n(2), &n(0), &tensor(&[4], 0, 0), &tensor(&[4], 0, 0), &[0; 96]]), "occurs twice"),
    ] {
        let found = refusal(&bytes);
        assert!(found.contains(expected), "`{found}` does not say `{expected}`");
    }
    let twice = [&tensor(&[16], 0, 0)[..], &name(b"u"), &i(1), &n(16), &i(0), &n(32), &[0; 256]].concat();
    assert!(refusal(&file(&[&n(2), &n(0), &twice])).contains("overlap"));
}

#[test]
fn shapes_that_contradict_the_configuration_are_named() {
    let temporary = tempfile::tempdir().unwrap();
    tiny::write(temporary.path(), "llama");
    let config = fs::read_to_string(temporary.path().join("config.json")).unwrap();
    let changed = config.replace("\"intermediate_size\":64", "\"intermediate_size\":96");
    assert_ne!(config, changed);
    fs::write(temporary.path().join("config.json"), changed).unwrap();
    let error =
        model::Local::open(temporary.path(), &model::LoadOptions::default()).err().unwrap().to_string();
    assert!(error.contains("[64, 32]") && error.contains("[96, 32]"), "{error}");
}

/// Reads a damaged copy: whatever happens, it is an error or a value, and no panic; of one that is only cut, an error.
fn damaged(original: &[u8], name: &str, folder: &Path, cut: Option<usize>, flips: &[(usize, u8)]) {
    let mut bytes = original.to_vec();
    for (at, mask) in flips {
        let at = at % bytes.len();
        bytes[at] ^= mask;
    }
    let whole = bytes.len();
    bytes.truncate(cut.map_or(whole, |cut| cut % whole));
    fs::write(folder.join(name), &bytes).unwrap();
    let target = if name.ends_with(".gguf") { folder.join(name) } else { folder.to_path_buf() };
    let _ = read_all(&target);
    if bytes.len() < whole {
        // Without the flips: a flipped count may say that there is less to read than the cut left.
        fs::write(folder.join(name), &original[..bytes.len()]).unwrap();
        let read = read_all(&target);
        assert!(read.is_err(), "a file cut to {} of {whole} bytes was accepted", bytes.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 32 } else { 400 }))]
    #[test]
    fn damaged_files_never_panic(
        cut in prop::option::of(any::<usize>()),
        // Damage in the first bytes hits counts and lengths.
        flips in prop::collection::vec((prop_oneof![0usize..64, 0usize..9000, any::<usize>()], 1u8..), 0..6),
    ) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("folder");
        tiny::write(&folder, "llama");
        let path = temporary.path().join("whole.gguf");
        convert(&folder, &path, Format::Q8_0).unwrap();
        damaged(&fs::read(&path).unwrap(), "damaged.gguf", temporary.path(), cut, &flips);
        for name in ["model.safetensors", "tokenizer.json", "config.json"] {
            let original = fs::read(folder.join(name)).unwrap();
            damaged(&original, name, &folder, cut, &flips);
            fs::write(folder.join(name), &original).unwrap();
        }
    }
}
