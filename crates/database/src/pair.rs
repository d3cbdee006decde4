//! What the units between the same two servers share within this process.
//!
//! A server reads one stream from another one, so all units between the two are in it: who
//! changes it, measures it, or lets it stand for a moment, does so for all of them. The
//! servers themselves hold everything that must outlive the process; see [`crate::stream`].

use crate::link::Wire;
use crate::pulse::Pulse;
use crate::stream::members::{Filters, unlisted};
use segue_model::plan::DatabasePlan;
use segue_model::{Fault, FaultKind, Side, Sides};
use segue_port::Outcome;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Sessions that read, kept at each server when nobody uses them.
const KEPT: usize = 8;

/// By the addresses of source and target.
type Known = HashMap<(SocketAddr, SocketAddr), Weak<Pair>>;

static PAIRS: Mutex<Option<Known>> = Mutex::new(None);

/// Two servers with units between them.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Held while the stream that a server reads is changed.
    pub(crate) changes: Sides<Arc<tokio::sync::Mutex<()>>>,
    /// Held while logins are made or removed at the target: databases of one unit may have
    /// the same ones.
    pub(crate) logins: tokio::sync::Mutex<()>,
    /// Held together by the units that are in a cutover, alone by whoever makes a stream
    /// stand: a pause must not wait for another unit's copy.
    quiet: Arc<RwLock<()>>,
    /// The measurement of the stream that begins at a server.
    pub(crate) pulses: Sides<tokio::sync::Mutex<Pulse>>,
    /// When the clock of a server was last looked at, and its offset, milliseconds.
    pub(crate) clocks: Sides<tokio::sync::Mutex<Option<(Instant, f64)>>>,
    /// Sessions that read, by server.
    readers: Sides<Mutex<Vec<Wire>>>,
    /// The filters of the stream that a server reads, as it showed them last.
    shown: Sides<Mutex<Shown>>,
    /// Held together by whoever lets a server show its filters, alone by whoever sets them:
    /// MariaDB 10.11 frees the list while another session reads it, and dies of it.
    pub(crate) filters_shown: Sides<RwLock<()>>,
    /// How often this process changed the stream that a server reads.
    touched: Sides<AtomicU64>,
}

/// Filters as a server shows them: of thousands of units that is a megabyte, and as a rule
/// the same as a moment ago.
#[derive(Debug, Default)]
struct Shown {
    schemas: String,
    patterns: String,
    filters: Arc<Filters>,
    /// How often they were others.
    changes: u64,
}

/// What the stream between two servers carries, as far as this process has seen.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    /// Rises whenever it is something else.
    pub changes: u64,
    filters: Vec<Arc<Filters>>,
}

impl Carried {
    /// Says whether a stream that was seen does not carry a schema.
    pub fn lacks(&self, schema: &str) -> bool {
        self.filters.iter().any(|filters| !filters.schemas.contains(schema))
    }
}

impl Pair {
    /// Returns what the units between a plan's servers share; the same one for all.
    pub(crate) fn of(plan: &DatabasePlan) -> Arc<Self> {
        let key = (plan.servers.source.address, plan.servers.target.address);
        let mut pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = pairs.get_or_insert_default();
        known.retain(|_, pair| pair.strong_count() > 0);
        if let Some(pair) = known.get(&key).and_then(Weak::upgrade) {
            return pair;
        }
        let pair = Arc::new(Self {
            changes: Sides::from_fn(|_| Arc::default()),
            logins: tokio::sync::Mutex::default(),
            quiet: Arc::default(),
            pulses: Sides::from_fn(|_| tokio::sync::Mutex::default()),
            clocks: Sides::from_fn(|_| tokio::sync::Mutex::default()),
            readers: Sides::from_fn(|_| Mutex::default()),
            shown: Sides::from_fn(|_| Mutex::default()),
            filters_shown: Sides::from_fn(|_| RwLock::default()),
            touched: Sides::from_fn(|_| AtomicU64::new(0)),
        });
        known.insert(key, Arc::downgrade(&pair));
        pair
    }

    /// Keeps everybody from making a stream stand, until what is returned is dropped.
    ///
    /// # Errors
    /// `SG0226` if a stream stands for longer than `patience`.
    pub(crate) async fn cutover(
        &self,
        patience: Duration,
        op: &str,
    ) -> Outcome<OwnedRwLockReadGuard<()>> {
        tokio::time::timeout(patience, Arc::clone(&self.quiet).read_owned())
            .await
            .map_err(|_| busy(op, "another unit comes into the stream, or is compared"))
    }

    /// Waits until no unit is in a cutover, and keeps others from beginning one.
    ///
    /// # Errors
    /// `SG0226` if a cutover takes longer than `patience`.
    pub(crate) async fn standstill(
        &self,
        patience: Duration,
        op: &str,
    ) -> Outcome<OwnedRwLockWriteGuard<()>> {
        tokio::time::timeout(patience, Arc::clone(&self.quiet).write_owned())
            .await
            .map_err(|_| busy(op, "a unit between the same servers is in its cutover"))
    }

    /// Returns a session that reads, if one is kept.
    pub(crate) fn take_reader(&self, side: Side) -> Option<Wire> {
        self.readers.get(side).lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a session that reads for whoever comes next.
    pub(crate) fn keep_reader(&self, wire: Wire) {
        let mut kept = self.readers.get(wire.side()).lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT && !wire.is_spoilt() {
            kept.push(wire);
        }
    }
}

impl Pair {
    /// Returns the filters that a server shows, read once as long as they stay the same.
    pub(crate) fn filters(&self, side: Side, schemas: String, patterns: String) -> Arc<Filters> {
        let mut shown = self.shown.get(side).lock().unwrap_or_else(PoisonError::into_inner);
        if shown.schemas != schemas || shown.patterns != patterns {
            let filters = Filters { schemas: unlisted(&schemas), patterns: unlisted(&patterns) };
            let changes = shown.changes + 1;
            *shown = Shown { schemas, patterns, filters: Arc::new(filters), changes };
        }
        Arc::clone(&shown.filters)
    }

    /// Notes that this process is about to change the stream that a server reads.
    pub(crate) fn touch(&self, side: Side) {
        self.touched.get(side).fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often this process changed it.
    pub(crate) fn touched(&self, side: Side) -> u64 {
        self.touched.get(side).load(Ordering::SeqCst)
    }

    /// Returns what the streams carry that were seen.
    pub(crate) fn carried(&self) -> Carried {
        let mut carried = Carried::default();
        for side in [Side::Source, Side::Target] {
            let shown = self.shown.get(side).lock().unwrap_or_else(PoisonError::into_inner);
            carried.changes += shown.changes;
            if shown.changes > 0 {
                carried.filters.push(Arc::clone(&shown.filters));
            }
        }
        carried
    }
}

/// Returns what the streams between a plan's servers carry, as this process saw it last. Asks
/// nobody.
pub fn carried(plan: &DatabasePlan) -> Carried {
    Pair::of(plan).carried()
}

/// Says that the stream is not free now: SG0226.
pub(crate) fn busy(op: &str, cause: &str) -> Fault {
    Fault::new("SG0226", FaultKind::Busy, op, cause)
        .hint("nothing was changed; it is tried again, or begin the step anew in a moment")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use segue_model::plan::{DatabaseServer, SecretRef};

    fn plan(schema: &str, source: &str) -> DatabasePlan {
        let server = |address: &str| DatabaseServer {
            address: address.parse().unwrap(),
            admin: "admin".into(),
            password: SecretRef("env:X".into()),
        };
        DatabasePlan {
            schema: schema.into(),
            servers: Sides { source: server(source), target: server("127.0.0.9:3306") },
            logins: vec![],
        }
    }

    #[test]
    fn units_between_the_same_servers_share_one_pair() {
        let one = Pair::of(&plan("a", "127.0.0.8:3306"));
        assert!(Arc::ptr_eq(&one, &Pair::of(&plan("b", "127.0.0.8:3306"))));
        assert!(!Arc::ptr_eq(&one, &Pair::of(&plan("b", "127.0.0.7:3306"))));
    }

    #[tokio::test]
    async fn cutovers_run_together_and_nobody_makes_the_stream_stand_meanwhile() {
        let pair = Pair::of(&plan("a", "127.0.0.6:3306"));
        let short = Duration::from_millis(10);
        let one = pair.cutover(short, "arm").await.unwrap();
        let other = pair.cutover(short, "arm").await.unwrap();
        assert_eq!(pair.standstill(short, "follow").await.unwrap_err().code, "SG0226");
        drop((one, other));
        let standstill = pair.standstill(short, "follow").await.unwrap();
        assert_eq!(pair.cutover(short, "arm").await.unwrap_err().code, "SG0226");
        drop(standstill);
    }
}
