//! The whole way there, back, and there again.

use crate::servers::Turn;
use crate::shop::{Run, fill, until};
use segue_doors::sql;
use segue_model::Side::{self, Source, Target};
use segue_model::event::Phase;
use segue_port::Observed;
use std::time::{Duration, Instant};

const WAY: [&str; 7] = ["arm", "fence", "drain", "verify", "seal", "promote", "compare"];

async fn order(turn: &Turn, side: Side, client: &str) -> u64 {
    let mut shop = turn.shop(side).await.unwrap();
    shop.run(format!("INSERT INTO shop.orders (client, total) VALUES ('{client}', 1)"))
        .await
        .unwrap();
    let id = shop.one("SELECT LAST_INSERT_ID()").await.unwrap();
    shop.close().await;
    id
}

async fn events(turn: &Turn, side: Side) -> Vec<(String, String, String)> {
    turn.root(side)
        .await
        .rows("SELECT EVENT_NAME, STATUS, DEFINER FROM information_schema.EVENTS ORDER BY 1")
        .await
        .unwrap()
}

#[tokio::test]
async fn goes_there_and_back_and_there_again_without_a_seed() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    let before = events(&turn, Source).await;
    // A session from before the cutover must not write behind it.
    let mut lasting = turn.shop(Source).await.unwrap();
    lasting.run("INSERT INTO shop.orders (client) VALUES ('early')").await.unwrap();

    run.table(Phase::Cutover);
    run.step("arm").await;
    let begun = Instant::now();
    run.steps(&["fence", "drain", "verify", "seal", "promote"]).await;
    eprintln!("fence to promote took {:?}", begun.elapsed());
    let compared = run.step("compare").await;
    assert_eq!(compared["differences"], 0, "{compared}");
    assert!(lasting.run("INSERT INTO shop.orders (client) VALUES ('late')").await.is_err());
    assert!(turn.shop(Source).await.is_err(), "the source is locked");
    assert!(matches!(run.observed("seal").await, Observed::Applied(_)));
    assert!(matches!(run.observed("promote").await, Observed::Applied(_)));
    assert_eq!(events(&turn, Target).await, before, "events moved with their definers");
    assert!(events(&turn, Source).await.iter().all(|(_, status, _)| status == "DISABLED"));
    order(&turn, Target, "there").await;
    until(&turn, Source, "SELECT COUNT(*) FROM shop.orders WHERE client = 'there'", 1).await;
    let audit = "SELECT COUNT(*) FROM shop.audit WHERE what = 'there'";
    until(&turn, Source, audit, 1).await;
    let way_back = run.replica.way_back().await.unwrap();
    assert!(way_back.is_whole(), "{way_back:?}");
    assert_eq!(run.replica.compare_live().await.unwrap().differences, vec![]);

    run.table(Phase::Failback);
    run.steps(&WAY).await;
    assert!(turn.shop(Target).await.is_err(), "the target is locked");
    assert_eq!(events(&turn, Source).await, before);
    let at_source = order(&turn, Source, "home").await;
    until(&turn, Target, "SELECT COUNT(*) FROM shop.orders WHERE client = 'home'", 1).await;

    run.table(Phase::Cutover);
    run.steps(&WAY).await;
    let again = order(&turn, Target, "again").await;
    assert!(again > at_source, "the counter came along");
    until(&turn, Source, "SELECT COUNT(*) FROM shop.orders WHERE client = 'again'", 1).await;

    run.table(Phase::Settle);
    run.step("end").await;
    assert!(matches!(run.observed("end").await, Observed::Applied(_)));
    for side in [Source, Target] {
        let mut root = turn.root(side).await;
        let left: i64 = root
            .one("SELECT (SELECT COUNT(*) FROM mysql.global_priv WHERE User LIKE 'segue\\_%' AND User <> 'segue_admin') \
                  + (SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'segue')")
            .await
            .unwrap();
        assert_eq!(left, 0, "something of Segue is left at the {side}");
    }
    assert!(turn.shop(Source).await.is_err(), "the source stays locked");
    turn.shop(Target).await.unwrap();
}

#[tokio::test]
async fn a_withdrawal_opens_exactly_what_the_seal_closed() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut root = turn.root(Source).await;
    root.run("CREATE USER shop@'10.0.0.1' IDENTIFIED BY 'x' ACCOUNT LOCK").await.unwrap();
    let before = events(&turn, Source).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    run.table(Phase::Cutover);
    run.steps(&["arm", "fence", "drain", "verify"]).await;
    // A login that came into being in the pause is closed too.
    root.run("CREATE USER panel@'%' IDENTIFIED BY 'p'").await.unwrap();
    root.run("GRANT INSERT ON shop.* TO panel@'%'").await.unwrap();
    run.step("seal").await;
    let locked = "SELECT COUNT(*) FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.account_locked') \
                  AND User IN ('shop', 'panel')";
    assert_eq!(root.one::<i64>(locked).await.unwrap(), 3);
    run.undo("seal").await;
    run.undo("seal").await;
    assert_eq!(root.one::<i64>(locked).await.unwrap(), 1, "locked before stays locked");
    assert_eq!(events(&turn, Source).await, before);
    order(&turn, Source, "goes on").await;
}

#[tokio::test]
async fn the_seal_refuses_when_something_changed_behind_the_fence() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    run.table(Phase::Cutover);
    run.steps(&["arm", "fence", "drain"]).await;
    let mut root = turn.root(Source).await;
    root.run("INSERT INTO tenant.x (v) VALUES (9)").await.unwrap();
    // A new table passes the locks of the others.
    root.run("CREATE TABLE shop.slipped (id INT PRIMARY KEY)").await.unwrap();
    assert_eq!(run.try_step("seal").await.unwrap_err().code, "SG0217");
    run.undo("seal").await;
    order(&turn, Source, "goes on").await;
}

#[tokio::test]
async fn lag_is_measured_and_unknown_without_a_stream() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    let samplers = run.replica.samplers();
    assert!(samplers[0].sample(50_000).await.is_err(), "nothing to measure yet");
    run.sync().await;
    for sampler in &samplers[..4] {
        let samples = sampler.sample(100_000).await.unwrap();
        assert_eq!(samples.len(), 1);
        if sampler.name().contains("lag") {
            assert!(samples[0].value < 500.0, "{samples:?}");
        } else {
            assert!((samples[0].value - 1.0).abs() < f64::EPSILON);
        }
    }
    let mut root = turn.root(Target).await;
    let stream: sql::Row = root.one("SHOW ALL SLAVES STATUS").await.unwrap();
    let stream: String = stream.get("Connection_name").unwrap();
    root.run(format!(
        "SET @@default_master_connection = '{stream}'; STOP SLAVE; \
         SET GLOBAL replicate_wild_do_table = ''; START SLAVE"
    ))
    .await
    .unwrap();
    assert!(samplers[0].sample(101_000).await.is_err(), "an unfiltered stream tells nothing");
    // That failure mended it.
    let begun = Instant::now();
    while samplers[0].sample(102_000).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn clocks_and_counts_are_measured_on_both_sides() {
    let turn = Turn::take().await;
    fill(&turn).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    let samplers = run.replica.samplers();
    let named = |name: &str| samplers.iter().find(|s| s.name() == name).unwrap().clone();
    for side in [Source, Target] {
        let clock = named(&format!("clock:{side}")).sample(1).await.unwrap();
        // The servers run on this machine.
        assert!(clock[0].value < 50.0, "{clock:?}");
    }
    let counts = named("counts:database");
    let at = async |kind: &str| {
        let samples = counts.sample(2).await.unwrap();
        assert_eq!(samples.len(), 7);
        let from = format!("counts:database:{kind}");
        let sample = samples.into_iter().find(|sample| sample.from == from).unwrap();
        (sample.value, sample.count)
    };
    for (kind, there) in [("tables", 5), ("views", 2), ("routines", 2), ("events", 2)] {
        assert_eq!(at(kind).await, (0.0, there), "{kind}");
    }
    assert_eq!((at("logins").await, at("triggers").await), ((0.0, 1), (0.0, 1)));
    let differences = named("comparison:database");
    assert!(differences.sample(3).await.unwrap().is_empty(), "nothing was compared yet");

    // One view less and one grant more at the target, which nobody told the source.
    let mut root = turn.root(Target).await;
    root.run("SET SESSION sql_log_bin = 0").await.unwrap();
    root.run("DROP VIEW shop.a_sums; GRANT DROP ON shop.orders TO shop@'%'").await.unwrap();
    assert_eq!(at("views").await, (1.0, 2));
    assert_eq!(at("grants").await.0, 1.0);
    run.replica.compare_live().await.unwrap();
    let found = differences.sample(4).await.unwrap();
    assert!(found[0].value >= 1.0, "{found:?}");
}
