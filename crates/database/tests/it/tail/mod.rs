//! Following a source by its log, with strangers' schemas beside the followed ones.

mod carries;
mod defines;
mod refuses;
mod relay;
mod resumes;
mod shares;

use crate::servers::Turn;
use secrecy::SecretString;
use segue_database::Position;
use segue_database::tail::{Begin, Ended, Follow, Grouping, Source, Tail};
use segue_doors::sql::{Endpoint, Row, Session};
use segue_model::Fault;
use segue_model::Side::{self, Source as AtSource, Target};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Returns root's login at an address.
fn root_at(address: SocketAddr) -> Endpoint {
    Endpoint { address, user: "root".into(), password: SecretString::from(String::new()) }
}

fn source_at(address: SocketAddr) -> Source {
    Source {
        name: "source".into(),
        endpoint: root_at(address),
        server_id: 7001,
        heartbeat: Duration::from_millis(500),
        own_only: false,
    }
}

fn source(turn: &Turn) -> Source {
    source_at(turn.pair.servers.source.address)
}

/// Returns how a schema is followed that has what the source has now.
async fn follow(turn: &Turn, schema: &str) -> Follow {
    let mut root = turn.root(AtSource).await;
    Follow {
        schema: schema.into(),
        beside: Vec::new(),
        target: root_at(turn.pair.servers.target.address),
        begin: Begin::After(position(&mut root).await),
        grouping: Grouping::default(),
        room: 4 * 1024 * 1024,
    }
}

async fn position(session: &mut Session) -> Position {
    let text: String = session.one("SELECT @@GLOBAL.gtid_binlog_pos").await.unwrap();
    text.parse().unwrap()
}

async fn run_all(session: &mut Session, statements: &str) {
    for statement in statements.split(";\n").filter(|text| !text.trim().is_empty()) {
        session.run(statement).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
    }
}

/// Runs statements at both servers, at the target without its log.
async fn both(turn: &Turn, statements: &str) {
    for side in [AtSource, Target] {
        let mut root = turn.root(side).await;
        if side == Target {
            root.run("SET sql_log_bin = 0").await.unwrap();
        }
        run_all(&mut root, statements).await;
        root.close().await;
    }
}

/// Waits until a schema has everything that the source has now.
async fn caught_up(turn: &Turn, tail: &Tail, schema: &str) {
    let mut root = turn.root(AtSource).await;
    let wanted = position(&mut root).await;
    let mut progress = tail.progress(schema).unwrap();
    let reached = progress.wait_for(|progress| progress.reached.covers(&wanted));
    match tokio::time::timeout(Duration::from_secs(30), reached).await {
        Ok(Ok(_)) => {}
        other => panic!("{schema} at {wanted}: late {}, {:?}", other.is_err(), tail.sample()),
    }
}

/// Returns the sum of every table of a schema.
async fn sums(turn: &Turn, side: Side, schema: &str) -> Vec<(String, Option<String>)> {
    let mut root = turn.root(side).await;
    let tables: Vec<String> = root
        .rows(format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{schema}' \
             AND TABLE_TYPE <> 'VIEW' ORDER BY 1"
        ))
        .await
        .unwrap();
    let mut sums = Vec::new();
    for table in tables {
        let row: Row = root.one(format!("CHECKSUM TABLE `{schema}`.`{table}`")).await.unwrap();
        sums.push((table, row.get::<Option<String>, _>(1).unwrap()));
    }
    root.close().await;
    sums
}

async fn assert_equal(turn: &Turn, schema: &str) {
    let (source, target) = (sums(turn, AtSource, schema).await, sums(turn, Target, schema).await);
    assert!(!source.is_empty(), "{schema} has tables");
    assert_eq!(source, target, "{schema}");
}

/// Returns how many transactions the checkpoint counts.
async fn counted(turn: &Turn, schema: &str) -> u64 {
    let mut root = turn.root(Target).await;
    root.one(format!("SELECT transactions FROM segue.tail WHERE followed = '{schema}'"))
        .await
        .unwrap()
}

/// Waits until a tail has ended by itself.
async fn ended(tail: Tail) -> Ended {
    tokio::time::timeout(Duration::from_secs(20), tail.ended()).await.expect("it should have ended")
}

/// Returns why a schema could not go on.
async fn fault_of(tail: &Tail, schema: &str) {
    let begun = Instant::now();
    while !tail.sample().schemas[schema].ended {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", tail.sample());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn code<T: std::fmt::Debug>(outcome: &Result<T, Fault>) -> &str {
    &outcome.as_ref().unwrap_err().code
}
