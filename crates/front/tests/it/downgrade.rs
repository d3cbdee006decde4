//! Requests of HTTP/2 that would be others in HTTP/1.1: nothing of them arrives.

use crate::certificates::*;
use crate::http2::trusting;
use crate::raw_http2::*;
use crate::recorder::Recorder;
use crate::support::*;
use crate::tls::tls_options;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Fields of a request, and its body; what came of it.
type Bad<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, &'a str);

pub(crate) const METHOD: (&str, &str) = (":method", "GET");
const POST: (&str, &str) = (":method", "POST");
pub(crate) const SCHEME: (&str, &str) = (":scheme", "https");
const PATH: (&str, &str) = (":path", "/bad");
pub(crate) const NAMED: (&str, &str) = (":authority", HOST);

#[rustfmt::skip]
const BAD: &[Bad<'_>] = &[
    // Headers of a connection (RFC 9113 8.2.2).
    (&[POST, SCHEME, PATH, NAMED, ("transfer-encoding", "chunked")], Some("0\r\n\r\nGET /bad2"), "reset 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("connection", "close")], None, "reset 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("keep-alive", "5")], None, "reset 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("proxy-connection", "close")], None, "reset 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("upgrade", "websocket")], None, "reset 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("te", "gzip, trailers")], None, "reset 1"),
    // What ends a line, or is none of a name.
    (&[METHOD, SCHEME, PATH, NAMED, ("x", "1\r\nGET /bad2 HTTP/1.1")], None, "goaway 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("x", "1\0")], None, "goaway 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("x\r\ny", "1")], None, "goaway 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("X", "1")], None, "goaway 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("x y", "1")], None, "goaway 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("", "1")], None, "goaway 1"),
    (&[METHOD, SCHEME, NAMED, (":path", "/bad HTTP/1.1\r\nX: y")], None, "reset 1"),
    (&[METHOD, SCHEME, NAMED, (":path", "/bad bad")], None, "reset 1"),
    (&[METHOD, SCHEME, NAMED, (":path", "bad")], None, "reset 1"),
    (&[METHOD, SCHEME, NAMED, (":path", "https://a.test/bad")], None, "reset 1"),
    (&[METHOD, SCHEME, NAMED, (":path", "*")], None, "400"),
    (&[METHOD, SCHEME, NAMED, (":path", "")], None, "reset 1"),
    (&[(":method", "GET /bad2 HTTP/1.1\r\n"), SCHEME, PATH, NAMED], None, "goaway 1"),
    // Whom it is for.
    (&[METHOD, SCHEME, PATH, NAMED, ("host", "other.example.test")], None, "400"),
    (&[METHOD, SCHEME, PATH, ("host", HOST), ("host", HOST)], None, "400"),
    (&[METHOD, SCHEME, PATH], None, "400"),
    (&[METHOD, SCHEME, PATH, (":authority", "u@shop.example.test")], None, "400"),
    (&[METHOD, SCHEME, PATH, (":authority", "shop example")], None, "reset 1"),
    (&[(":method", "CONNECT"), NAMED], None, "405"),
    (&[(":method", "CONNECT"), SCHEME, PATH, NAMED, (":protocol", "websocket")], None, "reset 1"),
    (&[METHOD, ("x", "1"), SCHEME, PATH, NAMED], None, "reset 1"),
    (&[METHOD, METHOD, SCHEME, PATH, NAMED], None, "reset 1"),
    (&[METHOD, PATH, NAMED], None, "reset 1"),
    (&[METHOD, SCHEME, PATH, NAMED, (":status", "200")], None, "reset 1"),
    (&[METHOD, (":scheme", "ftp"), PATH, NAMED], None, "400"),
    // How long it is.
    (&[POST, SCHEME, PATH, NAMED, ("content-length", "3")], Some("abcGET /bad2 HTTP/1.1\r\n\r\n"), "reset 1"),
    (&[METHOD, SCHEME, PATH, NAMED, ("content-length", "3")], None, "reset 1"),
    (&[POST, SCHEME, PATH, NAMED, ("content-length", "3"), ("content-length", "3")], Some("abc"), "400"),
    (&[POST, SCHEME, PATH, NAMED, ("content-length", "3"), ("content-length", "4")], Some("abc"), "reset 1"),
    (&[POST, SCHEME, PATH, NAMED, ("content-length", "03")], Some("abc"), "400"),
    (&[POST, SCHEME, PATH, NAMED, ("content-length", "+3")], Some("abc"), "reset 1"),
    (&[POST, SCHEME, PATH, NAMED, ("content_length", "3")], Some("abc"), "400"),
    (&[METHOD, SCHEME, PATH, NAMED, ("x_segue_to", "target run-1")], None, "400"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_would_be_two_requests_in_http_1_arrives() {
    let recorder = Recorder::start().await;
    let folder = Arc::new(TempDir::new().unwrap());
    let certificate = Certificate::made(&[HOST]);
    certificate.lay(&folder.path().join("certificates/shop"));
    let options = tls_options(folder.path(), free_address(), recorder.address);
    let front = Running::start(options, quick(), folder).await;
    let trust = trusting(&certificate);
    let mut wrong = Vec::new();
    for (fields, body, expected) in BAD {
        let mut raw = Raw::connect(front.address, &trust, HOST, &[]).await;
        let end = if body.is_none() { END_STREAM } else { 0 };
        let stream = raw.ask(fields, end).await.unwrap();
        if let Some(body) = body {
            let _ = raw.send(DATA, END_STREAM, stream, body.as_bytes()).await;
        }
        let outcome = within("an outcome", raw.outcome(stream)).await;
        if outcome != *expected {
            wrong.push(format!("{fields:?}: {outcome}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A body that is too short is found out at its end; nobody takes it for whole.
    let mut raw = Raw::connect(front.address, &trust, HOST, &[]).await;
    let short = [POST, SCHEME, PATH, NAMED, ("content-length", "30")];
    let stream = raw.ask(&short, 0).await.unwrap();
    raw.send(DATA, END_STREAM, stream, b"abc").await.unwrap();
    assert_eq!(within("an outcome", raw.outcome(stream)).await, "reset 1");
    // The others are served as if nothing had been.
    let stream = raw.ask(&[METHOD, SCHEME, NAMED, (":path", "/ok")], END_STREAM).await.unwrap();
    assert_eq!(within("an outcome", raw.outcome(stream)).await, "200");
    let arrived: Vec<_> = recorder.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(arrived, ["/ok"]);
    assert!(!String::from_utf8_lossy(&recorder.bytes()).contains("/bad2"));
    assert!(front.stats().await.unclear >= 10);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_in_clear() {
    let recorder = Recorder::start().await;
    let folder = Arc::new(TempDir::new().unwrap());
    let front =
        Running::start(options(folder.path(), free_address(), recorder.address), quick(), folder)
            .await;
    let stream = TcpStream::connect(front.address).await.unwrap();
    let (_sender, connection) = h2::client::handshake(stream).await.unwrap();
    assert!(within("its end", connection).await.is_err());
    assert!(recorder.bytes().is_empty());
    front.stop().await;
}
