//! What holds at every primary that takes updates, whoever made it.

use crate::named::ZONE;
use crate::primaries::{Lab, Make};
use crate::world::{ENOUGH, call, contents, done, foreign, set, shop, ttl_and_data};
use segue_model::event::Phase;
use segue_model::{EffectLeft, FaultKind};
use segue_port::Observed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Changes there and back in which transfers look for a third state.
const CHANGES: usize = 40;
/// Edits of somebody else that race with changes of ours.
const RACES: usize = 40;

/// TTLs are lowered, what is foreign stays, and taken back it is as before to the octet.
async fn lowers_and_restores_ttls(make: Make) {
    let lab = Lab::start(make, ZONE);
    let zone = lab.zone(shop());
    let before = contents(&zone).await;
    let lower = zone.lower_ttls();
    let (called, output) = done(&lower, Phase::Prepare).await;
    let lowered = contents(&zone).await;
    assert_eq!(ttl_and_data(&lowered, "pay.example.test A"), json!([30, ["127.0.0.11"]]));
    let text = json!([30, ["\"Source; exactly\" \"two parts\""]]);
    assert_eq!(ttl_and_data(&lowered, "pay.example.test TXT"), text);
    assert_eq!(ttl_and_data(&lowered, "shop.example.test A"), json!([20, ["127.0.0.11"]]));
    assert_eq!(foreign(&before, &shop()), foreign(&lowered, &shop()));
    let lowered_at = output["lowered_at"].as_u64().unwrap();
    assert_eq!(output["safe_after_wall_ms"], lowered_at + 3_600_000);
    assert!(matches!(lower.observe(&called).await.unwrap(), Observed::Applied(_)));
    lower.undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
    assert_eq!(lower.observe(&called).await.unwrap(), Observed::NotApplied);
}

/// A set of changes is there as a whole or not at all, whenever somebody transfers the zone.
async fn publishes_atomically(make: Make) {
    let lab = Lab::start(make, ZONE);
    let zone = lab.zone(shop());
    let before = contents(&zone).await;
    let publish = zone.publish();
    let (called, _) = done(&publish, Phase::Cutover).await;
    let after = contents(&zone).await;
    assert_eq!(ttl_and_data(&after, "pay.example.test AAAA"), json!([30, ["2001:db8::12"]]));
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
    for _ in 0..CHANGES {
        publish.undo(&called).await.unwrap();
        publish.run(&called).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let (seen, samples) = watcher.await.unwrap();
    println!("{make:?}: {} changes, {samples} transfers, {} states", 2 * CHANGES, seen.len());
    assert!(samples >= CHANGES / 2, "only {samples} transfers");
    assert_eq!(seen, BTreeSet::from([states(&before), states(&after)]));
}

/// An alias takes the place of addresses, and the other way round.
async fn exchanges_an_address_for_an_alias(make: Make) {
    let lab = Lab::start(make, ZONE);
    let owned = vec![
        set("shop", "A", &["127.0.0.11"], &[]),
        set("shop", "CNAME", &[], &["shop.provider.test."]),
    ];
    let zone = lab.zone(owned);
    let before = contents(&zone).await;
    let (called, _) = done(&zone.publish(), Phase::Cutover).await;
    let after = contents(&zone).await;
    assert_eq!(ttl_and_data(&after, "shop.example.test A"), Value::Null);
    let alias = json!([30, ["shop.provider.test."]]);
    assert_eq!(ttl_and_data(&after, "shop.example.test CNAME"), alias);
    zone.publish().undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
}

/// What somebody edited is never overwritten, and always noticed.
async fn never_writes_over_an_edit(make: Make) {
    let lab = Lab::start(make, ZONE);
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

/// Somebody edits a neighbour, or the very set, at the same moment as we change ours: each of
/// his edits is there afterwards.
async fn races_with_an_editor(make: Make) {
    let lab = Lab::start(make, ZONE);
    let zone = lab.zone(vec![set("shop", "A", &["127.0.0.11"], &["127.0.0.12"])]);
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let ours = call(Phase::Cutover, prepared);
    let (mut noticed, mut rebased) = (0, 0);
    for number in 0..RACES {
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
    println!("{make:?}: {RACES} races, {noticed} noticed, {rebased} rebased");
    assert_eq!(noticed, RACES / 2);
}

/// Once closed off, an update that was built before has no effect however late it arrives; what
/// is there already is not sent again.
async fn closes_off_what_was_sent(make: Make) {
    let lab = Lab::start(make, ZONE);
    let zone = lab.zone(shop());
    let publish = zone.publish();
    let (called, _) = done(&publish, Phase::Cutover).await;
    let serial = zone.contents(ENOUGH).await.unwrap().serial();
    publish.run(&called).await.unwrap();
    assert_eq!(zone.contents(ENOUGH).await.unwrap().serial(), serial, "nothing was sent");
    let before = contents(&zone).await;
    publish.quench(&called).await.unwrap();
    assert!(zone.contents(ENOUGH).await.unwrap().serial() > serial);
    assert_eq!(contents(&zone).await, before);
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
    };
}

at_every_make!(
    lowers_and_restores_ttls,
    publishes_atomically,
    exchanges_an_address_for_an_alias,
    never_writes_over_an_edit,
    races_with_an_editor,
    closes_off_what_was_sent,
);
