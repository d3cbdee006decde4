//! What all requests share, and the account of a finished request.

use crate::clients::{Client, Visits};
use crate::fail::Fail;
use crate::ledger::{Ack, Ledger, Record};
use crate::mix::Kind;
use crate::stats::Stats;
use rand::Rng;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// An answer later than this after its intended time (and its kind's normal time) is a
/// failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// Tries to find a client without an order under way.
const TRIES: usize = 20;

/// Tells wall clock times of moments on the steady clock.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall: Duration,
}

impl Clock {
    /// Returns a clock whose two readings are taken now.
    pub(crate) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), wall }
    }

    /// Returns a moment as wall clock time in milliseconds.
    pub(crate) fn ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from((self.wall + since).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The site under load, as its clients see it.
#[derive(Debug)]
pub(crate) struct Site {
    /// Name for lookups.
    pub(crate) host: String,
    /// Port on every address.
    pub(crate) port: u16,
    /// Static files as `NN/NNNNN`.
    pub(crate) files: Vec<String>,
    /// Products, numbered from 1.
    pub(crate) products: u32,
    /// All clients.
    pub(crate) clients: Vec<Client>,
    /// Those that are logged in.
    pub(crate) present: Mutex<Vec<usize>>,
    /// Visits that go on.
    pub(crate) visits: Visits,
    /// Where results go.
    pub(crate) ledger: Ledger,
    /// What is printed each second.
    pub(crate) stats: Stats,
    /// Wall clock of the records.
    pub(crate) clock: Clock,
    /// Number of the next request.
    pub(crate) next_id: AtomicU64,
    /// Requests under way.
    pub(crate) tasks: TaskTracker,
}

/// What became known of a request while it was under way.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// When the client began to send or to connect.
    pub(crate) sent: Option<Instant>,
    /// Address that was used.
    pub(crate) address: Option<SocketAddr>,
    /// Side that answered.
    pub(crate) side: Option<String>,
    /// Status of the answer.
    pub(crate) status: Option<u16>,
    /// Number of the order.
    pub(crate) seq: Option<u64>,
    /// Whether a connection was opened.
    pub(crate) new_connection: bool,
    /// The write that is acknowledged if the request does not fail.
    pub(crate) write: Option<Write>,
}

/// What an acknowledged write says beyond its kind and client.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// Key of an upload, token of a login.
    pub(crate) key: Option<String>,
    /// Hash of an upload.
    pub(crate) hash: Option<String>,
}

impl Site {
    /// Locks the list of logged-in clients.
    pub(crate) fn present(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Picks a client that is logged in; any client if none is.
    pub(crate) fn pick(&self, rng: &mut impl Rng) -> usize {
        let present = self.present();
        if present.is_empty() {
            return rng.random_range(0..self.clients.len());
        }
        present[rng.random_range(0..present.len())]
    }

    /// Picks a client as [`Self::pick`] does, one without an order under way if some tries
    /// find one.
    pub(crate) fn pick_free(&self, rng: &mut impl Rng) -> usize {
        let mut picked = self.pick(rng);
        for _ in 0..TRIES {
            if self.clients.get(picked).is_some_and(|client| client.orders.try_lock().is_ok()) {
                break;
            }
            picked = self.pick(rng);
        }
        picked
    }

    /// Takes a number for a request.
    pub(crate) fn take_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes a finished request, and the write it acknowledged, to the ledger.
    /// `answered` is the end of the measured time, `done` the end of the request.
    pub(crate) fn finish(&self, about: &About, trace: Trace, outcome: Result<(), Fail>) {
        let latency = about.answered.saturating_duration_since(about.intended);
        let late = latency > LIMIT + about.kind.normal();
        let fail = match outcome {
            Ok(()) if late => Some(Fail::Timeout),
            Ok(()) => None,
            Err(fail) => Some(fail),
        };
        let latency_ms = (latency.as_secs_f64() * 1e6).round() / 1e3;
        let shown = !matches!(about.kind, Kind::Report | Kind::Events);
        self.stats.end(fail.is_none(), trace.side.as_deref(), shown.then_some(latency_ms));
        let client = &self.clients[about.client];
        let done_ms = self.clock.ms(about.done);
        if let (None, Some(write)) = (&fail, trace.write) {
            self.ledger.ack(Ack {
                kind: about.kind.name(),
                client: client.name.clone(),
                seq: trace.seq,
                key: write.key,
                hash: write.hash,
                at_ms: done_ms,
            });
        }
        self.ledger.request(Record {
            id: about.id,
            client: client.name.clone(),
            seq: trace.seq,
            kind: about.kind.name(),
            intended_ms: self.clock.ms(about.intended),
            sent_ms: trace.sent.map(|at| self.clock.ms(at)),
            done_ms,
            latency_ms,
            address: trace.address.map(|address| address.to_string()),
            side: trace.side,
            status: trace.status,
            ok: fail.is_none(),
            fail: fail.map(|fail| fail.to_string()),
            new_connection: trace.new_connection,
            resolver: client.resolver.habit.name(),
        });
    }
}

/// Which request it was, and its times.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// Its number.
    pub(crate) id: u64,
    /// What was asked.
    pub(crate) kind: Kind,
    /// Who asked.
    pub(crate) client: usize,
    /// When it was to be sent.
    pub(crate) intended: Instant,
    /// When the answer (of a stream: its head) was there, or it was given up.
    pub(crate) answered: Instant,
    /// When the request ended.
    pub(crate) done: Instant,
}
