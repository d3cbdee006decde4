//! What was counted, over a crash and a replacement of the process that counts.

use crate::keeper::Keeper;
use crate::support::*;
use rustix::process::{Signal, kill_process};
use segue_front::control::{Reply, Request as Ask, Stats};
use segue_model::Side;

/// Waits until the worker has written that it counted so many requests.
async fn written(keeper: &Keeper, requests: u64) {
    until("the figures are written", async || {
        let text = std::fs::read(keeper.folder.path().join("state.json.counts"));
        let text = text.unwrap_or_default();
        let figures: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let classes = figures["all"]["sides"]["source"]["classes"].as_array().cloned();
        let sum: u64 = classes.into_iter().flatten().filter_map(|class| class.as_u64()).sum();
        sum == requests && figures["holds"].as_object().is_some_and(|holds| holds.len() == 1)
    })
    .await;
}

async fn stats(keeper: &Keeper) -> Stats {
    match keeper.ask(Ask::UnitStats { unit: unit() }).await {
        Reply::Stats(stats) => stats,
        other => panic!("{other:?}"),
    }
}

async fn whole(keeper: &Keeper) -> Stats {
    match keeper.ask(Ask::Stats).await {
        Reply::Stats(stats) => stats,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_holds_go_on_over_a_crash_and_a_replacement() {
    let shop = Shop::start("source").await;
    let mut keeper = Keeper::routed(&shop, &shop).await;
    let front = keeper.options.ports[0].listen;
    for number in 0..7 {
        get(front, if number < 2 { "/error" } else { "/" }).await;
    }
    let hold = keeper.hold("h1");
    assert!(matches!(keeper.ask(hold).await, Reply::Done { .. }));
    let (mark, hold_id) = (keeper.mark(), "h1".into());
    let release = Ask::Release { mark, unit: unit(), hold_id, to: Side::Source };
    assert!(matches!(keeper.ask(release).await, Reply::Done { .. }));
    written(&keeper, 7).await;
    let first = keeper.worker().await;
    kill_process(first, Signal::KILL).unwrap();
    for _ in 0..5 {
        get(front, "/").await;
    }
    assert_ne!(keeper.worker().await, first);
    let after = stats(&keeper).await;
    assert_eq!((after.sides.source.requests, after.sides.source.failed), (12, 2), "a crash");
    let held = |stats: &Stats| stats.holds.iter().map(|h| h.hold_id.0.clone()).collect::<Vec<_>>();
    assert_eq!(held(&after), ["h1"]);
    assert!(after.holds[0].released_ms.is_some(), "{:?}", after.holds);

    // One request is under way in the former worker while the next one counts already.
    let second = keeper.worker().await;
    let hangs = later(front, "GET", "/hang");
    until("it is there", async || shop.paths().iter().any(|path| path == "/hang")).await;
    keeper.signal(Signal::USR2);
    until("another worker answers", async || keeper.worker().await != second).await;
    for _ in 0..3 {
        get(front, "/").await;
    }
    assert_eq!(stats(&keeper).await.sides.source.requests, 15, "without the one that hangs");
    shop.let_go();
    assert_eq!(within("its answer", hangs).await.unwrap().unwrap().status, 200);
    until("it is counted", async || stats(&keeper).await.sides.source.requests == 16).await;
    let (of_unit, of_all) = (stats(&keeper).await, whole(&keeper).await);
    for stats in [&of_unit, &of_all] {
        assert_eq!((stats.sides.source.requests, stats.sides.source.failed), (16, 2));
        assert_eq!(held(stats), ["h1"]);
    }
    // Each came over a connection of its own, and so did looks whether the port is open.
    assert!(of_all.accepted >= 16, "{}", of_all.accepted);
    // What was left is counted once: another worker begins with what this one says.
    let third = keeper.worker().await;
    keeper.signal(Signal::USR2);
    until("another worker answers", async || keeper.worker().await != third).await;
    assert_eq!(stats(&keeper).await.sides.source.requests, 16);
}
