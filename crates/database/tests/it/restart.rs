//! Servers that fail and come back.

use crate::servers::Turn;
use crate::shop::{Run, fill, until};
use segue_model::Side::{Source, Target};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_target_that_failed_follows_again_and_never_unfiltered() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    let samplers = run.replica.samplers();
    samplers[0].sample(10_000).await.unwrap();
    turn.pair.servers.target.kill();
    assert!(samplers[0].sample(10_100).await.is_err());
    let way_back = run.replica.way_back().await.unwrap();
    assert!(!way_back.is_whole() && way_back.missing.is_none(), "{way_back:?}");
    let mut root = turn.root(Source).await;
    root.run("CREATE SCHEMA other; CREATE TABLE other.t (id INT PRIMARY KEY)").await.unwrap();
    root.run(
        "INSERT INTO other.t VALUES (1); INSERT INTO shop.orders (client) VALUES ('meanwhile')",
    )
    .await
    .unwrap();
    turn.pair.servers.target.restart().await;
    let begun = Instant::now();
    let mut now = 11_000;
    while samplers[0].sample(now).await.is_err() || samplers[2].sample(now).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the streams do not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
        now += 100;
    }
    until(&turn, Target, "SELECT COUNT(*) FROM shop.orders WHERE client = 'meanwhile'", 1).await;
    let schemas: i64 = turn
        .root(Target)
        .await
        .one("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ('other', 'tenant')")
        .await
        .unwrap();
    assert_eq!(schemas, 0, "it ran without its filters");
    assert_eq!(run.replica.compare_live().await.unwrap().differences, vec![]);
}
