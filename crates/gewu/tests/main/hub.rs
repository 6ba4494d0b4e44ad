//! Fetching from a model hub, against a small one inside this test.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::Digest;

use crate::tool::{fails, gewu, succeeds};

/// What the hub serves, and what it was asked.
struct Hub {
    files: Vec<(&'static str, Vec<u8>)>,
    /// Break the connection after this many bytes of the next large answer.
    break_after: Mutex<Option<usize>>,
    /// Announce a digest that does not fit.
    lie: bool,
    requests: Mutex<Vec<String>>,
}

fn serve(hub: Arc<Hub>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let hub = hub.clone();
            std::thread::spawn(move || answer(&hub, stream));
        }
    });
    address
}

fn answer(hub: &Hub, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let Some(first) = lines.first() else { return };
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let range =
        lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    hub.requests.lock().unwrap().push(format!("{method} {path} {}", range.clone().unwrap_or_default()));
    let mut stream = stream;
    let mut send = |head: String, body: &[u8]| {
        let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
        let _ = stream.write_all(body);
    };
    if path == "/api/models/org/tiny/revision/main" {
        let names: Vec<_> =
            hub.files.iter().map(|(name, _)| serde_json::json!({"rfilename": name})).collect();
        let body =
            serde_json::json!({"sha": "abc123", "siblings": names, "cardData": {"license": "apache-2.0"}})
                .to_string();
        return send(format!("200 OK\r\nContent-Length: {}", body.len()), body.as_bytes());
    }
    let name = path.strip_prefix("/org/tiny/resolve/abc123/").unwrap_or_default();
    let Some((_, bytes)) = hub.files.iter().find(|(known, _)| *known == name) else {
        return send("404 Not Found\r\nContent-Length: 0".into(), b"");
    };
    let content: &[u8] = if hub.lie { b"something else" } else { bytes };
    let digest: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let start: usize =
        range.as_deref().and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0);
    let rest = &bytes[start.min(bytes.len())..];
    let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
    let head = format!(
        "{status}\r\nContent-Length: {}\r\nX-Linked-Etag: \"{digest}\"\r\nX-Linked-Size: {}",
        rest.len(),
        bytes.len()
    );
    if method == "HEAD" {
        return send(head, b"");
    }
    let cut = if rest.len() > 1000 { hub.break_after.lock().unwrap().take() } else { None };
    send(head, &rest[..cut.unwrap_or(rest.len()).min(rest.len())]);
}

fn hub(lie: bool, break_after: Option<usize>) -> Arc<Hub> {
    let weights: Vec<u8> = (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect();
    Arc::new(Hub {
        files: vec![
            ("config.json", b"{}".to_vec()),
            ("model.safetensors", weights),
            ("README.md", b"# tiny".to_vec()),
        ],
        break_after: Mutex::new(break_after),
        lie,
        requests: Mutex::new(Vec::new()),
    })
}

#[test]
fn a_repository_is_fetched_verified_and_kept() {
    let hub = hub(false, None);
    let endpoint = serve(hub.clone());
    let home = tempfile::tempdir().unwrap();
    let pull = || {
        let mut command = gewu(home.path());
        command.env("HF_ENDPOINT", &endpoint).args(["pull", "hf:org/tiny", "--json"]);
        command
    };
    let value: serde_json::Value = serde_json::from_str(&succeeds(&mut pull())).unwrap();
    assert_eq!((value["version"].as_str(), value["licence"].as_str()), (Some("abc123"), Some("apache-2.0")));
    assert_eq!(value["files"].as_array().unwrap().len(), 2);
    let before = hub.requests.lock().unwrap().len();
    succeeds(&mut pull());
    assert_eq!(hub.requests.lock().unwrap().len(), before, "a cached repository needs no request");
    let place = value["path"].as_str().unwrap();
    fs::write(format!("{place}/model.safetensors"), "damaged").unwrap();
    succeeds(&mut pull());
    assert_eq!(fs::read(format!("{place}/model.safetensors")).unwrap(), hub.files[1].1);
}

#[test]
fn a_broken_download_is_continued_where_it_stopped() {
    let hub = hub(false, Some(100_000));
    let endpoint = serve(hub.clone());
    let home = tempfile::tempdir().unwrap();
    let pull = || {
        let mut command = gewu(home.path());
        command.env("HF_ENDPOINT", &endpoint).args(["pull", "hf:org/tiny"]);
        command
    };
    fails(&mut pull(), 1, "run the same command again");
    assert!(!home.path().join("inputs/hf/org--tiny").exists(), "an incomplete input must not look finished");
    let place = succeeds(&mut pull());
    assert_eq!(fs::read(format!("{}/model.safetensors", place.trim())).unwrap(), hub.files[1].1);
    let requests = hub.requests.lock().unwrap();
    assert!(requests.iter().any(|request| request.ends_with(" 100000-")), "{requests:?}");
}

#[test]
fn wrong_content_and_unknown_names_are_refused() {
    let endpoint = serve(hub(true, None));
    let home = tempfile::tempdir().unwrap();
    fails(gewu(home.path()).env("HF_ENDPOINT", &endpoint).args(["pull", "hf:org/tiny"]), 1, "digest");
    assert!(!home.path().join("inputs/hf/org--tiny").exists());
    fails(gewu(home.path()).env("HF_ENDPOINT", &endpoint).args(["pull", "hf:org/other"]), 2, "org/other");
    fails(
        gewu(home.path()).env("HF_ENDPOINT", &endpoint).args(["pull", "hf:org/tiny:none.gguf"]),
        2,
        "none.gguf",
    );
    fails(
        gewu(home.path()).env("HF_ENDPOINT", "http://127.0.0.1:9").args(["pull", "hf:org/tiny"]),
        1,
        "cannot reach",
    );
}
