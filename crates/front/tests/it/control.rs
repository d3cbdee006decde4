//! Who may change a front.

use crate::support::*;
use segue_front::control::{Client, Mark, Reply, Request as Ask, SiteRoute};
use segue_model::{Epoch, Side, Sides};
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_other_runs_lower_epochs_and_used_generations() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let other = Ask::Claim { run: "run-2".into(), epoch: Epoch(9) };
    assert_eq!(code(front.ask(other).await), "SG0110");
    assert!(done(&front.claim(3).await), "a newer controller of the same run");
    assert_eq!(code(front.claim(2).await), "SG0111");
    // The former controller's mark carries epoch 1.
    assert_eq!(code(front.hold("h1").await), "SG0111");
    let generation = front.hello().await.generation;
    let hold = |run: &str, epoch, generation| {
        let mut ask = front.hold_request("h1");
        if let Ask::Hold { mark, .. } = &mut ask {
            *mark = Mark { run: run.into(), epoch: Epoch(epoch), generation };
        }
        ask
    };
    assert_eq!(code(front.ask(hold("run-2", 3, 99)).await), "SG0110");
    assert_eq!(code(front.ask(hold("run-1", 3, generation)).await), "SG0112");
    assert_eq!(get(front.address, "/").await.status, 200, "nothing was held");
    assert!(done(&front.ask(hold("run-1", 4, generation + 1)).await));
    let hello = front.hello().await;
    assert_eq!((hello.epoch, hello.generation), (Epoch(4), generation + 1));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_changes_that_would_let_requests_slip_through_a_hold() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    assert!(done(&front.hold("h1").await));
    assert_eq!(code(front.hold("h2").await), "SG0116");
    assert_eq!(code(front.set_route(&shop, &shop, 1).await), "SG0116");
    assert_eq!(code(front.ask(Ask::Unclaim { mark: front.mark() }).await), "SG0116");
    assert_eq!(code(front.release("h9", Side::Target).await), "SG0114");
    assert!(done(&front.seal("h1").await));
    assert_eq!(code(front.ask(Ask::Bypass { mark: front.mark() }).await), "SG0116");
    assert!(done(&front.release("h1", Side::Source).await));
    assert!(done(&front.hold("h1").await), "another try after another front was busy");
    assert!(done(&front.release("h1", Side::Source).await));
    let aside = Ask::SetRoute {
        mark: front.mark(),
        unit: unit(),
        sites: vec![SiteRoute {
            hosts: vec![HOST.into()],
            backends: Sides { source: shop.address, target: shop.address },
            reach: None,
        }],
        write_side: Side::Target,
        concurrency: Sides { source: 1, target: 1 },
    };
    assert_eq!(code(front.ask(aside).await), "SG0116", "only a release moves the write side");
    assert!(done(&front.ask(Ask::Unclaim { mark: front.mark() }).await));
    assert_eq!(code(front.hold("h3").await), "SG0110");
    assert!(done(&front.ask(Ask::Claim { run: "run-2".into(), epoch: Epoch(1) }).await));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_a_host_of_another_unit_and_routes_without_room() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let route = |hosts: &[&str], concurrency| Ask::SetRoute {
        mark: front.mark(),
        unit: "blog".into(),
        sites: vec![SiteRoute {
            hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
            backends: Sides { source: shop.address, target: shop.address },
            reach: None,
        }],
        write_side: Side::Source,
        concurrency: Sides { source: concurrency, target: 1 },
    };
    assert_eq!(code(front.ask(route(&["Shop.example.test."], 1)).await), "SG0115");
    assert_eq!(code(front.ask(route(&[], 1)).await), "SG0115");
    assert_eq!(code(front.ask(route(&["blog.example.test"], 0)).await), "SG0115");
    assert!(done(&front.ask(route(&["blog.example.test"], 1)).await));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opens_its_socket_to_its_own_user_only_and_answers_nonsense_with_a_fault() {
    let shop = Shop::start("source").await;
    let front = Running::routed(&shop, &shop).await;
    let path = front.folder.path().join("control.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut raw = tokio::net::UnixStream::connect(&path).await.unwrap();
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    raw.write_all(b"{\"request\":\"explode\"}\n{\"request\":\"hello\"}\n").await.unwrap();
    let mut lines = BufReader::new(raw).lines();
    for expected in ["SG0103", "\"reply\":\"hello\""] {
        let line = within("a line", lines.next_line()).await.unwrap().unwrap();
        assert!(line.contains(expected), "{line}");
    }
    // A second front does not steal the socket of one that lives.
    let options = options(front.folder.path(), free_address(), shop.address);
    let ended = segue_front::run_until(options, quick(), std::future::pending()).await;
    assert_eq!(ended.unwrap_err().code, "SG0122");
    front.stop().await;
    let gone = Client::connect(&path).await.map(|_| ()).unwrap_err();
    assert_eq!(gone.code, "SG0101");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_that_a_change_may_have_happened_when_no_answer_came() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("mute.sock");
    let mute = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = mute.accept().await {
            kept.push(stream);
        }
    });
    let client = Client::connect(&path).await.unwrap();
    let client = client.with_limit(std::time::Duration::from_millis(30));
    let mark = Mark { run: run_id(), epoch: Epoch(1), generation: 1 };
    // The last unit that leaves has the front leave its ports, as a bypass does.
    for leaving in [Ask::Leave { mark: mark.clone(), unit: unit() }, Ask::Bypass { mark }] {
        let fault = client.call(&leaving);
        let fault = tokio::time::timeout(std::time::Duration::from_millis(100), fault).await;
        assert!(fault.is_err(), "it is given more time");
    }
    let fault = client.call(&Ask::Claim { run: run_id(), epoch: Epoch(1) }).await.unwrap_err();
    assert_eq!(fault.code, "SG0102");
    assert_eq!(fault.effect, segue_model::EffectLeft::Maybe);
    let fault = client.call(&Ask::Hello).await.unwrap_err();
    assert_eq!(fault.effect, segue_model::EffectLeft::None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_by_side_and_by_second() {
    let (source, target) = (Shop::start("source").await, Shop::start("target").await);
    let front = Running::routed(&source, &target).await;
    for path in ["/", "/", "/error", "/short"] {
        get(front.address, path).await;
    }
    let mut stats = front.stats().await;
    assert_eq!((stats.sides.source.requests, stats.sides.source.failed), (4, 1));
    assert!(stats.sides.source.longest_ms >= 30.0);
    assert_eq!(stats.sides.target.requests, 0);
    until("a second has passed", async || {
        stats = front.stats().await;
        stats.windows.source.iter().map(|w| w.count).sum::<u64>() == 4
    })
    .await;
    let windows = &stats.windows.source;
    assert_eq!(windows.iter().map(|w| w.failed).sum::<u64>(), 1);
    assert!(windows.iter().any(|w| w.max_ms >= 29.0), "{windows:?}");
    let Ok(Reply::Hello(hello)) = front.ask(Ask::Hello).await else { panic!("no hello") };
    assert_eq!((hello.pid, hello.listening), (std::process::id(), true));
    front.stop().await;
}
