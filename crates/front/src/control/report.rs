//! What a front tells about itself. Times are milliseconds of the boot clock.

use super::{HoldId, HoldPolicy, MirrorRoute, Mirrored, SiteRoute, SplitStatus, Trial};
use segue_model::plan::{PortKind, TcpPlan, TlsPlan};
use segue_model::{Epoch, Fault, RunId, Side, Sides, UnitName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Who a front is and in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Name of the front.
    pub name: String,
    /// The side at whose address it listens.
    pub side: Side,
    /// Process id of the one that serves.
    pub pid: u32,
    /// Process id of the one that holds its ports: signals are for that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<i32>,
    /// Version of the program.
    pub version: String,
    /// The ports it serves.
    pub ports: Vec<PortStatus>,
    /// Whether it takes new connections; false from bypass on, at all ports alike, and while the
    /// packet filter does not lead them to it that should.
    pub listening: bool,
    /// The run that claimed it.
    pub claim: Option<RunId>,
    /// Highest epoch seen since the claim.
    pub epoch: Epoch,
    /// Highest generation in force, over all units.
    pub generation: u64,
    /// Now, by the boot clock.
    pub boot_ms: u64,
    /// Since when it runs.
    pub started_ms: u64,
    /// How many units have a route.
    pub unit_count: usize,
    /// The unit that was asked about, if it has a route.
    pub units: Vec<UnitStatus>,
}

impl Hello {
    /// Returns the state of a unit.
    pub fn unit(&self, name: &UnitName) -> Option<&UnitStatus> {
        self.units.iter().find(|u| &u.unit == name)
    }
}

/// A port of a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// What clients speak there.
    pub kind: PortKind,
    /// Its address.
    pub listen: SocketAddr,
    /// Whether it stands before a live server on the same port.
    pub taken_over: bool,
    /// The port at which the front listens, if the packet filter leads connections there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<u16>,
    /// Whether it joined a live server that shares the port.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
    /// Where its certificates are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPlan>,
    /// Where connections of a port for TCP go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpPlan>,
    /// Whether trusted proxies say with the PROXY protocol who a client is.
    #[serde(default)]
    pub proxy_in: bool,
    /// What was read there; none where clients speak in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
}

/// The certificates of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// Certificates with their keys.
    pub pairs: usize,
    /// Host names they are for.
    pub names: usize,
    /// When one was last taken or let go, by the boot clock.
    pub changed_ms: u64,
    /// What could not be used at the last look; ten at most. Where a certificate was read
    /// before, it stays in use.
    pub faults: Vec<Fault>,
}

/// A unit as a front knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// The unit.
    pub unit: UnitName,
    /// Its sites.
    pub sites: Vec<SiteRoute>,
    /// The side that takes its requests.
    pub write_side: Side,
    /// Its hold.
    pub hold: HoldStatus,
    /// Requests now at a backend, streams not counted.
    pub in_flight: usize,
    /// Open streams.
    pub streams: usize,
    /// Requests that wait, because of a hold or to be released.
    pub held: usize,
    /// Servers that do not answer, and get no requests; of sites with several only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out: Vec<SocketAddr>,
    /// Its split, also one that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitStatus>,
    /// Its copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorRoute>,
    /// What its requests meet during a hold.
    #[serde(default)]
    pub policy: HoldPolicy,
}

/// Whether and how a unit is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum HoldStatus {
    /// Requests pass.
    Open,
    /// Requests wait until released or until the lease is over.
    Leased {
        /// The hold.
        hold_id: HoldId,
        /// What is left of the lease.
        left_ms: u64,
    },
    /// Requests wait until released.
    Sealed {
        /// The hold.
        hold_id: HoldId,
    },
    /// Requests that waited are being let through, newer ones behind them.
    Releasing,
}

/// A request at a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its method.
    pub method: String,
    /// Its path, without query.
    pub path: String,
    /// How long it runs, milliseconds.
    pub age_ms: u64,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {} ms", self.method, self.path, self.age_ms)
    }
}

/// Counters since the front started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Those that failed in the client's view: 5xx (the 503 of a hold too) or cut off by the backend.
    pub failed: u64,
    /// Longest time from a request's head to the end of its answer, time held included.
    pub longest_ms: f64,
}

/// One second of one side. The times are answer times of the side: from forwarding a
/// request to the head of its answer, time held not included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The second, by the boot clock, in which the window ended.
    pub second: u64,
    /// Requests answered.
    pub count: u64,
    /// Those that failed in the client's view.
    pub failed: u64,
    /// Those answered with 4xx.
    #[serde(default)]
    pub refused: u64,
    /// Client addresses, nearly: at most 64 are told apart.
    #[serde(default)]
    pub clients: u64,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

/// One hold, past or present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldRecord {
    /// The unit.
    pub unit: UnitName,
    /// The hold.
    pub hold_id: HoldId,
    /// When it began.
    pub began_ms: u64,
    /// When it was released or lapsed; none while it lasts.
    pub released_ms: Option<u64>,
    /// Where it was released to.
    pub released_to: Option<Side>,
    /// Requests that waited.
    pub held_count: u64,
    /// Longest wait of a request that was let through.
    pub held_max_ms: f64,
    /// Requests answered 503 because they waited too long or were too many.
    pub refused_503: u64,
    /// Streams ended because of the hold.
    pub closed_streams: u64,
    /// Whether it ended by itself.
    pub lapsed: bool,
}

/// What a front counts at its ports for TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpTotals {
    /// Connections that came as far as a backend.
    pub connections: u64,
    /// Those that found none, or waited in vain.
    pub failed: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
}

/// A client that came to the address which its unit has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Straggler {
    /// The unit.
    pub unit: UnitName,
    /// The client's address.
    pub client: IpAddr,
    /// Its requests and connections since then, by the side they were sent to.
    pub sides: Sides<u64>,
    /// When it was last seen, by the boot clock.
    pub last_ms: u64,
}

/// Everything a front counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Now, by the boot clock.
    pub boot_ms: u64,
    /// Requests of units, by the side they were sent to; those relayed not included.
    pub sides: Sides<Totals>,
    /// Requests of the run's own probes; they stand in `sides` too.
    #[serde(default)]
    pub probes: Totals,
    /// Requests of units that came through another front, as their `X-Segue-Via` says.
    #[serde(default)]
    pub relayed: Totals,
    /// Requests for hosts that belong to no unit.
    pub other: Totals,
    /// Connections at ports for TCP, and those whose TLS goes by unread, by the side they were sent to.
    #[serde(default)]
    pub tcp: Sides<TcpTotals>,
    /// Clients that came to this front while their unit was at the other side: those that came
    /// last, the latest first; a hundred at most.
    #[serde(default)]
    pub stragglers: Vec<Straggler>,
    /// How many there were, of the latest four thousand of all units.
    #[serde(default)]
    pub straggler_count: usize,
    /// When the last of them was seen for whom there was no room, by the boot clock; none if all
    /// are remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub straggler_dropped_ms: Option<u64>,
    /// Those of the last 120 seconds of each side in which requests were answered, oldest
    /// first.
    pub windows: Sides<Vec<Window>>,
    /// Holds since the front started, and those it knew before; oldest first, the latest
    /// thousand.
    pub holds: Vec<HoldRecord>,
    /// Requests refused because they can be read in two ways: where they end, for whom they
    /// are, or what they ask.
    #[serde(default)]
    pub unclear: u64,
    /// TLS handshakes that came to no end: no certificate for the name, nothing in common,
    /// something else than TLS, or too slow.
    #[serde(default)]
    pub unshaken: u64,
    /// Client connections now open.
    pub connections: u64,
    /// Client connections taken so far.
    pub accepted: u64,
    /// Client connections refused: too many, too many of one client, or without the PROXY
    /// header that belongs there. So are requests of HTTP/2 that would have taken the place of one;
    /// they count among those of no unit that failed, too.
    #[serde(default)]
    pub turned_away: u64,
    /// What visitors met at both sides of a split; of one unit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Box<Trial>>,
    /// What copies of requests showed; of one unit only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Box<Mirrored>>,
}
