//! What a proxy of the operator's is asked to do. Everything else that the control protocol
//! promises (who may act, in which order, what is on disk) is the same for all of them.

use async_trait::async_trait;
use segue_front::control::{HoldId, Running, SiteRoute, Totals, Window};
use segue_model::{Fault, Finding, Side, Sides, UnitName};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// The process that serves now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    /// Its id.
    pub(super) pid: u32,
    /// What tells this start from every other one.
    pub(super) start: String,
    /// The program's name and version.
    pub(super) version: String,
}

/// A hold as the proxy itself keeps it, so that it ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Its name.
    pub(super) id: HoldId,
    /// When it ends by itself, milliseconds of the wall clock; none if it is sealed.
    pub(super) until_ms: Option<u64>,
    /// A request that waited this long is refused, milliseconds.
    pub(super) age_max_ms: u64,
    /// So many wait at most.
    pub(super) count_max: usize,
}

impl Held {
    /// Returns whether it still holds.
    pub(super) fn holds_at(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

/// A unit as the proxy has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// Where all of its hosts go; none if they go to no side of it, or to both.
    pub(super) side: Option<Side>,
    /// Its hold, also one that is over.
    pub(super) held: Option<Held>,
    /// Requests at a backend.
    pub(super) running: usize,
    /// Open streams.
    pub(super) streams: usize,
    /// Requests that wait.
    pub(super) waiting: usize,
}

/// What happened to the requests of the last hold.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Waited {
    pub(super) count: u64,
    pub(super) longest_ms: f64,
    pub(super) refused: u64,
}

/// What was counted for a unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) sides: Sides<Totals>,
    pub(super) windows: Sides<Vec<Window>>,
}

/// The unit that is asked about: its name and its sites.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit<'a> {
    pub(super) name: &'a UnitName,
    pub(super) sites: &'a [SiteRoute],
}

/// A kind of proxy.
#[async_trait]
pub(super) trait Driver: Send + Sync {
    /// Says who serves.
    async fn about(&self) -> Result<About, Fault>;

    /// Puts a unit's hosts in, with a side and its hold. Whatever it had before is replaced.
    async fn put(&self, unit: Unit<'_>, side: Side, held: Option<&Held>) -> Result<(), Fault>;

    /// Takes a unit's hosts out.
    async fn take_out(&self, unit: Unit<'_>) -> Result<(), Fault>;

    /// Begins, renews or ends a hold; the side stays.
    async fn hold(&self, unit: Unit<'_>, side: Side, held: Option<&Held>) -> Result<(), Fault>;

    /// Sends a unit to a side and ends its hold, in this order.
    async fn release(&self, unit: Unit<'_>, to: Side) -> Result<(), Fault>;

    /// Looks at a unit.
    async fn look(&self, unit: Unit<'_>) -> Result<Sight, Fault>;

    /// Names requests that run at a backend, streams not among them.
    async fn running(&self, unit: Unit<'_>) -> Result<Vec<Running>, Fault>;

    /// Ends the unit's streams; says how many there were.
    async fn end_streams(&self, unit: Unit<'_>) -> Result<u64, Fault>;

    /// Says what happened to the requests of the last hold.
    async fn waited(&self, unit: Unit<'_>) -> Result<Waited, Fault>;

    /// Says what was counted.
    async fn counted(&self, unit: Unit<'_>) -> Result<Counted, Fault>;

    /// Returns how long a hold lasts for a lease of this length.
    fn lease_ms(&self, asked_ms: u64) -> u64 {
        asked_ms
    }

    /// Returns whether a lease is renewed; where that is costly it is long instead.
    fn renews(&self) -> bool {
        true
    }

    /// Looks whether it can be driven; changes nothing.
    async fn preflight(&self) -> Vec<Finding>;
}

/// Returns milliseconds of the wall clock, by which the proxies go themselves.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns what tells a process from every other one that had or will have its id: when it
/// started, in ticks since the boot (proc(5), `starttime`).
pub(super) fn start_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name may hold anything; fields are counted behind it.
    let ticks = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    format!("{pid} {}", ticks.unwrap_or("unknown"))
}
