//! Model hubs that speak the Hugging Face protocol; `HF_ENDPOINT` names another than the public one.
//!
//! A file is fetched as `<name>.<etag>.part` and continued with a range request after an interruption; its digest is
//! compared with the one the hub announces before it takes its name.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha1::Digest;
use ureq::Agent;

use super::lock::Details;
use super::source::Repository;
use crate::failure::bad_input;
use crate::progress;

const PUBLIC: &str = "https://huggingface.co";

/// Files of a model repository that matter beside its weights.
const MODEL_FILES: &[&str] = &[
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
];

/// Endings of the files of a data repository that can be governed.
const DATA_ENDINGS: &[&str] = &["txt", "md", "html", "pdf", "jsonl", "zst", "csv", "db", "sqlite"];

#[derive(serde::Deserialize)]
struct Listing {
    #[serde(default)]
    sha: String,
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: serde_json::Value,
}

#[derive(serde::Deserialize)]
struct Sibling {
    rfilename: String,
}

/// What the hub says about a file before sending it.
struct Announced {
    /// SHA-256 of a large file, or the git object id (SHA-1) of a small one; empty if not announced.
    digest: String,
    bytes: Option<u64>,
}

/// Downloads a repository into `folder`, which may hold the rest of an interrupted download.
pub(super) fn download(repository: &Repository, folder: &Path) -> Result<Details> {
    let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|text| !text.is_empty());
    let endpoint = endpoint.as_deref().unwrap_or(PUBLIC).trim_end_matches('/');
    let listing = listing(endpoint, repository)?;
    let revision = if listing.sha.is_empty() { repository.revision.clone() } else { listing.sha.clone() };
    let names = choose(repository, &listing)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    for name in &names {
        let url = format!("{endpoint}/{}/resolve/{revision}/{}", repository.name, encode(name));
        fetch(&url, name, folder).with_context(|| format!("file `{name}`"))?;
    }
    let licence = listing.card.get("license").and_then(|value| value.as_str()).unwrap_or_default();
    Ok(Details { version: revision, licence: licence.to_owned() })
}

fn listing(endpoint: &str, repository: &Repository) -> Result<Listing> {
    let kind = if repository.name.starts_with("datasets/") { "" } else { "models/" };
    let url = format!("{endpoint}/api/{kind}{}/revision/{}", repository.name, repository.revision);
    let mut response = match request(agent(true).get(&url)).call() {
        Ok(response) => response,
        Err(ureq::Error::StatusCode(code @ (401 | 403 | 404))) => {
            return Err(bad_input(format!(
                "the hub answers {code} for `{}` at revision `{}`; check the name, or set HF_TOKEN if it is gated",
                repository.name, repository.revision
            )));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot reach `{url}`")),
    };
    let text = response.body_mut().read_to_string().with_context(|| format!("cannot read `{url}`"))?;
    serde_json::from_str(&text).with_context(|| format!("`{url}` is not a repository listing"))
}

/// Which files to fetch.
fn choose(repository: &Repository, listing: &Listing) -> Result<Vec<String>> {
    let names: Vec<&str> = listing.siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
    if let Some(file) = &repository.file {
        if !names.contains(&file.as_str()) {
            return Err(bad_input(format!("`{}` has no file `{file}`", repository.name)));
        }
        return Ok(vec![file.clone()]);
    }
    let ending = |name: &str| name.rsplit_once('.').map(|(_, ending)| ending.to_owned()).unwrap_or_default();
    let of = |keep: &dyn Fn(&str) -> bool| -> Vec<String> {
        names.iter().filter(|name| keep(name)).map(|&name| name.to_owned()).collect()
    };
    let chosen = if repository.name.starts_with("datasets/") {
        of(&|name| DATA_ENDINGS.contains(&ending(name).as_str()))
    } else if names.iter().any(|name| name.ends_with(".safetensors")) {
        of(&|name| !name.contains('/') && (name.ends_with(".safetensors") || MODEL_FILES.contains(&name)))
    } else {
        let gguf = of(&|name| name.ends_with(".gguf"));
        if gguf.len() > 1 {
            return Err(bad_input(format!(
                "`{}` holds several GGUF files; name one as hf:{}:FILE, of {}",
                repository.name,
                repository.name,
                gguf.join(", ")
            )));
        }
        gguf
    };
    match chosen.iter().find(|name| name.split('/').any(|part| part.is_empty() || part == "..")) {
        Some(name) => bail!("the hub lists `{name}`, which leads outside its folder"),
        None if chosen.is_empty() => {
            Err(bad_input(format!("`{}` holds no file this program reads", repository.name)))
        }
        None => Ok(chosen),
    }
}

fn agent(follow: bool) -> Agent {
    let configuration = Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .max_redirects(if follow { 10 } else { 0 })
        .max_redirects_will_error(false)
        .build();
    Agent::new_with_config(configuration)
}

fn request<B>(builder: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
    match std::env::var("HF_TOKEN") {
        Ok(token) if !token.is_empty() => builder.header("Authorization", format!("Bearer {token}")),
        _ => builder,
    }
}

/// Digest and size, from the headers of the hub itself, before any redirect to its storage.
fn announced(url: &str) -> Result<Announced> {
    let response = request(agent(false).head(url)).call().with_context(|| format!("cannot reach `{url}`"))?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
    let digest = etag.trim_start_matches("W/").trim_matches('"').to_lowercase();
    let is_digest = [40, 64].contains(&digest.len()) && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_final = response.status().is_success();
    let bytes = header("x-linked-size").or_else(|| header("content-length").filter(|_| is_final));
    Ok(Announced {
        digest: if is_digest { digest } else { String::new() },
        bytes: bytes.and_then(|text| text.parse().ok()),
    })
}

/// Fetches one file, continuing what is there; a file whose digest is wrong is fetched once more from the start.
fn fetch(url: &str, name: &str, folder: &Path) -> Result<()> {
    let announced = announced(url)?;
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
    }
    if path.exists() && check(&path, &announced).is_ok() {
        return Ok(());
    }
    let tag = if announced.digest.is_empty() { "unverified" } else { &announced.digest };
    let part = part_path(&path, tag);
    if announced.digest.is_empty() {
        // Nothing proves that the rest belongs to the same content.
        let _ = fs::remove_file(&part);
    }
    receive(url, name, &part, announced.bytes)?;
    if let Err(first) = check(&part, &announced) {
        progress::say(format!("`{name}`: {first:#}; fetching it again"));
        fs::remove_file(&part).with_context(|| format!("cannot remove `{}`", part.display()))?;
        receive(url, name, &part, announced.bytes)?;
        check(&part, &announced)?;
    }
    fs::rename(&part, &path).with_context(|| format!("cannot rename to `{}`", path.display()))
}

/// Hidden, so that it never counts as one of the input's files.
fn part_path(path: &Path, tag: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{tag}.part"))
}

fn receive(url: &str, name: &str, part: &Path, expected: Option<u64>) -> Result<()> {
    let have = fs::metadata(part).map_or(0, |metadata| metadata.len());
    if expected.is_some_and(|expected| have == expected) {
        return Ok(());
    }
    let have = if expected.is_some_and(|expected| have > expected) { 0 } else { have };
    let mut builder = request(agent(true).get(url));
    if have > 0 {
        builder = builder.header("Range", format!("bytes={have}-"));
    }
    let mut response = builder.call().with_context(|| format!("cannot fetch `{url}`"))?;
    // A server that ignores the range sends everything from the start with status 200.
    let start = if response.status().as_u16() == 206 { have } else { 0 };
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(start == 0)
        .append(start > 0)
        .open(part)
        .or_else(|_| File::options().append(true).open(part))
        .with_context(|| format!("cannot write `{}`", part.display()))?;
    let bar = progress::bytes(expected.unwrap_or(0), name);
    bar.set_position(start);
    let mut reader = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut total = start;
    loop {
        let count = reader.read(&mut buffer).with_context(|| {
            format!("the connection broke after {total} bytes; run the same command again to continue")
        })?;
        if count == 0 {
            break;
        }
        let piece = buffer.get(..count).unwrap_or_default();
        file.write_all(piece).with_context(|| format!("cannot write `{}`", part.display()))?;
        total += count as u64;
        bar.set_position(total);
    }
    bar.finish_and_clear();
    file.sync_all().with_context(|| format!("cannot write `{}`", part.display()))?;
    match expected {
        Some(expected) if total < expected => {
            bail!(
                "the connection ended after {total} of {expected} bytes; run the same command again to continue"
            )
        }
        _ => Ok(()),
    }
}

/// Compares size and digest with what was announced.
fn check(path: &Path, announced: &Announced) -> Result<()> {
    let bytes = fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?.len();
    if let Some(expected) = announced.bytes
        && bytes != expected
    {
        bail!("{bytes} bytes received, {expected} announced");
    }
    let mut file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let found = match announced.digest.len() {
        64 => hex(&digest(&mut file, sha2::Sha256::new())?),
        40 => {
            let mut hasher = sha1::Sha1::new();
            hasher.update(format!("blob {bytes}\0"));
            hex(&digest(&mut file, hasher)?)
        }
        _ => return Ok(()),
    };
    if found != announced.digest {
        bail!("its digest is {found}, announced is {}", announced.digest);
    }
    Ok(())
}

fn digest<D: Digest>(file: &mut File, mut hasher: D) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Percent-encodes a path for a URL, keeping `/`.
fn encode(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
