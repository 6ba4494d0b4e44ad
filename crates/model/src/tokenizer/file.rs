//! Vocabularies in files: the metadata of a GGUF file, or `tokenizer.json` with `tokenizer_config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::split::{GPT2, SCHEMES, Scheme};
use super::{TokenKind, Vocabulary};
use crate::Error;
use crate::weights::gguf::{Gguf, Value};

/// Codes of `tokenizer.ggml.token_type`.
const TOKEN_TYPES: &[(i64, TokenKind)] = &[
    (1, TokenKind::Normal),
    (2, TokenKind::Control), // unknown
    (3, TokenKind::Control),
    (4, TokenKind::Added),
    (5, TokenKind::Unused),
    (6, TokenKind::Normal), // byte
];

impl Vocabulary {
    /// The vocabulary a GGUF file carries. Errors if it is incomplete or of a kind other than byte-level BPE.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, Error> {
        let model = gguf.required("tokenizer.ggml.model", Value::as_str)?;
        if model != "gpt2" {
            return Err(Error::Unsupported(format!(
                "tokenizer kind `{model}` (byte-level BPE, called `gpt2` in GGUF, is supported)"
            )));
        }
        let name = gguf.optional("tokenizer.ggml.pre", Value::as_str)?.unwrap_or("gpt-2");
        let scheme = SCHEMES.iter().find(|scheme| scheme.names.contains(&name)).ok_or_else(|| {
            let known: Vec<_> = SCHEMES.iter().flat_map(|scheme| scheme.names).copied().collect();
            Error::Unsupported(format!("pre-tokenizer `{name}`; known are {}", known.join(", ")))
        })?;
        let tokens = gguf.required("tokenizer.ggml.tokens", Value::as_strings)?.to_vec();
        let kinds = match gguf.optional("tokenizer.ggml.token_type", Value::as_integers)? {
            None => vec![TokenKind::Normal; tokens.len()],
            Some(codes) => codes
                .iter()
                .map(|code| TOKEN_TYPES.iter().find(|(known, _)| known == code).map(|(_, kind)| *kind))
                .collect::<Option<_>>()
                .ok_or_else(|| gguf.invalid("`tokenizer.ggml.token_type` holds an unknown type"))?,
        };
        let merges = gguf
            .required("tokenizer.ggml.merges", Value::as_strings)?
            .iter()
            .map(|rule| pair(rule))
            .collect::<Option<_>>()
            .ok_or_else(|| gguf.invalid("`tokenizer.ggml.merges` holds a rule that is not two tokens"))?;
        let id = |key: &str| -> Result<Option<u32>, Error> {
            let id = gguf.optional(key, Value::as_integer)?;
            id.map(|id| u32::try_from(id).map_err(|_| gguf.invalid(format!("`{key}` is {id}")))).transpose()
        };
        let add_bos = gguf.optional("tokenizer.ggml.add_bos_token", Value::as_bool)?;
        Ok(Self {
            tokens,
            kinds,
            merges,
            scheme,
            nfc: scheme.nfc,
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            // Without the key, files of this scheme mean yes and all others no.
            add_bos: add_bos.unwrap_or(scheme.names.contains(&"llama-bpe")),
        })
    }

    /// The vocabulary as GGUF metadata.
    pub fn to_gguf(&self) -> BTreeMap<String, Value> {
        let code = |kind| {
            TOKEN_TYPES.iter().find(|(c, known)| *c != 2 && *known == kind).map_or(1, |(c, _)| *c as i32)
        };
        let merges = self.merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
        let mut out = BTreeMap::from([
            ("model", Value::String("gpt2".into())),
            ("pre", Value::String(self.scheme.names[0].into())),
            ("tokens", Value::Strings(self.tokens.clone())),
            ("token_type", Value::i32s(&self.kinds.iter().map(|kind| code(*kind)).collect::<Vec<_>>())),
            ("merges", Value::Strings(merges)),
            ("add_bos_token", Value::bool(self.add_bos)),
        ]);
        out.extend(self.bos.map(|id| ("bos_token_id", Value::u32(id))));
        out.extend(self.eos.map(|id| ("eos_token_id", Value::u32(id))));
        out.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect()
    }

    /// The vocabulary of a folder with `tokenizer.json` and, if present, `tokenizer_config.json`.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("tokenizer.json");
        let json = crate::weights::safetensors::read_json(&path)?;
        let config_path = folder.join("tokenizer_config.json");
        let config = if config_path.exists() {
            crate::weights::safetensors::read_json(&config_path)?
        } else {
            Json::Null
        };
        Self::from_json(&json, &config).map_err(|reason| Error::Format {
            path,
            format: "tokenizer.json",
            reason,
        })
    }

    fn from_json(json: &Json, config: &Json) -> Result<Self, String> {
        let model = &json["model"];
        // Files older than the `type` field are BPE if they have merges.
        if model["type"].as_str().is_some_and(|kind| kind != "BPE") || !model["merges"].is_array() {
            return Err(format!("model type {} is not supported (BPE is)", model["type"]));
        }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if model[key].as_str().is_some_and(|text| !text.is_empty()) {
                return Err(format!("`model.{key}` is not supported"));
            }
        }
        if model["byte_fallback"] == true {
            return Err("`model.byte_fallback` is not supported".into());
        }
        let whole_pieces = model["ignore_merges"] == true;
        let scheme = scheme(&json["pre_tokenizer"], whole_pieces)?;
        let nfc = normalizer(&json["normalizer"])?;
        let (tokens, kinds) = tokens(json)?;
        let merges = model["merges"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rule| match rule {
                Json::String(rule) => pair(rule),
                rule => Some((rule[0].as_str()?.to_string(), rule[1].as_str()?.to_string())),
            })
            .collect::<Option<_>>()
            .ok_or("`model.merges` holds a rule that is not two tokens")?;
        let id = |key: &str| {
            let text = config[key].as_str().or_else(|| config[key]["content"].as_str())?;
            tokens.iter().position(|token| token == text).map(|id| id as u32)
        };
        let (bos, eos) = (id("bos_token"), id("eos_token"));
        let add_bos = config["add_bos_token"] == true || begins_with_special(&json["post_processor"]);
        Ok(Self { kinds, merges, scheme, nfc, bos, eos, add_bos, tokens })
    }

    /// The vocabulary as the contents of `tokenizer.json` and `tokenizer_config.json`.
    pub fn to_json(&self, chat_template: Option<&str>) -> (Json, Json) {
        let present =
            || (0..).zip(&self.tokens).zip(&self.kinds).filter(|(_, kind)| **kind != TokenKind::Unused);
        let vocabulary: Map<String, Json> =
            present().map(|((id, text), _): ((u32, &String), _)| (text.clone(), json!(id))).collect();
        let added: Vec<Json> = present()
            .filter(|(_, kind)| **kind != TokenKind::Normal)
            .map(|((id, text), kind): ((u32, &String), _)| {
                json!({
                    "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == TokenKind::Control,
                })
            })
            .collect();
        let text = |id: Option<u32>| id.and_then(|id| self.tokens.get(id as usize));
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": added,
            "normalizer": if self.nfc { json!({"type": "NFC"}) } else { Json::Null },
            "pre_tokenizer": pre_tokenizer(self.scheme),
            "post_processor": match text(self.bos).filter(|_| self.add_bos) {
                Some(bos) => json!({
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {bos: {"id": bos, "ids": [self.bos], "tokens": [bos]}},
                }),
                None => Json::Null,
            },
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": self.scheme.whole_pieces,
                "vocab": vocabulary,
                "merges": self.merges,
            },
        });
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": text(self.bos), "eos_token": text(self.eos),
            "add_bos_token": self.add_bos, "add_prefix_space": false,
            "clean_up_tokenization_spaces": false, "chat_template": chat_template,
        });
        (tokenizer, config)
    }
}

/// A merge rule written as two tokens around a space; the first may itself be a space.
fn pair(rule: &str) -> Option<(String, String)> {
    let skip = rule.chars().next()?.len_utf8();
    let at = skip + rule[skip..].find(' ')?;
    let (left, right) = (&rule[..at], &rule[at + 1..]);
    (!right.is_empty()).then(|| (left.to_string(), right.to_string()))
}

fn tokens(json: &Json) -> Result<(Vec<String>, Vec<TokenKind>), String> {
    let mut entries = BTreeMap::new();
    for (text, id) in json["model"]["vocab"].as_object().ok_or("`model.vocab` is missing")? {
        let id = id.as_u64().ok_or_else(|| format!("the id of token `{text}` is {id}"))?;
        if let Some((other, _)) = entries.insert(id, (text.clone(), TokenKind::Normal)) {
            return Err(format!("tokens `{other}` and `{text}` share id {id}"));
        }
    }
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let (Some(id), Some(text)) = (token["id"].as_u64(), token["content"].as_str()) else {
            return Err(format!("added token {token} lacks an id or its content"));
        };
        if ["lstrip", "rstrip", "single_word"].iter().any(|option| token[option] == true) {
            return Err(format!(
                "added token `{text}` uses lstrip, rstrip or single_word, which is not supported"
            ));
        }
        let kind = if token["special"] == true { TokenKind::Control } else { TokenKind::Added };
        entries.insert(id, (text.to_string(), kind));
    }
    let last = entries.last_key_value().map(|(id, _)| *id).ok_or("`model.vocab` is empty")?;
    if last >= 2 * entries.len() as u64 + 4096 {
        return Err(format!("token id {last} is far beyond the {} tokens", entries.len()));
    }
    Ok((0..=last)
        .map(|id| entries.remove(&id).unwrap_or_else(|| (format!("[PAD{id}]"), TokenKind::Unused)))
        .unzip())
}

/// The steps of a pre-tokenizer or normalizer: itself, or the members of a sequence.
fn steps<'j>(json: &'j Json, members: &str) -> Vec<&'j Json> {
    match json["type"].as_str() {
        None => Vec::new(),
        Some("Sequence") => json[members].as_array().into_iter().flatten().collect(),
        Some(_) => vec![json],
    }
}

fn normalizer(json: &Json) -> Result<bool, String> {
    let mut nfc = false;
    for step in steps(json, "normalizers") {
        match step["type"].as_str() {
            Some("NFC") => nfc = true,
            _ => return Err(format!("normalizer {step} is not supported (NFC is)")),
        }
    }
    Ok(nfc)
}

fn scheme(json: &Json, whole_pieces: bool) -> Result<&'static Scheme, String> {
    let (mut digits, mut pattern, mut byte_level) = (false, None, false);
    for step in steps(json, "pretokenizers") {
        match step["type"].as_str() {
            Some("Digits") if step["individual_digits"] == true => digits = true,
            Some("Split") if step["behavior"] == "Isolated" && step["invert"] != true => {
                pattern = step["pattern"]["Regex"].as_str();
            }
            Some("ByteLevel") if step["add_prefix_space"] != true => {
                byte_level = true;
                if step["use_regex"] != false {
                    pattern = Some(GPT2);
                }
            }
            _ => return Err(format!("pre-tokenizer step {step} is not supported")),
        }
    }
    if !byte_level {
        return Err("the pre-tokenizer is not byte-level".into());
    }
    SCHEMES
        .iter()
        .find(|scheme| {
            scheme.digits == digits && Some(scheme.pattern) == pattern && scheme.whole_pieces == whole_pieces
        })
        .ok_or_else(|| format!("pre-tokenizer {json} is none of the known ones"))
}

fn pre_tokenizer(scheme: &Scheme) -> Json {
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let mut steps = Vec::new();
    if scheme.digits {
        steps.push(json!({"type": "Digits", "individual_digits": true}));
    }
    if scheme.pattern == GPT2 {
        steps.push(byte_level(true));
    } else {
        let pattern = json!({"Regex": scheme.pattern});
        steps.push(json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false}));
        steps.push(byte_level(false));
    }
    json!({"type": "Sequence", "pretokenizers": steps})
}

fn begins_with_special(post_processor: &Json) -> bool {
    steps(post_processor, "processors")
        .iter()
        .any(|step| step["type"] == "TemplateProcessing" && step["single"][0]["SpecialToken"].is_object())
}
