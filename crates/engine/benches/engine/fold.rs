//! A journal of a million records: folded whole, and resumed from its snapshot.

use crate::{course, durable, told};
use segue_engine::{Journal, SystemClock};
use segue_model::Epoch;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Records of each unit.
const EACH: usize = 500;

/// Writes the journal as a controller would, then reads it in both ways; the states must be
/// equal.
pub(crate) fn measure(folder: &Path, records: usize) {
    let scratch = tempfile::tempdir_in(folder).unwrap();
    let dir = scratch.path();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(write(dir, records));
    drop(runtime);
    // The writer ends with its last handle, and writes what it knows.
    wait_for_snapshot(dir);
    let began = Instant::now();
    let whole = Journal::fold_all(dir).unwrap();
    told("full fold, s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let resumed = Journal::open(dir, Arc::new(SystemClock)).unwrap();
    told("resume from the snapshot, s", began.elapsed().as_secs_f64());
    assert!(resumed.with(|state| *state == whole), "the snapshot is not what the journal says");
    told("records", whole.last_seq as f64);
    let snapshot = std::fs::metadata(dir.join("journal.snapshot")).unwrap();
    told("snapshot, MB", snapshot.len() as f64 / 1e6);
}

async fn write(dir: &Path, records: usize) {
    let (journal, names) = durable::begun(dir, records.div_ceil(EACH)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for name in names {
        let unit = journal.of(name);
        tasks.spawn(async move {
            for event in course::of_unit(Epoch(1), EACH) {
                unit.append(event).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Waits until the snapshot of the clean end is there: nothing writes any more.
fn wait_for_snapshot(dir: &Path) {
    let (began, mut seen) = (Instant::now(), (None, Instant::now()));
    while began.elapsed().as_secs() < 60 {
        let at = std::fs::metadata(dir.join("journal.snapshot")).and_then(|m| m.modified()).ok();
        if at != seen.0 {
            seen = (at, Instant::now());
        }
        if seen.0.is_some() && seen.1.elapsed().as_secs() >= 5 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
