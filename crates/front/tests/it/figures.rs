//! What a front tells of itself to others than its controller: figures and a log.

use crate::support::*;
use segue_front::control::{MirrorRoute, Request as Ask, SplitRoute};
use segue_model::plan::{AccessLogPlan, MirrorPlan, TcpPlan};
use segue_model::{Side, Sides};
use std::collections::BTreeSet;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Reads the value of a figure, by how its line begins.
fn value(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_log_say_what_visitors_met() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let folder = Arc::new(TempDir::new().unwrap());
    let mut options = options(folder.path(), free_address(), source.address);
    let (metrics, path) = (free_address(), folder.path().join("access.json"));
    options.metrics = Some(metrics);
    options.access_log = Some(AccessLogPlan { path: path.clone(), every: 1 });
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&source, &target, 64).await.unwrap();
    for _ in 0..3 {
        assert_eq!(get(front.address, "/").await.status, 200);
    }
    assert_eq!(get(front.address, "/known-to-target?key=secret").await.status, 404);
    // Answer times are of whole seconds.
    let mut text = String::new();
    until("the second is over", async || {
        text = get(metrics, "/metrics").await.body;
        let times = "segue_front_answer_seconds_count{unit=\"shop\",side=\"source\"}";
        value(&text, times) == Some(4.0)
    })
    .await;
    let line = |class: &str| {
        let labels = format!("{{unit=\"shop\",side=\"source\",class=\"{class}\"}}");
        value(&text, &format!("segue_front_requests_total{labels}"))
    };
    assert_eq!(
        (line("2xx"), line("4xx"), line("5xx")),
        (Some(3.0), Some(1.0), Some(0.0)),
        "{text}"
    );
    assert_eq!(value(&text, "segue_front_clients{unit=\"shop\",side=\"source\"}"), Some(1.0));
    assert_eq!(value(&text, "segue_front_at_target{unit=\"shop\"}"), Some(0.0));
    assert_eq!(value(&text, "segue_front_units"), Some(1.0));
    let all = "segue_front_answer_seconds_bucket{unit=\"shop\",side=\"source\",le=\"+Inf\"}";
    assert_eq!(value(&text, all), Some(4.0));
    assert_eq!(get(metrics, "/other").await.status, 404);
    let mut lines = String::new();
    until("the log is written", async || {
        lines = std::fs::read_to_string(&path).unwrap();
        lines.lines().count() == 4
    })
    .await;
    assert!(
        lines.contains("\"path\":\"/known-to-target\"") && !lines.contains("secret"),
        "{lines}"
    );
    assert!(lines.contains("\"unit\":\"shop\"") && lines.contains("\"status\":404"), "{lines}");
    front.stop().await;
}

/// A server that repeats what it is told.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

/// Returns every name of a figure in a text, without what a histogram adds.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let bare = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    words.filter(|word| word.starts_with("segue_front_")).map(bare).collect()
}

/// Looks at what is told of the one connection at a port for TCP, over which 5 bytes went either way.
fn counts_the_echo(text: &str) {
    for (name, expected) in
        [("connections", 1.0), ("failed", 0.0), ("received_bytes", 5.0), ("sent_bytes", 5.0)]
    {
        for unit in ["", "shop"] {
            let line = format!("segue_front_tcp_{name}_total{{unit=\"{unit}\",side=\"source\"}}");
            assert_eq!(value(text, &line), Some(expected), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_tell_of_holds_splits_ports_and_stragglers_and_stand_in_the_documents() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let folder = Arc::new(TempDir::new().unwrap());
    let mut options = options(folder.path(), free_address(), source.address);
    let metrics = free_address();
    options.metrics = Some(metrics);
    let backends = Sides { source: echo().await, target: echo().await };
    let listen = free_address();
    options.ports.push(tcp_port(listen, TcpPlan { backends, proxy_out: false, by_name: false }));
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&source, &target, 64).await.unwrap();
    let split = SplitRoute {
        id: "s".into(),
        percent: 25,
        paths: vec!["/error".into()],
        testers: Vec::new(),
        cookie: "segue-split".into(),
        warm_ms: 0,
        relayed: false,
        slow_ms: 300,
    };
    let mut whole = split.clone();
    whole.percent = 100;
    for split in [split, whole] {
        assert!(done(&front.ask(Ask::SetSplit { mark: front.mark(), unit: unit(), split }).await));
    }
    for _ in 0..3 {
        assert_eq!(get(front.address, "/error/target").await.status, 200);
    }
    let plan = MirrorPlan {
        paths: vec!["/none/".into()],
        percent: 1,
        at_once: 1,
        body_bytes_max: 1,
        cookies: false,
        authorization: false,
        headers: Vec::new(),
        noise: Vec::new(),
    };
    let relayed = Sides { source: false, target: false };
    let mirror = Some(MirrorRoute { plan, relayed });
    let set = Ask::SetMirror { mark: front.mark(), unit: unit(), mirror };
    assert!(done(&front.ask(set).await));
    let mut open = TcpStream::connect(listen).await.unwrap();
    open.write_all(b"12345").await.unwrap();
    within("an echo", open.read_exact(&mut [0; 5])).await.unwrap();

    let figures = async || get(metrics, "/metrics").await.body;
    let of_unit =
        |text: &str, name: &str| value(text, &format!("segue_front_{name}{{unit=\"shop\"}}"));
    // The echo counts once it is on its way, so that it may be here before.
    let sent = "segue_front_tcp_sent_bytes_total{unit=\"shop\",side=\"source\"}";
    until("the echo counts", async || value(&figures().await, sent) == Some(5.0)).await;
    let text = figures().await;
    assert_eq!(names(&text), names(include_str!("../../../../docs/metrics.md")), "{text}");
    for (name, expected) in [
        ("split_share_ratio", 1.0),
        ("split_breaker_open", 1.0),
        ("split_breaker_opened_total", 1.0),
        ("split_saved_total", 3.0),
        ("holding", 0.0),
        ("holds_total", 0.0),
        ("stragglers", 0.0),
        ("streams", 1.0),
    ] {
        assert_eq!(of_unit(&text, name), Some(expected), "{name}: {text}");
    }
    counts_the_echo(&text);
    let port = |address, kind| {
        format!("segue_front_port_info{{listen=\"{address}\",kind=\"{kind}\",how=\"bound\"}}")
    };
    assert_eq!(value(&text, &port(front.address, "http")), Some(1.0), "{text}");
    assert_eq!(value(&text, &port(listen, "tcp")), Some(1.0), "{text}");
    assert_eq!(value(&text, "segue_front_listening"), Some(1.0));

    // One waits, and a second one is too many.
    let mut hold = front.hold_request("h1");
    if let Ask::Hold { count_max, .. } = &mut hold {
        *count_max = 1;
    }
    assert!(done(&front.ask(hold).await));
    let waits = later(front.address, "POST", "/order");
    front.held(1).await;
    assert_eq!(post(front.address, "/order", "x").await.status, 503);
    let text = figures().await;
    for (name, expected) in
        [("holding", 1.0), ("holds_total", 1.0), ("held", 1.0), ("held_refused_total", 1.0)]
    {
        assert_eq!(of_unit(&text, name), Some(expected), "{name}: {text}");
    }
    assert!(done(&front.release("h1", Side::Target).await));
    assert_eq!(within("released", waits).await.unwrap().unwrap().side(), "target");
    assert_eq!(get(front.address, "/").await.side(), "target");
    let text = figures().await;
    for (name, expected) in [
        ("holding", 0.0),
        ("held_total", 1.0),
        ("stragglers", 1.0),
        ("split_share_ratio", 0.0),
        ("split_breaker_open", 0.0),
    ] {
        assert_eq!(of_unit(&text, name), Some(expected), "{name}: {text}");
    }
    front.stop().await;
}

/// Sends bytes as they are and returns all that comes back.
async fn raw(address: std::net::SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_fronts_own_and_authorities_questions_are_in_the_log() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let folder = Arc::new(TempDir::new().unwrap());
    let mut options = options(folder.path(), free_address(), source.address);
    let (metrics, path) = (free_address(), folder.path().join("access.json"));
    options.metrics = Some(metrics);
    options.access_log = Some(AccessLogPlan { path: path.clone(), every: 1 });
    let front = Running::start(options, quick(), folder).await;
    front.claim(1).await.unwrap();
    front.set_route(&source, &target, 64).await.unwrap();
    let known = "/.well-known/acme-challenge/known-to-target";
    assert_eq!(get(front.address, known).await.side(), "target");
    let connect = "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(raw(front.address, connect).await.starts_with("HTTP/1.1 405"));
    let unclear = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    assert!(raw(front.address, unclear).await.starts_with("HTTP/1.1 400"));
    assert!(done(&front.route_to(free_address(), target.address).await));
    assert_eq!(get(front.address, "/down").await.status, 502);
    let mut lines = Vec::new();
    until("the log is written", async || {
        let text = std::fs::read_to_string(&path).unwrap();
        lines = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .collect();
        lines.len() >= 4
    })
    .await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("").to_owned();
            let status = line["status"].as_u64().unwrap();
            (text("unit"), text("path"), text("side"), status, line["failed"] == true)
        })
        .collect();
    let line = |unit: &str, path: &str, side: &str, status, failed| {
        (unit.to_owned(), path.to_owned(), side.to_owned(), status, failed)
    };
    assert_eq!(
        told,
        [
            line("shop", known, "target", 200, false),
            line("", "*", "", 405, false),
            line("", "*", "", 400, false),
            line("shop", "/down", "source", 502, true),
        ]
    );
    assert!(lines.iter().all(|line| line["client"] == "127.0.0.1"), "{lines:?}");
    let text = get(metrics, "/metrics").await.body;
    // CONNECT is clear, and no front can do it; the other one can be read in two ways.
    let refused =
        ["unclear", "refused"].map(|what| value(&text, &format!("segue_front_{what}_total")));
    assert_eq!(refused, [Some(1.0), Some(1.0)], "{text}");
    front.stop().await;
}
