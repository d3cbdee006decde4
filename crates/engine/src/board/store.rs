//! Roll-ups of one second in `samples.db`: what the report is made from.

use rusqlite::{Connection, OpenFlags, params};
use segue_model::{Fault, FaultKind, UnitName, What};
use segue_port::Outcome;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use tokio::sync::oneshot;

const FILE: &str = "samples.db";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS samples (
    at_ms INTEGER NOT NULL,
    boot_ms INTEGER NOT NULL,
    unit TEXT NOT NULL,
    what TEXT NOT NULL,
    origin TEXT NOT NULL,
    min REAL NOT NULL,
    max REAL NOT NULL,
    avg REAL NOT NULL,
    samples INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS samples_by_time ON samples (what, at_ms);";
const INSERT: &str = "INSERT INTO samples
    (at_ms, boot_ms, unit, what, origin, min, max, avg, samples, count)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const SELECT: &str = "SELECT at_ms, boot_ms, what, origin, min, max, avg, samples, count, unit
    FROM samples WHERE at_ms >= ?1 AND at_ms < ?2 AND (?3 IS NULL OR what = ?3)
    ORDER BY at_ms, unit, what, origin";

/// One second of one measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct RollUp {
    /// The unit it is about.
    pub unit: UnitName,
    /// What was measured, in the unit its name says.
    pub what: What,
    /// Which sampler or object it comes from.
    pub from: String,
    /// Beginning of the second, wall clock, milliseconds since 1970.
    pub at_ms: u64,
    /// Beginning of the second, boot clock, milliseconds.
    pub boot_ms: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Mean of the samples.
    pub avg: f64,
    /// Number of samples.
    pub samples: u64,
    /// Observations behind them.
    pub count: u64,
}

/// Rows to write, and who waits for them.
pub(super) struct Batch {
    pub(super) rows: Vec<RollUp>,
    /// Told whether they were written.
    pub(super) written: Option<oneshot::Sender<bool>>,
}

/// What the thread is asked.
enum Request {
    Write(Batch),
    /// Close the file, and say so.
    Close(oneshot::Sender<()>),
}

/// The thread of `samples.db` in a run directory. Clones share it.
#[derive(Clone)]
pub struct SampleStore(mpsc::Sender<Request>);

impl SampleStore {
    /// Opens `samples.db` in `dir`, creates it if there is none.
    ///
    /// # Errors
    /// `SG0630` if it cannot be opened.
    pub fn open(dir: &Path) -> Outcome<Self> {
        let writer = Writer::open(dir)?;
        let (requests, inbox) = mpsc::channel();
        std::thread::Builder::new()
            .name("samples".into())
            .spawn(move || writer.serve(&inbox))
            .map_err(|error| {
                Fault::new("SG0630", FaultKind::Bug, "start the thread of `samples.db`", error)
            })?;
        Ok(Self(requests))
    }

    /// Closes the file: what was handed over before stands in it, and what comes later is
    /// lost. Every clone is closed with it.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.0.send(Request::Close(reply)).is_ok() {
            // A thread that ended by itself has closed the file as well.
            let _ = closed.await;
        }
    }

    /// Returns where samples of one unit are kept.
    pub fn of(&self, unit: &UnitName) -> UnitSamples {
        UnitSamples { store: self.clone(), unit: unit.clone() }
    }
}

/// Where the samples of one unit are kept.
#[derive(Clone)]
pub struct UnitSamples {
    store: SampleStore,
    /// The unit.
    pub(super) unit: UnitName,
}

impl UnitSamples {
    pub(super) fn send(&self, batch: Batch) -> bool {
        self.store.0.send(Request::Write(batch)).is_ok()
    }
}

struct Writer(Connection);

impl Writer {
    fn open(dir: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(dir).map_err(|error| fault(dir, &error))?;
        let connection = Connection::open(dir.join(FILE)).map_err(|error| fault(dir, &error))?;
        // NORMAL: a power loss may take the last seconds of figures, never the journal.
        connection
            .busy_timeout(Duration::from_secs(5))
            .and_then(|()| {
                connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
            })
            .and_then(|()| connection.execute_batch(CREATE))
            .map_err(|error| fault(dir, &error))?;
        Ok(Self(connection))
    }

    fn serve(mut self, inbox: &Receiver<Request>) {
        let mut closing = None;
        while closing.is_none()
            && let Ok(first) = inbox.recv()
        {
            // Boards hand over every second: what waits meanwhile shares a transaction.
            let mut batches: Vec<Batch> = Vec::new();
            for request in std::iter::once(first).chain(inbox.try_iter()) {
                match request {
                    Request::Write(batch) => batches.push(batch),
                    Request::Close(told) => {
                        closing = Some(told);
                        break;
                    }
                }
            }
            let result = self.write(&batches);
            if let Err(error) = &result {
                let lost: usize = batches.iter().map(|batch| batch.rows.len()).sum();
                tracing::error!(%error, lost, "roll-ups not written");
            }
            for written in batches.into_iter().filter_map(|batch| batch.written) {
                // Who asked may have gone.
                let _ = written.send(result.is_ok());
            }
        }
        let truncated = self.0.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        drop(self);
        if let Err(error) = truncated {
            tracing::warn!(%error, "`samples.db` is left with its log beside it");
        }
        if let Some(told) = closing {
            let _ = told.send(());
        }
    }

    fn write(&mut self, batches: &[Batch]) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            for row in batches.iter().flat_map(|batch| &batch.rows) {
                insert.execute(params![
                    row.at_ms as i64,
                    row.boot_ms as i64,
                    row.unit.as_str(),
                    encode(row.what),
                    row.from,
                    row.min,
                    row.max,
                    row.avg,
                    row.samples as i64,
                    row.count as i64,
                ])?;
            }
        }
        transaction.commit()
    }
}

/// Reads the roll-ups in `dir` that begin within `from_ms..to_ms` (wall clock), of one value
/// or of all; oldest first. Works while a board writes.
///
/// # Errors
/// `SG0630` if `samples.db` cannot be read.
pub fn samples(dir: &Path, what: Option<What>, from_ms: u64, to_ms: u64) -> Outcome<Vec<RollUp>> {
    let read = || -> rusqlite::Result<Vec<RollUp>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(dir.join(FILE), flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let mut select = connection.prepare(SELECT)?;
        let to_ms = i64::try_from(to_ms).unwrap_or(i64::MAX);
        let bounds = params![from_ms as i64, to_ms, what.map(encode)];
        let rows = select.query_map(bounds, |row| {
            let text: String = row.get(2)?;
            let what = serde_json::from_str(&text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(
                    2,
                    rusqlite::types::Type::Text,
                    Box::new(error),
                )
            })?;
            Ok(RollUp {
                what,
                from: row.get(3)?,
                at_ms: row.get::<_, i64>(0)? as u64,
                boot_ms: row.get::<_, i64>(1)? as u64,
                min: row.get(4)?,
                max: row.get(5)?,
                avg: row.get(6)?,
                samples: row.get::<_, i64>(7)? as u64,
                count: row.get::<_, i64>(8)? as u64,
                unit: UnitName(row.get(9)?),
            })
        })?;
        rows.collect()
    };
    read().map_err(|error| fault(dir, &error))
}

/// The value's name as JSON, so that it can be read back.
fn encode(what: What) -> String {
    serde_json::to_string(&what).unwrap_or_else(|_| what.to_string())
}

fn fault(dir: &Path, error: &dyn std::fmt::Display) -> Fault {
    let op = format!("use `{}`", dir.join(FILE).display());
    Fault::new("SG0630", FaultKind::Denied, op, error)
        .hint("check owner, rights and space of the run directory")
}
