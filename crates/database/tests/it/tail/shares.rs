//! Several schemas share one reading, among strangers.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TABLES: &str = "
CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE TABLE one.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(60));
CREATE TABLE one.counter (id INT PRIMARY KEY, n BIGINT);
CREATE TABLE one.keyless (v INT);
CREATE TABLE two.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(60));
CREATE TABLE two.counter (id INT PRIMARY KEY, n BIGINT);
INSERT INTO one.counter VALUES (1, 0);
INSERT INTO two.counter VALUES (1, 0)
";

/// Statements of one client; each is a transaction, or several lines of one.
fn statements(client: usize, turn: usize) -> String {
    match client {
        0 => format!(
            "INSERT INTO one.t (v) VALUES (MD5({turn})); INSERT INTO one.keyless VALUES ({turn} MOD 3)"
        ),
        1 => format!(
            "BEGIN; INSERT INTO two.t (v) VALUES (MD5({turn})); DELETE FROM two.t WHERE id = {turn} - 5; COMMIT"
        ),
        // Both in one transaction, and both in one statement.
        2 => format!(
            "BEGIN; UPDATE one.counter SET n = n + 1; INSERT INTO tenant.x (v) VALUES (1); UPDATE two.counter SET n = n + {turn}; COMMIT; \
             UPDATE one.counter a JOIN two.counter b ON b.id = a.id SET a.n = a.n + 1, b.n = b.n + 1"
        ),
        _ => format!(
            "INSERT INTO tenant.x (v) VALUES ({turn}); CREATE TABLE tenant.made (one INT); ALTER TABLE tenant.made ADD two INT; \
             DROP TABLE tenant.made; CREATE OR REPLACE PROCEDURE tenant.p() DELETE FROM one.t; \
             CREATE OR REPLACE VIEW tenant.v AS SELECT * FROM two.t; OPTIMIZE TABLE tenant.x"
        ),
    }
}

#[tokio::test]
async fn two_schemas_arrive_equal_under_cross_traffic() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let mut root = turn.root(AtSource).await;
    root.run(
        "CREATE SCHEMA tenant; CREATE TABLE tenant.x (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
    )
    .await
    .unwrap();
    let follows = vec![follow(&turn, "one").await, follow(&turn, "two").await];
    let tail = Tail::start(&source(&turn), follows).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for client in 0..4 {
        let mut session = turn.root(AtSource).await;
        let stop = Arc::clone(&stop);
        clients.push(tokio::spawn(async move {
            let mut turns = 0;
            while !stop.load(Ordering::Relaxed) {
                turns += 1;
                let run = session.run(statements(client, turns)).await;
                run.unwrap_or_else(|e| panic!("client {client}: {e}"));
            }
            turns as u64
        }));
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stop.store(true, Ordering::Relaxed);
    let mut turns = Vec::new();
    for client in clients {
        turns.push(client.await.unwrap());
    }
    for schema in ["one", "two"] {
        caught_up(&turn, &tail, schema).await;
        assert_equal(&turn, schema).await;
    }
    assert!(turns.iter().all(|turns| *turns > 3), "{turns:?}");
    let ended = tail.end().await;
    ended.reading.unwrap();
    assert_eq!(counted(&turn, "one").await, 2 * turns[0] + 2 * turns[2]);
    assert_eq!(counted(&turn, "two").await, turns[1] + 2 * turns[2]);
    let mut target = turn.root(Target).await;
    let tenant: u64 = target
        .one("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'tenant'")
        .await
        .unwrap();
    assert_eq!(tenant, 0, "nothing of a stranger travels");
}

#[tokio::test]
async fn a_slow_schema_holds_the_reading_up_and_fills_no_memory() {
    const ROOM: usize = 512 * 1024;
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let mut follows = vec![follow(&turn, "one").await, follow(&turn, "two").await];
    follows.iter_mut().for_each(|follow| follow.room = ROOM);
    let tail = Tail::start(&source(&turn), follows).await.unwrap();
    let mut blocker = turn.root(Target).await;
    blocker.run("LOCK TABLES one.t READ").await.unwrap();
    let mut root = turn.root(AtSource).await;
    for _ in 0..40 {
        root.run("INSERT INTO one.t (v) SELECT REPEAT('v', 60) FROM one.seq_1_to_2000")
            .await
            .unwrap();
    }
    root.run("INSERT INTO two.t (v) VALUES ('behind all of it')").await.unwrap();
    let mut most = 0;
    for _ in 0..60 {
        most = most.max(tail.sample().schemas["one"].waiting);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(most > ROOM / 2 && most <= ROOM, "{most} of {ROOM} bytes");
    let behind: u64 = turn.root(Target).await.one("SELECT COUNT(*) FROM two.t").await.unwrap();
    assert_eq!(behind, 0, "the other schema waits too");
    blocker.run("UNLOCK TABLES").await.unwrap();
    for schema in ["one", "two"] {
        caught_up(&turn, &tail, schema).await;
        assert_equal(&turn, schema).await;
    }
    let sample = tail.sample();
    assert!(sample.schemas["one"].held_up > Duration::from_millis(300), "{sample:?}");
    assert_eq!(sample.schemas["two"].held_up, Duration::ZERO, "and it is said for whom");
    assert_eq!(sample.schemas["one"].waiting, 0);
}

#[tokio::test]
async fn ended_while_one_schema_waits_none_loses_anything() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let mut follows = vec![follow(&turn, "one").await, follow(&turn, "two").await];
    for follow in &mut follows {
        // So that the third transaction finds no room.
        follow.grouping.transactions = 1;
        follow.room = 1;
    }
    let mut root = turn.root(AtSource).await;
    root.run(
        "INSERT INTO one.t (v) VALUES ('a'); INSERT INTO one.t (v) VALUES ('b'); BEGIN; \
         INSERT INTO one.t (v) VALUES ('c'); INSERT INTO two.t (v) VALUES ('c'); COMMIT",
    )
    .await
    .unwrap();
    let mut blocker = turn.root(Target).await;
    blocker.run("LOCK TABLES one.t READ").await.unwrap();
    let tail = Tail::start(&source(&turn), follows.clone()).await.unwrap();
    let begun = Instant::now();
    while tail.sample().transactions < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", tail.sample());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(tail.sample().transactions, 2, "the third one is read and waits");
    let (ended, ()) = tokio::join!(tail.end(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        blocker.run("UNLOCK TABLES").await.unwrap();
    });
    ended.reading.unwrap();
    let tail = Tail::start(&source(&turn), follows).await.unwrap();
    for schema in ["one", "two"] {
        caught_up(&turn, &tail, schema).await;
        assert_equal(&turn, schema).await;
    }
}

#[tokio::test]
async fn a_schema_of_which_nothing_is_written_keeps_up_with_the_log() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let begin = follow(&turn, "one").await;
    let mut root = turn.root(AtSource).await;
    root.run("CREATE SCHEMA tenant; CREATE TABLE tenant.x (i INT)").await.unwrap();
    let tail = Tail::start(&source(&turn), vec![begin]).await.unwrap();
    let progress = tail.progress("one").unwrap();
    let mut marks = Vec::new();
    for _ in 0..3 {
        marks.push(position(&mut root).await);
        let begun = Instant::now();
        // Never quiet for as long as the reader would wait to say how far it is.
        while begun.elapsed() < Duration::from_millis(1200) {
            root.run("INSERT INTO tenant.x VALUES (1)").await.unwrap();
        }
    }
    let reached = progress.borrow().reached.clone();
    assert!(reached.covers(&marks[2]), "{reached} is behind {}", marks[2]);
    let text: String = turn.root(Target).await.one("SELECT gtid FROM segue.tail").await.unwrap();
    let kept: Position = text.parse().unwrap();
    assert!(kept.covers(&marks[1]), "{kept} is behind {}", marks[1]);
}

#[tokio::test]
async fn while_much_waits_many_transactions_share_a_commit() {
    let turn = Turn::take().await;
    both(&turn, TABLES).await;
    let mut follow = follow(&turn, "one").await;
    follow.grouping = Grouping { transactions: 50, wait: Duration::from_secs(5) };
    let mut root = turn.root(AtSource).await;
    for number in 0..400 {
        root.run(format!("INSERT INTO one.keyless VALUES ({number})")).await.unwrap();
    }
    let tail = Tail::start(&source(&turn), vec![follow]).await.unwrap();
    caught_up(&turn, &tail, "one").await;
    let progress = tail.sample().schemas["one"].progress.clone();
    assert_eq!(progress.transactions, 400);
    assert!((8..=60).contains(&progress.commits), "{progress:?}");
    assert_equal(&turn, "one").await;
    // Alone, a transaction waits for no other.
    let begun = Instant::now();
    root.run("INSERT INTO one.keyless VALUES (0)").await.unwrap();
    caught_up(&turn, &tail, "one").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
