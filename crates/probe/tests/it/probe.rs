use crate::server::{Manner, Server, until};
use segue_model::{Side, What};
use segue_port::Sampler;
use segue_probe::{Connection, HealthProbe, HttpProbe, ProbeSettings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn probe(address: SocketAddr, connection: Connection) -> Arc<HttpProbe> {
    HttpProbe::new(ProbeSettings {
        name: "site".into(),
        address,
        host: "shop.example.test".into(),
        tls: None,
        path: "/catalogue?page=1".into(),
        marker: "segue-shop".into(),
        per_second: 50,
        run: "run-1".into(),
        connection,
    })
}

async fn value(probe: &HttpProbe, what: What) -> f64 {
    let samples = probe.sample(1).await.unwrap();
    samples.iter().find(|s| s.what == what).map_or(f64::NAN, |s| s.value)
}

#[tokio::test]
async fn counts_good_answers_by_side_at_the_intended_rate() {
    let server = Server::start().await;
    let probe = probe(server.address, Connection::Keepalive);
    assert!(probe.sample(1).await.unwrap().is_empty(), "no number before the start");
    let began = Instant::now();
    probe.start();
    probe.start();
    until("50 answers", || probe.summary().sent >= 50).await;
    let most = (began.elapsed().as_secs_f64() * 50.0) as u64 + 2;
    probe.stop().await;
    let summary = probe.summary();
    assert!(summary.sent <= most, "{} of {most}", summary.sent);
    assert_eq!((summary.failed, summary.longest_interruption), (0, None));
    assert_eq!(summary.by_side["source"], summary.sent);
    let seen = server.seen();
    assert!(seen.iter().any(|s| s.connection == 0) && seen.len() as u64 == summary.sent);
    assert!(seen.iter().map(|s| s.connection).max().unwrap() < 10, "connections are reused");
    assert!(
        seen[0].head.contains("GET /catalogue?page=1 ")
            && seen[0].head.contains("shop.example.test")
    );
    let seconds = probe.seconds();
    assert_eq!(seconds.iter().map(|s| s.sent).sum::<u64>(), summary.sent);
    assert!(seconds.iter().all(|s| s.p50_ms <= s.p99_ms && s.p99_ms <= s.max_ms));
}

#[tokio::test]
async fn measures_a_stall_from_the_intended_times() {
    let server = Server::start().await;
    let probe = probe(server.address, Connection::New);
    probe.start();
    until("it runs", || probe.summary().sent > 10).await;
    server.behave(Manner::Stall);
    let began = Instant::now();
    until("the stall is old", || began.elapsed() > Duration::from_millis(600)).await;
    let waiting = value(&probe, What::ProbeMaxMs).await;
    assert!(waiting >= 500.0, "a request that waits is shown while it waits: {waiting}");
    server.behave(Manner::Good);
    let length = began.elapsed().as_secs_f64() * 1000.0;
    let before = probe.summary().sent;
    until("all is answered", || probe.summary().sent > before + 35).await;
    probe.stop().await;
    let summary = probe.summary();
    assert_eq!(summary.failed, 0, "slow is not failed: {:?}", summary.failures);
    assert!(summary.max_ms >= 500.0 && summary.max_ms <= length + 400.0, "{}", summary.max_ms);
    // Requests went on being sent during the stall, so many were slow and not only one.
    let slow: f64 = summary.p99_ms;
    assert!(slow > 300.0, "{slow}");
}

#[tokio::test]
async fn names_every_kind_of_failure_and_measures_the_interruption() {
    let server = Server::start().await;
    for (manner, word) in [
        (Manner::Status503, "status 503"),
        (Manner::WrongBody, "marker"),
        (Manner::Close, "eof"),
        (Manner::Cut, "eof"),
        (Manner::Reset, "reset"),
    ] {
        for connection in [Connection::New, Connection::Keepalive] {
            server.behave(Manner::Good);
            let probe = probe(server.address, connection);
            probe.start();
            until("it runs", || probe.summary().sent > 3).await;
            assert_eq!(probe.summary().failed, 0, "{manner:?}");
            server.behave(manner);
            until("failures", || probe.summary().failed >= 10).await;
            assert!(value(&probe, What::ProbeFailed).await >= 10.0);
            assert!(probe.summary().longest_interruption.unwrap().open);
            server.behave(Manner::Good);
            until("it is good again", || {
                probe.summary().longest_interruption.is_some_and(|i| !i.open)
            })
            .await;
            probe.stop().await;
            let summary = probe.summary();
            assert_eq!(
                summary.failures.keys().collect::<Vec<_>>(),
                [word],
                "{manner:?} {connection:?}"
            );
            let longest = summary.longest_interruption.unwrap();
            assert!(longest.length_ms >= longest.probes * 20 - 40, "{longest:?}");
            assert!(longest.length_ms <= 5_000, "{longest:?}");
        }
    }
}

#[tokio::test]
async fn counts_a_refused_connection() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let probe = probe(address, Connection::Keepalive);
    probe.start();
    until("failures", || probe.summary().failed >= 5).await;
    probe.stop().await;
    let summary = probe.summary();
    assert_eq!(summary.failures["connect"], summary.sent);
}

#[tokio::test]
async fn gives_up_five_seconds_after_the_intended_time() {
    let server = Server::start().await;
    let probe = probe(server.address, Connection::New);
    server.behave(Manner::Stall);
    let began = Instant::now();
    probe.start();
    until("one gave up", || probe.summary().failed >= 1).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4_950) && took < Duration::from_secs(8), "{took:?}");
    server.behave(Manner::Good);
    probe.stop().await;
    assert!(probe.summary().failures.contains_key("timeout"));
}

#[tokio::test]
async fn shows_health_from_the_address_it_is_told_to_use() {
    let server = Server::start().await;
    let egress = Some(std::net::IpAddr::from([127, 0, 0, 250]));
    let probe = HealthProbe::new(Side::Target, server.address, "h", "/healthz", egress);
    for (manner, expected) in [(Manner::Good, 1.0), (Manner::Status503, 0.0), (Manner::Close, 0.0)]
    {
        server.behave(manner);
        let samples = probe.sample(7).await.unwrap();
        assert_eq!(samples[0].what, What::BackendHealthy(Side::Target));
        assert!((samples[0].value - expected).abs() < f64::EPSILON, "{manner:?}");
    }
    server.behave(Manner::Stall);
    let began = Instant::now();
    let stalled = probe.sample(7).await.unwrap();
    assert!(stalled[0].value < 0.5 && began.elapsed() < Duration::from_secs(4));
    let seen = server.seen();
    assert!(seen.iter().all(|s| Some(s.from) == egress), "{seen:?}");
    assert!(seen[0].head.starts_with("GET /healthz "));
}
