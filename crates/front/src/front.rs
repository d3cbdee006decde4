//! What all parts of a running front share.

use crate::client::Trusted;
use crate::clock;
use crate::crowd::Crowd;
use crate::entrance::Entrance;
use crate::limits::Limits;
use crate::log::Log;
use crate::options::FrontOptions;
use crate::routes::{Routes, Site};
use crate::stats::{Counts, Lane};
use crate::store::counts::SavedFigures;
use crate::stragglers::Stragglers;
use crate::upstream::{Group, Pool, Tls};
use crate::wire::Refusal;
use http::HeaderValue;
use segue_model::{Fault, FaultKind, RunId, Side, UnitName};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// A running front.
pub(crate) struct Front {
    options: FrontOptions,
    limits: Arc<Limits>,
    routes: Routes,
    entrances: Vec<Arc<Entrance>>,
    counts: Counts,
    other: Lane,
    name: HeaderValue,
    via: HeaderValue,
    crowd: Arc<Crowd>,
    trusted: Trusted,
    started_ms: u64,
    closing: AtomicBool,
    /// Wakes those whom no further request would tell.
    closes: CancellationToken,
    /// Second of the last warning about a backend.
    warned_s: AtomicU64,
    stragglers: Stragglers,
    unclear: AtomicU64,
    refused: AtomicU64,
    unshaken: AtomicU64,
    tasks: TaskTracker,
    log: Option<Log>,
}

impl Front {
    /// Builds a front without routes.
    pub(crate) fn new(options: FrontOptions, limits: Limits) -> Result<Arc<Self>, Fault> {
        let as_header = |text: &str| {
            HeaderValue::from_str(text).map_err(|e| {
                let op = format!("name front `{}`", options.name);
                Fault::new("SG0121", FaultKind::Invalid, op, e)
                    .hint("use letters, digits and hyphens")
            })
        };
        let name = as_header(&options.name)?;
        // The fronts of two runs may have one name, and one before the other is no loop.
        let via = as_header(&format!("{}.{:016x}", options.name, start_id()))?;
        let crowd = Crowd::new(limits.connections, limits.connections_per_client);
        let trusted = Trusted::new(options.trusted.clone());
        let limits = Arc::new(limits);
        let entrances = entrances(&options, &limits)?;
        let log = options.access_log.as_ref().map(Log::open).transpose()?;
        Ok(Arc::new(Self {
            options,
            limits,
            routes: Routes::new(),
            entrances,
            counts: Counts::new(),
            other: Lane::new(),
            name,
            via,
            crowd,
            trusted,
            started_ms: clock::now_ms(),
            closing: AtomicBool::new(false),
            closes: CancellationToken::new(),
            warned_s: AtomicU64::new(0),
            stragglers: Stragglers::default(),
            unclear: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unshaken: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            log,
        }))
    }

    pub(crate) fn options(&self) -> &FrontOptions {
        &self.options
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Returns the log of requests, if there is one.
    pub(crate) fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    pub(crate) fn side(&self) -> Side {
        self.options.side
    }

    /// Returns the front's name as a header's value.
    pub(crate) fn name_value(&self) -> &HeaderValue {
        &self.name
    }

    /// Returns how the front names itself to others that a request comes through.
    pub(crate) fn via(&self) -> &HeaderValue {
        &self.via
    }

    pub(crate) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Returns the site that a `Host` header names.
    pub(crate) fn site(&self, host: &str) -> Option<Arc<Site>> {
        self.routes.find(host)
    }

    /// Returns the table of all sites.
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Returns what connections of each port have in common, in the order of the options.
    pub(crate) fn entrances(&self) -> &[Arc<Entrance>] {
        &self.entrances
    }

    /// Builds the connections to a backend.
    pub(crate) fn pool(
        &self,
        address: SocketAddr,
        tls: Option<Arc<Tls>>,
        introduces: bool,
    ) -> Arc<Pool> {
        let pool = Pool::new(address, self.options.egress, self.limits.clone());
        Arc::new(pool.over(tls).introducing(introduces))
    }

    /// Returns the counters over all units.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns the run that has the front.
    pub(crate) fn claim(&self) -> Option<Arc<RunId>> {
        self.routes.run()
    }

    /// Returns whether a run of this name has the front.
    pub(crate) fn is_claimed_by(&self, run: &[u8]) -> bool {
        self.routes.is_claimed_by(run)
    }

    /// Returns the counters of requests for hosts that belong to no unit.
    pub(crate) fn other_lane(&self) -> &Lane {
        &self.other
    }

    /// Returns whether connections end after their present answer.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// From now on connections end after their present answer.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.closes.cancel();
    }

    /// Waits until connections are to end.
    pub(crate) fn closes(&self) -> WaitForCancellationFuture<'_> {
        self.closes.cancelled()
    }

    /// Returns the client connections.
    pub(crate) fn crowd(&self) -> &Arc<Crowd> {
        &self.crowd
    }

    /// Returns the proxies that are believed about who a client is.
    pub(crate) fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Returns who still comes although the unit has left.
    pub(crate) fn stragglers(&self) -> &Stragglers {
        &self.stragglers
    }

    /// Notes a request or a connection of a client that comes to the address that its unit has
    /// left. `now` is the side that takes the unit's requests, `sent` where this one went.
    pub(crate) fn note_straggler(&self, unit: &UnitName, client: IpAddr, now: Side, sent: Side) {
        if now != self.options.side {
            self.stragglers.note(unit, client, sent);
        }
    }

    /// Returns what was counted over all units, to be kept.
    pub(crate) fn figures(&self) -> SavedFigures {
        let (_, accepted, turned_away) = self.crowd.counts();
        SavedFigures {
            all: self.counts.saved().unwrap_or_default(),
            other: self.other.saved(),
            doors: [accepted, turned_away, self.unclear(), self.unshaken()],
            refused: self.refused(),
            ..SavedFigures::default()
        }
    }

    /// Counts what another process counted over all units.
    pub(crate) fn add_figures(&self, figures: &SavedFigures) {
        let [accepted, turned_away, unclear, unshaken] = figures.doors;
        self.counts.add(&figures.all);
        self.other.add(&figures.other);
        self.crowd.add(accepted, turned_away);
        self.unclear.fetch_add(unclear, Ordering::Relaxed);
        self.unshaken.fetch_add(unshaken, Ordering::Relaxed);
        self.refused.fetch_add(figures.refused, Ordering::Relaxed);
    }

    /// Counts a request that was refused where it is read.
    pub(crate) fn count_refusal(&self, refusal: Refusal) {
        if refusal.is_clear() {
            self.count_refused();
        } else {
            self.unclear.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many requests were refused because their boundaries are not clear.
    pub(crate) fn unclear(&self) -> u64 {
        self.unclear.load(Ordering::Relaxed)
    }

    /// Counts a request that was clear and refused before it had a goal.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many requests were clear and refused before they had a goal.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts a connection at a port for TLS that came to no end of its handshake.
    pub(crate) fn count_unshaken(&self) {
        self.unshaken.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many TLS handshakes came to no end.
    pub(crate) fn unshaken(&self) -> u64 {
        self.unshaken.load(Ordering::Relaxed)
    }

    /// Returns whether a warning about a backend is due: at most one a second, so that a
    /// backend that is down does not fill the disk.
    pub(crate) fn may_warn(&self) -> bool {
        let now_s = clock::now_ms() / 1_000;
        self.warned_s.swap(now_s, Ordering::Relaxed) != now_s
    }

    /// Returns the tasks that must end before the process does: connections, and requests
    /// whose client is gone.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Does what is due once a second.
    pub(crate) fn tick(&self) {
        self.counts.tick();
        self.other.tick();
        for entrance in &self.entrances {
            entrance.default_group().reap();
        }
        // A unit's counters are those of each of its sites and hosts: its second ends once.
        let mut ticked = HashSet::new();
        self.routes.each(|site| {
            if ticked.insert(Arc::as_ptr(&site.counts)) {
                site.counts.tick();
                site.gate.drop_leavers();
                if let Some(split) = &*site.split.load() {
                    split.tick(clock::now_us());
                }
            }
            for group in [&site.backends.source, &site.backends.target] {
                group.reap();
                group.look();
            }
        });
    }
}

/// Returns a number that no other start of a front has, as far as chance can tell.
fn start_id() -> u64 {
    RandomState::new().hash_one(clock::now_us())
}

/// Builds the entrance of every port; ports with one backend share its connections.
fn entrances(options: &FrontOptions, limits: &Arc<Limits>) -> Result<Vec<Arc<Entrance>>, Fault> {
    let mut all: Vec<Arc<Entrance>> = Vec::new();
    for port in &options.ports {
        let (address, introduces) = (port.default_backend, port.proxy_out);
        let mut known = all.iter().map(|other| other.default_group());
        let group = match known
            .find(|group| group.address() == address && group.introduces() == introduces)
        {
            Some(group) => group.clone(),
            None => {
                let pool = Pool::new(address, options.egress, limits.clone());
                Group::of(Arc::new(pool.introducing(introduces)))
            }
        };
        all.push(Entrance::new(port.clone(), group, limits)?);
    }
    Ok(all)
}
