//! Every order of a copy, a client's write and the stream, for every kind of write. What happens in
//! between happens at a stop of the copy, or while the applying thread is seen to wait.

use crate::oracle::{assert_same, caught_up, checksums};
use crate::servers::Turn;
use crate::shop::{Run, fill};
use segue_database::testing::{Stop, stop};
use segue_doors::sql::{self, Session};
use segue_model::Side::{Source, Target};
use segue_model::event::Phase;
use segue_model::{Fault, FaultKind};
use segue_port::{Effect, Observed};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When something is written, by the number that its tables and rows carry.
const BEFORE_SNAPSHOT: u32 = 1;
const BEFORE_DEFINITIONS: u32 = 2;
const BEFORE_PIECE: u32 = 3;
const AFTER_PIECE: u32 = 4;
const BEFORE_STREAM: u32 = 5;
const CATCHING_UP: u32 = 6;
const FOLLOWING: u32 = 7;
const MOMENTS: [u32; 7] = [
    BEFORE_SNAPSHOT,
    BEFORE_DEFINITIONS,
    BEFORE_PIECE,
    AFTER_PIECE,
    BEFORE_STREAM,
    CATCHING_UP,
    FOLLOWING,
];

/// Tables whose rows are written: with a key, without one, and with children that go along.
const WRITTEN: [&str; 3] = ["keyed", "heap", "parent"];

/// Insert, update, delete, change of the key; a row that comes and goes, and one that goes and
/// comes again.
fn writes(table: &str, moment: u32) -> Vec<String> {
    let row = |number: u32| moment * 100 + number;
    vec![
        format!("INSERT INTO {table} VALUES ({}, 'inserted')", row(50)),
        format!("UPDATE {table} SET v = 'updated' WHERE id = {}", row(1)),
        format!("DELETE FROM {table} WHERE id = {}", row(2)),
        format!("UPDATE {table} SET id = {} WHERE id = {}", row(53), row(3)),
        format!(
            "INSERT INTO {table} VALUES ({0}, 'gone'); DELETE FROM {table} WHERE id = {0}",
            row(51)
        ),
        format!(
            "DELETE FROM {table} WHERE id = {0}; INSERT INTO {table} VALUES ({0}, 'again')",
            row(4)
        ),
        format!(
            "UPDATE {table} SET id = {1} WHERE id = {0}; INSERT INTO {table} VALUES ({0}, 'in its place')",
            row(5),
            row(55)
        ),
    ]
}

/// Changes of tables, each of a table of its own: name and statement.
const CHANGES: [(&str, &str); 9] = [
    ("emptied", "TRUNCATE TABLE emptied_N"),
    ("grown", "ALTER TABLE grown_N ADD COLUMN w INT DEFAULT 5 FIRST"),
    ("shrunk", "ALTER TABLE shrunk_N DROP COLUMN v"),
    ("indexed", "ALTER TABLE indexed_N ADD KEY by_v (v)"),
    ("rebuilt", "ALTER TABLE rebuilt_N MODIFY v VARCHAR(40) CHARACTER SET utf16"),
    ("renamed", "RENAME TABLE renamed_N TO now_N"),
    ("dropped", "DROP TABLE dropped_N"),
    (
        "remade",
        "DROP TABLE remade_N; CREATE TABLE remade_N (v INT, id INT PRIMARY KEY); INSERT INTO remade_N VALUES (1, 2)",
    ),
    ("swapped", "RENAME TABLE swapped_N TO aside_N, twin_N TO swapped_N"),
];

/// What needs no table of its own.
const MAKES: [&str; 6] = [
    "CREATE TABLE made_N (id INT PRIMARY KEY); INSERT INTO made_N VALUES (1)",
    "CREATE VIEW seen_N AS SELECT id FROM keyed",
    "CREATE FUNCTION computed_N() RETURNS INT DETERMINISTIC RETURN N",
    "CREATE TRIGGER fired_N BEFORE INSERT ON audit FOR EACH ROW SET NEW.n = NEW.n + N",
    "CREATE EVENT due_N ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 00:00:00' DO DELETE FROM audit",
    "DROP VIEW old_N",
];

fn at(statement: &str, moment: u32) -> String {
    statement
        .replace("_N", &format!("_{moment}"))
        .replace("RETURN N", &format!("RETURN {moment}"))
        .replace("+ N", &format!("+ {moment}"))
}

async fn client(turn: &Turn) -> Session {
    let mut root = turn.root(Source).await;
    root.run("USE shop").await.unwrap();
    root
}

async fn all(session: &mut Session, statements: impl IntoIterator<Item = String>) {
    for statement in statements {
        session.run(&statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
}

/// Makes the tables that are written and changed.
async fn prepare(turn: &Turn, moments: &[u32]) {
    fill(turn).await;
    let mut root = client(turn).await;
    all(&mut root, [
        "CREATE TABLE keyed (id INT PRIMARY KEY, v VARCHAR(20))".into(),
        "CREATE TABLE heap (id INT, v VARCHAR(20))".into(),
        "CREATE TABLE parent (id INT PRIMARY KEY, v VARCHAR(20))".into(),
        "CREATE TABLE child (id INT PRIMARY KEY, of INT, FOREIGN KEY (of) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)".into(),
        "CREATE TABLE gate (id INT PRIMARY KEY, v INT)".into(),
        "INSERT INTO gate VALUES (1, 0)".into(),
    ])
    .await;
    for moment in moments {
        for table in WRITTEN {
            let rows: Vec<String> =
                (1..=5).map(|n| format!("({}, 'old')", moment * 100 + n)).collect();
            root.run(format!("INSERT INTO {table} VALUES {}", rows.join(", "))).await.unwrap();
        }
        root.run(format!(
            "INSERT INTO child SELECT id, id FROM parent WHERE id DIV 100 = {moment}"
        ))
        .await
        .unwrap();
        for table in CHANGES.map(|(table, _)| table).into_iter().chain(["twin"]) {
            let table = format!("{table}_{moment}");
            root.run(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO {table} VALUES (1, '{table}'), (2, NULL)"))
                .await
                .unwrap();
        }
        root.run(format!("CREATE VIEW old_{moment} AS SELECT 1 AS one")).await.unwrap();
    }
}

/// Everything at once, where it makes no difference which table comes first.
async fn everything(turn: &Turn, moment: u32) {
    let mut root = client(turn).await;
    for table in WRITTEN {
        all(&mut root, writes(table, moment)).await;
    }
    all(&mut root, CHANGES.map(|(_, statement)| at(statement, moment))).await;
    all(&mut root, MAKES.map(|statement| at(statement, moment))).await;
}

/// Does something when a place of the copy is reached, and lets it go on.
async fn meanwhile(turn: &Turn, mut place: Stop, statements: Vec<String>) {
    assert!(place.reached().await);
    let begun = Instant::now();
    all(&mut client(turn).await, statements).await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "a client waited for the copy: {:?}",
        begun.elapsed()
    );
    place.go();
}

/// Seeds, with everything that happens within at its place.
async fn seed_under_writes(turn: &Turn, run: &mut Run) {
    let replica = Arc::clone(&run.replica);
    let at_moment = async {
        let mut place = stop(&replica, "moment");
        assert!(place.reached().await);
        everything(turn, BEFORE_DEFINITIONS).await;
        place.go();
    };
    let mut within = Vec::new();
    for table in WRITTEN {
        let before = stop(&run.replica, &format!("before {table}"));
        within.push(meanwhile(turn, before, writes(table, BEFORE_PIECE)));
        let after = stop(&run.replica, &format!("after {table}"));
        within.push(meanwhile(turn, after, writes(table, AFTER_PIECE)));
    }
    // What takes another name refuses the copy, whenever it does.
    for (table, statement) in CHANGES.into_iter().filter(|(_, it)| !it.contains("RENAME")) {
        let after = stop(&run.replica, &format!("after {table}_{AFTER_PIECE}"));
        within.push(meanwhile(turn, after, vec![at(statement, AFTER_PIECE)]));
    }
    let after = stop(&run.replica, "after gate");
    within.push(meanwhile(turn, after, MAKES.map(|statement| at(statement, AFTER_PIECE)).to_vec()));
    let all = futures_util::future::join_all(within);
    tokio::join!(run.step("seed"), at_moment, all);
}

#[tokio::test]
async fn writes_and_definitions_arrive_whenever_they_are_made() {
    let turn = Turn::take().await;
    prepare(&turn, &MOMENTS).await;
    let mut run = Run::begin(&turn).await;
    run.step("claim").await;
    everything(&turn, BEFORE_SNAPSHOT).await;
    seed_under_writes(&turn, &mut run).await;
    everything(&turn, BEFORE_STREAM).await;

    // The applying thread waits for a row that somebody holds.
    let mut holder = turn.root(Target).await;
    holder.run("START TRANSACTION; UPDATE shop.gate SET v = -1").await.unwrap();
    all(&mut client(&turn).await, ["UPDATE gate SET v = 1".into()]).await;
    let catching = async {
        let mut root = turn.root(Target).await;
        let waits =
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
        let begun = Instant::now();
        while root.one::<i64>(waits).await.unwrap() == 0 {
            if begun.elapsed() > Duration::from_secs(10) {
                let status: sql::Row = root.one("SHOW ALL SLAVES STATUS").await.unwrap();
                panic!("nothing waits: {:?}", status.get::<String, _>("Last_SQL_Error"));
            }
            // The server shows it anew if nobody looked for a tenth of a second.
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        everything(&turn, CATCHING_UP).await;
        holder.run("ROLLBACK").await.unwrap();
    };
    tokio::join!(run.step("follow"), catching);
    everything(&turn, FOLLOWING).await;
    caught_up(&turn, Source).await;

    assert_same(&turn, "every moment").await;
    assert_eq!(run.replica.compare_live().await.unwrap().differences, vec![]);
    let mut target = turn.root(Target).await;
    for table in WRITTEN {
        let rows: i64 = target.one(format!("SELECT COUNT(*) FROM shop.{table}")).await.unwrap();
        // Of the moment at which pieces are written, and of all others, as many.
        assert_eq!(rows, 6 * i64::try_from(MOMENTS.len()).unwrap(), "{table}");
    }
    let made: i64 = target
        .one("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME REGEXP '^(made|seen|now)_'")
        .await
        .unwrap();
    // Nothing is made before a piece, and nothing renamed after one.
    assert_eq!(made, 3 * i64::try_from(MOMENTS.len() - 1).unwrap() - 1);
}

/// Runs a seed up to where a table's first piece is to be copied, changes the table, and returns
/// what became of the seed.
async fn changed_before_its_piece(
    turn: &Turn,
    run: &mut Run,
    table: &str,
    statement: &str,
) -> Result<Value, Fault> {
    let before = stop(&run.replica, &format!("before {table}_{BEFORE_PIECE}"));
    let change = meanwhile(turn, before, vec![at(statement, BEFORE_PIECE)]);
    tokio::join!(run.try_step("seed"), change).0
}

#[tokio::test]
async fn a_table_that_is_changed_before_it_was_read_refuses_the_copy_and_leaves_nothing() {
    let turn = Turn::take().await;
    prepare(&turn, &[BEFORE_PIECE]).await;
    let mut run = Run::begin(&turn).await;
    run.step("claim").await;
    for (table, statement) in CHANGES {
        let outcome = changed_before_its_piece(&turn, &mut run, table, statement).await;
        match outcome {
            // A column that is only added leaves the rows as they were: the stream adds it.
            Ok(_) => {
                assert_eq!(table, "grown");
                run.step("follow").await;
                caught_up(&turn, Source).await;
                assert_same(&turn, table).await;
                run.undo("follow").await;
            }
            Err(fault) => {
                assert_eq!(fault.code, "SG0204", "{table}: {fault}");
                let kinds = [FaultKind::Busy, FaultKind::NotFound, FaultKind::Invalid];
                assert!(kinds.contains(&fault.kind), "{table}: {fault:?}");
            }
        }
        let source = checksums(&turn, Source).await;
        run.undo("seed").await;
        assert_eq!(run.observed("seed").await, Observed::NotApplied);
        let left: i64 = turn
            .root(Target)
            .await
            .one("SELECT (SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shop') \
                  + (SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'shop') + (SELECT COUNT(*) FROM segue.seed)")
            .await
            .unwrap();
        assert_eq!(left, 0, "{table}");
        assert_eq!(source, checksums(&turn, Source).await, "{table}");
    }
    run.steps(&["seed", "follow"]).await;
    caught_up(&turn, Source).await;
    assert_same(&turn, "copied again").await;
}

#[tokio::test]
async fn a_change_without_its_schema_selected_is_refused_in_the_pause_or_found_by_the_digest() {
    let turn = Turn::take().await;
    prepare(&turn, &[BEFORE_SNAPSHOT]).await;
    let mut run = Run::begin(&turn).await;
    run.sync().await;
    // What is written with no schema selected passes no stream's filter.
    let mut other = turn.root(Source).await;
    other.run("TRUNCATE shop.heap").await.unwrap();
    caught_up(&turn, Source).await;
    let compared = run.replica.compare_live().await.unwrap();
    let found = compared.differences.iter().map(|d| (d.object.as_str(), d.what.as_str()));
    assert_eq!(found.collect::<Vec<_>>(), [("table `heap`", "rows")]);
    other.run("ALTER TABLE shop.keyed ADD COLUMN w INT").await.unwrap();
    run.table(Phase::Cutover);
    run.steps(&["arm", "fence", "drain"]).await;
    assert_eq!(run.try_step("verify").await.unwrap_err().code, "SG0224");
    let verify: Arc<dyn Effect> = run.effect("verify");
    assert_eq!(
        verify.observe(&run.call("verify", Duration::from_secs(5))).await.unwrap(),
        Observed::NotApplied
    );
    run.undo("verify").await;
    run.undo("fence").await;
    turn.shop(Source)
        .await
        .unwrap()
        .run("INSERT INTO shop.keyed VALUES (1, 'goes on', NULL)")
        .await
        .unwrap();
}
