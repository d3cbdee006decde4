//! Holding a unit's requests and letting them go.

use crate::support::*;
use segue_front::control::{HoldStatus, Reply, Request as Ask};
use segue_model::Side;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_while_held_and_releases_in_order_to_the_other_side() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed_with(&source, &target, quick(), 1).await;
    assert_eq!(get(front.address, "/before").await.side(), "source");
    assert!(done(&front.hold("h1").await));
    let mut waiting = Vec::new();
    for i in 0..12 {
        let method = if i % 3 == 0 { "POST" } else { "GET" };
        waiting.push(later(front.address, method, &format!("/{i}")));
        front.held(i + 1).await;
    }
    assert_eq!(source.paths(), ["/before"]);
    assert!(done(&front.seal("h1").await));
    assert!(done(&front.release("h1", Side::Target).await));
    for waiting in waiting {
        let answer = within("an answer", waiting).await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.side()), (200, "target"));
    }
    let expected: Vec<_> = (0..12).map(|i| format!("/{i}")).collect();
    assert_eq!(target.paths(), expected, "in order of arrival");
    assert_eq!(source.paths(), ["/before"]);
    assert_eq!(get(front.address, "/after").await.side(), "target");
    let record = front.stats().await.holds.pop().unwrap();
    assert_eq!((record.held_count, record.refused_503, record.lapsed), (12, 0, false));
    assert_eq!(record.released_to, Some(Side::Target));
    assert!(record.held_max_ms > 0.0);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paces_a_release_by_the_backends_concurrency() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed_with(&source, &target, quick(), 3).await;
    assert!(done(&front.hold("h1").await));
    let mut waiting: Vec<_> =
        (0..30).map(|i| later(front.address, "GET", &format!("/short/{i}"))).collect();
    front.held(30).await;
    assert!(done(&front.release("h1", Side::Target).await));
    // These come while the queue is being let go: they go behind it.
    waiting.extend((0..6).map(|i| later(front.address, "GET", &format!("/short/late/{i}"))));
    for waiting in waiting {
        assert_eq!(within("an answer", waiting).await.unwrap().unwrap().status, 200);
    }
    assert_eq!(target.at_once_max(), 3);
    assert!(target.paths()[..20].iter().all(|p| !p.contains("late")), "{:?}", target.paths());
    assert_eq!(front.status().await.hold, HoldStatus::Open);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_to_the_write_side_when_the_lease_is_over_and_says_so() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let mut ask = front.hold_request("h1");
    if let Ask::Hold { lease_ms, .. } = &mut ask {
        *lease_ms = 150;
    }
    assert!(done(&front.ask(ask).await));
    let waiting = later(front.address, "POST", "/order");
    front.held(1).await;
    let renew = Ask::Renew {
        run: run_id(),
        epoch: segue_model::Epoch(1),
        unit: unit(),
        hold_id: "h1".into(),
    };
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(done(&front.ask(renew.clone()).await), "renewed in time");
    }
    assert_eq!(front.status().await.held, 1, "held for longer than the lease");
    let answer = within("the lapse", waiting).await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), answer.side()), (200, "source"));
    assert!(matches!(front.ask(renew).await, Ok(Reply::Lapsed { .. })));
    assert!(matches!(front.seal("h1").await, Ok(Reply::Lapsed { .. })));
    assert!(matches!(front.release("h1", Side::Target).await, Ok(Reply::Lapsed { .. })));
    assert!(done(&front.release("h1", Side::Source).await), "that is where they went");
    assert_eq!(get(front.address, "/").await.side(), "source");
    assert!(front.stats().await.holds[0].lapsed);
    let again = front.hold("h1").await.unwrap_err();
    assert_eq!(again.code.as_str(), "SG0116", "a hold that lapsed stays lapsed");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_a_sealed_hold_and_answers_503_after_the_allowed_age() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let mut ask = front.hold_request("h1");
    if let Ask::Hold { lease_ms, age_max_ms, count_max, .. } = &mut ask {
        (*lease_ms, *age_max_ms, *count_max) = (200, 400, 2);
    }
    assert!(done(&front.ask(ask).await));
    assert!(done(&front.seal("h1").await));
    let waiting = [later(front.address, "GET", "/1"), later(front.address, "POST", "/2")];
    front.held(2).await;
    let over = get(front.address, "/3").await;
    assert_eq!((over.status.as_u16(), over.headers["retry-after"].as_bytes()), (503, &b"1"[..]));
    for waiting in waiting {
        let answer = within("503", waiting).await.unwrap().unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.headers["retry-after"], "1");
        assert!(answer.took >= Duration::from_millis(390), "{:?}", answer.took);
    }
    assert!(matches!(front.status().await.hold, HoldStatus::Sealed { .. }));
    assert_eq!((source.paths().len(), target.paths().len()), (0, 0));
    let stats = front.stats().await;
    assert_eq!((stats.holds[0].refused_503, stats.sides.source.failed), (3, 3));
    assert!(done(&front.release("h1", Side::Target).await));
    assert_eq!(get(front.address, "/4").await.side(), "target");
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_to_begin_while_slow_or_old_requests_run() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    let running = later(front.address, "GET", "/hang/report");
    until("it runs", async || front.status().await.in_flight == 1).await;
    let ask = |age: u64, slow: &str| {
        let mut ask = front.hold_request("h1");
        if let Ask::Hold { quiet_age_ms, slow_paths, .. } = &mut ask {
            (*quiet_age_ms, *slow_paths) = (age, vec![slow.to_owned()]);
        }
        ask
    };
    let busy = front.ask(ask(60_000, "/hang")).await.unwrap();
    let Reply::Busy { running: named, count: 1 } = &busy else { panic!("{busy:?}") };
    assert_eq!((named[0].method.as_str(), named[0].path.as_str()), ("GET", "/hang/report"));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(matches!(front.ask(ask(20, "/other")).await, Ok(Reply::Busy { count: 1, .. })));
    assert_eq!(front.status().await.hold, HoldStatus::Open, "requests pass");
    assert_eq!(get(front.address, "/").await.status, 200);
    // Young and not slow: it may run on, and is waited for.
    assert!(done(&front.ask(ask(60_000, "/other")).await));
    let wait = |timeout_ms| Ask::WaitIdle { unit: unit(), timeout_ms };
    assert!(matches!(front.ask(wait(50)).await, Ok(Reply::Busy { count: 1, .. })));
    source.let_go();
    assert!(matches!(front.ask(wait(5_000)).await, Ok(Reply::Idle { .. })));
    assert_eq!(within("its answer", running).await.unwrap().unwrap().status, 200);
    assert!(done(&front.release("h1", Side::Source).await));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drops_a_held_request_whose_client_left_body_unread_or_not() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    assert!(done(&front.hold("h1").await));
    let mut leaving = Vec::new();
    // A body that is not read to its end hides the client's leaving from the HTTP layer.
    let body = "x".repeat(40_000);
    for head in [
        "GET /gone HTTP/1.1\r\nHost: shop.example.test\r\n\r\n".to_owned(),
        format!(
            "POST /gone HTTP/1.1\r\nHost: shop.example.test\r\nContent-Length: 40000\r\n\r\n{body}"
        ),
    ] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        leaving.push(stream);
    }
    front.held(2).await;
    let staying = later(front.address, "POST", "/stays");
    front.held(3).await;
    drop(leaving);
    // The one without a body is seen to leave at once, the other when its turn comes.
    front.held(2).await;
    assert!(done(&front.release("h1", Side::Target).await));
    assert_eq!(within("its answer", staying).await.unwrap().unwrap().status, 200);
    until("all is let go", async || front.status().await.hold == HoldStatus::Open).await;
    assert_eq!(target.paths(), ["/stays"]);
    front.stop().await;
}

/// Many requests while holds begin, lapse and are released again and again: each is
/// answered once, by the side that had the unit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing_over_many_switches_under_load() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed_with(&source, &target, quick(), 8).await;
    let address = front.address;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let method = if client % 2 == 0 { "POST" } else { "GET" };
                    let path = format!("/{client}/{sent}");
                    let answer = send(address, request(method, &path, "x")).await.unwrap();
                    assert_eq!(answer.status, 200);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let mut to = Side::Target;
    for round in 0..20 {
        let id = format!("h{round}");
        assert!(done(&front.hold(&id).await));
        let idle = Ask::WaitIdle { unit: unit(), timeout_ms: 5_000 };
        assert!(matches!(front.ask(idle).await, Ok(Reply::Idle { .. })));
        // Whoever sent now would write to both sides.
        let (from_now, to_now) = (source.seen().len(), target.seen().len());
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!((source.seen().len(), target.seen().len()), (from_now, to_now));
        assert!(done(&front.release(&id, to).await));
        to = to.other();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        sent += within("a client", client).await.unwrap();
    }
    assert_eq!(source.seen().len() + target.seen().len(), sent);
    let stats = front.stats().await;
    assert_eq!(stats.sides.source.requests + stats.sides.target.requests, sent as u64);
    assert_eq!((stats.sides.source.failed, stats.sides.target.failed), (0, 0));
    front.stop().await;
}
