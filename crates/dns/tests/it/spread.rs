//! A publish is watched at real resolvers, which are then told to forget.

use crate::named::ZONE;
use crate::unbound::Unbound;
use crate::world::{World, done, set};
use segue_dns::ResolverSampler;
use segue_dns::watch::{Published, SetTold, SpreadTold};
use segue_dns::{flush_now, flush_resolvers};
use segue_model::What;
use segue_model::event::Phase;
use segue_model::plan::{OwnedSet, ResolversPlan};
use segue_port::{Observed, Sampler};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

fn plan(addresses: Vec<SocketAddr>, flush: Vec<Vec<String>>) -> ResolversPlan {
    ResolversPlan { addresses, name: None, every_s: 1, flush }
}

fn records() -> Vec<OwnedSet> {
    vec![
        set("shop", "A", &["127.0.0.11"], &["127.0.0.12"]),
        set("pay", "A", &["127.0.0.11"], &["127.0.0.12"]),
        set("pay", "TXT", &["\"Source; exactly\" \"two parts\""], &["\"Target\""]),
        set("mail", "A", &["192.0.2.25"], &["192.0.2.25"]),
    ]
}

async fn value(sampler: &ResolverSampler, what: What) -> f64 {
    let samples = sampler.sample(1).await.unwrap();
    samples.iter().find(|sample| sample.what == what).unwrap().value
}

fn find<'a>(told: &'a SpreadTold, name: &str, rtype: &str) -> &'a SetTold {
    told.sets.iter().find(|set| set.name == name && set.rtype == rtype).unwrap()
}

fn verdict(told: &SetTold, resolver: SocketAddr) -> Value {
    let one = told.resolvers.iter().find(|one| one.resolver == resolver).unwrap();
    serde_json::to_value(one).unwrap()
}

#[tokio::test]
async fn what_is_published_is_watched_and_what_is_flushed_has_it_at_once() {
    let world = World::start_with(&ZONE.replace("shop 20 A", "shop 300 A")).await;
    let start = |name, from| Unbound::start(world.dir.path(), name, world.primary.address, from);
    let (flushed, kept) = (start("flushed", "127.0.0.2"), start("kept", "127.0.0.3"));
    let silent = SocketAddr::from(([127, 0, 0, 1], 1));
    let commands = vec![
        flushed.control(&["flush_type", "{name}", "{type}"]),
        vec!["/bin/false".to_owned(), "{name}".to_owned()],
        vec!["/nowhere/flush".to_owned()],
    ];
    let plan = plan(vec![flushed.address, kept.address, silent], commands);
    let zones = [world.plan(records())];
    let sampler = ResolverSampler::over(std::slice::from_ref(&plan), &zones).remove(0);
    assert_eq!(value(&sampler, What::ResolversFailing).await, 1.0);
    assert_eq!(value(&sampler, What::ResolversAtTargetPercent).await, 0.0);
    assert!(sampler.spread().is_none(), "nothing is published");

    let zone = world.zone(records());
    let (_, output) = done(&zone.publish(), Phase::Cutover).await;
    sampler.watch(Published::read([&output]).as_ref());
    let told = sampler.spread().unwrap();
    assert_eq!((told.watched_from_ms, told.sets.len()), (None, 3), "what differs: {told:?}");
    assert_eq!(told.sets[0].everywhere, None, "nobody was asked yet");
    assert_eq!(told.former_percent(), None);

    sampler.sample(1).await.unwrap();
    let told = sampler.spread().unwrap();
    let shop = find(&told, "shop.example.test", "A");
    assert_eq!((shop.former_ttl_s, shop.asked, shop.there), (300, 3, 0));
    let held = verdict(shop, kept.address);
    assert_eq!((&held["verdict"], &held["answer"]), (&json!("within_ttl"), &json!(["127.0.0.11"])));
    assert!((200..=300).contains(&held["ttl_s"].as_u64().unwrap()), "{held}");
    assert!((200..=300).contains(&held["left_s"].as_u64().unwrap()), "{held}");
    assert_eq!(verdict(shop, silent)["verdict"], "failing");
    // Nobody had asked for the text before.
    assert_eq!(verdict(find(&told, "pay.example.test", "TXT"), kept.address)["verdict"], "new");

    let flush = flush_resolvers(std::slice::from_ref(&plan), &zones).unwrap();
    let (ran, output) = done(&flush, Phase::Cutover).await;
    let told = output["flushed"].as_array().unwrap();
    assert_eq!((&told[0]["runs"], &told[0]["failed"]), (&json!(3), &json!(0)), "{output:#}");
    assert_eq!((&told[1]["runs"], &told[1]["failed"]), (&json!(2), &json!(2)), "{output:#}");
    assert_eq!((&told[2]["runs"], &told[2]["failed"]), (&json!(1), &json!(1)), "{output:#}");
    assert!(told[2]["why"].as_str().unwrap().contains("flush"), "{output:#}");
    assert_eq!(flush.observe(&ran).await.unwrap(), Observed::NotApplied);
    flush.undo(&ran).await.unwrap();

    assert_eq!(value(&sampler, What::ResolversAtTargetPercent).await, 50.0);
    let told = sampler.spread().unwrap();
    let shop = find(&told, "shop.example.test", "A");
    assert_eq!(verdict(shop, flushed.address)["verdict"], "new");
    assert_eq!(verdict(shop, kept.address)["verdict"], "within_ttl");
    assert_eq!(shop.there, 1);
    // Of the two that answer, over three sets: the one that forgot has all, the other the text.
    assert!((told.former_percent().unwrap() - 100.0 / 3.0).abs() < 0.1, "{told:?}");
    assert_eq!(told.brief(1).sets.iter().map(|set| set.resolvers.len()).sum::<usize>(), 1);
}

#[tokio::test]
async fn the_way_back_is_watched_like_the_way_there() {
    let world = World::start().await;
    let unbound = Unbound::start(world.dir.path(), "one", world.primary.address, "127.0.0.2");
    let zones = [world.plan(records())];
    let plans = [plan(vec![unbound.address], Vec::new())];
    let sampler = ResolverSampler::over(&plans, &zones).remove(0);
    assert!(flush_resolvers(&plans, &zones).is_none(), "the plan has no command");
    let zone = world.zone(records());
    done(&zone.publish(), Phase::Cutover).await;
    let (_, back) = done(&zone.publish(), Phase::Failback).await;
    sampler.watch(Published::read([&back]).as_ref());
    sampler.sample(1).await.unwrap();
    let told = sampler.spread().unwrap();
    assert_eq!(told.sets.len(), 3, "what differs: {told:?}");
    assert!(told.sets.iter().all(|set| set.everywhere == Some(true)), "{told:?}");
    assert_eq!(told.milestones(), 3);
    // Of an older version's output nobody knows what was wanted.
    let mut older = back.clone();
    older.as_object_mut().unwrap().remove("wanted");
    assert!(Published::read([&older]).is_none());
    sampler.watch(None);
    assert!(sampler.spread().is_none());
}

#[tokio::test]
async fn of_many_sets_each_gets_its_turn() {
    let world = World::start().await;
    let unbound = Unbound::start(world.dir.path(), "one", world.primary.address, "127.0.0.2");
    let many: Vec<OwnedSet> = (0..20)
        .map(|number| set(&format!("n{number}"), "A", &["127.0.0.11"], &["127.0.0.12"]))
        .collect();
    let plans = [plan(vec![unbound.address], Vec::new())];
    let zones = [world.plan(many)];
    let sampler = ResolverSampler::over(&plans, &zones).remove(0);
    let set = |number: u32, data: &str| json!({ "name": format!("n{number}.example.test"), "type": "A", "ttl": 60, "data": [], "wire": [data] });
    let sets = |data| -> Vec<Value> { (0..20).map(|number| set(number, data)).collect() };
    let output = json!({ "former": sets("7f00000b"), "wanted": sets("7f00000c"),
        "negative_ttl_s": 60, "published_at": 1 });
    sampler.watch(Published::read([&output]).as_ref());
    let mut asked = Vec::new();
    for _ in 0..3 {
        sampler.sample(1).await.unwrap();
        asked.push(sampler.spread().unwrap().sets.iter().filter(|set| set.asked > 0).count());
    }
    assert_eq!(asked, [8, 16, 20], "eight a turn, and nobody waits for ever");
}

#[tokio::test]
async fn a_flush_that_hangs_ends_and_the_rest_is_told() {
    let hangs = [vec!["/bin/sleep".to_owned(), "60".to_owned()]];
    let sets = [("a.test".to_owned(), "A".to_owned())];
    let began = std::time::Instant::now();
    let told = flush_now(&hangs, &sets, Duration::from_secs(1)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!((told[0].runs, told[0].failed), (1, 1), "{told:?}");
    let told = flush_now(&hangs, &sets, Duration::ZERO).await;
    assert_eq!((told[0].runs, told[0].left_out), (0, 1), "{told:?}");
}
