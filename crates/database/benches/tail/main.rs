//! How fast a schema follows by its source's log, and native replication over the same load
//! beside it: how long either takes to catch up with what clients wrote meanwhile, and how
//! far behind either is while they write.
//!
//! `tail SOURCE TARGET NATIVE` takes the addresses of three empty MariaDB servers with
//! different server ids, of which the source logs by rows and root has no password. It leaves
//! schema `bench` at each. Each measurement is printed as a line of JSON, `{"name", "value"}`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod load;
mod native;

use load::Load;
use secrecy::SecretString;
use segue_database::Position;
use segue_database::tail::{Begin, Follow, Grouping, Source, Tail};
use segue_doors::sql::Endpoint;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Transactions to catch up with.
const PRODUCED: u64 = 8_000;
/// Transactions a second while lag is measured.
const RATE: u64 = 200;
/// How long lag is measured.
const STEADY: Duration = Duration::from_secs(10);

fn main() {
    // `cargo bench` adds a word of its own.
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let addresses: Vec<SocketAddr> = words.map(|word| word.parse().unwrap()).collect();
    let [source, target, other] = addresses[..] else {
        panic!("tail SOURCE TARGET NATIVE, each an address")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(source, target, other));
}

async fn measure(source: SocketAddr, target: SocketAddr, other: SocketAddr) {
    let load = Load::make(source, &[target, other]).await;
    let begin = load.position().await;
    native::follow(other, source, &begin).await;
    native::wait(other, &begin).await;
    native::pause(other, true).await;

    let produced = load.produce(PRODUCED).await;
    told("producer, transactions/s", PRODUCED as f64 / produced.as_secs_f64());
    let end = load.position().await;

    let begun = Instant::now();
    native::pause(other, false).await;
    native::wait(other, &end).await;
    told("native, catch-up over producer's rate", ratio(produced, begun.elapsed()));

    let begun = Instant::now();
    let tail = follow(source, target, &begin).await;
    caught_up(&tail, &end).await;
    told("tail, catch-up over producer's rate", ratio(produced, begun.elapsed()));
    let progress = tail.sample().schemas["bench"].progress.clone();
    told("tail, transactions a commit", progress.transactions as f64 / progress.commits as f64);

    // Turn by turn, so that neither has a quieter hour than the other.
    for round in ["first", "second"] {
        lag(&load, &format!("tail, lag, {round}"), target).await;
        lag(&load, &format!("native, lag, {round}"), other).await;
    }
    caught_up(&tail, &load.position().await).await;
    native::wait(other, &load.position().await).await;
    assert_eq!(load.sums(target).await, load.sums(source).await);
    tail.end().await.reading.unwrap();
    native::end(other).await;
}

async fn lag(load: &Load, name: &str, target: SocketAddr) {
    let mut lags = load.lag(target, RATE, STEADY).await;
    lags.sort_unstable();
    for (share, shown) in [(50, "p50"), (99, "p99")] {
        let at = (lags.len() * share / 100).min(lags.len() - 1);
        told(&format!("{name}, {shown}, ms"), lags[at].as_secs_f64() * 1e3);
    }
}

async fn follow(source: SocketAddr, target: SocketAddr, begin: &Position) -> Tail {
    let login = |address| Endpoint {
        address,
        user: "root".into(),
        password: SecretString::from(String::new()),
    };
    let source = Source {
        name: "bench".into(),
        endpoint: login(source),
        server_id: 7001,
        heartbeat: Duration::from_secs(1),
        own_only: false,
    };
    let follow = Follow {
        schema: "bench".into(),
        beside: Vec::new(),
        target: login(target),
        begin: Begin::After(begin.clone()),
        grouping: Grouping::default(),
        room: 16 * 1024 * 1024,
    };
    Tail::start(&source, vec![follow]).await.unwrap()
}

async fn caught_up(tail: &Tail, wanted: &Position) {
    let mut progress = tail.progress("bench").unwrap();
    let reached = progress.wait_for(|progress| progress.reached.covers(wanted)).await;
    assert!(reached.is_ok(), "the tail ended");
}

fn ratio(produced: Duration, caught_up: Duration) -> f64 {
    produced.as_secs_f64() / caught_up.as_secs_f64()
}

/// Tells one measurement.
fn told(name: &str, value: f64) {
    println!("{}", serde_json::json!({ "name": name, "value": value }));
}
