//! Seed and follow.

use crate::servers::Turn;
use crate::shop::{Run, fill, grow, settings, until};
use segue_model::Side::{Source, Target};
use segue_port::{Call, Effect, Observed};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test]
async fn copies_everything_under_writes_and_leaves_other_tenants_alone() {
    let turn = Turn::take().await;
    fill(&turn).await;
    grow(&turn).await;
    let before: String = turn.root(Target).await.one("SELECT @@gtid_binlog_pos").await.unwrap();
    let mut run = Run::begin(&turn).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut shop = turn.shop(Source).await.unwrap();
    let mut tenant = turn.root(Source).await;
    let ended = Arc::clone(&stop);
    let writing = tokio::spawn(async move {
        let mut written = 0i64;
        while !ended.load(Ordering::SeqCst) {
            shop.run("INSERT INTO shop.orders (client, total) VALUES ('live', 1)").await.unwrap();
            tenant.run("INSERT INTO tenant.x (v) VALUES (2)").await.unwrap();
            written += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // What names no table passes a filter of tables.
        tenant.run("USE tenant").await.unwrap();
        tenant.run("CREATE PROCEDURE tenant.p() SELECT 1").await.unwrap();
        tenant.run("CREATE SCHEMA other").await.unwrap();
        written
    });
    run.steps(&["claim", "seed", "follow"]).await;
    stop.store(true, Ordering::SeqCst);
    let written = writing.await.unwrap();
    assert!(written > 10, "{written}");
    until(&turn, Target, "SELECT COUNT(*) FROM shop.orders WHERE client = 'live'", written).await;

    let compared = run.replica.compare_live().await.unwrap();
    assert_eq!(compared.differences, vec![]);
    assert_eq!(compared.tables, 5);
    assert!(compared.rows > 90_000, "{compared:?}");

    let mut root = turn.root(Target).await;
    let schemas: Vec<String> = root.rows("SHOW SCHEMAS").await.unwrap();
    assert!(!schemas.iter().any(|s| s == "tenant" || s == "other"), "{schemas:?}");
    let enabled: i64 = root
        .one("SELECT COUNT(*) FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'")
        .await
        .unwrap();
    assert_eq!(enabled, 0, "an event would act at both sides");
    assert!(turn.shop(Target).await.is_err(), "the copied login must be locked");
    let after: String = root.one("SELECT @@gtid_binlog_pos").await.unwrap();
    assert_eq!(after, before, "nothing of the copy may travel back");
    root.run("ALTER USER shop@'%' ACCOUNT UNLOCK").await.unwrap();
    turn.shop(Target).await.expect("the password came along");
}

#[tokio::test]
async fn refuses_a_schema_at_the_target_that_is_not_ours() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut root = turn.root(Target).await;
    root.run("CREATE SCHEMA shop").await.unwrap();
    root.run("CREATE TABLE shop.precious (id INT)").await.unwrap();
    let mut run = Run::begin(&turn).await;
    run.step("claim").await;
    assert_eq!(run.try_step("seed").await.unwrap_err().code, "SG0208");
    run.undo("seed").await;
    let left: i64 = root
        .one("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'")
        .await
        .unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn an_interrupted_seed_is_dropped_and_done_again() {
    let turn = Turn::take().await;
    fill(&turn).await;
    grow(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.step("claim").await;
    let call: Call = run.call("seed", Duration::from_secs(15));
    let seed: Arc<dyn Effect> = run.effect("seed");
    // The schema exists and rows arrive: the middle of the copy.
    let half = async {
        let mut root = turn.root(Target).await;
        loop {
            let there: i64 = root
                .one("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'")
                .await
                .unwrap();
            if there >= 5 {
                return;
            }
        }
    };
    tokio::select! {
        done = seed.run(&call) => panic!("the copy was too quick: {done:?}"),
        () = half => {}
    }
    seed.quench(&call).await.unwrap();
    assert_eq!(run.observed("seed").await, Observed::NotApplied);
    run.steps(&["seed", "follow"]).await;
    assert_eq!(run.replica.compare_live().await.unwrap().differences, vec![]);
    assert!(matches!(run.observed("seed").await, Observed::Applied(Value::Object(_))));
    assert!(matches!(run.observed("follow").await, Observed::Applied(_)));
}

#[tokio::test]
async fn an_underscore_in_the_schema_name_is_no_wildcard() {
    let turn = Turn::take().await;
    let mut root = turn.root(Source).await;
    for statement in [
        "CREATE SCHEMA my_shop; CREATE SCHEMA my1shop",
        "CREATE TABLE my_shop.t (id INT PRIMARY KEY); CREATE TABLE my1shop.t (id INT PRIMARY KEY)",
        "CREATE USER loose@'%' IDENTIFIED BY 'l'; CREATE USER exact@'%' IDENTIFIED BY 'e'",
        "GRANT ALL PRIVILEGES ON `my_shop`.* TO loose@'%'",
        "GRANT ALL PRIVILEGES ON `my\\_shop`.* TO exact@'%'",
    ] {
        root.run(statement).await.unwrap();
    }
    let mut settings = settings(&turn, "run-1");
    settings.plan.schema = "my_shop".into();
    settings.plan.logins = vec!["loose".into(), "exact".into()];
    let mut run = Run::of(settings, 1).await;
    let findings = run.replica.preflight().await;
    assert!(findings.iter().all(|f| f.severity == segue_model::Severity::Warn), "{findings:?}");
    run.sync().await;
    root.run("INSERT INTO my1shop.t VALUES (1); INSERT INTO my_shop.t VALUES (2)").await.unwrap();
    until(&turn, Target, "SELECT COUNT(*) FROM my_shop.t", 1).await;
    assert_eq!(run.replica.compare_live().await.unwrap().differences, vec![]);
    let mut there = turn.root(Target).await;
    for (login, form) in [("loose", "`my_shop`"), ("exact", "`my\\_shop`")] {
        let grants: Vec<String> = there.rows(format!("SHOW GRANTS FOR {login}@'%'")).await.unwrap();
        assert!(grants.iter().any(|grant| grant.contains(form)), "{grants:?}");
    }
}
