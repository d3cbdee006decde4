//! The fence and its lease.

use crate::servers::Turn;
use crate::shop::{Run, fill};
use segue_model::Side::Source;
use segue_model::event::Phase;
use segue_model::{EffectLeft, FaultKind};
use segue_port::Observed;
use std::time::{Duration, Instant};

const WRITE: &str = "INSERT INTO shop.orders (client) VALUES ('w')";

#[tokio::test]
async fn a_lapsed_fence_makes_the_seal_refuse_and_leaves_the_logins_open() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    run.table(Phase::Cutover);
    run.step("arm").await;
    let fence = run.step("fence").await;
    run.step("drain").await;
    let mut root = turn.root(Source).await;
    root.run(format!("KILL CONNECTION {}", fence["connection"])).await.unwrap();
    let fault = run.try_step("seal").await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0215", FaultKind::LeaseLost));
    assert_eq!(fault.effect, EffectLeft::None);
    assert_eq!(run.observed("seal").await, Observed::NotApplied);
    turn.shop(Source).await.unwrap().run(WRITE).await.unwrap();
}

#[tokio::test]
async fn a_fence_lasts_beyond_its_lease_while_renewed_and_falls_with_its_process() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    run.table(Phase::Cutover);
    run.steps(&["arm", "fence"]).await;
    let mut shop = turn.shop(Source).await.unwrap();
    shop.run("SET lock_wait_timeout = 2").await.unwrap();
    let refused = shop.run(WRITE).await.unwrap_err();
    assert_eq!(refused.code(), Some(1205), "longer than the lease of one second: {refused}");
    let rows: i64 = shop.one("SELECT COUNT(*) FROM shop.orders").await.unwrap();
    assert!(rows > 0, "reads pass");
    drop(run);
    let begun = Instant::now();
    shop.run("SET lock_wait_timeout = 5").await.unwrap();
    shop.run(WRITE).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_long_transaction_makes_the_fence_give_up_with_nothing_locked() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    run.table(Phase::Cutover);
    let mut long = turn.shop(Source).await.unwrap();
    long.run("START TRANSACTION").await.unwrap();
    long.run(WRITE).await.unwrap();
    let call = run.call("fence", Duration::from_millis(700));
    let fault = run.effect("fence").run(&call).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0214", FaultKind::Busy));
    assert!(fault.cause.contains("`shop`"), "it names the login: {}", fault.cause);
    let mut other = turn.shop(Source).await.unwrap();
    let begun = Instant::now();
    other.run(WRITE).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(run.observed("fence").await, Observed::NotApplied);
    long.run("COMMIT").await.unwrap();
    run.step("fence").await;
    assert!(matches!(run.observed("fence").await, Observed::Applied(_)));
    run.undo("fence").await;
    other.run(WRITE).await.unwrap();
}
