//! Definitions that change at the source change at the target, in their order among the rows.

use super::relay::{Cut, Relay};
use super::*;

const TABLES: &str = "
CREATE SCHEMA shop CHARACTER SET utf8mb4;
CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, total DECIMAL(12,4), note VARCHAR(40));
CREATE TABLE shop.gone (i INT);
CREATE TABLE shop.gone_too (i INT);
CREATE TABLE shop.named (i INT);
INSERT INTO shop.orders (total, note) VALUES (1, 'a'), (2, 'b')
";

/// Each with rows behind it that need it, under settings of its session that it needs.
const CHANGES: &str = "
USE shop;
ALTER TABLE orders ADD state ENUM('new','paid') NOT NULL DEFAULT 'new', ADD KEY (note);
INSERT INTO orders (total, note, state) VALUES (3, 'c', 'paid');
CREATE TABLE `lines` (id INT PRIMARY KEY, `of` INT, CONSTRAINT c FOREIGN KEY (`of`) REFERENCES orders (id));
INSERT INTO `lines` VALUES (1, 3);
SET sql_mode = 'ANSI_QUOTES,NO_ZERO_DATE';
CREATE TABLE \"odd name\" (\"select\" INT DEFAULT 5, d DATETIME DEFAULT CURRENT_TIMESTAMP);
INSERT INTO \"odd name\" VALUES (1, '2024-02-29 12:00:00');
SET sql_mode = DEFAULT;
SET NAMES latin1;
CREATE TABLE shouted (v VARCHAR(20) COMMENT 'caf\u{e9}' DEFAULT 'caf\u{e9}') CHARACTER SET latin1;
SET NAMES utf8mb4 COLLATE utf8mb4_german2_ci;
CREATE VIEW v AS SELECT o.id, CONCAT(o.note, '\u{df}') AS n FROM orders o WHERE o.note < '\u{df}';
CREATE PROCEDURE p() DELETE FROM orders WHERE note = '\u{e4}';
CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x + 1;
CREATE TABLE audit (n INT);
CREATE TRIGGER tr AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit VALUES (NEW.id);
INSERT INTO orders (total) VALUES (4);
SET foreign_key_checks = 0;
CREATE TABLE early (i INT, CONSTRAINT e FOREIGN KEY (i) REFERENCES later (id));
SET foreign_key_checks = 1;
CREATE TABLE later (id INT PRIMARY KEY);
CREATE SEQUENCE numbers START WITH 100;
SELECT NEXTVAL(numbers);
CREATE TABLE made AS SELECT id, note FROM orders;
INSERT INTO made VALUES (99, 'behind it');
CREATE UNIQUE INDEX u ON made (id);
RENAME TABLE named TO renamed;
INSERT INTO renamed VALUES (1);
ALTER TABLE renamed RENAME TO twice_renamed, ADD j INT;
DROP TABLE gone, gone_too;
TRUNCATE TABLE made;
INSERT INTO made VALUES (7, 'after');
DROP TRIGGER tr;
INSERT INTO orders (total) VALUES (5);
CREATE OR REPLACE VIEW v AS SELECT 1 AS one;
DROP PROCEDURE IF EXISTS p;
ALTER TABLE shop.orders DROP note, MODIFY total DECIMAL(14,2);
SET time_zone = '+05:00';
CREATE TABLE stamped (at TIMESTAMP DEFAULT '2024-01-01 05:00:00');
INSERT INTO stamped VALUES ();
SET timestamp = 1700000000;
ALTER TABLE stamped ADD added TIMESTAMP DEFAULT CURRENT_TIMESTAMP;
DROP TABLE IF EXISTS never_there
";

/// Returns the definition of everything in a schema.
async fn definitions(turn: &Turn, side: Side) -> Vec<String> {
    let mut root = turn.root(side).await;
    root.run("USE shop").await.unwrap();
    let mut all = Vec::new();
    for (kind, query) in [
        (
            "TABLE",
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' ORDER BY 1",
        ),
        (
            "PROCEDURE",
            "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'shop' AND ROUTINE_TYPE = 'PROCEDURE' ORDER BY 1",
        ),
        (
            "FUNCTION",
            "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'shop' AND ROUTINE_TYPE = 'FUNCTION' ORDER BY 1",
        ),
        (
            "TRIGGER",
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'shop' ORDER BY 1",
        ),
    ] {
        let names: Vec<String> = root.rows(query).await.unwrap();
        for name in names {
            let row: Row = root.one(format!("SHOW CREATE {kind} `{name}`")).await.unwrap();
            // When a trigger was made is the target's own.
            let columns = if kind == "TRIGGER" { 6 } else { row.len() };
            let text: Vec<String> = (0..columns).map(|at| row[at].as_sql(false)).collect();
            all.push(text.join(" "));
        }
    }
    all
}

#[tokio::test]
async fn every_usual_change_of_definitions_arrives() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let logged = position(&mut turn.root(Target).await).await;
    let tail = Tail::start(&source(&turn), vec![follow(&turn, "shop").await]).await.unwrap();
    let mut root = turn.root(AtSource).await;
    run_all(&mut root, CHANGES).await;
    caught_up(&turn, &tail, "shop").await;
    let (here, there) = (definitions(&turn, AtSource).await, definitions(&turn, Target).await);
    assert_eq!(here.len(), 13, "{here:#?}");
    assert_eq!(here, there);
    let stamped = "SELECT CONCAT_WS(' ', at, added) FROM shop.stamped";
    let here: String = turn.root(AtSource).await.one(stamped).await.unwrap();
    let there: String = turn.root(Target).await.one(stamped).await.unwrap();
    assert_eq!(here, there);
    assert_equal(&turn, "shop").await;
    let mut target = turn.root(Target).await;
    let fired: u64 = target.one("SELECT COUNT(*) FROM shop.audit").await.unwrap();
    assert_eq!(fired, 1, "the trigger's row came from the source, once");
    assert_eq!(position(&mut target).await, logged, "nothing of it is in the target's own log");
    tail.end().await.schemas.remove("shop").unwrap().unwrap();
}

/// What a session left that was killed behind the change, before its checkpoint moved.
#[tokio::test]
async fn a_change_that_was_carried_out_is_not_carried_out_again() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = follow(&turn, "shop").await;
    // Makes its place.
    Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap().end().await;
    let (mut root, mut target) = (turn.root(AtSource).await, turn.root(Target).await);
    target.run("SET sql_log_bin = 0").await.unwrap();
    for (number, change) in [
        "ALTER TABLE shop.orders ADD c INT",
        "CREATE TABLE shop.new (i INT)",
        "RENAME TABLE shop.new TO shop.newer",
        "DROP TABLE shop.gone, shop.gone_too",
        "CREATE FUNCTION shop.g() RETURNS INT DETERMINISTIC RETURN 1",
    ]
    .into_iter()
    .enumerate()
    {
        root.run(change).await.unwrap();
        let gtid: String = root.one("SELECT @@last_gtid").await.unwrap();
        let gtid = if gtid.is_empty() { position(&mut root).await.to_string() } else { gtid };
        let note = format!("UPDATE segue.tail SET defining = '{gtid} as it never was'");
        target.run(note).await.unwrap();
        // Of several objects only some may be gone.
        let done = if number == 3 { "DROP TABLE shop.gone" } else { change };
        target.run(done).await.unwrap();
        root.run(format!("INSERT INTO shop.orders (total) VALUES ({number})")).await.unwrap();
        let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
        caught_up(&turn, &tail, "shop").await;
        let ended = tail.end().await;
        ended.schemas["shop"].as_ref().unwrap_or_else(|fault| panic!("{change}: {fault}"));
        assert_eq!(
            definitions(&turn, AtSource).await,
            definitions(&turn, Target).await,
            "{change}"
        );
        assert_equal(&turn, "shop").await;
    }
    let left: String = target.one("SELECT defining FROM segue.tail").await.unwrap();
    assert_eq!(left, "");
}

#[tokio::test]
async fn a_change_whose_rows_are_still_to_come_keeps_its_note() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = follow(&turn, "shop").await;
    let mut root = turn.root(AtSource).await;
    // Of strangers, so that the schema is told how far the reading is.
    root.run("CREATE SCHEMA tenant; CREATE TABLE tenant.x (i INT)").await.unwrap();
    for number in 0..20 {
        root.run(format!("INSERT INTO tenant.x VALUES ({number})")).await.unwrap();
    }
    root.run("CREATE TABLE shop.made AS SELECT seq, REPEAT('v', 100) AS v FROM shop.seq_1_to_1500")
        .await
        .unwrap();
    // The definition comes through, and a part of the rows.
    let cut = Cut::Still(60_000);
    let relay = Relay::start(turn.pair.servers.source.address, cut).await;
    let tail = Tail::start(&source_at(relay.address), vec![follow.clone()]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut target = turn.root(Target).await;
    let (rows, note): (u64, String) = target
        .one("SELECT (SELECT COUNT(*) FROM shop.made), (SELECT defining FROM segue.tail)")
        .await
        .unwrap();
    assert_eq!(rows, 0);
    assert!(!note.is_empty(), "{:?}", tail.sample());
    drop(tail);
    let tail = Tail::start(&source(&turn), vec![follow]).await.unwrap();
    caught_up(&turn, &tail, "shop").await;
    assert_equal(&turn, "shop").await;
    tail.end().await.schemas.remove("shop").unwrap().unwrap();
}

#[tokio::test]
async fn a_change_that_a_former_session_still_carries_out_is_waited_for() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = follow(&turn, "shop").await;
    let mut blocker = turn.root(Target).await;
    blocker.run("BEGIN; SELECT * FROM shop.orders").await.unwrap();
    let mut root = turn.root(AtSource).await;
    root.run("ALTER TABLE shop.orders ADD c INT").await.unwrap();
    let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
    let begun = Instant::now();
    let waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'ALTER TABLE shop.orders%'";
    while turn.root(Target).await.one::<u64>(waits).await.unwrap() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", tail.sample());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The tail is gone, its change goes on until the server notices.
    drop(tail);
    let (second, ()) = tokio::join!(
        async {
            let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
            caught_up(&turn, &tail, "shop").await;
            tail.end().await
        },
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            blocker.run("ROLLBACK").await.unwrap();
        }
    );
    second.schemas["shop"].as_ref().unwrap();
    assert_eq!(definitions(&turn, AtSource).await, definitions(&turn, Target).await);
}

#[tokio::test]
async fn while_a_former_session_carries_out_a_long_change_no_other_does() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let place = blake3::hash(b"source shop").to_hex();
    let mut former = turn.root(Target).await;
    let got: u64 =
        former.one(format!("SELECT GET_LOCK('segue_define_{}', 1)", &place[..16])).await.unwrap();
    assert_eq!(got, 1);
    let follow = follow(&turn, "shop").await;
    let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
    turn.root(AtSource).await.run("ALTER TABLE shop.orders ADD c INT").await.unwrap();
    fault_of(&tail, "shop").await;
    assert_eq!(code(&tail.end().await.schemas["shop"]), "SG0279");
    former.run("SELECT RELEASE_ALL_LOCKS()").await.unwrap();
    let tail = Tail::start(&source(&turn), vec![follow]).await.unwrap();
    caught_up(&turn, &tail, "shop").await;
    assert_eq!(definitions(&turn, AtSource).await, definitions(&turn, Target).await);
}

#[tokio::test]
async fn a_change_that_the_target_refuses_ends_the_schema_and_shows_no_data() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let tail = Tail::start(&source(&turn), vec![follow(&turn, "shop").await]).await.unwrap();
    turn.root(Target).await.run("ALTER TABLE shop.orders ADD secret INT").await.unwrap();
    let mut root = turn.root(AtSource).await;
    root.run("ALTER TABLE shop.orders ADD secret INT").await.unwrap();
    fault_of(&tail, "shop").await;
    let ended = tail.end().await;
    assert_eq!(code(&ended.schemas["shop"]), "SG0278");
    let said = ended.schemas["shop"].as_ref().unwrap_err().to_string();
    assert!(
        said.contains("ALTER TABLE of `orders`: error 1060") && !said.contains("secret"),
        "{said}"
    );
}
