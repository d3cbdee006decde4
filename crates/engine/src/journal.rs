//! The journal: append-only, durable before anything happens, checked when read.
//!
//! One thread owns the store. A request brings a function of the current state, so that
//! deciding and appending are one act: of two that exclude each other the first wins.
//!
//! **Invariants.** A record is on disk when `append` returns. A record that the state does
//! not allow is never written. Each record's checksum covers the one before it; the head
//! file names the newest, so that a lost tail is found too.

mod head;
mod store;

use crate::crashpoint;
use segue_model::event::{Actor, Attempt, Event, Phase, Record};
use segue_model::state::RunState;
use segue_model::{Fault, FaultKind};
use segue_port::{Clock, Outcome};
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

type Make = Box<dyn FnOnce(&RunState) -> Option<Event> + Send>;

struct Request {
    make: Make,
    reply: oneshot::Sender<Outcome<Option<Record>>>,
}

/// A handle to the journal of one run directory. Clones share the writer.
#[derive(Clone)]
pub struct Journal {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<Arc<RunState>>,
    records: broadcast::Sender<Record>,
}

impl Journal {
    /// Opens the journal in `dir`, creates it if there is none, and folds it.
    ///
    /// The caller holds the [`crate::Lease`] of `dir`: two writers would be noticed at the
    /// next append, not prevented.
    /// Blocks while it reads.
    ///
    /// # Errors
    /// `SG0601` if the files cannot be opened, `SG0602` to `SG0606` if what they hold is
    /// damaged, of another version, has a gap, lost its tail or is not legal.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Outcome<Self> {
        let (store, records) = Store::open(dir)?;
        let state = fold(&records)?;
        let (requests, inbox) = mpsc::channel(64);
        let (published, state_reader) = watch::channel(Arc::new(state.clone()));
        let (sender, _) = broadcast::channel(4096);
        let writer =
            Writer { store, state, clock, published, records: sender.clone(), refused: None };
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.serve(inbox))
            .map_err(|error| {
                Fault::new("SG0601", FaultKind::Bug, "start the journal's thread", error)
            })?;
        Ok(Self { requests, state: state_reader, records: sender })
    }

    /// Reads every record of the journal in `dir`, oldest first; changes nothing. Works while
    /// a controller writes and after it died.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read_all(dir: &Path) -> Outcome<Vec<Record>> {
        Store::read_all(dir)
    }

    /// Appends an event; it is durable when this returns.
    ///
    /// # Errors
    /// `SG0607` if the state does not allow it (a mistake of the caller; nothing is
    /// written), `SG0608` if it could not be written, `SG0609` if another controller wrote.
    pub async fn append(&self, event: Event) -> Outcome<Record> {
        let record = self.request(Box::new(move |_| Some(event))).await?;
        record.ok_or_else(closed)
    }

    /// Appends an event if `legal` holds in the state right before it; `None` if not.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn append_if(
        &self,
        event: Event,
        legal: impl FnOnce(&RunState) -> bool + Send + 'static,
    ) -> Outcome<Option<Record>> {
        self.request(Box::new(move |state| legal(state).then_some(event))).await
    }

    /// Opens the next attempt of `phase`; `None` if the state does not allow one now, for
    /// example because a person confirmed before a trigger's failback.
    ///
    /// # Errors
    /// As [`Self::append`], except that an attempt that is not allowed is no fault.
    pub async fn begin(
        &self,
        phase: Phase,
        by: Actor,
        because: String,
    ) -> Outcome<Option<Attempt>> {
        let make = move |state: &RunState| {
            let attempt = state.next_attempt(phase);
            let event = Event::AttemptStarted { attempt, by, because };
            state.allows(&event).then_some(event)
        };
        let record = self.request(Box::new(make)).await?;
        Ok(record.and_then(|record| match record.event {
            Event::AttemptStarted { attempt, .. } => Some(attempt),
            _ => None,
        }))
    }

    /// Returns the state after the newest record.
    pub fn state(&self) -> Arc<RunState> {
        Arc::clone(&self.state.borrow())
    }

    /// Returns every record appended from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Record> {
        self.records.subscribe()
    }

    async fn request(&self, make: Make) -> Outcome<Option<Record>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { make, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

fn closed() -> Fault {
    Fault::new("SG0608", FaultKind::Bug, "append to the journal", "its writer has ended")
        .hint("start Segue again: it goes on from the last record")
}

fn fold(records: &[Record]) -> Outcome<RunState> {
    RunState::fold(records).map_err(|illegal| {
        Fault::new("SG0606", FaultKind::Invalid, "fold the journal", illegal)
            .hint("the journal was written by another version or by hand; do not run it further")
    })
}

struct Writer {
    store: Store,
    state: RunState,
    clock: Arc<dyn Clock>,
    published: watch::Sender<Arc<RunState>>,
    records: broadcast::Sender<Record>,
    /// Set once the store's content is no longer certain; nothing is appended after it.
    refused: Option<Fault>,
}

impl Writer {
    fn serve(mut self, mut inbox: mpsc::Receiver<Request>) {
        while let Some(Request { make, reply }) = inbox.blocking_recv() {
            let result = self.append(make);
            // Who asked may have gone; the record stands all the same.
            let _ = reply.send(result);
        }
    }

    fn append(&mut self, make: Make) -> Outcome<Option<Record>> {
        if let Some(fault) = &self.refused {
            return Err(fault.clone());
        }
        let Some(event) = make(&self.state) else { return Ok(None) };
        let record = Record {
            seq: self.state.last_seq + 1,
            at_ms: self.clock.wall_ms(),
            boot_ms: self.clock.boot_ms(),
            event,
        };
        let next = self.state.apply(&record).map_err(|illegal| {
            Fault::new("SG0607", FaultKind::Bug, "append to the journal", illegal)
        })?;
        crashpoint::hit("journal.before", record.event.name());
        if let Err(fault) = self.store.append(&record) {
            if fault.kind != FaultKind::Busy {
                self.refused = Some(fault.clone());
            }
            return Err(fault);
        }
        crashpoint::hit("journal.durable", record.event.name());
        self.state = next;
        self.published.send_replace(Arc::new(self.state.clone()));
        // Nobody listening is fine.
        let _ = self.records.send(record.clone());
        Ok(Some(record))
    }
}
