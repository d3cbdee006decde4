//! What requests meet during a hold: some pass it, and those that wait have their bounds.

use crate::support::*;
use segue_front::control::{HoldPolicy, Reply, Request as Ask};
use segue_model::{Fault, Side};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn set(front: &Running, policy: HoldPolicy) -> Result<Reply, Fault> {
    front.ask(Ask::SetHoldPolicy { mark: front.mark(), unit: unit(), policy }).await
}

fn harmless(path: &str) -> HoldPolicy {
    HoldPolicy { harmless_paths: vec![path.into()], ..HoldPolicy::default() }
}

/// Begins a hold at which so many may wait, for so long.
async fn hold(front: &Running, id: &str, count: usize, age: Duration) {
    let mut ask = front.hold_request(id);
    if let Ask::Hold { count_max, age_max_ms, .. } = &mut ask {
        (*count_max, *age_max_ms) = (count, age.as_millis() as u64);
    }
    assert!(done(&front.ask(ask).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_reads_passes_a_hold_and_keeps_none_from_beginning() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    assert!(done(&set(&front, harmless("/hang")).await));
    let long = later(front.address, "GET", "/hang/1");
    until("it runs", async || source.paths().len() == 1).await;
    assert_eq!(front.status().await.in_flight, 0, "nobody waits for it");
    assert!(done(&front.hold("h1").await));
    let idle = front.ask(Ask::WaitIdle { unit: unit(), timeout_ms: 200 }).await;
    assert!(matches!(idle, Ok(Reply::Idle { .. })), "{idle:?}");
    source.let_go();
    assert_eq!(within("its answer", long).await.unwrap().unwrap().side(), "source");
    assert_eq!(get(front.address, "/hanging").await.side(), "source", "passes");
    // Neither what writes, nor a stream, nor another path.
    let mut wait = vec![later(front.address, "POST", "/hang/2"), later(front.address, "GET", "/")];
    let mut stream = request("GET", "/hang/events", "");
    stream.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    wait.push(tokio::spawn(send(front.address, stream)));
    front.held(3).await;
    target.let_go();
    assert!(done(&front.release("h1", Side::Target).await));
    for one in wait {
        assert_eq!(within("its answer", one).await.unwrap().unwrap().side(), "target");
    }
    assert_eq!(get(front.address, "/hanging").await.side(), "target", "where the unit is");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_holds_no_more_bytes_than_it_may() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let policy = HoldPolicy { bytes_max: Some(4_000), ..HoldPolicy::default() };
    assert!(done(&set(&front, policy).await));
    let large = || {
        let mut request = request("GET", "/large", "");
        request.headers_mut().insert("x-large", "x".repeat(2_500).parse().unwrap());
        request
    };
    for (round, id) in ["h1", "h2"].into_iter().enumerate() {
        assert!(done(&front.hold(id).await));
        let first = tokio::spawn(send(front.address, large()));
        front.held(1).await;
        let refused = within("an answer", send(front.address, large())).await.unwrap();
        assert_eq!(
            (refused.status.as_u16(), &refused.headers["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        let small = later(front.address, "GET", "/small");
        front.held(2).await;
        // One that leaves gives its bytes back.
        assert!(done(&front.release(id, Side::Source).await));
        for one in [first, small] {
            assert_eq!(within("its answer", one).await.unwrap().unwrap().status, 200);
        }
        assert_eq!(front.stats().await.holds[round].refused_503, 1);
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_page_is_what_those_get_who_wait_in_vain() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let file = front.folder.path().join("soon.html");
    let page = |name: &str| HoldPolicy {
        page: Some(front.folder.path().join(name)),
        ..HoldPolicy::default()
    };
    std::fs::write(&file, "<h1>Back in a moment</h1>").unwrap();
    std::fs::write(file.with_file_name("soon.gif"), "GIF").unwrap();
    std::fs::write(file.with_file_name("large.html"), vec![b'x'; (64 << 10) + 1]).unwrap();
    for bad in ["none.html", "soon.gif", "large.html"] {
        assert_eq!(code(set(&front, page(bad)).await), "SG0129", "{bad}");
    }
    assert!(done(&set(&front, page("soon.html")).await));
    let is_page = async |address, why: &str| {
        let answer = get(address, "/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (503, "<h1>Back in a moment</h1>"),
            "{why}"
        );
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.headers["cache-control"], "no-store");
    };
    hold(&front, "h1", 0, Duration::from_secs(5)).await;
    is_page(front.address, "too many").await;
    assert!(done(&front.release("h1", Side::Source).await));
    hold(&front, "h2", 9, Duration::from_millis(100)).await;
    is_page(front.address, "too old").await;
    assert!(done(&front.release("h2", Side::Source).await));
    // It is read again by the next process.
    let (listen, folder) = (front.address, front.stop().await);
    let again = options(folder.path(), listen, shop.address);
    let front = Running::start(again, quick(), folder).await;
    hold(&front, "h3", 0, Duration::from_secs(5)).await;
    is_page(listen, "after a restart").await;
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_gives_up_the_place_within_a_moment() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    assert!(done(&front.hold("h1").await));
    let mut clients = Vec::new();
    for number in 0..4 {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        let mut ask =
            format!("POST /{number} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\n\r\nx");
        if number % 2 == 0 {
            // With a further request behind, nobody reads as far as the connection's end.
            ask += &format!("GET /late HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        }
        client.write_all(ask.as_bytes()).await.unwrap();
        front.held(number + 1).await;
        clients.push(client);
    }
    clients.remove(2);
    clients.remove(0);
    let began = Instant::now();
    front.held(2).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(done(&front.release("h1", Side::Source).await));
    for client in &mut clients {
        let mut answer = [0; 15];
        within("an answer", client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    // Let go in their order, on connections of their own: which is read first is not the front's.
    let mut asked = shop.paths();
    asked.sort();
    assert_eq!(asked, ["/1", "/3"]);
    front.stop().await;
}
