//! What would not arrive as it is ends the tail, with a fault that says why.

use super::*;

const TABLES: &str = "
CREATE SCHEMA shop;
CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(400), w VARCHAR(40) DEFAULT 'w');
CREATE SCHEMA other;
CREATE TABLE other.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40))
";

/// Starts a tail of both schemas and writes a row to each before the statements.
async fn after(turn: &Turn, statements: &str) -> Tail {
    let follows = vec![follow(turn, "shop").await, follow(turn, "other").await];
    let tail = Tail::start(&source(turn), follows).await.unwrap();
    let mut root = turn.root(AtSource).await;
    run_all(
        &mut root,
        "INSERT INTO shop.t (v) VALUES ('first');\nINSERT INTO other.t (v) VALUES ('first')",
    )
    .await;
    run_all(&mut root, statements).await;
    run_all(&mut root, "INSERT INTO other.t (v) VALUES ('last')").await;
    tail
}

async fn rows(turn: &Turn, table: &str) -> u64 {
    turn.root(Target).await.one(format!("SELECT COUNT(*) FROM {table}")).await.unwrap()
}

#[tokio::test]
async fn what_concerns_one_schema_ends_that_schema_alone() {
    let turn = Turn::take().await;
    for (what, statements, wanted, names) in [
        (
            "an event",
            "CREATE EVENT shop.e ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.t WHERE v = 'secret'",
            "SG0276",
            "CREATE EVENT of `e`",
        ),
        (
            "a table of two schemas",
            "CREATE SCHEMA tenant;\nCREATE TABLE tenant.made LIKE shop.t",
            "SG0276",
            "CREATE TABLE of `made`",
        ),
        (
            "the schema",
            "ALTER DATABASE shop CHARACTER SET latin1",
            "SG0276",
            "ALTER DATABASE of `shop`",
        ),
        (
            "an engine without transactions",
            "CREATE TABLE shop.plain (secret INT) ENGINE = MyISAM",
            "SG0280",
            "`plain`",
        ),
        (
            "a part of a row",
            "SET binlog_row_image = MINIMAL;\nUPDATE shop.t SET v = 'x'",
            "SG0275",
            "`t`",
        ),
        (
            "two steps",
            "XA START 'q';\nINSERT INTO shop.t (v) VALUES ('two');\nXA END 'q';\nXA PREPARE 'q';\nXA COMMIT 'q'",
            "SG0282",
            "XA",
        ),
    ] {
        clear_and_make(&turn).await;
        let tail = after(&turn, statements).await;
        fault_of(&tail, "shop").await;
        caught_up(&turn, &tail, "other").await;
        assert_eq!((rows(&turn, "shop.t").await, rows(&turn, "other.t").await), (1, 2), "{what}");
        let ended = tail.end().await;
        ended.reading.unwrap();
        assert_eq!(code(&ended.schemas["shop"]), wanted, "{what}");
        let fault = ended.schemas["shop"].as_ref().unwrap_err();
        let said = format!("{fault} {}", fault.hint);
        assert!(said.contains(names), "{what}: {said}");
        assert!(!said.contains("secret") && !said.contains("two'"), "{what}: {said}");
    }
}

async fn clear_and_make(turn: &Turn) {
    both(
        turn,
        "DROP SCHEMA IF EXISTS shop;\nDROP SCHEMA IF EXISTS other;\nDROP SCHEMA IF EXISTS segue",
    )
    .await;
    both(turn, TABLES).await;
}

#[tokio::test]
async fn what_concerns_the_log_ends_the_reading() {
    let turn = Turn::take().await;
    for (what, statements, wanted) in [
        (
            "a statement",
            "SET binlog_format = STATEMENT;\nINSERT INTO shop.t (v) VALUES ('secret')",
            "SG0273",
        ),
        (
            "a stranger's statement",
            "CREATE SCHEMA tenant;\nCREATE TABLE tenant.x (i INT);\nSET binlog_format = STATEMENT;\nINSERT INTO tenant.x VALUES (1)",
            "SG0273",
        ),
        (
            "compressed rows",
            "SET GLOBAL log_bin_compress = ON;\nINSERT INTO shop.t (v) SELECT REPEAT('v', 400) FROM shop.seq_1_to_50;\nSET GLOBAL log_bin_compress = OFF",
            "SG0274",
        ),
    ] {
        both(&turn, "DROP SCHEMA IF EXISTS tenant").await;
        clear_and_make(&turn).await;
        let ended = ended(after(&turn, statements).await).await;
        assert_eq!(code(&ended.reading), wanted, "{what}");
        let said = ended.reading.unwrap_err().to_string();
        assert!(!said.contains("secret"), "{said}");
        assert_eq!((rows(&turn, "shop.t").await, rows(&turn, "other.t").await), (1, 1), "{what}");
        let reached = ended.schemas["shop"].as_ref().unwrap();
        assert_eq!(reached.transactions, 1, "{what}: everything before it is committed");
    }
}

#[tokio::test]
async fn a_distributed_transaction_of_before_is_not_missed() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let mut root = turn.root(AtSource).await;
    run_all(
        &mut root,
        "XA START 'q';\nINSERT INTO shop.t (v) VALUES ('two');\nXA END 'q';\nXA PREPARE 'q'",
    )
    .await;
    let tail = Tail::start(&source(&turn), vec![follow(&turn, "shop").await]).await.unwrap();
    root.run("XA COMMIT 'q'").await.unwrap();
    assert_eq!(code(&ended(tail).await.reading), "SG0282");
}

#[tokio::test]
async fn a_log_that_was_purged_is_a_gap() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = follow(&turn, "shop").await;
    let mut root = turn.root(AtSource).await;
    run_all(&mut root, "INSERT INTO shop.t (v) VALUES ('gone');\nFLUSH BINARY LOGS;\nINSERT INTO shop.t (v) VALUES ('there');\nFLUSH BINARY LOGS").await;
    let logs: Vec<Row> = root.rows("SHOW BINARY LOGS").await.unwrap();
    let last: String = logs.last().unwrap().get(0).unwrap();
    // A file that a reader has open is kept; the former tail's may be for a moment.
    let begun = Instant::now();
    loop {
        root.run(format!("PURGE BINARY LOGS TO '{last}'")).await.unwrap();
        if root.rows::<Row>("SHOW BINARY LOGS").await.unwrap().len() == 1 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
    assert_eq!(code(&ended(tail).await.reading), "SG0271");
    assert_eq!(rows(&turn, "shop.t").await, 0, "nothing behind the gap is applied");
    // A position of another server's log.
    both(&turn, "DROP SCHEMA IF EXISTS segue").await;
    let strange = Follow { begin: Begin::After("1-1-999999999".parse().unwrap()), ..follow };
    let tail = Tail::start(&source(&turn), vec![strange]).await.unwrap();
    assert_eq!(code(&ended(tail).await.reading), "SG0271");
}

#[tokio::test]
async fn a_target_that_differs_is_noticed() {
    let turn = Turn::take().await;
    for (what, sabotage, wanted) in [
        (
            "a row more",
            "INSERT INTO shop.t VALUES (1, 'rogue', 'w')",
            "a row with this key is there",
        ),
        ("a row less", "DELETE FROM shop.t", "is not there"),
        ("another column", "ALTER TABLE shop.t DROP w, ADD w INT", "other columns"),
        ("no table", "DROP TABLE shop.t", "its table is not there"),
    ] {
        clear_and_make(&turn).await;
        let mut begin = follow(&turn, "shop").await;
        let mut root = turn.root(AtSource).await;
        root.run("INSERT INTO shop.t VALUES (1, 'secret', 'w')").await.unwrap();
        if what != "a row more" {
            turn.root(Target)
                .await
                .run("INSERT INTO shop.t VALUES (1, 'secret', 'w')")
                .await
                .unwrap();
            begin = follow(&turn, "shop").await;
        }
        turn.root(Target).await.run(sabotage).await.unwrap();
        root.run("UPDATE shop.t SET v = 'secret2'").await.unwrap();
        let tail = Tail::start(&source(&turn), vec![begin]).await.unwrap();
        fault_of(&tail, "shop").await;
        let ended = tail.end().await;
        assert_eq!(code(&ended.schemas["shop"]), "SG0278", "{what}");
        let said = ended.schemas["shop"].as_ref().unwrap_err().to_string();
        assert!(said.contains(wanted) && !said.contains("secret"), "{what}: {said}");
    }
}

#[tokio::test]
async fn servers_that_would_not_carry_it_are_refused_at_the_start() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = follow(&turn, "shop").await;
    for (side, set, back, wanted) in [
        (
            AtSource,
            "SET GLOBAL binlog_row_image = MINIMAL",
            "SET GLOBAL binlog_row_image = FULL",
            "SG0270",
        ),
        (AtSource, "SET GLOBAL binlog_format = MIXED", "SET GLOBAL binlog_format = ROW", "SG0270"),
        (
            AtSource,
            "SET GLOBAL log_bin_compress = ON",
            "SET GLOBAL log_bin_compress = OFF",
            "SG0270",
        ),
        (
            Target,
            "SET GLOBAL slave_exec_mode = IDEMPOTENT",
            "SET GLOBAL slave_exec_mode = STRICT",
            "SG0280",
        ),
        (
            Target,
            "SET GLOBAL slave_run_triggers_for_rbr = YES",
            "SET GLOBAL slave_run_triggers_for_rbr = NO",
            "SG0280",
        ),
        (
            Target,
            "SET GLOBAL max_allowed_packet = 65536",
            "SET GLOBAL max_allowed_packet = 16777216",
            "SG0280",
        ),
        (
            Target,
            "ALTER TABLE shop.t ENGINE = MyISAM",
            "ALTER TABLE shop.t ENGINE = InnoDB",
            "SG0280",
        ),
        (Target, "DROP SCHEMA shop", "CREATE SCHEMA shop", "SG0280"),
    ] {
        let mut root = turn.root(side).await;
        root.run(set).await.unwrap();
        let started = Tail::start(&source(&turn), vec![follow.clone()]).await;
        root.run(back).await.unwrap();
        assert_eq!(code(&started), wanted, "{set}");
    }
    let long = Source { name: "s".repeat(65), ..source(&turn) };
    assert_eq!(code(&Tail::start(&long, vec![follow.clone()]).await), "SG0270");
    let first = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
    let second = Tail::start(&source(&turn), vec![follow]).await;
    assert_eq!(code(&second), "SG0279", "two would apply everything twice");
    drop(first);
}
