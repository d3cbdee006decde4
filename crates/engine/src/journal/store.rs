//! Where records stand: one row each in SQLite, chained by checksums.

use super::head::{Head, HeadFile};
use crate::crashpoint;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use segue_model::event::{Event, Record};
use segue_model::{EffectLeft, Fault, FaultKind, UnitName};
use segue_port::Outcome;
use std::path::Path;
use std::time::Duration;

/// BLAKE3 over the former checksum and the record.
pub(super) type Checksum = [u8; 32];

const FILE: &str = "journal.db";
const VERSION: u32 = 2;
/// The head of a journal without records.
pub(super) const NO_RECORD: Head = Head { seq: 0, checksum: [0; 32] };

const CREATE: &str = "CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    boot_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    unit TEXT,
    payload TEXT NOT NULL,
    checksum BLOB NOT NULL
) STRICT";
const INSERT: &str = "INSERT INTO journal (seq, version, boot_ms, wall_ms, unit, payload, checksum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const SELECT: &str = "SELECT seq, version, boot_ms, wall_ms, unit, payload, checksum
    FROM journal WHERE seq > ?1 ORDER BY seq";
/// A journal of the first version has no such column.
const COLUMNS: &str =
    "SELECT count(*), coalesce(sum(name = 'unit'), 0) FROM pragma_table_info('journal')";

pub(super) struct Store {
    connection: Connection,
    head: Head,
    head_file: HeadFile,
}

impl Store {
    /// Opens the store in `dir`, creates it if needed, and feeds `take` its checked records,
    /// oldest first, from the one after `known` on.
    ///
    /// Records up to `known` are believed if the newest of them has the checksum that `known`
    /// names; [`Self::read_all`] checks them all.
    pub(super) fn open(
        dir: &Path,
        known: Head,
        take: impl FnMut(Record) -> Outcome<()>,
    ) -> Outcome<Self> {
        std::fs::create_dir_all(dir).map_err(|error| {
            let op = format!("create run directory `{}`", dir.display());
            Fault::new("SG0601", FaultKind::Denied, op, error)
        })?;
        let witness = Head::read(dir)?;
        let fault = |error| open_fault(dir, &error);
        let connection = Connection::open(dir.join(FILE)).map_err(fault)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
        // FULL syncs the write-ahead log at every commit; NORMAL would lose the last records
        // when the machine loses power.
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
            .map_err(fault)?;
        connection.execute_batch(CREATE).map_err(fault)?;
        let head = read(&connection, dir, known, take)?;
        if witness.is_none() && head.seq > 0 {
            let op = format!("open journal in `{}`", dir.display());
            return Err(Fault::new("SG0605", FaultKind::Invalid, op, "its head file is missing")
                .hint("restore `journal.head` beside `journal.db`; both belong together"));
        }
        check_tail(dir, &connection, witness, head.seq)?;
        let head_file = HeadFile::open(dir, head)?;
        Ok(Self { connection, head, head_file })
    }

    /// Feeds `take` the checked records in `dir`, oldest first, without changing anything.
    pub(super) fn read_all(dir: &Path, take: impl FnMut(Record) -> Outcome<()>) -> Outcome<()> {
        // Before the records: a writer may append in between, and more is no loss.
        let witness = Head::read(dir)?;
        let connection = read_only(dir)?;
        let head = read(&connection, dir, NO_RECORD, take)?;
        check_tail(dir, &connection, witness, head.seq)
    }

    /// Says whether the journal in `dir` holds the record that `head` names.
    pub(super) fn holds(dir: &Path, head: Head) -> bool {
        let stored = read_only(dir).ok().and_then(|connection| checksum_of(&connection, head.seq));
        stored.is_some_and(|stored| stored == head.checksum)
    }

    /// Returns number and checksum of the newest record.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Moves everything into `journal.db` itself, and closes it. A reader that comes last
    /// cannot do that: it may not write.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        self.connection.close().map_err(|(_, error)| error)
    }

    /// Writes records durably, all of them or none.
    ///
    /// `Busy` means that nothing was written and a later try may succeed (no space); after
    /// any other fault the content is uncertain.
    pub(super) fn append(&mut self, records: &[Record]) -> Outcome<()> {
        let Some(last) = records.last() else { return Ok(()) };
        if crashpoint::is_full() {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            return Err(append_fault(last, &rusqlite::Error::SqliteFailure(full, None)));
        }
        let mut head = self.head;
        let transaction =
            self.connection.unchecked_transaction().map_err(|error| append_fault(last, &error))?;
        for record in records {
            let row = Row::of(record)?;
            head = Head { seq: row.seq, checksum: row.checksum(&head.checksum) };
            transaction
                .prepare_cached(INSERT)
                .and_then(|mut insert| {
                    insert.execute(params![
                        row.seq as i64,
                        row.version,
                        row.boot_ms as i64,
                        row.wall_ms as i64,
                        row.unit,
                        row.payload,
                        head.checksum.as_slice(),
                    ])
                })
                .map_err(|error| append_fault(record, &error))?;
        }
        crashpoint::hit("journal.written", last.event.name());
        transaction.commit().map_err(|error| append_fault(last, &error))?;
        crashpoint::hit("journal.committed", last.event.name());
        self.head = head;
        self.head_file.write(head).map_err(|error| {
            Fault::new("SG0608", FaultKind::Denied, "write `journal.head`", error)
                .leaving(EffectLeft::Done)
                .hint("check the disk of the run directory, then start Segue again")
        })
    }
}

fn read_only(dir: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fault = |error| open_fault(dir, &error);
    let connection = Connection::open_with_flags(dir.join(FILE), flags).map_err(fault)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
    Ok(connection)
}

struct Row {
    seq: u64,
    version: u32,
    boot_ms: u64,
    wall_ms: u64,
    unit: Option<String>,
    payload: String,
}

impl Row {
    fn of(record: &Record) -> Outcome<Self> {
        let payload = serde_json::to_string(&record.event).map_err(|error| {
            let op = format!("encode `{}`", record.event.name());
            Fault::new("SG0607", FaultKind::Bug, op, error)
        })?;
        Ok(Self {
            seq: record.seq,
            version: VERSION,
            boot_ms: record.boot_ms,
            wall_ms: record.at_ms,
            unit: record.unit.as_ref().map(|unit| unit.0.clone()),
            payload,
        })
    }

    fn checksum(&self, former: &Checksum) -> Checksum {
        let mut hasher = blake3::Hasher::new();
        hasher.update(former);
        hasher.update(&self.seq.to_le_bytes());
        hasher.update(&self.version.to_le_bytes());
        hasher.update(&self.boot_ms.to_le_bytes());
        hasher.update(&self.wall_ms.to_le_bytes());
        // With its length, so that no byte can move between unit and payload unnoticed.
        let unit = self.unit.as_deref().unwrap_or_default();
        let length = self.unit.as_ref().map_or(0, |unit| unit.len() as u64 + 1);
        hasher.update(&length.to_le_bytes());
        hasher.update(unit.as_bytes());
        hasher.update(self.payload.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// Reads and checks the rows after `known`; returns the head they end with.
fn read(
    connection: &Connection,
    dir: &Path,
    known: Head,
    mut take: impl FnMut(Record) -> Outcome<()>,
) -> Outcome<Head> {
    let unreadable = |error: rusqlite::Error| damaged(dir, 0, &error);
    let (columns, unit): (u32, u32) = connection
        .query_row(COLUMNS, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(unreadable)?;
    if columns == 0 {
        return Err(damaged(dir, 0, &"it has no table of records"));
    }
    if unit == 0 {
        let op = format!("read journal in `{}`", dir.display());
        let cause = format!("it is of version 1, this program knows version {VERSION}");
        return Err(Fault::new("SG0603", FaultKind::Unsupported, op, cause)
            .hint("use the version of Segue that wrote the journal"));
    }
    let mut select = connection.prepare(SELECT).map_err(unreadable)?;
    let rows = select
        .query_map([known.seq as i64], |row| {
            let integer = |at: usize| row.get::<_, i64>(at).map(|value| value as u64);
            let found = Row {
                seq: integer(0)?,
                version: row.get(1)?,
                boot_ms: integer(2)?,
                wall_ms: integer(3)?,
                unit: row.get(4)?,
                payload: row.get(5)?,
            };
            Ok((found, row.get::<_, Vec<u8>>(6)?))
        })
        .map_err(unreadable)?;
    let mut head = known;
    for row in rows {
        let (row, stored) = row.map_err(|error| damaged(dir, head.seq + 1, &error))?;
        let checksum = row.checksum(&head.checksum);
        let (seq, matches) = (row.seq, stored == checksum);
        take(check(dir, row, head, matches)?)?;
        head = Head { seq, checksum };
    }
    Ok(head)
}

fn checksum_of(connection: &Connection, seq: u64) -> Option<Checksum> {
    let stored: Vec<u8> = connection
        .query_row("SELECT checksum FROM journal WHERE seq = ?1", [seq as i64], |row| row.get(0))
        .ok()?;
    stored.try_into().ok()
}

fn check(dir: &Path, row: Row, head: Head, matches: bool) -> Outcome<Record> {
    let op = format!("read journal in `{}`", dir.display());
    if row.seq != head.seq + 1 {
        let cause = format!("record {} follows record {}", row.seq, head.seq);
        return Err(Fault::new("SG0604", FaultKind::Invalid, op, cause)
            .hint("records are missing: restore the run directory from a copy"));
    }
    if row.version != VERSION {
        let cause = format!(
            "record {} has version {}, this program knows version {VERSION}",
            row.seq, row.version
        );
        return Err(Fault::new("SG0603", FaultKind::Unsupported, op, cause)
            .hint("use the version of Segue that wrote the journal"));
    }
    if !matches {
        return Err(damaged(dir, row.seq, &"its checksum does not match"));
    }
    let event: Event = serde_json::from_str(&row.payload).map_err(|error| {
        let cause = format!("record {} is not understood: {error}", row.seq);
        Fault::new("SG0603", FaultKind::Unsupported, op, cause)
            .hint("use the version of Segue that wrote the journal")
    })?;
    let unit = row.unit.map(UnitName);
    Ok(Record { seq: row.seq, at_ms: row.wall_ms, boot_ms: row.boot_ms, unit, event })
}

/// Refuses a journal that ends before the head file says.
fn check_tail(
    dir: &Path,
    connection: &Connection,
    witness: Option<Head>,
    newest: u64,
) -> Outcome<()> {
    let Some(witness) = witness.filter(|witness| witness.seq > 0) else { return Ok(()) };
    let op = format!("read journal in `{}`", dir.display());
    let hint = "the storage lost acknowledged records: restore the run directory from a copy, \
                or go by the by-hand sheet of the plan";
    if newest < witness.seq {
        let cause = format!("it ends at record {newest}, but {} were written", witness.seq);
        return Err(Fault::new("SG0605", FaultKind::Invalid, op, cause).hint(hint));
    }
    let Some(stored) = checksum_of(connection, witness.seq) else {
        return Err(damaged(dir, witness.seq, &"it cannot be read"));
    };
    if stored != witness.checksum {
        let cause = format!("record {} is not the one that was written", witness.seq);
        return Err(Fault::new("SG0605", FaultKind::Invalid, op, cause).hint(hint));
    }
    Ok(())
}

fn damaged(dir: &Path, seq: u64, cause: &dyn std::fmt::Display) -> Fault {
    let op = format!("read record {seq} of the journal in `{}`", dir.display());
    Fault::new("SG0602", FaultKind::Invalid, op, cause)
        .hint("the journal is damaged: restore the run directory from a copy")
}

fn open_fault(dir: &Path, error: &rusqlite::Error) -> Fault {
    if matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    ) {
        return damaged(dir, 0, error);
    }
    let op = format!("open journal in `{}`", dir.display());
    Fault::new("SG0601", FaultKind::Denied, op, error)
        .hint("check that the run directory exists and is yours to write")
}

fn append_fault(record: &Record, error: &rusqlite::Error) -> Fault {
    let op = format!("append record {} `{}`", record.seq, record.event.name());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => {
            Fault::new("SG0608", FaultKind::Busy, op, error)
                .hint("make space on the disk of the run directory")
        }
        Some(ErrorCode::ConstraintViolation) => {
            Fault::new("SG0609", FaultKind::LeaseLost, op, "another controller wrote this journal")
                .hint("let one controller run; this one has stopped")
        }
        _ => Fault::new("SG0608", FaultKind::Denied, op, error)
            .leaving(EffectLeft::Maybe)
            .hint("check the disk of the run directory, then start Segue again"),
    }
}
