//! One run and one epoch at a time.

use crate::servers::Turn;
use crate::shop::{Run, fill, settings};
use segue_database::MariaReplica;
use segue_model::Side::Source;
use segue_model::event::Phase;
use segue_model::{Epoch, FaultKind};

#[tokio::test]
async fn a_higher_epoch_shuts_the_former_one_out() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut former = Run::begin(&turn).await;
    former.sync().await;
    former.table(Phase::Cutover);
    former.steps(&["arm", "fence"]).await;
    let successor = Run::with(&turn, "run-1", 2).await;
    let mut shop = turn.shop(Source).await.unwrap();
    shop.run("INSERT INTO shop.orders (client) VALUES ('free')").await.unwrap();
    let fault = former.try_step("seal").await.unwrap_err();
    assert!(
        matches!(fault.kind, FaultKind::Denied | FaultKind::Unreachable | FaultKind::LeaseLost),
        "{fault}"
    );
    let fault = former.replica.take_epoch(Epoch(1)).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0206", FaultKind::LeaseLost));
    turn.shop(Source).await.expect("the former one has locked nothing");
    drop(successor);
}

#[tokio::test]
async fn another_run_cannot_claim_the_unit() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut first = Run::begin(&turn).await;
    first.step("claim").await;
    let mut second = Run::with(&turn, "run-2", 2).await;
    let fault = second.try_step("claim").await.unwrap_err();
    assert_eq!(fault.code, "SG0207");
    second.undo("claim").await;
    let findings = MariaReplica::new(settings(&turn, "run-2")).preflight().await;
    assert!(findings.iter().any(|finding| finding.code == "SG0207"), "{findings:?}");
    // The same run, under a later epoch, goes on.
    let mut again = Run::with(&turn, "run-1", 3).await;
    again.step("claim").await;
    again.undo("claim").await;
    let left: i64 = turn
        .root(Source)
        .await
        .one("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'segue'")
        .await
        .unwrap();
    assert_eq!(left, 0);
}
