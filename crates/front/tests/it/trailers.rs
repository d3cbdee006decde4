//! Fields after a body, both ways and in both versions of HTTP.

use crate::certificates::*;
use crate::http2::{Http2, asking, trusting};
use crate::recorder::{Recorder, read_to};
use crate::support::*;
use crate::tls::{tls_front, tls_options};
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A backend whose answers have fields after their bodies.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, set-cookie\r\n\r\n\
                      3\r\nabc\r\n0\r\nx-sum: 7\r\nset-cookie: a=1\r\nx-more: 8\r\n\r\n";

async fn front_before(recorder: &Recorder) -> Running {
    let folder = Arc::new(TempDir::new().unwrap());
    let options = options(folder.path(), free_address(), recorder.address);
    Running::start(options, quick(), folder).await
}

/// Sends a text and returns what came back up to a mark.
async fn said(front: &Running, text: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    within("an answer", read_to(&mut stream, end)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answers_reach_a_client_of_http_1_that_asked_and_named_them() {
    let recorder = Recorder::answering(ANSWER).await;
    let front = front_before(&recorder).await;
    for (line, method) in [("GET /1", ""), ("POST /2", "Content-Length: 0\r\n")] {
        let asked = format!(
            "{line} HTTP/1.1\r\nHost: a\r\n{method}TE: trailers, gzip\r\nConnection: TE\r\n\r\n"
        );
        let answer = said(&front, &asked, "\r\n0\r\n").await;
        let answer = answer.to_ascii_lowercase();
        assert!(answer.contains("trailer: x-sum"), "{answer}");
        let head = recorder.requests().pop().unwrap().head.to_ascii_lowercase();
        assert!(head.contains("\r\nte: trailers\r\n"), "{head}");
        assert!(head.lines().any(|l| l.starts_with("connection:") && l.ends_with("te")), "{head}");
        let whole = said(&front, &asked, "x-sum: 7\r\n\r\n").await;
        assert!(whole.contains("\r\n0\r\nx-sum: 7\r\n\r\n"), "and no others: {whole}");
    }
    let plain = said(&front, "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n0\r\n\r\n").await;
    assert!(!plain.contains("x-sum: 7"), "{plain}");
    let head = recorder.requests().pop().unwrap().head.to_ascii_lowercase();
    assert!(!head.contains("\r\nte:") && !head.contains("\r\nconnection:"), "{head}");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_reach_the_backend_if_they_are_named_and_may_be_ones() {
    let recorder = Recorder::start().await;
    let front = front_before(&recorder).await;
    let head = "Host: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, cookie\r\n\r\n";
    let body = "3\r\nabc\r\n0\r\nx-sum: 7\r\ncookie: a=1\r\nx-more: 8\r\n\r\n";
    // GET may have a body as well.
    for method in ["POST", "GET"] {
        let asked = format!("{method} /1 HTTP/1.1\r\n{head}{body}");
        said(&front, &asked, "ok\n").await;
        let arrived = recorder.requests().pop().unwrap();
        assert_eq!(arrived.body, b"abc", "{method}");
        let bytes = String::from_utf8(recorder.bytes()).unwrap();
        assert!(bytes.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{method}: {bytes}");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_in_http_2() {
    let recorder = Recorder::answering(ANSWER).await;
    let folder = Arc::new(TempDir::new().unwrap());
    let certificate = Certificate::made(&[HOST]);
    certificate.lay(&folder.path().join("certificates/shop"));
    let options = tls_options(folder.path(), free_address(), recorder.address);
    let front = Running::start(options, quick(), folder).await;
    let client = Http2::open(front.address, &trusting(&certificate), HOST).await;
    for asks in [true, false] {
        let mut request = asking("POST", HOST, "/1");
        if asks {
            request.headers_mut().insert("te", "trailers".parse().unwrap());
        }
        request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        let mut sender = client.sender().await;
        let (answer, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let mut fields = HeaderMap::new();
        for name in ["x-sum", "x-more", "authorization"] {
            fields.insert(name, "7".parse().unwrap());
        }
        stream.send_trailers(fields).unwrap();
        let mut body = within("an answer", answer).await.unwrap().into_body();
        while let Some(part) = within("a part", body.data()).await {
            part.unwrap();
        }
        let got = within("trailers", body.trailers()).await.unwrap();
        let got = got.map(|got| got.keys().map(ToString::to_string).collect::<Vec<_>>());
        // In HTTP/2 none has to be named before.
        assert_eq!(got, asks.then(|| vec!["x-sum".to_owned(), "x-more".to_owned()]));
        let bytes = String::from_utf8(recorder.bytes()).unwrap();
        assert!(bytes.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{bytes}");
    }
    front.stop().await;
    // A plain answer has none.
    let shop = Shop::start("source").await;
    let (front, certificate) = tls_front(&shop, &shop, quick()).await;
    let client = Http2::open(front.address, &trusting(&certificate), HOST).await;
    assert_eq!(client.get(HOST, "/plain").await.body, "source /plain");
    front.stop().await;
}
