//! A journal of a size: what its snapshot gives is what all of its records give.

#[path = "../../benches/engine/course.rs"]
mod course;

use segue_engine::{Journal, SystemClock};
use segue_model::event::{Actor, Event, UnitEntry};
use segue_model::{Epoch, RunId, UnitName};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const UNITS: usize = 40;
const EACH: usize = 520;

/// Writes more records than a snapshot waits for, and some after it.
async fn write(dir: &Path) {
    let journal = Journal::open(dir, Arc::new(SystemClock)).unwrap();
    let names: Vec<UnitName> = (0..UNITS).map(|n| UnitName(format!("account-{n}"))).collect();
    let entry =
        |unit: &UnitName| UnitEntry { unit: unit.clone(), plan_hash: "hash".into(), wave: 1 };
    journal.append(Event::EpochTaken { epoch: Epoch(1), pid: 1 }).await.unwrap();
    let started = Event::RunStarted {
        run: RunId::from("run"),
        name: "accounts".into(),
        plan_hash: "hash".into(),
        units: names.iter().map(entry).collect(),
        by: Actor::Person("operator".into()),
    };
    journal.append(started).await.unwrap();
    let all = names.into_iter().map(|name| {
        let unit = journal.of(name);
        async move {
            for event in course::of_unit(Epoch(1), EACH) {
                unit.append(event).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn a_snapshot_gives_what_twenty_thousand_records_give() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    write(dir.path()).await;
    let snapshot = dir.path().join("journal.snapshot");
    while !snapshot.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "no snapshot was written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let whole = Journal::fold_all(dir.path()).unwrap();
    assert_eq!(whole.last_seq, (UNITS * EACH) as u64 + 2);
    let resumed = Journal::open(dir.path(), Arc::new(SystemClock)).unwrap();
    assert!(resumed.with(|state| *state == whole));
    // A snapshot of another journal is not believed.
    let other = tempfile::tempdir().unwrap();
    write(other.path()).await;
    std::fs::copy(&snapshot, other.path().join("journal.snapshot")).unwrap();
    let folded = Journal::open(other.path(), Arc::new(SystemClock)).unwrap();
    assert!(folded.with(|state| *state == Journal::fold_all(other.path()).unwrap()));
    assert!(folded.with(|state| *state != whole));
}
