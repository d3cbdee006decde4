//! Durable events a second: many units share their syncs; the peer syncs each row.

use crate::{course, told};
use rusqlite::{Connection, params};
use segue_engine::{Journal, SystemClock};
use segue_model::event::{Actor, Event, UnitEntry};
use segue_model::{Epoch, RunId, UnitName};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Units that append at the same time, each one event after the other.
const UNITS: usize = 200;
const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_millis(1500);

/// Measures both in turns and tells the time for an event: the middle round of each.
pub(crate) fn measure(folder: &Path) {
    let scratch = tempfile::tempdir_in(folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let dir = scratch.path().join(format!("ours-{round}"));
        ours.push(runtime.block_on(journal(&dir)));
        peer.push(sqlite(&scratch.path().join(format!("peer-{round}.db"))));
    }
    told("durable event, us", middle(ours));
    told("durable row of sqlite, us", middle(peer));
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Opens a journal with a run of so many units.
pub(crate) async fn begun(dir: &Path, units: usize) -> (Journal, Vec<UnitName>) {
    let journal = Journal::open(dir, Arc::new(SystemClock)).unwrap();
    let names: Vec<UnitName> = (0..units).map(|n| UnitName(format!("account-{n:05}"))).collect();
    let entry =
        |unit: &UnitName| UnitEntry { unit: unit.clone(), plan_hash: "0123".into(), wave: 1 };
    journal.append(Event::EpochTaken { epoch: Epoch(1), pid: 1 }).await.unwrap();
    let started = Event::RunStarted {
        run: RunId::from("run"),
        name: "accounts".into(),
        plan_hash: "4567".into(),
        units: names.iter().map(entry).collect(),
        by: Actor::Person("operator".into()),
    };
    journal.append(started).await.unwrap();
    (journal, names)
}

/// Returns the time for an event, microseconds; each was durable before its unit went on.
async fn journal(dir: &Path) -> f64 {
    let (journal, names) = begun(dir, UNITS).await;
    // More than a round can take.
    let events = Arc::new(course::of_unit(Epoch(1), 20_000));
    let (began, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for name in names {
        let (unit, count, events) = (journal.of(name), Arc::clone(&count), Arc::clone(&events));
        tasks.spawn(async move {
            for event in events.iter() {
                if began.elapsed() > ROUND {
                    return;
                }
                unit.append(event.clone()).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    began.elapsed().as_secs_f64() * 1e6 / count.load(Ordering::Relaxed) as f64
}

/// Returns the time for a row of the same kind, microseconds: one transaction each, under
/// the journal's settings, with nothing judged, folded or chained.
fn sqlite(path: &Path) -> f64 {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;").unwrap();
    connection
        .execute_batch(
            "CREATE TABLE journal (seq INTEGER PRIMARY KEY, version INTEGER NOT NULL,
             boot_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL, unit TEXT,
             payload TEXT NOT NULL, checksum BLOB NOT NULL) STRICT",
        )
        .unwrap();
    let mut insert = connection
        .prepare("INSERT INTO journal VALUES (?1, 2, ?1, ?1, 'account-00001', ?2, ?3)")
        .unwrap();
    let events = course::of_unit(Epoch(1), 1000);
    let (began, mut count) = (Instant::now(), 0_i64);
    while began.elapsed() < ROUND {
        let payload = serde_json::to_string(&events[count as usize % events.len()]).unwrap();
        count += 1;
        insert.execute(params![count, payload, [7_u8; 32].as_slice()]).unwrap();
    }
    began.elapsed().as_secs_f64() * 1e6 / count as f64
}
