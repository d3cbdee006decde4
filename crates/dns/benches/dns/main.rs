//! DNS at the size of a large move: 1,000 zones on a primary and a secondary, audited, lowered,
//! published and taken back; the same change by octoDNS; a zone of 100,000 records.
//!
//! Arguments: a scratch folder, and where `octodns-sync` is, if it is. Tells its numbers as
//! lines of JSON.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod octodns;
mod pair;

use futures_util::stream::{self, StreamExt};
use pair::{Pair, zone_name};
use segue_dns::{Settings, Zone};
use segue_model::event::{Attempt, Phase};
use segue_model::plan::{AuthorityPlan, OwnedSet, SecretRef, TsigKey, ZonePlan};
use segue_model::{Epoch, Sides};
use segue_port::{Authority, Call, Effect, Facts, NoProgress};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Zones.
const ZONES: usize = 1_000;
/// Zones that are worked on at once.
const AT_ONCE: usize = 16;
/// Records of the large zone.
const LARGE: usize = 100_000;
/// Changes of one zone by itself.
const SINGLE: usize = 300;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let scratch = PathBuf::from(arguments.next().expect("a scratch folder"));
    let peer = arguments.next().map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&scratch, peer.as_deref()));
}

async fn run(scratch: &Path, peer: Option<&Path>) {
    let pair = Pair::start(scratch, ZONES, LARGE).await;
    let zones: Vec<Arc<Zone>> = (0..ZONES).map(|number| zone(&pair, &zone_name(number))).collect();
    eprintln!("{ZONES} zones are served by both servers");
    let all = |what: &'static str, began: Instant| {
        tell(&format!("{what}, s"), began.elapsed().as_secs_f64());
    };
    let began = Instant::now();
    stream::iter(&zones)
        .for_each_concurrent(AT_ONCE, |zone| async move {
            assert_eq!(zone.audit().await.unwrap().sets.len(), 3);
        })
        .await;
    all("audit all", began);

    let began = Instant::now();
    for_all(&zones, Phase::Prepare, |zone| zone.lower_ttls()).await;
    all("lower all", began);
    let began = Instant::now();
    let published = for_all(&zones, Phase::Cutover, |zone| zone.publish()).await;
    all("publish all", began);
    let began = Instant::now();
    stream::iter(zones.iter().zip(&published))
        .for_each_concurrent(AT_ONCE, |(zone, call)| async move {
            zone.publish().undo(call).await.unwrap();
        })
        .await;
    all("take back all", began);

    let mut single = Vec::new();
    for _ in 0..SINGLE / 2 {
        let publish = zones[0].publish();
        let began = Instant::now();
        let call = prepared(&publish, Phase::Cutover).await;
        publish.run(&call).await.unwrap();
        single.push(began.elapsed());
        let began = Instant::now();
        publish.undo(&call).await.unwrap();
        single.push(began.elapsed());
    }
    single.sort();
    tell("one zone p99, ms", single[single.len() * 99 / 100].as_secs_f64() * 1e3);

    let large = zone(&pair, "large.test");
    let began = Instant::now();
    let contents = large.contents(Duration::from_secs(60)).await.unwrap();
    tell("read a large zone, s", began.elapsed().as_secs_f64());
    assert!(contents.sets().count() >= LARGE, "{} sets", contents.sets().count());

    if let Some(peer) = peer {
        // The same sets get the same data; it proves nothing afterwards.
        let took = octodns::publish_all(peer, scratch, &pair, ZONES);
        tell("publish all by octodns, s", took.as_secs_f64());
    }
}

fn tell(name: &str, value: f64) {
    println!("{}", serde_json::json!({ "name": name, "value": value }));
}

/// Runs an effect at every zone; returns the calls.
async fn for_all(
    zones: &[Arc<Zone>],
    phase: Phase,
    effect: impl Fn(&Arc<Zone>) -> Arc<dyn Effect>,
) -> Vec<Call> {
    let effects: Vec<_> = zones.iter().map(effect).collect();
    let mut calls: Vec<(usize, Call)> = stream::iter(effects.into_iter().enumerate())
        .map(|(number, effect)| async move {
            let call = prepared(&effect, phase).await;
            let output = effect.run(&call).await.unwrap();
            assert_eq!(output["servers"].as_array().unwrap().len(), 2);
            (number, call)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    calls.sort_by_key(|(number, _)| *number);
    calls.into_iter().map(|(_, call)| call).collect()
}

async fn prepared(effect: &Arc<dyn Effect>, phase: Phase) -> Call {
    let prepared = effect.prepare(&call(phase, Value::Null)).await.unwrap();
    call(phase, prepared)
}

fn call(phase: Phase, prepared: Value) -> Call {
    Call {
        progress: Arc::new(NoProgress),
        authority: Authority {
            run: "bench".into(),
            unit: "bench".into(),
            step: "bench".into(),
            attempt: Attempt { phase, number: 1 },
            epoch: Epoch(1),
        },
        prepared,
        facts: Arc::new(Facts::new()),
        time_allowed: Duration::from_secs(60),
    }
}

fn zone(pair: &Pair, name: &str) -> Arc<Zone> {
    let set = |label: &str, rtype: &str, source: &str, target: &str| OwnedSet {
        name: if label.is_empty() { name.to_owned() } else { format!("{label}.{name}") },
        rtype: rtype.into(),
        data: Sides { source: vec![source.into()], target: vec![target.into()] },
    };
    let plan = ZonePlan {
        zone: name.into(),
        provider: None,
        servers: vec![pair.primary, pair.secondary],
        authority: AuthorityPlan::Update {
            primary: pair.primary,
            key: TsigKey {
                name: "bench-key".into(),
                algorithm: "hmac-sha256".into(),
                secret: SecretRef(format!("file:{}", pair.secret.display())),
            },
        },
        records: vec![
            set("", "A", "192.0.2.10", "203.0.113.20"),
            set("www", "A", "192.0.2.10", "203.0.113.20"),
            set("", "MX", "10 mail.source.test.", "10 mail.target.test."),
        ],
        lowered_ttl_s: 60,
        lowered_other_ttl_s: 300,
        parents: Vec::new(),
        allow: Vec::new(),
        query_logs: Vec::new(),
    };
    Zone::new(Settings { plan, run: "bench".into(), unit: "bench".into() })
}
