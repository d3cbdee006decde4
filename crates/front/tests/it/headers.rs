//! What changes in requests and answers on their way.

use crate::support::*;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn raw(front: &Running, text: &str) -> String {
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("the end", stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_the_backend_who_asked_and_the_client_who_answered() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let request = Request::builder()
        .uri("/x?y=1")
        .header("host", HOST)
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-forwarded-proto", "https")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("cookie", "sid=1")
        .body(Full::default())
        .unwrap();
    let answer = send(front.address, request).await.unwrap();
    assert_eq!(answer.headers["x-segue-side"], "source");
    assert_eq!(answer.headers["x-segue-front"], "source");
    let seen = shop.seen().pop().unwrap();
    assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1", "anybody can say the other one");
    assert_eq!(seen.headers["x-forwarded-proto"], "http");
    assert_eq!(seen.headers["x-forwarded-host"], HOST);
    assert_eq!(seen.headers["host"], HOST);
    assert_eq!(seen.headers["cookie"], "sid=1");
    assert!(!seen.headers.contains_key("x-hop"));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honours_a_wished_side_for_reading_only_and_never_passes_it_on() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    for (method, side) in [("GET", "target"), ("HEAD", "target"), ("POST", "source")] {
        let mut request = request(method, "/", "");
        request.headers_mut().insert("x-segue-to", "target run-1".parse().unwrap());
        let answer = send(front.address, request).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.side()), (200, side), "{method}");
    }
    let all = [source.seen(), target.seen()].concat();
    assert!(all.iter().all(|s| !s.headers.contains_key("x-segue-to")));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_foreign_hosts_to_the_default_backend() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    assert!(done(&front.hold("h1").await), "what is held is the unit, not the neighbours");
    let mut request = request("GET", "/neighbour", "");
    request.headers_mut().insert("host", "other.example.test".parse().unwrap());
    let answer = send(front.address, request).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "source /neighbour"));
    assert_eq!(front.stats().await.other.requests, 1);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_ambiguous_requests() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    for (text, status) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\
             Connection: close\r\n\r\n0\r\n\r\n",
            "501",
        ),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405"),
    ] {
        let answer = raw(&front, text).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{text:?}: {answer:?}");
    }
    // Both lengths at once: neither it nor what comes after it arrives.
    let smuggled = "POST /first HTTP/1.1\r\nHost: shop.example.test\r\nContent-Length: 60\r\n\
                    Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                    GET /smuggled HTTP/1.1\r\nHost: shop.example.test\r\n\r\n";
    assert!(raw(&front, smuggled).await.starts_with("HTTP/1.1 400"));
    assert_eq!(shop.paths(), [] as [&str; 0]);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_lengths_of_answers_without_body_and_passes_bodies_both_ways() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let answer =
        raw(&front, "HEAD /x HTTP/1.1\r\nHost: shop.example.test\r\nConnection: close\r\n\r\n")
            .await;
    assert!(answer.to_ascii_lowercase().contains("content-length: 9\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let long = "0123456789".repeat(300_000);
    assert_eq!(post(front.address, "/upload", &long).await.status, 200);
    assert_eq!(shop.seen().pop().unwrap().body.len(), long.len());
    let chunked = "POST /c HTTP/1.1\r\nHost: shop.example.test\r\nTransfer-Encoding: chunked\r\n\
                   Connection: close\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = raw(&front, chunked).await;
    assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
    assert_eq!(shop.seen().pop().unwrap().body, "abc");
    let answer = raw(&front, "GET /ten HTTP/1.0\r\nHost: shop.example.test\r\n\r\n").await;
    assert!(answer.ends_with("source /ten"), "{answer}");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaks_a_circle_of_fronts() {
    let folder = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    let listen = free_address();
    let front = Running::start(options(folder.path(), listen, listen), quick(), folder).await;
    assert_eq!(get(front.address, "/").await.status, 508);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_probes_of_the_run_that_has_it_apart_and_nobody_elses() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let run = run_id();
    for name in [run.as_str(), "another-run"] {
        let mut request = request("GET", "/", "");
        request.headers_mut().insert("x-segue-probe", name.parse().unwrap());
        send(front.address, request).await.unwrap();
    }
    let stats = front.stats().await;
    assert_eq!((stats.sides.source.requests, stats.probes.requests), (2, 1));
    assert!(shop.seen().iter().all(|s| !s.headers.contains_key("x-segue-probe")));
    front.stop().await;
}
