//! Following a source by its binary log: one reader a server, one follower a schema.
//!
//! Native replication takes one stream from a server, and what it carries is in step by
//! construction. Here the log is read once as well, but each schema has its own place in it:
//! its followers come and go, wait and fail by themselves.
//!
//! ```text
//!  source's log --> reader --> transactions, divided by schema --> follower --> target
//!                  (events)   (bounded: by room and by number)    (groups)
//! ```
//!
//! **Rows travel as they are.** Row events are passed on in their own form and applied by
//! `BINLOG` (see `apply`), never decoded. What would not arrive as it is ends the tail: a
//! fault that concerns one schema ends that schema's follower behind everything before it,
//! one that concerns the log ends the reading for all.
//!
//! **Exactly once.** A schema's checkpoint is written in the transaction that applies its
//! rows, and the place is held by a lock of the session that writes. So a tail that ended at
//! whatever point goes on with [`Tail::start`]: reading begins behind the checkpoint that is
//! furthest back, and every schema leaves out what it has.
//!
//! **Bounded.** What waits for a follower has its room ([`Follow::room`]). When it is used up
//! the reader waits, and with it every schema of the server; [`Sample`] says for whom.

use crate::gtid::Position;
use assemble::{Assembler, Followed};
use follower::Follower;
use reader::{Figures, Outlet, Reader};
use segue_doors::sql::Endpoint;
use segue_model::{Fault, FaultKind};
use segue_port::Outcome;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

mod apply;
mod assemble;
mod change;
mod checkpoint;
mod event;
mod faults;
mod follower;
mod piece;
mod reader;
mod source;
mod statement;
mod target;

/// The server whose log is read.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called in checkpoints. Stays when its address changes.
    pub name: String,
    /// A login that may read the log.
    pub endpoint: Endpoint,
    /// The reader's number, which no server and no other reader of this source has.
    pub server_id: u32,
    /// How often the source gives a sign of life.
    pub heartbeat: Duration,
    /// Whether only what was written first at this server counts: of a server that is followed
    /// back, what came to it from the other one is left out.
    pub own_only: bool,
}

/// Where a schema begins that has no checkpoint yet: the place its seed was taken at.
#[derive(Debug, Clone)]
pub enum Begin {
    /// Behind these transactions.
    After(Position),
    /// Behind a place in a file of the source's log.
    Place {
        /// The file's name.
        file: String,
        /// Where an event ends in it.
        offset: u64,
    },
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(position) => write!(f, "after {position}"),
            Self::Place { file, offset } => write!(f, "{file}:{offset}"),
        }
    }
}

/// When a group of transactions is committed: as soon as nothing more waits, and at the
/// latest then.
#[derive(Debug, Clone, Copy)]
pub struct Grouping {
    /// After so many transactions.
    pub transactions: u64,
    /// So long after the first of them came.
    pub wait: Duration,
}

impl Default for Grouping {
    fn default() -> Self {
        Self { transactions: 100, wait: Duration::from_millis(50) }
    }
}

/// A schema to follow.
#[derive(Debug, Clone)]
pub struct Follow {
    /// The schema, named alike at both servers.
    pub schema: String,
    /// Tables of other schemas whose rows travel with it, as schema and table. No definition of
    /// them does.
    pub beside: Vec<(String, String)>,
    /// A login at the target that may apply row events and write to schema `segue`.
    pub target: Endpoint,
    /// Where it begins if it has no checkpoint.
    pub begin: Begin,
    /// How its transactions are committed.
    pub grouping: Grouping,
    /// Bytes that may wait for it.
    pub room: usize,
}

/// How far a schema is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything of the schema up to here is committed at the target.
    pub reached: Position,
    /// Transactions applied by this tail.
    pub transactions: u64,
    /// Commits that took.
    pub commits: u64,
}

/// What a tail shows of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Everything up to here was read.
    pub read: Position,
    /// Events read.
    pub events: u64,
    /// Transactions read, of whatever schema.
    pub transactions: u64,
    /// Each schema.
    pub schemas: BTreeMap<String, SchemaSample>,
}

/// One schema's part of a sample.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaSample {
    /// How far it is.
    pub progress: Progress,
    /// Bytes that wait for it, in whole KiB.
    pub waiting: usize,
    /// How long the reader has waited for it, and with it everybody.
    pub held_up: Duration,
    /// It does not follow any more; [`Tail::end`] says why.
    pub ended: bool,
}

/// How a tail ended.
#[derive(Debug)]
pub struct Ended {
    /// The reading.
    pub reading: Outcome<()>,
    /// Each schema: how far it is, or why it could not go on.
    pub schemas: BTreeMap<String, Outcome<Progress>>,
}

/// A source that is being followed. Dropped, it ends at once, wherever it stands.
#[derive(Debug)]
pub struct Tail {
    reader: AbortOnDropHandle<Outcome<()>>,
    followers: BTreeMap<String, Handle>,
    figures: Arc<Figures>,
    stop: CancellationToken,
}

/// The tail's end of one follower.
#[derive(Debug)]
struct Handle {
    task: AbortOnDropHandle<Outcome<()>>,
    progress: watch::Receiver<Progress>,
    room: Arc<Semaphore>,
    units: u32,
    waited_us: Arc<AtomicU64>,
}

impl Tail {
    /// Takes every schema's place at its target and begins to read. To follow one more, end
    /// the tail and start it with all: each goes on behind its checkpoint.
    ///
    /// # Errors
    /// `SG0270` or `SG0280` for a source or target that is not fit, `SG0279` if a schema is
    /// followed already, `SG0271` if a begin is not in the log.
    pub async fn start(source: &Source, follows: Vec<Follow>) -> Outcome<Self> {
        let (mut asking, names, server) = source::check(source).await?;
        let mut followed = Vec::new();
        let mut outlets = Vec::new();
        let mut followers = BTreeMap::new();
        for follow in follows {
            let (applier, has) = target::open(source, &mut asking, names, &follow).await?;
            let start = Progress { reached: has.clone(), ..Progress::default() };
            let (progress, seen) = watch::channel(start);
            let (sender, deliveries) = mpsc::channel(reader::WAITING);
            let units = u32::try_from(follow.room.div_ceil(reader::UNIT).max(1))
                .unwrap_or(u32::MAX)
                .min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
            let room = Arc::new(Semaphore::new(units as usize));
            let waited_us = Arc::new(AtomicU64::new(0));
            let follower = Follower::new(applier, follow.grouping, progress);
            let task = AbortOnDropHandle::new(tokio::spawn(follower.run(deliveries)));
            outlets.push(Outlet::new(sender, Arc::clone(&room), units, Arc::clone(&waited_us)));
            let handle = Handle { task, progress: seen, room, units, waited_us };
            followers.insert(follow.schema.clone(), handle);
            followed.push(Followed { schema: follow.schema, beside: follow.beside, has });
        }
        asking.close().await;
        let begin = Position::earliest(followed.iter().map(|followed| &followed.has));
        let log = source::read(source, &begin).await?;
        let figures = Arc::new(Figures::default());
        let assembler = Assembler::new(followed, begin, source.own_only.then_some(server));
        let reader = Reader::new(log, assembler, outlets, Arc::clone(&figures));
        let stop = CancellationToken::new();
        let reader = AbortOnDropHandle::new(tokio::spawn(reader.run(stop.clone())));
        Ok(Self { reader, followers, figures, stop })
    }

    /// Returns how far a schema is, and each change of it; the channel closes when the
    /// schema is followed no more.
    pub fn progress(&self, schema: &str) -> Option<watch::Receiver<Progress>> {
        self.followers.get(schema).map(|handle| handle.progress.clone())
    }

    /// Returns whether nothing is read any more.
    pub fn is_over(&self) -> bool {
        self.reader.is_finished()
    }

    /// Returns what it shows of itself now.
    pub fn sample(&self) -> Sample {
        let of = |handle: &Handle| SchemaSample {
            progress: handle.progress.borrow().clone(),
            waiting: (handle.units as usize - handle.room.available_permits()) * reader::UNIT,
            held_up: Duration::from_micros(handle.waited_us.load(Ordering::Relaxed)),
            ended: handle.task.is_finished(),
        };
        Sample {
            read: self.figures.position(),
            events: self.figures.events.load(Ordering::Relaxed),
            transactions: self.figures.transactions.load(Ordering::Relaxed),
            schemas: self.followers.iter().map(|(name, h)| (name.clone(), of(h))).collect(),
        }
    }

    /// Stops reading, lets every schema commit what it has whole, and says how it went.
    pub async fn end(self) -> Ended {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until the reading and all followers have ended by themselves.
    pub async fn ended(self) -> Ended {
        let reading = joined(self.reader.await);
        let mut schemas = BTreeMap::new();
        for (schema, handle) in self.followers {
            let ended = joined(handle.task.await);
            let progress = handle.progress.borrow().clone();
            schemas.insert(schema, ended.map(|()| progress));
        }
        Ended { reading, schemas }
    }
}

/// A task that panicked did so by a mistake of ours, or met bytes that are no events.
fn joined(ended: Result<Outcome<()>, tokio::task::JoinError>) -> Outcome<()> {
    ended.unwrap_or_else(|error| {
        Err(Fault::new("SG0281", FaultKind::Bug, faults::READING, error)
            .hint("see the controller's log, and report it"))
    })
}
