//! Every column type and attribute, and everything else that a schema can hold: copied, changed
//! by the stream, and moved there and back.

use crate::oracle::{Events, assert_equal, assert_same, caught_up, dump};
use crate::servers::Turn;
use crate::shop::{Run, settings};
use segue_model::Side::{self, Source, Target};
use segue_model::event::Phase;
use segue_model::{Finding, Severity};

const SCHEMA: &str = include_str!("schema.sql");
const ROWS: &str = include_str!("rows.sql");
const CHANGES: &str = include_str!("changes.sql");

/// Runs statements that lines of `--` part.
async fn script(turn: &Turn, side: Side, statements: &str) {
    let mut root = turn.root(side).await;
    if statements != SCHEMA {
        root.run("USE shop").await.unwrap();
    }
    for statement in statements.split("\n--\n") {
        root.run(statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
    root.close().await;
}

/// Gives each row of the widest table the values of the next one: every value changes.
async fn rotate(turn: &Turn, side: Side) {
    let mut root = turn.root(side).await;
    let columns: Vec<String> = root
        .rows(
            "SELECT CONCAT('`', COLUMN_NAME, '`') FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' \
             AND TABLE_NAME = 'every_type' AND IS_GENERATED = 'NEVER' AND COLUMN_NAME <> 'id'",
        )
        .await
        .unwrap();
    assert!(columns.len() > 100, "{columns:?}");
    let ids: Vec<u64> = root.rows("SELECT id FROM shop.every_type ORDER BY id").await.unwrap();
    let next = ids.iter().zip(ids.iter().cycle().skip(1));
    let next: Vec<String> = next.map(|(id, next)| format!("WHEN {id} THEN {next}")).collect();
    let set: Vec<String> = columns.iter().map(|name| format!("t.{name} = s.{name}")).collect();
    root.run("USE shop").await.unwrap();
    root.run(format!(
        "UPDATE every_type t JOIN (SELECT id, {} FROM every_type) s ON s.id = CASE t.id {} END SET {}",
        columns.join(", "),
        next.join(" "),
        set.join(", ")
    ))
    .await
    .unwrap();
    root.close().await;
}

/// Stores the rows of the widest table a second time, changes the keys of some and removes one.
async fn multiply(turn: &Turn, side: Side, above: u64) {
    let mut root = turn.root(side).await;
    let columns: String = root
        .one(
            "SELECT GROUP_CONCAT('`', COLUMN_NAME, '`') FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' \
             AND TABLE_NAME = 'every_type' AND IS_GENERATED = 'NEVER' AND COLUMN_NAME <> 'id'",
        )
        .await
        .unwrap();
    for statement in [
        "USE shop".to_owned(),
        format!(
            "INSERT INTO every_type (id, {columns}) SELECT id % 10000 + {above}, {columns} FROM every_type"
        ),
        "UPDATE every_type SET id = id - 1 WHERE id > 100000".into(),
        "UPDATE every_type SET id = id + 1000 WHERE id > 100 AND id < 103".into(),
        "DELETE FROM every_type ORDER BY id LIMIT 1".into(),
    ] {
        root.run(&statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
    root.close().await;
}

async fn logins(turn: &Turn, side: Side) -> Vec<String> {
    let mut root = turn.root(side).await;
    let mut all = Vec::new();
    for account in ["shop@'%'", "shop@'10.%'", "'o''dd ✓'@'192.0.2.0/255.255.255.0'"] {
        let create: String = root.one(format!("SHOW CREATE USER {account}")).await.unwrap();
        all.push(create.replace(" ACCOUNT LOCK", ""));
        let mut grants: Vec<String> =
            root.rows(format!("SHOW GRANTS FOR {account}")).await.unwrap();
        // The server lists them in no order.
        grants.sort();
        all.extend(grants);
    }
    root.close().await;
    all
}

async fn equal(run: &Run, turn: &Turn, when: &str) {
    assert_same(turn, when).await;
    let compared = run.replica.compare_live().await.unwrap();
    assert_eq!(compared.differences, vec![], "{when}");
    assert!(compared.tables > 40 && compared.rows > 100, "{when}: {compared:?}");
}

#[tokio::test]
async fn every_type_and_attribute_arrives_exactly_and_goes_back() {
    let turn = Turn::take().await;
    script(&turn, Source, SCHEMA).await;
    script(&turn, Source, ROWS).await;
    let mut settings = settings(&turn, "run-1");
    settings.plan.logins = vec!["shop".into(), "o'dd ✓".into()];
    let mut run = Run::of(settings, 1).await;
    let refuses = |f: &Finding| f.severity == Severity::Refuse;
    let found = run.replica.preflight().await;
    assert!(!found.iter().any(refuses), "{found:?}");

    run.steps(&["claim", "seed", "follow"]).await;
    equal(&run, &turn, "copied").await;
    assert_eq!(logins(&turn, Target).await, logins(&turn, Source).await);
    multiply(&turn, Source, 100).await;
    rotate(&turn, Source).await;
    caught_up(&turn, Source).await;
    equal(&run, &turn, "every value changed").await;
    script(&turn, Source, CHANGES).await;
    caught_up(&turn, Source).await;
    equal(&run, &turn, "everything else changed").await;

    run.step("reverse").await;
    let before = dump(&turn, Source, Events::AsTheyAre);
    run.table(Phase::Cutover);
    run.steps(&["arm", "fence", "drain", "verify", "seal", "promote"]).await;
    assert_eq!(run.step("compare").await["differences"], 0);
    let after = dump(&turn, Target, Events::AsTheyAre);
    assert_equal(&before, &after, "promoted");
    rotate(&turn, Target).await;
    multiply(&turn, Target, 20_000).await;
    caught_up(&turn, Target).await;
    equal(&run, &turn, "changed at the target").await;

    let before = dump(&turn, Target, Events::AsTheyAre);
    run.table(Phase::Failback);
    run.steps(&["arm", "fence", "drain", "verify", "seal", "promote"]).await;
    assert_eq!(run.step("compare").await["differences"], 0);
    let after = dump(&turn, Source, Events::AsTheyAre);
    assert_equal(&before, &after, "back at the source");
}
