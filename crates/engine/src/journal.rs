//! The journal: append-only, durable before anything happens, checked when read.
//!
//! One thread owns the store. A request brings a function of the current state, so that
//! deciding and appending are one act: of two that exclude each other the first wins.
//! Requests that arrive together are made durable together: a fleet shares its syncs.
//!
//! **Invariants.** A record is on disk when `append` returns, and nobody sees a state before
//! its records are. A record that the state does not allow is never written. Each record's
//! checksum covers the one before it; the head file names the newest, so that a lost tail is
//! found too. A snapshot only saves folding: it is dropped whenever it does not fit.

mod head;
mod snapshot;
mod store;
mod unit;
mod writer;

use segue_model::event::{Event, Record};
use segue_model::state::RunState;
use segue_model::{Epoch, Fault, FaultKind, UnitName};
use segue_port::{Clock, Outcome};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use store::Store;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
pub use unit::UnitJournal;
use writer::Writer;

/// Requests that wait for the writer; the next one waits to be taken.
const INBOX: usize = 1024;

/// Makes the next record's subject and payload of the state right before it.
type Make = Box<dyn FnOnce(&RunState) -> Option<(Option<UnitName>, Event)> + Send>;

/// What the writer is asked.
enum Request {
    /// Append what `make` returns.
    Append { make: Make, reply: oneshot::Sender<Outcome<Option<Record>>> },
    /// Take nothing more, close the store, and say so.
    Close(oneshot::Sender<()>),
}

/// The state after the newest durable record.
type Published = Arc<RwLock<RunState>>;

/// A handle to the journal of one run directory. Clones share the writer.
#[derive(Clone)]
pub struct Journal {
    requests: mpsc::Sender<Request>,
    state: Published,
    records: broadcast::Sender<Record>,
    refused: watch::Receiver<Option<Fault>>,
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
        let (known, mut state) = snapshot::load(dir);
        let store = Store::open(dir, known, |record| take(&mut state, &record))?;
        let (requests, inbox) = mpsc::channel(INBOX);
        let published = Arc::new(RwLock::new(state.clone()));
        let (sender, _) = broadcast::channel(4096);
        let (refuse, refused) = watch::channel(None);
        let published_by = Arc::clone(&published);
        let writer = Writer::new(dir, store, state, clock, published_by, sender.clone(), known)
            .telling(refuse);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.serve(inbox))
            .map_err(|error| {
                Fault::new("SG0601", FaultKind::Bug, "start the journal's thread", error)
            })?;
        Ok(Self { requests, state: published, records: sender, refused })
    }

    /// Reads every record of the journal in `dir`, oldest first; changes nothing. Works while
    /// a controller writes and after it died.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read_all(dir: &Path) -> Outcome<Vec<Record>> {
        let mut records = Vec::new();
        Store::read_all(dir, |record| {
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    }

    /// Folds every record of the journal in `dir` without its snapshot; changes nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn fold_all(dir: &Path) -> Outcome<RunState> {
        let mut state = RunState::default();
        Store::read_all(dir, |record| take(&mut state, &record))?;
        Ok(state)
    }

    /// Appends an event about the run; it is durable when this returns.
    ///
    /// # Errors
    /// `SG0607` if the state does not allow it (a mistake of the caller; nothing is
    /// written), `SG0608` if it could not be written, `SG0609` if another controller wrote.
    pub async fn append(&self, event: Event) -> Outcome<Record> {
        let record = self.request(Box::new(move |_| Some((None, event)))).await?;
        record.ok_or_else(closed)
    }

    /// Appends an event about the run if `legal` holds in the state right before it; `None`
    /// if not.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn append_if(
        &self,
        event: Event,
        legal: impl FnOnce(&RunState) -> bool + Send + 'static,
    ) -> Outcome<Option<Record>> {
        self.request(Box::new(move |state| legal(state).then_some((None, event)))).await
    }

    /// Returns the journal as one unit sees it.
    pub fn of(&self, unit: UnitName) -> UnitJournal {
        UnitJournal::new(self.clone(), unit)
    }

    /// Looks at the state after the newest record. `look` must not block.
    pub fn with<T>(&self, look: impl FnOnce(&RunState) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the state after the newest record. Costs a copy of the list of units; prefer
    /// [`Self::with`] or [`UnitJournal::state`] where it is asked for often.
    pub fn state(&self) -> RunState {
        self.with(RunState::clone)
    }

    /// Returns the newest epoch.
    pub fn epoch(&self) -> Epoch {
        self.with(|state| state.epoch)
    }

    /// Returns every record appended from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Record> {
        self.records.subscribe()
    }

    /// Returns once nothing can be appended any more, with the reason: another controller
    /// wrote, or the store's content is no longer certain.
    pub async fn refused(&self) -> Fault {
        let mut refused = self.refused.clone();
        match refused.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
            Ok(fault) => fault.unwrap_or_else(closed),
            Err(_) => closed(),
        }
    }

    /// Closes the store: whatever was asked for before is durable, everything stands in
    /// `journal.db` itself, and later appends are refused. Every clone is closed with it.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.requests.send(Request::Close(reply)).await.is_ok() {
            // A writer that ended by itself has closed the store as well.
            let _ = closed.await;
        }
    }

    async fn request(&self, make: Make) -> Outcome<Option<Record>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Append { make, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

fn closed() -> Fault {
    Fault::new("SG0608", FaultKind::Bug, "append to the journal", "its writer has ended")
        .hint("start Segue again: it goes on from the last record")
}

fn take(state: &mut RunState, record: &Record) -> Outcome<()> {
    state.take(record).map_err(|illegal| {
        Fault::new("SG0606", FaultKind::Invalid, "fold the journal", illegal)
            .hint("the journal was written by another version or by hand; do not run it further")
    })
}
