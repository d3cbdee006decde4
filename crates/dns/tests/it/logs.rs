//! Query logs as real name servers write them, text and dnstap.

use crate::named::{Named, Role, SECRETS, ZONE, free_port, secret_file};
use crate::unbound::Unbound;
use crate::world::wait_until;
use segue_dns::drill::{DrillQuestion, drill};
use segue_dns::queries::{AuthorityQueries, QueryLogs};
use segue_dns::watch::{Question, watch};
use segue_model::Sides;
use segue_model::plan::{
    AuthorityPlan, OwnedSet, QueryLogFormat, QueryLogPlan, SecretRef, TsigKey, ZonePlan,
};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn zone(provider: &str, server: SocketAddr, format: QueryLogFormat, file: PathBuf) -> ZonePlan {
    ZonePlan {
        zone: "example.test".into(),
        provider: Some(provider.into()),
        authority: AuthorityPlan::Command { command: Vec::new() },
        servers: vec![server],
        records: vec![OwnedSet {
            name: "shop.example.test".into(),
            rtype: "A".into(),
            data: Sides { source: vec!["127.0.0.11".into()], target: vec!["127.0.0.12".into()] },
        }],
        lowered_ttl_s: 60,
        lowered_other_ttl_s: 300,
        allow: Vec::new(),
        parents: Vec::new(),
        query_logs: vec![QueryLogPlan { format, file }],
    }
}

/// Asks a server once, as a client.
async fn ask(server: SocketAddr, name: &str) {
    let question = Question {
        name: name.into(),
        rtype: "A".into(),
        former: Vec::new(),
        former_ttl_s: 1,
        wanted: vec!["192.0.2.1".into()],
        published_at_ms: None,
        resolvers: vec![server],
        every: Duration::from_secs(1),
        time: Duration::ZERO,
    };
    let curve = watch(&question, |_, _| {}).await.unwrap();
    assert_ne!(curve.last()[&server].word(), "failing");
}

/// A name that nobody owns.
const FILLER: &str = "filler.example.test";

fn brief(one: &AuthorityQueries) -> (Option<u64>, Vec<String>, Option<f64>) {
    let mut who: Vec<String> = one.asking.iter().map(|a| a.resolver.to_string()).collect();
    who.sort();
    (one.resolvers, who, one.resolvers_percent)
}

#[tokio::test]
async fn text_and_dnstap_tell_the_same_of_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| Named::start(dir.path(), name, ZONE, &Role::Logged);
    let (source, target) = (start("source"), start("target"));
    let resolver =
        |name, server: &Named, from| Unbound::start(dir.path(), name, server.address, from);
    let stays = [resolver("a", &source, "127.0.0.2"), resolver("b", &source, "127.0.0.3")];
    let went = resolver("c", &target, "127.0.0.4");
    for resolver in stays.iter().chain([&went]) {
        ask(resolver.address, "shop.example.test").await;
    }
    // What Segue itself asks is in no share.
    ask(source.address, "shop.example.test").await;
    for (format, file) in [(QueryLogFormat::Bind, "queries"), (QueryLogFormat::Dnstap, "tap")] {
        let plans = [
            zone("source", source.address, format, source.file(file)),
            zone("target", target.address, format, target.file(file)),
        ];
        let mut logs = QueryLogs::of(&plans, &[]).unwrap();
        let mut told = Vec::new();
        wait_until("both logs tell of all three resolvers", async || {
            // A dnstap file is written in pieces of 4 KiB: a quiet server has to be asked more.
            if format == QueryLogFormat::Dnstap {
                tokio::join!(ask(source.address, FILLER), ask(target.address, FILLER));
            }
            logs.read();
            told = logs.told().remove(0).authorities;
            told.iter().map(|one| one.asking.len()).sum::<usize>() == 3 && told[0].own_queries > 0
        })
        .await;
        let two: Vec<String> = ["127.0.0.2", "127.0.0.3"].map(str::to_owned).into();
        let share = |percent: f64| Some(percent * 100.0 / 3.0);
        assert_eq!(brief(&told[0]), (Some(2), two, share(2.0)), "{format:?}: {told:#?}");
        let one = vec!["127.0.0.4".to_owned()];
        assert_eq!(brief(&told[1]), (Some(1), one, share(1.0)), "{format:?}: {told:#?}");
        assert!(told.iter().all(|one| one.unknown.is_empty() && one.queries.unwrap() > 0));
    }
}

#[tokio::test]
async fn a_drill_tries_the_flush_and_the_logs() {
    let dir = tempfile::tempdir().unwrap();
    let named = Named::start(dir.path(), "primary", ZONE, &Role::Logged);
    let unbound = Unbound::start(dir.path(), "a", named.address, "127.0.0.2");
    let secret = secret_file(dir.path(), SECRETS[0]);
    let key = TsigKey {
        name: "mig-key".into(),
        algorithm: "hmac-sha256".into(),
        secret: SecretRef(format!("file:{}", secret.display())),
    };
    let plan = ZonePlan {
        authority: AuthorityPlan::Update { primary: named.address, key },
        ..zone("only", named.address, QueryLogFormat::Bind, named.file("queries"))
    };
    let question = DrillQuestion {
        waiting: |_| (),
        zones: vec![plan],
        resolvers: vec![unbound.address],
        // Nobody waits so long for this test.
        ttl_s: 3000,
        label: "_segue-drill-1".into(),
        flush: vec![unbound.control(&["flush_type", "{name}", "{type}"])],
    };
    let drill = drill(&question, std::future::pending(), |_, _| {}).await.unwrap();
    assert_eq!((drill.flushed[0].runs, drill.flushed[0].failed), (1, 0), "{drill:#?}");
    assert!(drill.reached[2].after_ms.unwrap() < 60_000, "{drill:#?}");
    let here = &drill.queries[0].authorities[0];
    assert!(here.unknown.is_empty() && here.queries.unwrap() >= 2, "{here:#?}");
    assert_eq!(here.asking[0].resolver.to_string(), "127.0.0.2");
    assert!(!here.asking[0].watched, "it asks from another address than it listens at");
}

/// A process of ours; ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts Knot DNS with its module for dnstap.
fn knot(home: &Path, address: SocketAddr) -> Running {
    fs::write(home.join("knot.zone"), ZONE).unwrap();
    let config = home.join("knot.conf");
    let text = format!(
        "server:\n    rundir: {home}\n    listen: 127.0.0.1@{port}\ndatabase:\n    storage: {home}\n\
         log:\n  - target: {home}/knot.log\n    any: info\n\
         mod-dnstap:\n  - id: tap\n    sink: {home}/knot.tap\n    log-responses: off\n\
         template:\n  - id: default\n    storage: {home}\n    global-module: mod-dnstap/tap\n\
         zone:\n  - domain: example.test\n    file: {home}/knot.zone\n",
        home = home.display(),
        port = address.port(),
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("/usr/sbin/knotd");
    command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
    Running(command.stderr(Stdio::null()).spawn().unwrap())
}

fn failed(log: &str) -> bool {
    log.contains("mod-dnstap") && log.contains("failed")
}

#[tokio::test]
async fn the_dnstap_file_of_knot_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_port();
    let _knot = knot(dir.path(), address);
    let log = || fs::read_to_string(dir.path().join("knot.log")).unwrap_or_default();
    wait_until("knotd has begun", async || log().contains("server started") || failed(&log()))
        .await;
    assert!(!failed(&log()), "apt-get install knot-module-dnstap: {}", log());
    let unbound = Unbound::start(dir.path(), "a", address, "127.0.0.2");
    let plan = zone("only", address, QueryLogFormat::Dnstap, dir.path().join("knot.tap"));
    let mut logs = QueryLogs::of(&[plan], &[unbound.address]).unwrap();
    let mut told = Vec::new();
    wait_until("the log tells of the resolver", async || {
        if tokio::net::UdpSocket::bind(address).await.is_err() {
            ask(unbound.address, "shop.example.test").await;
            ask(address, FILLER).await;
        }
        logs.read();
        told = logs.told().remove(0).authorities;
        told[0].asking.len() == 1
    })
    .await;
    assert_eq!(told[0].asking[0].resolver.to_string(), "127.0.0.2");
    assert!(told[0].queries.unwrap() > 0 && told[0].unknown.is_empty(), "{told:#?}");
}
