//! Updates that arrive late, or whose answer never comes.

use crate::wire::{Mode, Wire};
use crate::world::{ENOUGH, World, call, contents, done, set, shop};
use segue_model::EffectLeft;
use segue_model::event::Phase;
use segue_model::plan::AuthorityPlan;
use segue_port::{Call, Effect, Observed};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const NOERROR: u8 = 0;
const NXRRSET: u8 = 8;

async fn prepared(effect: &Arc<dyn Effect>) -> Call {
    call(Phase::Cutover, effect.prepare(&call(Phase::Cutover, Value::Null)).await.unwrap())
}

#[tokio::test]
async fn rebases_when_only_a_foreign_record_changed() {
    let world = World::start().await;
    let wire = Wire::to(world.primary.address, Mode::Hold).await;
    let zone = world.zone_via(wire.address, shop());
    let publish = zone.publish();
    let called = prepared(&publish).await;
    let running = tokio::spawn({
        let (publish, called) = (publish.clone(), called.clone());
        async move { publish.run(&called).await }
    });
    wire.caught().await;
    let tenant = world.zone(vec![set("tenant", "A", &["198.51.100.7"], &["198.51.100.8"])]);
    done(&tenant.publish(), Phase::Cutover).await;
    wire.release();
    running.await.unwrap().unwrap();
    // The first was refused for its serial, the second built on the new one.
    assert_eq!(wire.updates(), 2);

    let after = contents(&zone).await;
    assert_eq!(after["shop.example.test A"]["data"][0], "127.0.0.12");
    assert_eq!(after["tenant.example.test A"]["data"][0], "198.51.100.8");
}

#[tokio::test]
async fn refuses_when_an_owned_set_changes_under_the_update() {
    let world = World::start().await;
    let wire = Wire::to(world.primary.address, Mode::Hold).await;
    let publish = world.zone_via(wire.address, shop()).publish();
    let called = prepared(&publish).await;
    let running = tokio::spawn(async move { publish.run(&called).await });
    wire.caught().await;
    let editor = world.zone(vec![set("pay", "A", &["127.0.0.11"], &["203.0.113.9"])]);
    done(&editor.publish(), Phase::Cutover).await;
    let edited = contents(&editor).await;
    wire.release();
    let fault = running.await.unwrap().unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0309", EffectLeft::None));
    assert_eq!(contents(&editor).await, edited);
}

#[tokio::test]
async fn a_late_update_is_refused_once_it_was_quenched() {
    let world = World::start().await;
    let wire = Wire::to(world.primary.address, Mode::Hold).await;
    let held = world.zone_via(wire.address, shop()).publish();
    let direct = world.zone(shop());
    let before = contents(&direct).await;

    // Without quench it lands: the danger is real.
    let mut called = prepared(&held).await;
    called.time_allowed = Duration::from_millis(400);
    let fault = held.run(&called).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0313", EffectLeft::Maybe));
    assert_eq!(wire.deliver_late().await, NOERROR);
    assert_ne!(contents(&direct).await, before);
    // Delivered twice, it is refused by itself: an owned value moved, too.
    assert_ne!(wire.deliver_late().await, NOERROR);
    direct.publish().undo(&call(Phase::Cutover, called.prepared.clone())).await.unwrap();

    let fault = held.run(&called).await.unwrap_err();
    assert_eq!(fault.effect, EffectLeft::Maybe);
    let resumed = call(Phase::Cutover, called.prepared.clone());
    let serial = direct.contents(ENOUGH).await.unwrap().serial();
    direct.publish().quench(&resumed).await.unwrap();
    assert_eq!(direct.contents(ENOUGH).await.unwrap().serial(), serial + 1);
    assert_eq!(contents(&direct).await, before);
    assert_eq!(direct.publish().observe(&resumed).await.unwrap(), Observed::NotApplied);
    assert_eq!(wire.deliver_late().await, NXRRSET);
    assert_eq!(contents(&direct).await, before);
    direct.publish().run(&resumed).await.unwrap();
}

#[tokio::test]
async fn finds_out_that_an_update_without_answer_was_applied() {
    let world = World::start().await;
    let wire = Wire::to(world.primary.address, Mode::LoseAnswer).await;
    let publish = world.zone_via(wire.address, shop()).publish();
    let called = prepared(&publish).await;
    let fault = publish.run(&called).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.effect), ("SG0313", EffectLeft::Maybe));
    wire.set(Mode::Pass);
    publish.quench(&called).await.unwrap();
    let Observed::Applied(output) = publish.observe(&called).await.unwrap() else {
        panic!("not seen as applied")
    };
    assert_eq!(output["servers"].as_array().unwrap().len(), 2);
}

/// One connection each, whatever is asked and changed on it.
#[tokio::test]
async fn an_operation_connects_once() {
    let world = World::start().await;
    let wire = Wire::to(world.primary.address, Mode::Pass).await;
    let mut plan = world.plan(shop());
    let AuthorityPlan::Update { primary, .. } = &mut plan.authority else { panic!() };
    *primary = wire.address;
    let publish = crate::world::zone(plan).publish();
    let called = prepared(&publish).await;
    assert_eq!(wire.connections(), 1, "prepare");
    publish.run(&called).await.unwrap();
    assert_eq!(wire.connections(), 1, "run");
    assert!(matches!(publish.observe(&called).await.unwrap(), Observed::Applied(_)));
    assert_eq!(wire.connections(), 1, "observe");
    publish.quench(&called).await.unwrap();
    assert_eq!(wire.connections(), 1, "quench");
    publish.undo(&called).await.unwrap();
    assert_eq!(wire.connections(), 1, "undo");
    assert_eq!(wire.updates(), 3);
}
