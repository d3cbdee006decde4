//! The corpus and mutations of it, against the HTTP layer's and a plain reading of the same bytes.
#![allow(clippy::unwrap_used)]

use super::refusal::Refusal;
use super::scan::{Scanner, Stop};
use super::{Told, Wire};
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

#[path = "../../tests/it/corpus.rs"]
mod corpus;

use corpus::{Case, corpus};

/// A request as somebody reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    method: String,
    target: String,
    body: Vec<u8>,
    /// Nothing is read after it.
    last: bool,
}

/// Reads with the scanner alone, `step` bytes more at a time. Returns the bytes that passed,
/// where each request in them ends, and what stopped it.
fn scanned(bytes: &[u8], step: usize) -> (usize, Vec<usize>, Option<Stop>) {
    let (mut scanner, mut at, mut seen, mut ends) = (Scanner::new(), 0, 0, Vec::new());
    while seen < bytes.len() {
        seen = (seen + step).min(bytes.len());
        loop {
            let (pass, stop) = scanner.look(&bytes[at..seen]);
            at += pass;
            if pass > 0 && scanner.is_between() && ends.last() != Some(&at) {
                ends.push(at);
            }
            match stop {
                Some(Stop::Asked) => scanner.stays(),
                Some(Stop::Refused(_) | Stop::Broken(_)) => return (at, ends, stop),
                _ => break,
            }
        }
    }
    (at, ends, None)
}

/// Reads one request plainly: head by httparse, body by its own few lines.
fn plainly(bytes: &[u8]) -> Message {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("taken, and httparse says {other:?}: {}", bytes.escape_ascii()),
    };
    let value = |name: &str| {
        let header = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        header.map(|h| String::from_utf8_lossy(h.value).to_ascii_lowercase())
    };
    let (mut body, rest) = (Vec::new(), &bytes[length..]);
    if value("transfer-encoding").is_some() {
        let mut rest = rest;
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
            let size = rest[..line].split(|b| *b == b';').next().unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16).unwrap();
            rest = &rest[line + 2..];
            if size == 0 {
                assert!(rest.ends_with(b"\r\n"), "{}", bytes.escape_ascii());
                break;
            }
            body.extend(&rest[..size]);
            assert_eq!(&rest[size..size + 2], b"\r\n");
            rest = &rest[size + 2..];
        }
    } else {
        body.extend(rest);
        let length = value("content-length").map_or(0, |value| value.trim().parse().unwrap());
        assert_eq!(body.len(), length, "{}", bytes.escape_ascii());
    }
    let connection = value("connection").unwrap_or_default();
    let has = |token: &str| connection.split(',').any(|t| t.trim() == token);
    let last = has("close") || request.version == Some(0) && !has("keep-alive");
    let target = request.path.unwrap().to_owned();
    Message { method: request.method.unwrap().to_owned(), target, body, last }
}

/// A client's bytes in pieces, and nothing kept of what is answered.
struct Pieces {
    pieces: Vec<Vec<u8>>,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.pieces.pop() {
            // An empty piece is a pause.
            Some(piece) if piece.is_empty() => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(mut piece) => {
                let fits = piece.len().min(buf.remaining());
                buf.put_slice(&piece[..fits]);
                if fits < piece.len() {
                    self.pieces.push(piece.split_off(fits));
                }
            }
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads with the HTTP layer behind the wire. Returns its requests, and why one was refused.
fn served(runtime: &Runtime, pieces: Vec<Vec<u8>>) -> (Vec<Message>, Option<Refusal>) {
    let (told, seen) = (Arc::new(Told::default()), Arc::new(Mutex::new(Vec::new())));
    let answer = |request: Request<Incoming>| {
        let (told, seen) = (told.clone(), seen.clone());
        async move {
            if told.refused(&request).is_none() {
                let asks = request.headers().contains_key(UPGRADE);
                if let Some(message) = message(request).await {
                    seen.lock().unwrap().push(message);
                }
                if asks {
                    told.decide(false);
                }
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    };
    let wire = Wire::new(Pieces { pieces }, told.clone());
    let mut builder = http1::Builder::new();
    builder.max_buf_size(super::HEAD_MAX + 8192).half_close(true);
    let served = builder.serve_connection(TokioIo::new(wire), service_fn(answer));
    let served = async { tokio::time::timeout(Duration::from_secs(5), served).await };
    assert!(runtime.block_on(served).is_ok(), "no end");
    (std::mem::take(&mut *seen.lock().unwrap()), told.refusal())
}

/// A request that arrived whole.
async fn message(request: Request<Incoming>) -> Option<Message> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes().to_vec();
    let has = |token: &str| {
        let all = parts.headers.get_all(CONNECTION);
        all.iter().any(|v| v.to_str().is_ok_and(|v| v.to_ascii_lowercase().contains(token)))
    };
    let last = has("close") || parts.version == Version::HTTP_10 && !has("keep-alive");
    let target = parts.uri.to_string();
    Some(Message { method: parts.method.to_string(), target, body, last })
}

/// Cuts bytes into pieces as the dice fall; in the order in which [`Pieces`] gives them.
fn cut(mut bytes: &[u8], dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let length = match dice.below(4) {
            0 => 1,
            1 => 1 + dice.below(40),
            _ => bytes.len(),
        };
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece.to_vec());
        if dice.below(3) == 0 {
            pieces.push(Vec::new());
        }
        bytes = rest;
    }
    pieces.reverse();
    pieces
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Compares three readings of the same bytes; returns how many requests they hold.
fn compared(bytes: &[u8], runtime: &Runtime, dice: &mut Dice) -> usize {
    let (passed, ends, stop) = scanned(bytes, 1);
    let whole = scanned(bytes, bytes.len().max(1));
    // What is seen to be wrong first depends on what is there, whether it is wrong does not.
    let refusal = |stop| matches!(stop, Some(Stop::Refused(_) | Stop::Broken(_)));
    let text = || bytes.escape_ascii();
    assert_eq!(refusal(stop), refusal(whole.2), "{}", text());
    // In one piece a request with a bad body is refused as a whole.
    assert!(whole.0 <= passed, "{}", text());
    let mut from = 0;
    let mut expected = Vec::new();
    for end in ends {
        expected.push(plainly(&bytes[from..end]));
        from = end;
    }
    if let Some(last) = expected.iter().position(|message| message.last) {
        expected.truncate(last + 1);
    }
    let (seen, refused) = served(runtime, cut(bytes, dice));
    for (ours, its) in expected.iter().zip(&seen) {
        let target = its.target.trim_end_matches('/') == ours.target.trim_end_matches('/');
        let absolute = !ours.target.starts_with(['/', '*']);
        assert!(target || absolute, "{ours:?} {its:?} {}", text());
        assert_eq!((&ours.method, &ours.body), (&its.method, &its.body), "{}", text());
    }
    assert_eq!(seen.len(), expected.len(), "{seen:?} {expected:?} {}", text());
    if !expected.iter().any(|message| message.last) {
        assert_eq!(refused.is_some(), refusal(stop), "{}", text());
    }
    expected.len()
}

#[test]
fn reads_the_corpus_as_it_says() {
    let cases = corpus();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let (runtime, mut dice) = (runtime(), Dice(7));
    let mut refusals = HashSet::new();
    for Case { name, status, seen, text } in &cases {
        let whole = scanned(text, text.len());
        let refusal = match whole.2 {
            Some(Stop::Refused(refusal)) => {
                refusals.insert(refusal);
                refusal.status().as_u16()
            }
            Some(Stop::Broken(_)) => panic!("{name}: passed in part"),
            _ => 200,
        };
        assert_eq!(refusal, *status, "{name}");
        assert_eq!(compared(text, &runtime, &mut dice), *seen, "{name}");
    }
    assert_eq!(refusals.len(), 17, "every reason is tried: {refusals:?}");
}

/// Mutations of the corpus: whatever is taken, the HTTP layer and a plain reading see the same
/// requests in it. `SEGUE_FUZZ_SECONDS` says for how long; `SEGUE_FUZZ_SEED` begins elsewhere.
#[test]
fn mutations_are_refused_or_read_alike() {
    let (end, mut dice) = (until(), Dice(seed()));
    let (runtime, mut cases) = (runtime(), corpus());
    // Long ones would take all the time.
    cases.retain(|case| case.text.len() < 2_000);
    let (mut read, mut messages) = (0_u64, 0);
    while Instant::now() < end {
        messages += compared(&mutated(&cases, &mut dice), &runtime, &mut dice);
        read += 1;
    }
    println!("{read} mutations read, {messages} requests in them");
    assert!(read > 100 && messages > 100);
}

/// Requests of HTTP/2 made of telling parts: one that is taken is, written down as HTTP/1.1, one
/// request and no more, to the wire and to the HTTP layer alike.
#[test]
fn mutations_of_streams_make_one_request_or_none() {
    const METHODS: [&str; 6] = ["GET", "POST", "M-SEARCH", "CONNECT", "OPTIONS", "PRI"];
    const TARGETS: [&str; 9] = [
        "/",
        "*",
        "/a?b=c",
        "//x",
        "/%0d%0a",
        "https://a.test/",
        "http://u@a.test/",
        "ftp://a.test/",
        "/a#b",
    ];
    const NAMES: [&str; 11] = [
        "host",
        "content-length",
        "content_length",
        "x-a",
        "cookie",
        "te",
        "transfer_encoding",
        "x_forwarded_for",
        "expect",
        "authorization",
        "via",
    ];
    const VALUES: [&[u8]; 14] = [
        b"a.test",
        b"b.test",
        b"",
        b"0",
        b"1",
        b"+1",
        b"01",
        b"5",
        b" 1",
        b"a\tb",
        b"\xe9",
        b"trailers",
        b"a, b",
        b"100-continue",
    ];
    let end = until();
    let (runtime, mut dice) = (runtime(), Dice(seed()));
    let (mut made, mut taken) = (0_u64, 0_u64);
    while Instant::now() < end {
        let pick = |all: usize, dice: &mut Dice| dice.below(all);
        let (method, target) =
            (METHODS[pick(METHODS.len(), &mut dice)], TARGETS[pick(TARGETS.len(), &mut dice)]);
        let mut request = Request::builder().method(method).uri(target).version(Version::HTTP_2);
        for _ in 0..dice.below(6) {
            let (name, value) = (NAMES[dice.below(NAMES.len())], VALUES[dice.below(VALUES.len())]);
            request = request.header(name, value);
        }
        let body = if dice.below(2) == 0 { &b""[..] } else { b"GET /" };
        let Ok(mut request) = request.body(Full::new(body)) else { continue };
        made += 1;
        if super::stream::check(&mut request, 8).is_err() {
            continue;
        }
        let text = as_http_1(&request, body);
        // What a frame's length decides there, the HTTP layer has looked at: a body that does not
        // have the length that is told never comes so far.
        let told = request.headers().get("content-length").map(|told| told.as_bytes().to_vec());
        if told.is_some_and(|told| told != body.len().to_string().into_bytes()) {
            continue;
        }
        let (passed, ends, stop) = scanned(&text, text.len());
        let shown = text.escape_ascii();
        assert!(stop.is_none_or(|stop| matches!(stop, Stop::Asked)), "{stop:?}: {shown}");
        assert_eq!((passed, ends), (text.len(), vec![text.len()]), "{shown}");
        let (messages, refusal) = served(&runtime, vec![text.clone()]);
        assert_eq!((messages.len(), refusal), (1, None), "{shown}");
        assert_eq!(messages[0].body, body, "{shown}");
        taken += 1;
    }
    println!("{made} requests of HTTP/2 made, {taken} taken");
    assert!(taken > 100 && made > 2 * taken);
}

/// Writes a request down as a backend of HTTP/1.1 gets it.
fn as_http_1(request: &Request<Full<&'static [u8]>>, body: &[u8]) -> Vec<u8> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut text = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    };
    if let (Some(authority), None) = (request.uri().authority(), request.headers().get("host")) {
        line("host", authority.as_str().as_bytes());
    }
    for (name, value) in request.headers() {
        line(name.as_str(), value.as_bytes());
    }
    if !body.is_empty() && !request.headers().contains_key("content-length") {
        line("content-length", body.len().to_string().as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    text
}

/// How long mutations are made, and with which numbers.
fn until() -> Instant {
    let seconds = std::env::var("SEGUE_FUZZ_SECONDS").ok().and_then(|value| value.parse().ok());
    Instant::now() + Duration::from_secs(seconds.unwrap_or(3))
}

fn seed() -> u64 {
    std::env::var("SEGUE_FUZZ_SEED").ok().and_then(|value| value.parse().ok()).unwrap_or(1) | 1
}

/// Numbers that a seed decides (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Some cases after one another, with some octets changed, gone, doubled or exchanged.
fn mutated(cases: &[Case], dice: &mut Dice) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..=dice.below(3) {
        let good = cases.iter().filter(|case| case.status == 200);
        let good: Vec<_> = good.collect();
        let all = dice.below(2) == 0;
        let case = if all { &cases[dice.below(cases.len())] } else { good[dice.below(good.len())] };
        text.extend(&case.text);
    }
    let telling = b"\r\n\0 \t:;,0159aAfFxX_-+\"/?#*@\x0b\x7f\xc3";
    for _ in 0..dice.below(5) {
        if text.is_empty() {
            break;
        }
        let place = dice.below(text.len());
        match dice.below(5) {
            0 => text[place] = telling[dice.below(telling.len())],
            1 => drop(text.remove(place)),
            2 => text.insert(place, telling[dice.below(telling.len())]),
            3 => text.truncate(place.max(1)),
            _ => {
                let end = (place + dice.below(60)).min(text.len());
                let piece = text[place..end].to_vec();
                let to = dice.below(text.len());
                text.splice(to..to, piece);
            }
        }
    }
    text
}
