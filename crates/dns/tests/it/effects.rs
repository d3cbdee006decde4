//! What the effects do to the zone, and what they leave alone.

use crate::named::{Named, Role};
use crate::world::{
    ENOUGH, World, call, contents, done, foreign, sampled, set, shop, ttl_and_data,
};
use segue_dns::safe_after_gate_value;
use segue_model::event::Phase;
use segue_model::plan::OwnedSet;
use segue_model::{EffectLeft, FaultKind, What};
use segue_port::Observed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn lowers_and_restores_ttls_exactly() {
    let world = World::start().await;
    let zone = world.zone(shop());
    let before = contents(&zone).await;
    let lower = zone.lower_ttls();
    let (called, output) = done(&lower, Phase::Prepare).await;

    let lowered = contents(&zone).await;
    assert_eq!(ttl_and_data(&lowered, "pay.example.test A"), json!([30, ["127.0.0.11"]]));
    let text = json!([30, ["\"Source; exactly\" \"two parts\""]]);
    assert_eq!(ttl_and_data(&lowered, "pay.example.test TXT"), text);
    // Lower already: raising it would help nobody.
    assert_eq!(ttl_and_data(&lowered, "shop.example.test A"), json!([20, ["127.0.0.11"]]));
    assert_eq!(foreign(&before, &shop()), foreign(&lowered, &shop()));
    assert_eq!(sampled(&zone, What::ZoneTtlMaxS).await, Some(30.0));
    let lowered_at = output["lowered_at"].as_u64().unwrap();
    assert_eq!(safe_after_gate_value(&output), Some(lowered_at + 3_600_000));
    assert!(matches!(lower.observe(&called).await.unwrap(), Observed::Applied(_)));

    lower.undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
    assert_eq!(lower.observe(&called).await.unwrap(), Observed::NotApplied);
    lower.undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
}

#[tokio::test]
async fn settles_with_the_target_data_and_the_former_ttls() {
    let world = World::start().await;
    let zone = world.zone(shop());
    let (_, lowered) = done(&zone.lower_ttls(), Phase::Prepare).await;
    done(&zone.publish(), Phase::Cutover).await;
    let published = contents(&zone).await;
    let (called, _) = done(&zone.restore_ttls(lowered.clone()), Phase::Settle).await;

    let settled = contents(&zone).await;
    let pay = json!([3600, ["127.0.0.12", "127.0.0.13"]]);
    assert_eq!(ttl_and_data(&settled, "pay.example.test A"), pay);
    assert_eq!(ttl_and_data(&settled, "pay.example.test TXT"), json!([1800, ["\"Target\""]]));
    assert_eq!(ttl_and_data(&settled, "shop.example.test A"), json!([20, ["127.0.0.12"]]));
    // It did not exist before: it takes the TTL of its name.
    assert_eq!(ttl_and_data(&settled, "pay.example.test AAAA"), json!([3600, ["2001:db8::12"]]));

    zone.restore_ttls(lowered["former"].clone()).undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, published);
}

#[tokio::test]
async fn publishes_atomically_and_takes_it_back_exactly() {
    let world = World::start().await;
    let zone = world.zone(shop());
    done(&zone.lower_ttls(), Phase::Prepare).await;
    let before = contents(&zone).await;
    let owned = |all: &serde_json::Map<String, Value>| {
        let foreign = foreign(all, &shop());
        let mut all = all.clone();
        all.retain(|key, _| !foreign.contains_key(key));
        Value::Object(all).to_string()
    };
    let publish = zone.publish();
    let (called, _) = done(&publish, Phase::Cutover).await;
    let after = contents(&zone).await;
    assert_eq!(ttl_and_data(&after, "shop.example.test A"), json!([20, ["127.0.0.12"]]));
    assert_eq!(ttl_and_data(&after, "pay.example.test AAAA"), json!([30, ["2001:db8::12"]]));

    let stop = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (zone, stop, owned) = (zone.clone(), stop.clone(), owned);
        async move {
            let (mut states, mut samples) = (BTreeSet::new(), 0);
            while !stop.load(Ordering::SeqCst) || samples == 0 {
                states.insert(owned(&contents(&zone).await));
                samples += 1;
            }
            (states, samples)
        }
    });
    for _ in 0..10 {
        publish.undo(&called).await.unwrap();
        assert_eq!(contents(&zone).await, before);
        publish.run(&called).await.unwrap();
        assert_eq!(contents(&zone).await, after);
    }
    stop.store(true, Ordering::SeqCst);
    let (states, samples) = watcher.await.unwrap();
    assert!(samples >= 10, "only {samples} transfers");
    assert_eq!(states, BTreeSet::from([owned(&before), owned(&after)]));
    assert_eq!(foreign(&before, &shop()), foreign(&after, &shop()));
}

#[tokio::test]
async fn fails_back_to_the_source_data() {
    let world = World::start().await;
    let zone = world.zone(shop());
    done(&zone.lower_ttls(), Phase::Prepare).await;
    let before = contents(&zone).await;
    done(&zone.publish(), Phase::Cutover).await;
    let (called, output) = done(&zone.publish(), Phase::Failback).await;
    assert_eq!(contents(&zone).await, before);
    assert_eq!(output["servers"].as_array().unwrap().len(), 2);
    // Run again after a crash: nothing is sent, the serial stays.
    let serial = zone.contents(ENOUGH).await.unwrap().serial();
    zone.publish().run(&called).await.unwrap();
    assert_eq!(zone.contents(ENOUGH).await.unwrap().serial(), serial);
}

#[tokio::test]
async fn exchanges_an_address_for_an_alias_and_back() {
    let world = World::start().await;
    let owned = vec![
        set("shop", "A", &["127.0.0.11"], &[]),
        set("shop", "CNAME", &[], &["shop.provider.test."]),
    ];
    let zone = world.zone(owned);
    let before = contents(&zone).await;
    let (called, _) = done(&zone.publish(), Phase::Cutover).await;
    let after = contents(&zone).await;
    assert_eq!(ttl_and_data(&after, "shop.example.test A"), Value::Null);
    let alias = json!([30, ["shop.provider.test."]]);
    assert_eq!(ttl_and_data(&after, "shop.example.test CNAME"), alias);
    zone.publish().undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
}

#[tokio::test]
async fn publishes_every_kind_of_data_and_long_answers() {
    let world = World::start().await;
    let texts: Vec<String> = (0..40).map(|n| format!("\"{n} {}\"", "long ".repeat(40))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let kinds: [(&str, &str, &[&str]); 11] = [
        ("k1", "A", &["192.0.2.1", "192.0.2.2"]),
        ("k1", "AAAA", &["2001:db8::1"]),
        ("k2", "CNAME", &["Elsewhere.test."]),
        ("k3", "MX", &["10 mx1.elsewhere.test.", "20 mx2.elsewhere.test."]),
        ("k3", "TXT", &texts),
        ("_sip._tcp", "SRV", &["1 2 5060 sip.elsewhere.test."]),
        ("k4", "CAA", &["0 issue \"ca.test; account=7\""]),
        (
            "_443._tcp.k4",
            "TLSA",
            &["3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
        ),
        ("k5", "NS", &["ns1.elsewhere.test.", "ns2.elsewhere.test."]),
        ("k6", "SSHFP", &["1 1 0123456789abcdef0123456789abcdef01234567"]),
        ("k6", "HTTPS", &["1 . alpn=h2"]),
    ];
    let owned: Vec<_> =
        kinds.iter().map(|(name, rtype, data)| set(name, rtype, &[], data)).collect();
    let zone = world.zone(owned.clone());
    let before = contents(&zone).await;
    let (called, _) = done(&zone.publish(), Phase::Cutover).await;
    let after = contents(&zone).await;
    assert_eq!(after.len(), before.len() + kinds.len());
    assert_eq!(foreign(&after, &owned), before);
    zone.publish().undo(&called).await.unwrap();
    assert_eq!(contents(&zone).await, before);
}

#[tokio::test]
async fn refuses_to_write_over_an_edited_set() {
    let world = World::start().await;
    let zone = world.zone(shop());
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let editor = world.zone(vec![set("pay", "A", &["127.0.0.11"], &["203.0.113.9"])]);
    let (edit, _) = done(&editor.publish(), Phase::Cutover).await;
    let edited = contents(&zone).await;

    let called = call(Phase::Cutover, prepared);
    let fault = publish.run(&called).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0309", FaultKind::Conflict));
    assert_eq!(fault.effect, EffectLeft::None);
    assert!(fault.cause.contains("203.0.113.9"), "{fault}");
    assert!(matches!(publish.observe(&called).await.unwrap(), Observed::Unknown(_)));
    assert_eq!(publish.undo(&called).await.unwrap_err().code, "SG0309");
    let fault = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap_err();
    assert_eq!(fault.code, "SG0309");
    assert_eq!(contents(&zone).await, edited);

    editor.publish().undo(&edit).await.unwrap();
    publish.run(&called).await.unwrap();
}

#[tokio::test]
async fn refuses_a_change_that_does_not_fit_into_one_message() {
    let world = World::start().await;
    let many: Vec<String> =
        (0..3000).map(|n| format!("2001:db8::{:x}:{:x}", n / 256, n % 256)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let zone = world.zone(vec![set("pay", "AAAA", &[], &many)]);
    let before = contents(&zone).await;
    let publish = zone.publish();
    let prepared = publish.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap();
    let fault = publish.run(&call(Phase::Cutover, prepared)).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0314", EffectLeft::None));
    assert_eq!(contents(&zone).await, before);
}

/// What the parent holds is kept for the parent's TTL, whatever the zone's own is.
#[tokio::test]
async fn what_the_parent_holds_is_waited_for() {
    let text = "@ 60 SOA ns host 1 1h 1h 1h 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n\
        example 7200 NS ns1.example\nexample 7200 NS ns.other\nns1.example 9000 A 127.0.0.1\n";
    let world = World::start().await;
    let top = |rtype: &str, source: &[&str], target: &[&str]| OwnedSet {
        name: "example.test".into(),
        ..set("", rtype, source, target)
    };
    let both = ["ns1.example.test.", "ns2.example.test."];
    let mut plan = world.plan(vec![
        top("NS", &both, &["ns1.example.test.", "ns.other.test."]),
        set("shop", "A", &["127.0.0.11"], &["127.0.0.12"]),
    ]);
    plan.allow = vec![segue_model::plan::ZoneGuard::ApexNs];
    let told = async |plan: &segue_model::plan::ZonePlan| {
        let findings = crate::world::zone(plan.clone()).preflight().await;
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let told_now = told(&plan).await;
    assert!(told_now.contains("parent holds is not known: no server of the parent"), "{told_now}");
    // Nobody there.
    plan.parents = vec![crate::named::free_port()];
    let told_now = told(&plan).await;
    assert!(told_now.contains("is not known"), "{told_now}");
    assert!(told_now.contains(&plan.parents[0].to_string()), "{told_now}");
    let parent = Named::start(world.dir.path(), "parent", text, &Role::Parent);
    plan.parents.push(parent.address);
    let told_now = told(&plan).await;
    let held = "the parent holds `example.test NS` for 7200 s, not ours to lower";
    assert!(told_now.contains(held), "{told_now}");
    let zone = crate::world::zone(plan);
    let (called, output) = done(&zone.publish(), Phase::Cutover).await;
    let at = output["published_at"].as_u64().unwrap();
    assert_eq!(output["safe_after_wall_ms"], at + 7_200_000, "{output:#}");
    zone.publish().undo(&called).await.unwrap();

    // Glue is kept that long, too, and what stands beside it is not.
    let with = |set: OwnedSet| {
        let plan = world.plan(vec![set]);
        crate::world::zone(segue_model::plan::ZonePlan { parents: vec![parent.address], ..plan })
    };
    for (name, from, kept_ms) in [("ns1", "127.0.0.1", 9_000_000), ("ns2", "127.0.0.1", 300_000)] {
        let zone = with(set(name, "A", &[from], &["127.0.0.2"]));
        let (called, output) = done(&zone.publish(), Phase::Cutover).await;
        let at = output["published_at"].as_u64().unwrap();
        assert_eq!(output["safe_after_wall_ms"], at + kept_ms, "{name}: {output:#}");
        zone.publish().undo(&called).await.unwrap();
    }
}
