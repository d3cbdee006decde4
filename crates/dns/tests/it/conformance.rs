//! What holds at every provider, whoever made it and however its records are changed. The table
//! of what can be promised where is printed by `the_table` and checked against what is seen.

use crate::named::ZONE;
use crate::primaries::{Lab, Make};
use crate::world::{ENOUGH, call, contents, done, foreign, set, shop, ttl_and_data};
use segue_dns::{Late, Swap};
use segue_model::event::Phase;
use segue_model::{EffectLeft, FaultKind};
use segue_port::Observed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Changes there and back in which transfers look for a third state, and edits of somebody else
/// that race with changes of ours: a few, and fewer where an API lets only a few requests a
/// second in; or with `SEGUE_DNS_WHOLE` as many as `make dns` wants.
fn rounds(make: Make) -> (usize, usize) {
    match std::env::var_os("SEGUE_DNS_WHOLE") {
        None if make == Make::Route53 || make == Make::Cloudflare => (6, 10),
        None => (20, 40),
        Some(_) => (250, 1_000),
    }
}

/// TTLs are lowered, what is foreign stays, and taken back it is as before to the octet.
async fn lowers_and_restores_ttls(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let zone = lab.zone(shop());
    let before = contents(&zone).await;
    let lower = zone.lower_ttls();
    let (called, output) = done(&lower, Phase::Prepare).await;
    let lowered = contents(&zone).await;
    // No lower than the provider allows.
    let floor = zone.capabilities().ttl_min_s;
    let ttl = floor.max(30);
    assert_eq!(ttl_and_data(&lowered, "pay.example.test A"), json!([ttl, ["127.0.0.11"]]));
    let text = json!([ttl, ["\"Source; exactly\" \"two parts\""]]);
    assert_eq!(ttl_and_data(&lowered, "pay.example.test TXT"), text);
    let shop_a = json!([floor.max(20), ["127.0.0.11"]]);
    assert_eq!(ttl_and_data(&lowered, "shop.example.test A"), shop_a);
    assert_eq!(foreign(&before, &shop()), foreign(&lowered, &shop()));
    let lowered_at = output["lowered_at"].as_u64().unwrap();
    assert_eq!(output["safe_after_wall_ms"], lowered_at + 3_600_000);
    assert!(matches!(lower.observe(&called).await.unwrap(), Observed::Applied(_)));
    lower.undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
    assert_eq!(lower.observe(&called).await.unwrap(), Observed::NotApplied);
}

/// How long resolvers keep that a name does not exist is lowered and restored with the TTLs, and
/// left alone where somebody else set it meanwhile.
async fn lowers_and_restores_how_long_absence_is_kept(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let zone = lab.zone(shop());
    let server = lab.servers[0];
    assert_eq!(minimum(server).await, 60);
    if [Make::Command, Make::Route53, Make::Cloudflare].contains(&make) {
        let (_, output) = done(&zone.lower_ttls(), Phase::Prepare).await;
        assert_eq!(output["former_minimum_s"], Value::Null);
        return;
    }
    let (called, output) = done(&zone.lower_ttls(), Phase::Prepare).await;
    assert_eq!((minimum(server).await, &output["former_minimum_s"]), (30, &json!(60)));
    zone.lower_ttls().undo(&called).await.unwrap();
    assert_eq!(minimum(server).await, 60);
    let (_, output) = done(&zone.lower_ttls(), Phase::Prepare).await;
    done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(minimum(server).await, 30);
    done(&zone.restore_ttls(output.clone()), Phase::Settle).await;
    assert_eq!(minimum(server).await, 60);
    // Restored already: nothing is left to do.
    let (_, again) = done(&zone.restore_ttls(output), Phase::Settle).await;
    assert_eq!(again["former_minimum_s"], Value::Null);
}

/// Asks a server for the last field of the zone's SOA.
async fn minimum(server: SocketAddr) -> u32 {
    let text = dig(server, "example.test", "SOA").await;
    text.split_whitespace().last().unwrap_or_default().parse().unwrap()
}

/// Asks a server for data, as a person does.
async fn dig(server: SocketAddr, name: &str, rtype: &str) -> String {
    let asked = tokio::process::Command::new("dig")
        .args(["+short", "+time=1", "+tries=3", "@127.0.0.1", "-p"])
        .args([&server.port().to_string(), name, rtype])
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

/// A set of changes is there as a whole or not at all, whenever somebody transfers the zone.
async fn publishes_atomically(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let zone = lab.zone(shop());
    let before = contents(&zone).await;
    let publish = zone.publish();
    let (called, _) = done(&publish, Phase::Cutover).await;
    let after = contents(&zone).await;
    let ttl = zone.capabilities().ttl_min_s.max(30);
    assert_eq!(ttl_and_data(&after, "pay.example.test AAAA"), json!([ttl, ["2001:db8::12"]]));
    let states = |all: &serde_json::Map<String, Value>| Value::Object(all.clone()).to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (zone, stop) = (zone.clone(), stop.clone());
        async move {
            let (mut seen, mut samples) = (BTreeSet::new(), 0);
            while !stop.load(Ordering::SeqCst) {
                seen.insert(Value::Object(contents(&zone).await).to_string());
                samples += 1;
            }
            (seen, samples)
        }
    });
    let (changes, _) = rounds(make);
    let mut served = Vec::new();
    for _ in 0..changes {
        publish.undo(&called).await.unwrap();
        let began = Instant::now();
        publish.run(&called).await.unwrap();
        served.push(began.elapsed());
    }
    served.sort();
    stop.store(true, Ordering::SeqCst);
    let (seen, samples) = watcher.await.unwrap();
    let median = served[served.len() / 2];
    let times = format!("served by all after {median:?} (median)");
    println!(
        "{make:?}: {} changes, {samples} readings, {} states, {times}",
        2 * changes,
        seen.len()
    );
    assert!(samples >= changes / 2, "only {samples} transfers");
    assert_eq!(seen, BTreeSet::from([states(&before), states(&after)]));
}

/// An alias takes the place of addresses, and the other way round.
async fn exchanges_an_address_for_an_alias(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let owned = vec![
        set("shop", "A", &["127.0.0.11"], &[]),
        set("shop", "CNAME", &[], &["shop.provider.test."]),
    ];
    let zone = lab.zone(owned);
    let before = contents(&zone).await;
    let (called, _) = done(&zone.publish(), Phase::Cutover).await;
    let after = contents(&zone).await;
    assert_eq!(ttl_and_data(&after, "shop.example.test A"), Value::Null);
    let alias = json!([zone.capabilities().ttl_min_s.max(30), ["shop.provider.test."]]);
    assert_eq!(ttl_and_data(&after, "shop.example.test CNAME"), alias);
    zone.publish().undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
}

/// What somebody edited is never overwritten, and always noticed.
async fn never_writes_over_an_edit(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let zone = lab.zone(shop());
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let editor = lab.zone(vec![set("pay", "A", &["127.0.0.11"], &["203.0.113.9"])]);
    let (edit, _) = done(&editor.publish(), Phase::Cutover).await;
    let edited = contents(&zone).await;
    let called = call(Phase::Cutover, prepared);
    let fault = publish.run(&called).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0309", FaultKind::Conflict));
    assert_eq!(fault.effect, EffectLeft::None);
    assert_eq!(contents(&zone).await, edited);
    editor.publish().undo(&edit).await.unwrap();
    publish.run(&called).await.unwrap();
}

/// Returns the first address of a name, in the order of addresses.
async fn address(server: SocketAddr, name: &str) -> String {
    dig(server, name, "A").await.lines().min().unwrap_or_default().to_owned()
}

/// Somebody edits a neighbour, or the very set, at the same moment as we change ours: each of
/// his edits is there afterwards.
async fn races_with_an_editor(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    if lab.zone(shop()).capabilities().swap == Swap::ReadAgain {
        // Nothing is promised of an edit in the same milliseconds.
        return;
    }
    let zone = lab.zone(vec![set("shop", "A", &["127.0.0.11"], &["127.0.0.12"])]);
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let ours = call(Phase::Cutover, prepared);
    let (mut noticed, mut rebased) = (0, 0);
    let (_, races) = rounds(make);
    for number in 0..races {
        // Every other time it is our own set.
        let name = if number % 2 == 0 { "shop" } else { "tenant" };
        let from = if number % 2 == 0 { "127.0.0.11" } else { "198.51.100.7" };
        let editor = lab.zone(vec![set(name, "A", &[from], &["203.0.113.9"])]);
        let edit = editor.publish();
        let prepared = edit.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
        let theirs = call(Phase::Cutover, prepared);
        let (our, their) = tokio::join!(publish.run(&ours), edit.run(&theirs));
        let now = contents(&zone).await;
        let key = format!("{name}.example.test A");
        if their.is_ok() {
            let there = &ttl_and_data(&now, &key)[1];
            assert_eq!(*there, json!(["203.0.113.9"]), "race {number}: {our:?}");
        }
        match (&our, &their) {
            (Ok(_), Ok(_)) => {
                assert_eq!(name, "tenant", "race {number}: both changed one set");
                rebased += 1;
            }
            (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => {
                assert!(["SG0309", "SG0310", "SG0312"].contains(&fault.code.as_str()), "{fault}");
                noticed += 1;
            }
            (Err(our), Err(their)) => panic!("race {number}: nobody won: {our}; {their}"),
        }
        // Back to the beginning, whoever won.
        if their.is_ok() {
            edit.undo(&theirs).await.unwrap();
        }
        if our.is_ok() {
            publish.undo(&ours).await.unwrap();
        }
    }
    println!("{make:?}: {races} races, {noticed} noticed, {rebased} rebased");
    assert_eq!(noticed, races / 2);
}

/// Once closed off, an update that was built before has no effect however late it arrives; what
/// is there already is not sent again.
async fn closes_off_what_was_sent(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let zone = lab.zone(shop());
    let publish = zone.publish();
    let (called, _) = done(&publish, Phase::Cutover).await;
    let serial = zone.contents(ENOUGH).await.unwrap().serial();
    publish.run(&called).await.unwrap();
    assert_eq!(zone.contents(ENOUGH).await.unwrap().serial(), serial, "nothing was sent");
    let before = contents(&zone).await;
    let began = Instant::now();
    publish.quench(&called).await.unwrap();
    match zone.capabilities().late {
        Late::Refused => assert!(zone.contents(ENOUGH).await.unwrap().serial() > serial),
        Late::WaitedFor => assert!(began.elapsed() >= Duration::from_secs(3)),
        Late::CannotCome => {}
    }
    assert_eq!(contents(&zone).await, before);
    // And the zone can be changed again.
    publish.undo(&called).await.unwrap();
}

/// Time between two changes that are looked at from outside: longer than three looks.
const APART: Duration = Duration::from_millis(250);

/// What resolvers see at the name servers: never a half where the table says so.
async fn is_asked_while_it_changes(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let zone = lab.zone(shop());
    let publish = zone.publish();
    let (called, _) = done(&publish, Phase::Cutover).await;
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (server, stop) = (lab.servers[0], stop.clone());
        async move {
            let (mut halves, mut samples) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                // Both names are published in one change. What lies between two looks at one
                // of them that see the same is as old as they are: changes are further apart.
                let first = address(server, "shop.example.test").await;
                let other = address(server, "pay.example.test").await;
                let again = address(server, "shop.example.test").await;
                halves += usize::from(first == again && first != other);
                samples += 1;
            }
            (halves, samples)
        }
    });
    for _ in 0..if make == Make::Cloudflare { 5 } else { 10 } {
        publish.undo(&called).await.unwrap();
        tokio::time::sleep(APART).await;
        publish.run(&called).await.unwrap();
        tokio::time::sleep(APART).await;
    }
    stop.store(true, Ordering::SeqCst);
    let (halves, samples) = watcher.await.unwrap();
    println!("{make:?}: {samples} looks, {halves} of them at a half");
    assert!(samples >= 10, "only {samples} looks");
    if zone.capabilities().atomic_when_asked {
        assert_eq!(halves, 0);
    } else if make == Make::Cloudflare {
        assert!(halves > 0, "this look would not see a half");
    }
}

/// Owns the zone's own name servers.
fn own_ns(lab: &Lab, source: &[&str], target: &[&str]) -> Arc<segue_dns::Zone> {
    let mut ns = set("", "NS", source, target);
    ns.name = "example.test".into();
    let mut plan = lab.plan(vec![ns, set("shop", "A", &["127.0.0.11"], &["127.0.0.12"])]);
    plan.allow = vec![segue_model::plan::ZoneGuard::ApexNs];
    crate::world::zone(plan)
}

/// The zone's own name servers change in data and in TTL, in one change with other sets, and come
/// back as they were. There is never none: a server would not allow it.
async fn changes_its_own_name_servers(make: Make) {
    let lab = Lab::start(make, ZONE).await;
    let both = ["ns1.example.test.", "ns2.example.test."];
    let zone = own_ns(&lab, &both, &["ns2.example.test.", "ns.other.test."]);
    if !zone.capabilities().own_ns {
        let refused: Vec<_> = zone.preflight().await;
        assert!(refused.iter().any(|f| f.code == "SG0324"), "{make:?}: {refused:?}");
        return;
    }
    let before = contents(&zone).await;
    let key = "example.test NS";
    let ttl_of = |all: &serde_json::Map<String, Value>| all[key]["ttl"].as_u64().unwrap();
    assert_eq!(ttl_of(&before), 300);
    // Its TTL alone, then its data, then both back.
    let (lowered, _) = done(&zone.lower_ttls(), Phase::Prepare).await;
    let low = contents(&zone).await;
    assert_eq!((ttl_of(&low), &low[key]["data"]), (30, &before[key]["data"]), "{make:?}");
    let (published, _) = done(&zone.publish(), Phase::Cutover).await;
    let there = contents(&zone).await;
    let data = json!([30, ["ns.other.test.", "ns2.example.test."]]);
    let mut found = ttl_and_data(&there, key);
    found[1].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(found, data, "{make:?}");
    assert_eq!(foreign(&before, &zone_sets()), foreign(&there, &zone_sets()));
    zone.publish().undo(&published).await.unwrap();
    zone.lower_ttls().undo(&lowered).await.unwrap();
    assert_eq!(contents(&zone).await, before, "{make:?}");
    // Both at once, from the first TTL.
    let (published, _) = done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(ttl_of(&contents(&zone).await), 30);
    zone.publish().undo(&published).await.unwrap();
    assert_eq!(contents(&zone).await, before, "{make:?}");
    // Others than all before, and fewer.
    let zone = own_ns(&lab, &both, &["ns.other.test."]);
    let (published, _) = done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(ttl_and_data(&contents(&zone).await, key), json!([30, ["ns.other.test."]]));
    zone.publish().undo(&published).await.unwrap();
    assert_eq!(contents(&zone).await, before, "{make:?}");
    // One less, from a TTL that was not lowered: it stays.
    let zone = own_ns(&lab, &both, &["ns2.example.test."]);
    let (published, _) = done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(ttl_and_data(&contents(&zone).await, key), json!([300, ["ns2.example.test."]]));
    zone.publish().undo(&published).await.unwrap();
    assert_eq!(contents(&zone).await, before, "{make:?}");
    // None: nobody is asked for it.
    let zone = own_ns(&lab, &both, &[]);
    let prepared = zone.publish().prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let fault = zone.publish().run(&call(Phase::Cutover, prepared)).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0317", EffectLeft::None), "{fault}");
    assert_eq!(contents(&zone).await, before, "{make:?}");
}

/// What `own_ns` owns, for telling what it does not.
fn zone_sets() -> Vec<segue_model::plan::OwnedSet> {
    let mut ns = set("", "NS", &[], &[]);
    ns.name = "example.test".into();
    vec![ns, set("shop", "A", &[], &[])]
}

/// A zone's only name server: another one takes its place everywhere. Its TTL alone is changed
/// where the server lets it, and where not that is said, and nothing changes.
async fn changes_its_only_name_server(make: Make) {
    let lab = Lab::start(make, &ZONE.replace("@ NS ns2\n", "")).await;
    let zone = own_ns(&lab, &["ns1.example.test."], &["ns.other.test."]);
    if !zone.capabilities().own_ns {
        return;
    }
    let (before, key) = (contents(&zone).await, "example.test NS");
    let (published, _) = done(&zone.publish(), Phase::Cutover).await;
    assert_eq!(ttl_and_data(&contents(&zone).await, key), json!([30, ["ns.other.test."]]));
    zone.publish().undo(&published).await.unwrap();
    assert_eq!(contents(&zone).await, before, "{make:?}");
    let lower = zone.lower_ttls();
    let prepared = lower.prepare(&call(Phase::Prepare, Value::Null)).await.unwrap();
    let called = call(Phase::Prepare, prepared);
    match lower.run(&called).await {
        Ok(_) => {
            assert_ne!(make, Make::Knot, "Knot takes it now: the manual says otherwise");
            lower.undo(&called).await.unwrap();
        }
        Err(fault) => {
            assert_eq!((make, fault.code.as_str()), (Make::Knot, "SG0311"), "{fault}");
            assert!(fault.hint.contains("only NS"), "{fault}");
        }
    }
    assert_eq!(contents(&zone).await, before, "{make:?}");
}

/// The table that people read is the one that the drivers give.
#[test]
fn the_table() {
    let table = segue_dns::capability_table();
    let manual = include_str!("../../../../docs/dns.md");
    println!(
        "| driver | all or none | whole when asked | foreign edit | late change | lowest TTL | most | own NS |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in &table {
        let word = |yes| if yes { "yes" } else { "no" };
        let line = format!(
            "| {} | {} | {} | {} | {} | {} s | {} | {} |",
            row.driver,
            word(row.all_or_none),
            word(row.atomic_when_asked),
            row.swap,
            row.late,
            row.ttl_min_s,
            row.largest,
            word(row.own_ns),
        );
        println!("{line}");
        assert!(manual.contains(&line), "docs/dns.md says otherwise: {line}");
    }
    let names: BTreeSet<_> = table.iter().map(|row| row.driver).collect();
    assert_eq!(names.len(), 6);
}

macro_rules! at_every_make {
    ($($test:ident),* $(,)?) => {
        mod bind {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::Bind).await })*
        }
        mod knot {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::Knot).await })*
        }
        mod powerdns {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::PowerDns).await })*
        }
        mod powerdns_api {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::PowerDnsApi).await })*
        }
        mod zone_file {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::ZoneFile).await })*
        }
        mod command {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::Command).await })*
        }
        mod route53 {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::Route53).await })*
        }
        mod cloudflare {
            $(#[tokio::test] async fn $test() { super::$test(super::Make::Cloudflare).await })*
        }
    };
}

at_every_make!(
    lowers_and_restores_ttls,
    lowers_and_restores_how_long_absence_is_kept,
    publishes_atomically,
    exchanges_an_address_for_an_alias,
    never_writes_over_an_edit,
    races_with_an_editor,
    closes_off_what_was_sent,
    is_asked_while_it_changes,
    changes_its_own_name_servers,
    changes_its_only_name_server,
);
