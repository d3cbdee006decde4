//! The thread that owns the store.

use super::head::Head;
use super::store::Store;
use super::{Published, Request, snapshot};
use crate::crashpoint;
use segue_model::event::Record;
use segue_model::state::RunState;
use segue_model::{Fault, FaultKind};
use segue_port::{Clock, Outcome};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Most records that become durable with one sync.
const GROUP_MOST: usize = 256;
/// A snapshot is written after so many records.
const SNAPSHOT_EVERY: u64 = 20_000;
/// At a clean end it is written if at least so many were written since the last one.
const SNAPSHOT_AT_END: u64 = 1_000;

type Reply = oneshot::Sender<Outcome<Option<Record>>>;

pub(super) struct Writer {
    dir: PathBuf,
    store: Store,
    /// The state after every record that was made, durable or about to be.
    state: RunState,
    clock: Arc<dyn Clock>,
    published: Published,
    records: broadcast::Sender<Record>,
    /// Set once the store's content is no longer certain; nothing is appended after it.
    refused: Option<Fault>,
    tell_refused: Option<watch::Sender<Option<Fault>>>,
    snapshot_at: u64,
    snapshot: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(super) fn new(
        dir: &Path,
        store: Store,
        state: RunState,
        clock: Arc<dyn Clock>,
        published: Published,
        records: broadcast::Sender<Record>,
        known: Head,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            store,
            state,
            clock,
            published,
            records,
            refused: None,
            tell_refused: None,
            snapshot_at: known.seq,
            snapshot: None,
        }
    }

    /// Tells `whom` once nothing is appended any more.
    pub(super) fn telling(mut self, whom: watch::Sender<Option<Fault>>) -> Self {
        self.tell_refused = Some(whom);
        self
    }

    pub(super) fn serve(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut group = Vec::new();
        let mut closing = None;
        while closing.is_none()
            && let Some(first) = inbox.blocking_recv()
        {
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Append { make, reply } => group.push((make, reply)),
                    Request::Close(told) => closing = Some(told),
                }
                let more = closing.is_none() && group.len() < GROUP_MOST;
                next = if more { inbox.try_recv().ok() } else { None };
            }
            self.commit(group.drain(..));
            if self.state.last_seq - self.snapshot_at >= SNAPSHOT_EVERY {
                self.write_snapshot();
            }
        }
        self.end();
        if let Some(told) = closing {
            // Who asked may have gone.
            let _ = told.send(());
        }
    }

    /// Writes the last snapshot and closes the store.
    fn end(mut self) {
        if self.state.last_seq - self.snapshot_at >= SNAPSHOT_AT_END {
            self.write_snapshot();
        }
        if let Some(snapshot) = self.snapshot.take() {
            // It only saves time at the next start.
            let _ = snapshot.join();
        }
        if let Err(error) = self.store.close() {
            // The records are durable: the next controller reads them from the log beside it.
            tracing::warn!(%error, "the journal is left with its log beside it");
        }
    }

    /// Makes, writes and publishes the records of a group; answers every request.
    fn commit(&mut self, group: impl Iterator<Item = (super::Make, Reply)>) {
        let mut made: Vec<(Record, Reply)> = Vec::new();
        for (make, reply) in group {
            match self.make(make) {
                Ok(Some(record)) => made.push((record, reply)),
                // Who asked may have gone.
                other => drop(reply.send(other)),
            }
        }
        if made.is_empty() {
            return;
        }
        let (records, replies): (Vec<Record>, Vec<Reply>) = made.into_iter().unzip();
        for record in &records {
            crashpoint::hit("journal.before", record.event.name());
        }
        if let Err(fault) = self.store.append(&records) {
            if fault.kind != FaultKind::Busy {
                self.refused = Some(fault.clone());
                if let Some(whom) = &self.tell_refused {
                    whom.send_replace(Some(fault.clone()));
                }
            }
            self.state = self.published.read().unwrap_or_else(PoisonError::into_inner).clone();
            for reply in replies {
                drop(reply.send(Err(fault.clone())));
            }
            return;
        }
        for record in &records {
            crashpoint::hit("journal.durable", record.event.name());
        }
        self.publish(&records);
        for (record, reply) in records.into_iter().zip(replies) {
            drop(reply.send(Ok(Some(record))));
        }
    }

    fn make(&mut self, make: super::Make) -> Outcome<Option<Record>> {
        if let Some(fault) = &self.refused {
            return Err(fault.clone());
        }
        let Some((unit, event)) = make(&self.state) else { return Ok(None) };
        let record = Record {
            seq: self.state.last_seq + 1,
            at_ms: self.clock.wall_ms(),
            boot_ms: self.clock.boot_ms(),
            unit,
            event,
        };
        self.state.take(&record).map_err(|illegal| {
            Fault::new("SG0607", FaultKind::Bug, "append to the journal", illegal)
        })?;
        Ok(Some(record))
    }

    fn publish(&self, records: &[Record]) {
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            published.follow(record, &self.state);
            // Nobody listening is fine.
            if self.records.receiver_count() > 0 {
                let _ = self.records.send(record.clone());
            }
        }
    }

    /// Writes a snapshot beside the journal without keeping appends waiting.
    fn write_snapshot(&mut self) {
        if self.snapshot.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.snapshot_at = self.state.last_seq;
        let (dir, head, state) = (self.dir.clone(), self.store.head(), self.state.clone());
        self.snapshot = std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || {
                if let Err(error) = snapshot::store(&dir, head, &state) {
                    tracing::warn!(%error, "no snapshot of the journal; the next start takes longer");
                }
            })
            .ok();
    }
}
