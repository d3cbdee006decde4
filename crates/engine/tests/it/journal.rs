//! The journal: durable, in order, and refused when its storage lied.

use segue_engine::{Journal, SystemClock};
use segue_model::event::{Actor, Event, Phase, UnitEntry};
use segue_model::{Epoch, FaultKind, RunId, UnitName};
use std::path::Path;
use std::sync::Arc;

fn open(dir: &Path) -> Result<Journal, segue_model::Fault> {
    Journal::open(dir, Arc::new(SystemClock))
}

fn shop() -> UnitName {
    UnitName::from("shop")
}

fn started() -> Event {
    Event::RunStarted {
        run: RunId::from("run"),
        name: "plan of 25 shops".into(),
        plan_hash: "hash".into(),
        units: vec![UnitEntry { unit: shop(), plan_hash: "own".into(), wave: 1 }],
        by: Actor::Person("admin".into()),
    }
}

fn noted(text: &str) -> Event {
    Event::Noted { text: text.into() }
}

/// Copies the files of a journal as a crash would leave them: the writer still has them open.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal", "journal.head"] {
        std::fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

async fn with_notes(count: usize) -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path()).unwrap();
    journal.append(started()).await.unwrap();
    for n in 1..count {
        journal.append(noted(&format!("note number {n}"))).await.unwrap();
    }
    (dir, journal)
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_appended() {
    let (dir, journal) = with_notes(20).await;
    let copy = copy_of(dir.path());
    let read = Journal::read_all(copy.path()).unwrap();
    assert_eq!(read.len(), 20);
    assert_eq!(Journal::read_all(dir.path()).unwrap(), read, "while the writer has it open");
    let again = open(copy.path()).unwrap();
    assert_eq!(again.state(), journal.state());
    let record = again.append(noted("after the crash")).await.unwrap();
    assert_eq!(record.seq, 21);
}

#[tokio::test]
async fn an_illegal_event_is_refused_and_not_written() {
    let (dir, journal) = with_notes(1).await;
    let fault = journal.append(started()).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0607", FaultKind::Bug));
    let fault = journal.of(shop()).append(Event::AttemptCompleted).await.unwrap_err();
    assert_eq!(fault.code, "SG0607");
    assert_eq!(Journal::read_all(dir.path()).unwrap().len(), 1);
    journal.append(noted("it goes on")).await.unwrap();
}

#[tokio::test]
async fn of_two_that_exclude_each_other_the_first_wins() {
    let (_dir, journal) = with_notes(1).await;
    let unit = journal.of(shop());
    let (one, two) = tokio::join!(
        unit.begin(Phase::Sync, Actor::Controller, "one".into()),
        unit.begin(Phase::Sync, Actor::Controller, "two".into()),
    );
    assert_eq!([one.unwrap(), two.unwrap()].iter().flatten().count(), 1);
    let seen = unit.append_if(noted("never"), |state| state.open.is_none()).await.unwrap();
    assert_eq!(seen, None);
}

#[tokio::test]
async fn a_log_cut_anywhere_is_refused() {
    let (dir, _journal) = with_notes(12).await;
    let whole = std::fs::metadata(dir.path().join("journal.db-wal")).unwrap().len();
    for part in 0..24 {
        let copy = copy_of(dir.path());
        let wal = std::fs::OpenOptions::new()
            .write(true)
            .open(copy.path().join("journal.db-wal"))
            .unwrap();
        wal.set_len(whole * part / 24).unwrap();
        let fault = Journal::read_all(copy.path()).unwrap_err();
        assert!(["SG0602", "SG0605"].contains(&fault.code.as_str()), "read {part}: {fault}");
        let fault = open(copy.path()).err().unwrap();
        assert!(["SG0602", "SG0605"].contains(&fault.code.as_str()), "open {part}: {fault}");
        assert!(!fault.hint.is_empty());
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_record_is_refused() {
    let (dir, _journal) = with_notes(12).await;
    for file in ["journal.db-wal", "journal.head"] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        let notes: Vec<usize> = match file {
            "journal.head" => (0..bytes.len()).step_by(7).collect(),
            _ => bytes
                .windows(11)
                .enumerate()
                .filter(|(_, w)| w == b"note number")
                .map(|(at, _)| at)
                .collect(),
        };
        assert!(notes.len() > 5);
        for at in notes {
            let copy = copy_of(dir.path());
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            std::fs::write(copy.path().join(file), damaged).unwrap();
            // A log written over by a later copy of the same page is rightly not missed.
            let fault = match open(copy.path()) {
                Ok(journal) => {
                    assert_eq!(journal.state().last_seq, 12, "{file} at {at}");
                    continue;
                }
                Err(fault) => fault,
            };
            assert!(["SG0602", "SG0605"].contains(&fault.code.as_str()), "{file} at {at}: {fault}");
        }
    }
}

/// Changes the database itself, as a person or a failing disk might.
fn edited(dir: &Path, sql: &str) -> segue_model::Fault {
    let copy = copy_of(dir);
    let connection = rusqlite::Connection::open(copy.path().join("journal.db")).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let fault = open(copy.path()).err().unwrap();
    assert_eq!(Journal::read_all(copy.path()).unwrap_err().code, fault.code);
    fault
}

#[tokio::test]
async fn an_edited_journal_is_refused_with_what_is_wrong() {
    let (dir, _journal) = with_notes(12).await;
    let fault =
        edited(dir.path(), "UPDATE journal SET payload = replace(payload, '5', '6') WHERE seq = 6");
    assert_eq!(fault.code, "SG0602");
    assert!(fault.op.contains("record 6"), "{fault}");
    let fault = edited(dir.path(), "UPDATE journal SET wall_ms = wall_ms + 1 WHERE seq = 3");
    assert_eq!(fault.code, "SG0602");
    let fault = edited(dir.path(), "DELETE FROM journal WHERE seq = 5");
    assert_eq!(fault.code, "SG0604");
    let fault = edited(dir.path(), "UPDATE journal SET version = 3 WHERE seq = 12");
    assert_eq!(fault.code, "SG0603");
    let fault = edited(dir.path(), "DELETE FROM journal WHERE seq = 12");
    assert_eq!(fault.code, "SG0605");
    let fault = edited(dir.path(), "DELETE FROM journal");
    assert_eq!(fault.code, "SG0605");
}

#[tokio::test]
async fn a_journal_without_its_head_is_refused() {
    let (dir, _journal) = with_notes(3).await;
    let copy = copy_of(dir.path());
    std::fs::remove_file(copy.path().join("journal.head")).unwrap();
    assert_eq!(open(copy.path()).err().unwrap().code, "SG0605");
}

#[tokio::test]
async fn a_second_writer_is_noticed_and_stopped() {
    let (dir, journal) = with_notes(2).await;
    let other = open(dir.path()).unwrap();
    other.append(Event::EpochTaken { epoch: Epoch(1), pid: 1 }).await.unwrap();
    let fault = journal.append(noted("stale")).await.unwrap_err();
    assert_eq!((fault.code.as_str(), fault.kind), ("SG0609", FaultKind::LeaseLost));
    assert_eq!(journal.append(noted("still stale")).await.unwrap_err().code, "SG0609");
    assert_eq!(Journal::read_all(dir.path()).unwrap().len(), 3);
}

#[tokio::test]
async fn records_reach_who_listens_in_order() {
    let (_dir, journal) = with_notes(1).await;
    let mut records = journal.subscribe();
    for n in 2..10 {
        journal.append(noted("more")).await.unwrap();
        assert_eq!(records.recv().await.unwrap().seq, n);
    }
}
