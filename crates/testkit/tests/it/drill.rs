//! Claims about drills: the pause of the live source is measured, and nothing is switched.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

use crate::admin;
use crate::run::Run;
use mysql_async::prelude::Queryable;
use segue_testkit::world::Side;
use std::process::Stdio;

/// The pause that the plan allows by default, milliseconds.
const BUDGET_MS: f64 = 1_000.0;

/// What a drill must leave as it is: schemas, logins with their locks, events, zone, rows of
/// the neighbour.
async fn foreign(run: &Run) -> Vec<Vec<String>> {
    let mut all = vec![run.world.dump_zone().unwrap()];
    for side in Side::BOTH {
        let mut conn = admin(run.world.description(), side).await;
        for query in [
            "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
            "SELECT CONCAT(User, '@', Host, ' ', COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0)) \
             FROM mysql.global_priv ORDER BY 1",
            "SELECT CONCAT(event_schema, '.', event_name, ' ', status) \
             FROM information_schema.events ORDER BY 1",
            "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables \
             WHERE table_schema IN ('shop', 'tenant', 'segue') ORDER BY 1",
        ] {
            all.push(conn.query(query).await.unwrap());
        }
        if side == Side::Source {
            let sum: Option<(String, u64)> =
                conn.query_first("CHECKSUM TABLE tenant.archive").await.unwrap();
            all.push(vec![format!("{sum:?}")]);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_measures_the_pause_under_visitors_and_changes_nothing() {
    let run = Run::synced();
    let hash = run.hash.clone();
    assert_eq!(run.segue.show(&["drill", &hash]).unwrap(), 1, "its fronts do not stand yet");
    assert_eq!(run.segue.status().unwrap()["stage"], "synced");
    run.segue.must(&["cutover", &hash, "--prepare-only"], 0).unwrap();
    let before = foreign(&run).await;

    for round in 1..=2 {
        run.segue.must(&["drill", &hash], 0).unwrap();
        let status = run.segue.status().unwrap();
        assert_eq!(status["stage"], "prepared", "round {round}");
        assert_eq!(status["write_side"]["at"], "source");
        assert!(status["open"].is_null(), "{status}");
        let pause = status["drilled"]["pause_ms"].as_f64().unwrap();
        assert!(pause > 0.0 && pause < BUDGET_MS, "{pause} ms");
    }
    let drilled: Vec<_> = run
        .journal()
        .into_iter()
        .filter(|record| record["event"]["event"] == "unit_drilled")
        .collect();
    assert_eq!(drilled.len(), 2);
    let detail = &drilled[1]["event"]["detail"];
    assert_eq!(detail["measured_by"], "fronts", "{detail}");
    assert_eq!(detail["refused_503"], 0, "{detail}");
    println!("drill: {} ms, {detail}", drilled[1]["event"]["pause_ms"]);
    let sealed = run.journal().into_iter().any(|record| record["event"]["step"] == "seal");
    assert!(!sealed, "a drill never seals");

    assert_eq!(foreign(&run).await, before, "something is not as it was");
    let (sent, failed) = run.visitors.as_ref().unwrap().counted();
    assert!(sent > 100, "{sent} requests");
    assert_eq!(failed, 0, "failed requests of {sent}");
    let report = run.report();
    assert_eq!(report["summary"]["failed_requests"], 0);
    assert!(report["summary"]["drill_pause_ms"].as_f64().is_some());
    assert!(report["summary"]["write_pause_ms"].is_null(), "no cutover ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_dies_in_a_drill_leaves_the_source_open() {
    let run = Run::synced();
    let hash = run.hash.clone();
    run.segue.must(&["cutover", &hash, "--prepare-only"], 0).unwrap();
    let before = foreign(&run).await;
    for point in ["effect.after/fence", "undo.intent.durable/fence", "outcome.durable/verify"] {
        run.segue.must(&["stop"], 0).unwrap();
        let exit = run
            .segue
            .command(&["drill", &hash])
            .env("SEGUE_CRASH_AT", point)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(exit.code(), Some(1), "{point}: the controller dies");
        let exit = run.segue.show(&["resume"]).unwrap();
        assert!(matches!(exit, 0 | 5), "{point}: {exit}");
        let patience = std::time::Duration::from_secs(20);
        let back = run
            .segue
            .wait_for("the drill went back", patience, |status| status["open"].is_null())
            .unwrap();
        assert_eq!(back["stage"], "prepared", "{point}");
        assert_eq!(back["write_side"]["at"], "source", "{point}");
        assert!(back["drilled"].is_null(), "{point}: a drill that broke off measures nothing");
    }
    // Epoch logins of former controllers are gone; the present one's has another name.
    let own = |all: Vec<Vec<String>>| -> Vec<Vec<String>> {
        let keep = |line: &String| !line.starts_with("segue_");
        all.into_iter().map(|lines| lines.into_iter().filter(keep).collect()).collect()
    };
    assert_eq!(own(foreign(&run).await), own(before));
    let (sent, failed) = run.visitors.as_ref().unwrap().counted();
    assert_eq!(failed, 0, "failed requests of {sent}");
    run.segue.must(&["drill", &hash], 0).unwrap();
}
