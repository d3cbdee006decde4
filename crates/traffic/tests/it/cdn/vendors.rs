//! APIs of vendors as their references describe them, with state, in this process.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// The token that every vendor takes.
pub(crate) const TOKEN: &str = "right-token";

/// What a vendor has, and what it does to the next requests that change something.
#[derive(Default)]
pub(crate) struct State {
    /// Fastly: the address of backend `origin` in each version, and which is active.
    pub(crate) versions: BTreeMap<u64, String>,
    pub(crate) active: u64,
    /// Fastly: versions that were active are locked.
    pub(crate) once_active: BTreeSet<u64>,
    /// Fastly: what stands beside a version; a clone has it from the version that it is of.
    pub(crate) comments: BTreeMap<u64, String>,
    /// Fastly: what a validation finds wrong.
    pub(crate) invalid: Option<String>,
    /// bunny.net: the origin URL, beside a setting of somebody else's.
    pub(crate) origin_url: String,
    /// Cloudflare: content and whether it is proxied.
    pub(crate) records: Vec<(String, bool)>,
    /// What was asked: method and path.
    pub(crate) asked: Vec<String>,
    /// Answers in place of the right ones, to requests that write.
    pub(crate) faults: VecDeque<Fault>,
    /// Done when a backend is written, before it is answered: somebody else deploys.
    pub(crate) deployed_meanwhile: Option<String>,
}

pub(crate) enum Fault {
    /// Does as it is asked.
    None,
    /// Refuses.
    Status(u16, Value),
    /// Does it and answers nothing.
    LosesAnswer,
    /// Closes without doing it.
    LosesRequest,
}

pub(crate) type Vendor = Arc<Mutex<State>>;

/// Starts a vendor; returns its API's address.
pub(crate) async fn start(state: State) -> (Vendor, String) {
    let state = Arc::new(Mutex::new(state));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let shared = state.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(BufReader::new(stream), shared.clone()));
        }
    });
    (state, format!("http://{address}"))
}

async fn serve(mut stream: BufReader<tokio::net::TcpStream>, state: Vendor) {
    loop {
        let (mut head, mut length, mut token) = (String::new(), 0, false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            let sent = [format!("fastly-key: {TOKEN}"), format!("accesskey: {TOKEN}")];
            let bearer = format!("authorization: bearer {TOKEN}");
            token |= sent.iter().chain([&bearer]).any(|right| lower.trim() == right);
            if head.is_empty() {
                head = line.clone();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let Some((status, answer)) = answer(&state, method, path, &body, token) else { return };
        let text = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nretry-after: 0\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        if stream.get_mut().write_all(head.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(
    state: &Vendor,
    method: &str,
    path: &str,
    body: &[u8],
    token: bool,
) -> Option<(u16, Value)> {
    let mut state = state.lock().unwrap();
    state.asked.push(format!("{method} {path}"));
    if !token {
        return Some((401, json!({ "msg": "Provided credentials are missing or invalid" })));
    }
    let fault = if method == "GET" { None } else { state.faults.pop_front() };
    match fault {
        Some(Fault::Status(status, answer)) => return Some((status, answer)),
        Some(Fault::LosesRequest) => return None,
        Some(Fault::LosesAnswer) => {
            act(&mut state, method, path, body);
            return None;
        }
        Some(Fault::None) | None => {}
    }
    Some(act(&mut state, method, path, body))
}

fn act(state: &mut State, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        (_, ["service", "S1", "version", rest @ ..]) => fastly(state, method, rest, body),
        ("GET", ["pullzone", "1234"]) => {
            (200, json!({ "Id": 1234, "OriginUrl": state.origin_url }))
        }
        ("POST", ["pullzone", "1234"]) => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            match asked["OriginUrl"].as_str() {
                Some(url) if url.starts_with("http") => {
                    url.clone_into(&mut state.origin_url);
                    (200, json!({ "Id": 1234, "OriginUrl": url }))
                }
                _ => (400, json!({ "ErrorKey": "validation_error", "Field": "OriginUrl" })),
            }
        }
        ("GET", ["zones", "z1", records]) => {
            assert_eq!(*records, "dns_records?name=www.example.test&type=A");
            let one = |(at, (content, proxied)): (usize, &(String, bool))| json!({ "id": format!("r{at}"), "content": content, "proxied": proxied });
            let all: Vec<_> = state.records.iter().enumerate().map(one).collect();
            (200, json!({ "success": true, "result": all }))
        }
        ("PATCH", ["zones", "z1", "dns_records", "r0"]) => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            asked["content"].as_str().unwrap().clone_into(&mut state.records[0].0);
            (200, json!({ "success": true, "result": {} }))
        }
        _ => (404, json!({ "msg": "Record not found" })),
    }
}

fn fastly(state: &mut State, method: &str, path: &[&str], body: &[u8]) -> (u16, Value) {
    let shown = |state: &State, number: u64| {
        json!({
            "number": number,
            "active": number == state.active,
            "locked": state.once_active.contains(&number),
            "comment": state.comments.get(&number).map_or("", String::as_str),
        })
    };
    let Some(number) = path.first().map(|number| number.parse::<u64>().unwrap()) else {
        let all: Vec<_> = state.versions.keys().map(|n| shown(state, *n)).collect();
        return (200, json!(all));
    };
    let locked = (422, json!({ "msg": "Bad request", "detail": "Version is locked" }));
    let Some(address) = state.versions.get(&number).cloned() else {
        return (404, json!({ "msg": "Record not found", "detail": "Couldn't find version" }));
    };
    match (method, &path[1..]) {
        ("PUT", ["clone"]) => {
            let next = state.versions.keys().max().unwrap() + 1;
            state.versions.insert(next, address);
            if let Some(comment) = state.comments.get(&number).cloned() {
                state.comments.insert(next, comment);
            }
            (200, shown(state, next))
        }
        ("PUT", []) if state.once_active.contains(&number) => locked,
        ("PUT", []) => {
            let text = std::str::from_utf8(body).unwrap();
            let sent = text.strip_prefix("comment=").unwrap().replace("%20", " ");
            let comment = sent.replace("%2C", ",").replace("%3A", ":");
            state.comments.insert(number, comment);
            (200, shown(state, number))
        }
        ("GET", ["backend", "origin"]) => (200, json!({ "name": "origin", "address": address })),
        ("PUT", ["backend", "origin"]) if state.once_active.contains(&number) => locked,
        ("PUT", ["backend", "origin"]) => {
            let text = std::str::from_utf8(body).unwrap();
            let address = text.strip_prefix("address=").unwrap().replace("%3A", ":");
            state.versions.insert(number, address.clone());
            if let Some(other) = state.deployed_meanwhile.take() {
                let next = state.versions.keys().max().unwrap() + 1;
                state.versions.insert(next, other);
                state.active = next;
                state.once_active.insert(next);
            }
            (200, json!({ "name": "origin", "address": address }))
        }
        ("GET", ["validate"]) => match &state.invalid {
            Some(why) => (200, json!({ "status": "error", "msg": why })),
            None => (200, json!({ "status": "ok", "msg": null })),
        },
        ("PUT", ["activate"]) => {
            state.active = number;
            state.once_active.insert(number);
            (200, shown(state, number))
        }
        _ => (404, json!({ "msg": "Record not found" })),
    }
}
