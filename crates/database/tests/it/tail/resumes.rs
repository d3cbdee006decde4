//! A tail that is interrupted at whatever point goes on without loss or repetition.

use super::relay::{Cut, Relay};
use super::*;
use segue_model::FaultKind;

/// A table without key shows what is applied twice.
const TABLES: &str = "
CREATE SCHEMA shop;
CREATE TABLE shop.said (n INT, v VARCHAR(40));
CREATE TABLE shop.counter (id INT PRIMARY KEY, n INT);
INSERT INTO shop.counter VALUES (1, 0);
CREATE SCHEMA other;
CREATE TABLE other.said (n INT)
";

/// Transactions of one round, of which one changes a definition.
const ROUND: u64 = 5;

/// Carried out twice or not at all, the change shows: in an error, or in columns that differ.
async fn round(root: &mut Session) {
    let extra: u64 = root
        .one(
            "SELECT COUNT(*) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 'said' AND COLUMN_NAME = 'extra'",
        )
        .await
        .unwrap();
    let change = if extra == 0 { "ADD extra INT DEFAULT 3" } else { "DROP extra" };
    for n in 0..ROUND - 1 {
        if n == 2 {
            root.run(format!("ALTER TABLE shop.said {change}")).await.unwrap();
        }
        let sql = format!(
            "BEGIN; INSERT INTO shop.said (n, v) VALUES ({n}, 'x'); UPDATE shop.counter SET n = n + 1; COMMIT; \
             INSERT INTO other.said VALUES ({n})"
        );
        root.run(sql).await.unwrap();
    }
}

fn small_groups(mut follow: Follow) -> Follow {
    follow.grouping = Grouping { transactions: 2, wait: Duration::from_secs(1) };
    follow
}

/// Follows until the schema is caught up, or the tail breaks.
async fn attempt(turn: &Turn, source: &Source, follow: Follow) {
    let mut root = turn.root(AtSource).await;
    let wanted = position(&mut root).await;
    let Ok(tail) = Tail::start(source, vec![follow]).await else { return };
    let mut progress = tail.progress("shop").unwrap();
    let reached = progress.wait_for(|progress| progress.reached.covers(&wanted));
    let _ = tokio::time::timeout(Duration::from_millis(400), reached).await;
}

/// Follows without interruption, and compares.
async fn settle(turn: &Turn, follow: Follow, transactions: u64, what: &dyn std::fmt::Debug) {
    let tail = Tail::start(&source(turn), vec![follow])
        .await
        .unwrap_or_else(|fault| panic!("{what:?}: {fault}"));
    caught_up(turn, &tail, "shop").await;
    tail.end().await.reading.unwrap();
    let (here, there) = (sums(turn, AtSource, "shop").await, sums(turn, Target, "shop").await);
    assert_eq!(here, there, "{what:?}");
    assert_eq!(counted(turn, "shop").await, transactions, "{what:?}");
}

#[tokio::test]
async fn the_line_to_the_target_may_break_at_every_packet() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = small_groups(follow(&turn, "shop").await);
    let target = turn.pair.servers.target.address;
    let mut root = turn.root(AtSource).await;
    let mut transactions = 0;
    let relay = Relay::start(target, Cut::Never).await;
    round(&mut root).await;
    transactions += ROUND;
    attempt(&turn, &source(&turn), Follow { target: root_at(relay.address), ..follow.clone() })
        .await;
    let packets = relay.packets();
    assert!(packets > 10, "{packets}");
    for number in 0..=packets {
        for cut in [Cut::Before(number), Cut::AtOnce(number), Cut::After(number)] {
            round(&mut root).await;
            transactions += ROUND;
            let relay = Relay::start(target, cut).await;
            let through = Follow { target: root_at(relay.address), ..follow.clone() };
            attempt(&turn, &source(&turn), through).await;
            settle(&turn, follow.clone(), transactions, &cut).await;
        }
    }
}

#[tokio::test]
async fn the_line_from_the_source_may_break_within_every_event() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = small_groups(follow(&turn, "shop").await);
    let server = turn.pair.servers.source.address;
    let mut root = turn.root(AtSource).await;
    let relay = Relay::start(server, Cut::Never).await;
    round(&mut root).await;
    let mut transactions = ROUND;
    attempt(&turn, &source_at(relay.address), follow.clone()).await;
    let all = relay.bytes();
    assert!(all > 2000, "{all}");
    // What is before the events is of the same length each time, so the steps fall into them.
    for bytes in (800..all).step_by(37) {
        round(&mut root).await;
        transactions += ROUND;
        let cut = Cut::Bytes(bytes);
        let relay = Relay::start(server, cut).await;
        attempt(&turn, &source_at(relay.address), follow.clone()).await;
        settle(&turn, follow.clone(), transactions, &cut).await;
    }
}

#[tokio::test]
async fn a_target_that_is_killed_has_rows_and_checkpoint_of_one_moment() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = small_groups(follow(&turn, "shop").await);
    let mut root = turn.root(AtSource).await;
    let mut transactions = 0;
    for wait in [1, 15, 40] {
        for _ in 0..30 {
            round(&mut root).await;
            transactions += ROUND;
        }
        let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        turn.pair.servers.target.kill();
        // One that had applied all of it notices by what comes next.
        round(&mut root).await;
        transactions += ROUND;
        fault_of(&tail, "shop").await;
        let fault = tail.end().await.schemas.remove("shop").unwrap().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
        turn.pair.servers.target.restart().await;
        settle(&turn, follow.clone(), transactions, &wait).await;
    }
}

#[tokio::test]
async fn schemas_that_stand_apart_go_on_each_from_its_own_place() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let (shop, other) = (follow(&turn, "shop").await, follow(&turn, "other").await);
    let mut root = turn.root(AtSource).await;
    round(&mut root).await;
    let tail = Tail::start(&source(&turn), vec![shop.clone()]).await.unwrap();
    caught_up(&turn, &tail, "shop").await;
    tail.end().await;
    round(&mut root).await;
    // The other one is a round behind: what shop has is not applied to it again. Its checkpoint
    // does not go back while the other one catches up, and cannot.
    let before = checkpoint(&turn, "shop").await;
    let mut blocker = turn.root(Target).await;
    blocker.run("LOCK TABLES other.said READ").await.unwrap();
    let tail = Tail::start(&source(&turn), vec![shop.clone(), other.clone()]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let meanwhile = checkpoint(&turn, "shop").await;
    assert!(meanwhile.covers(&before), "{meanwhile} is behind {before}");
    drop(tail);
    blocker.run("UNLOCK TABLES").await.unwrap();
    let tail = Tail::start(&source(&turn), vec![shop, other]).await.unwrap();
    for schema in ["shop", "other"] {
        caught_up(&turn, &tail, schema).await;
        assert_equal(&turn, schema).await;
    }
    tail.end().await;
    assert_eq!(counted(&turn, "shop").await, 2 * ROUND);
    assert_eq!(counted(&turn, "other").await, 2 * (ROUND - 1));
}

async fn checkpoint(turn: &Turn, schema: &str) -> Position {
    let mut root = turn.root(Target).await;
    let text: String =
        root.one(format!("SELECT gtid FROM segue.tail WHERE followed = '{schema}'")).await.unwrap();
    text.parse().unwrap()
}

#[tokio::test]
async fn a_seed_that_was_taken_anew_begins_anew() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let first = follow(&turn, "shop").await;
    let mut root = turn.root(AtSource).await;
    round(&mut root).await;
    let tail = Tail::start(&source(&turn), vec![first]).await.unwrap();
    caught_up(&turn, &tail, "shop").await;
    tail.end().await;
    round(&mut root).await;
    // What is copied now has what the former checkpoint has not.
    let anew = follow(&turn, "shop").await;
    let mut target = turn.root(Target).await;
    target.run("SET sql_log_bin = 0; DROP SCHEMA shop; CREATE SCHEMA shop").await.unwrap();
    for table in ["said", "counter"] {
        let row: Row = root.one(format!("SHOW CREATE TABLE shop.{table}")).await.unwrap();
        target.run(format!("USE shop; {}", row.get::<String, _>(1).unwrap())).await.unwrap();
        let rows: Vec<Row> = root.rows(format!("SELECT * FROM shop.{table}")).await.unwrap();
        for row in rows {
            let values: Vec<String> = (0..row.len()).map(|at| row[at].as_sql(false)).collect();
            target
                .run(format!("INSERT INTO shop.{table} VALUES ({})", values.join(", ")))
                .await
                .unwrap();
        }
    }
    settle(&turn, anew, 0, &"a new seed").await;
}

#[tokio::test]
async fn a_follower_that_ends_by_itself_ends_the_tail_of_a_quiet_source() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let tail = Tail::start(&source(&turn), vec![follow(&turn, "shop").await]).await.unwrap();
    turn.root(Target).await.run("DELETE FROM shop.counter").await.unwrap();
    turn.root(AtSource).await.run("UPDATE shop.counter SET n = 9").await.unwrap();
    let ended = ended(tail).await;
    assert_eq!(code(&ended.schemas["shop"]), "SG0278");
}

#[tokio::test]
async fn others_that_hold_its_rows_for_a_while_are_waited_for() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let mut blocker = turn.root(Target).await;
    blocker.run("SET GLOBAL innodb_lock_wait_timeout = 1").await.unwrap();
    let tail = Tail::start(&source(&turn), vec![follow(&turn, "shop").await]).await.unwrap();
    blocker.run("BEGIN; SELECT * FROM shop.counter FOR UPDATE").await.unwrap();
    let mut root = turn.root(AtSource).await;
    root.run("BEGIN; INSERT INTO shop.said VALUES (1, 'x'); UPDATE shop.counter SET n = 1; COMMIT")
        .await
        .unwrap();
    // Longer than two attempts take.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    blocker.run("ROLLBACK; SET GLOBAL innodb_lock_wait_timeout = DEFAULT").await.unwrap();
    caught_up(&turn, &tail, "shop").await;
    assert_equal(&turn, "shop").await;
    assert_eq!(counted(&turn, "shop").await, 1);
}

#[tokio::test]
async fn dropped_in_the_middle_of_a_long_transaction_nothing_of_it_stays() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let follow = follow(&turn, "shop").await;
    let mut root = turn.root(AtSource).await;
    let mut blocker = turn.root(Target).await;
    // The last row of it has to wait, when most of it is at the target already.
    blocker.run("BEGIN; SELECT * FROM shop.counter FOR UPDATE").await.unwrap();
    root.run(
        "INSERT INTO shop.said VALUES (1, 'before'); BEGIN; \
         INSERT INTO shop.said SELECT seq, REPEAT('v', 40) FROM shop.seq_1_to_200000; \
         UPDATE shop.counter SET n = n + 1; COMMIT",
    )
    .await
    .unwrap();
    let tail = Tail::start(&source(&turn), vec![follow.clone()]).await.unwrap();
    let begun = Instant::now();
    while counted(&turn, "shop").await < 1 {
        assert!(begun.elapsed() < Duration::from_secs(10), "what is before it is committed first");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What the server shows stays as it is while it is asked more often than ten times a second.
    let changed = "SELECT COALESCE(MAX(trx_rows_modified), 0) FROM information_schema.INNODB_TRX";
    while turn.root(Target).await.one::<u64>(changed).await.unwrap() < 50_000 {
        assert!(begun.elapsed() < Duration::from_secs(20), "most of it is at the target already");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    drop(tail);
    while turn.root(Target).await.one::<u64>(changed).await.unwrap() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(40), "the server takes it back");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let said: u64 = turn.root(Target).await.one("SELECT COUNT(*) FROM shop.said").await.unwrap();
    assert_eq!(said, 1, "nothing of it stays");
    blocker.run("ROLLBACK").await.unwrap();
    settle(&turn, follow, 2, &"a long transaction").await;
}
