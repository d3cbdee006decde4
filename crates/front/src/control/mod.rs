//! The front's control protocol: what a controller may ask, and the answers.
//!
//! A Unix socket (mode 0600) carries one JSON object a line in each direction; a
//! connection carries any number of requests, answered in their order. A request
//! that waits ([`Request::WaitIdle`], [`Request::Bypass`]) keeps only its own
//! connection waiting: leases are renewed on a second one.
//!
//! **Who may change a front.** Every changing request carries a [`Mark`]: the run
//! that claimed the front, the epoch of the controller's lease and a generation
//! that only rises. A request of another run, of an epoch below the highest seen
//! or of a generation not above the last one is refused and changes nothing, so
//! that whatever a former controller still had under way cannot land later.
//!
//! **Several units.** A front has the units of one run, each with its own routes, holds,
//! counters and last generation: what is asked for one never supersedes what is asked for
//! another. A generation above that of the whole front is above that of every unit.

mod client;
mod mirror;
pub(crate) use client::LINE_MAX;
mod reach;
mod report;
mod split;

pub use client::Client;
pub use mirror::{MirrorRoute, Mirrored};
pub use reach::{Reach, ServerTls, Servers, Verify};
pub use report::{
    Certificates, Hello, HoldRecord, HoldStatus, PortStatus, Running, Stats, Straggler, TcpTotals,
    Totals, UnitStatus, Window,
};

pub use split::{SeenSide, SplitRoute, SplitStatus, Trial};

use segue_model::{Epoch, Fault, RunId, Side, Sides, UnitName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Name of one hold, chosen by the controller and never used twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(pub String);

impl From<&str> for HoldId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who changes the front, under which lease, as which change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The run that claimed the front.
    pub run: RunId,
    /// The lease's number; the highest one seen wins.
    pub epoch: Epoch,
    /// Rises with every change of a unit; [`Hello::generation`] is the highest in force.
    pub generation: u64,
}

/// Hosts that one application answers for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRoute {
    /// Host names without port, compared without regard to case.
    pub hosts: Vec<String>,
    /// The application's address at each side.
    pub backends: Sides<SocketAddr>,
    /// What is not plain about the way there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Box<Reach>>,
}

/// What a unit's requests meet during a hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPolicy {
    /// GET and HEAD on paths that begin so pass a hold, to where the unit is. They never count
    /// as running, for nobody waits for them to end.
    #[serde(default)]
    pub harmless_paths: Vec<String>,
    /// Most bytes that waiting requests hold; none sets no bound.
    #[serde(default)]
    pub bytes_max: Option<u64>,
    /// File with the answer to one that waits in vain, 64 KiB at most.
    #[serde(default)]
    pub page: Option<PathBuf>,
}

/// What a controller asks a front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Who are you, and how many units have you? Answered with [`Reply::Hello`], without
    /// the units: there may be thousands.
    Hello,
    /// The same, with the state of this unit.
    Greet {
        /// The unit.
        unit: UnitName,
    },
    /// Everything that was counted, with the latest thousand holds. Answered with
    /// [`Reply::Stats`].
    Stats,
    /// What was counted for one unit, in the same form; zero for one without a route.
    UnitStats {
        /// The unit.
        unit: UnitName,
    },
    /// Takes the front for a run, or raises the epoch of the run that has it.
    /// Refused if another run has the front or the epoch is lower than one seen.
    Claim {
        /// The run.
        run: RunId,
        /// Its lease.
        epoch: Epoch,
    },
    /// Gives the front free for another run. Refused while anything is held.
    /// Routes stay; the generation stays, the epoch begins anew with the next claim.
    Unclaim {
        /// Who asks.
        mark: Mark,
    },
    /// Says where a unit's requests go. Refused while the unit is held, if a host
    /// belongs to another unit, and if it would only move the unit to the other side:
    /// that is for [`Request::Release`] to do, under a hold.
    SetRoute {
        /// Who asks.
        mark: Mark,
        /// The unit; its former route is replaced.
        unit: UnitName,
        /// Its sites: all of them are held and released together.
        sites: Vec<SiteRoute>,
        /// The side that takes the unit's requests.
        write_side: Side,
        /// How many released requests may be at each side at once.
        concurrency: Sides<usize>,
    },
    /// Gives the target a share of the unit's requests that read, while the source is the write
    /// side; with 0 percent and no testers it ends. Nothing else of the route changes. Not
    /// while the unit is at the target.
    SetSplit {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
        /// The split; a former one is replaced.
        split: SplitRoute,
    },
    /// Says what a unit's requests meet during a hold. Nothing else of the route changes.
    /// Refused if the page cannot be read.
    SetHoldPolicy {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
        /// What they meet; a former one is replaced.
        policy: HoldPolicy,
    },
    /// Says which requests of a unit are copied for the target, or that none is. Nothing else of
    /// the route changes. Not while the unit is at the target; what was found before is forgotten.
    SetMirror {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
        /// The copies; former ones are replaced.
        mirror: Option<MirrorRoute>,
    },
    /// Begins a leased hold: from now on requests of the unit wait. Only if the
    /// unit is quiet: no running request's path begins with one of `slow_paths`
    /// and none runs longer than `quiet_age_ms`; otherwise [`Reply::Busy`], and
    /// nothing has changed. Check and begin are one step.
    Hold {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
        /// Name of the hold.
        hold_id: HoldId,
        /// Unrenewed for this long, the hold lapses: requests go to the write side.
        lease_ms: u64,
        /// A request running longer than this keeps the hold from beginning.
        quiet_age_ms: u64,
        /// A running request whose path begins so keeps the hold from beginning.
        slow_paths: Vec<String>,
        /// A request that waited this long is answered 503 with `Retry-After: 1`.
        age_max_ms: u64,
        /// So many requests wait at most; further ones are answered 503.
        count_max: usize,
    },
    /// Waits until no request of the unit runs at a backend; streams do not count.
    /// Answered with [`Reply::Idle`] or, when the time is over, [`Reply::Busy`].
    WaitIdle {
        /// The unit.
        unit: UnitName,
        /// How long to wait.
        timeout_ms: u64,
    },
    /// Renews a leased hold for another `lease_ms`. Carries no generation, so that
    /// it never competes with a change. Answered with [`Reply::Done`] or
    /// [`Reply::Lapsed`]; a sealed hold needs no renewal and answers `Done`.
    Renew {
        /// The run.
        run: RunId,
        /// Its lease.
        epoch: Epoch,
        /// The unit.
        unit: UnitName,
        /// The hold.
        hold_id: HoldId,
    },
    /// Makes a leased hold last until it is released, across a restart of the front
    /// too. Answered with [`Reply::Lapsed`] if it ever lapsed.
    SealHold {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
        /// The hold.
        hold_id: HoldId,
    },
    /// Turns a sealed hold into a leased one again.
    Unseal {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
        /// The hold.
        hold_id: HoldId,
        /// The lease from now on.
        lease_ms: u64,
    },
    /// Sends the unit to a side and releases what waits, in arrival order and never
    /// more at once than the side's concurrency. Answered with [`Reply::Lapsed`] if
    /// the hold lapsed and `to` is not the side that takes the requests already.
    /// Asked for a hold that is over, it answers `Done` if `to` is the write side.
    Release {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
        /// The hold.
        hold_id: HoldId,
        /// The write side from now on.
        to: Side,
    },
    /// Takes a unit's route away: its hosts go where those of no unit go. When the last
    /// unit leaves, so does the front, as by [`Request::Bypass`]. Refused while the unit's
    /// hold is sealed.
    Leave {
        /// Who asks.
        mark: Mark,
        /// The unit.
        unit: UnitName,
    },
    /// Leaves the way: no new connection is taken (a port that was taken over goes
    /// back to its server), open ones finish, then the process ends. Refused while a
    /// hold is sealed. Answered once the listening socket is closed.
    Bypass {
        /// Who asks.
        mark: Mark,
    },
}

impl Request {
    /// Returns the mark of a changing request.
    pub fn mark(&self) -> Option<&Mark> {
        match self {
            Self::Unclaim { mark }
            | Self::SetRoute { mark, .. }
            | Self::SetSplit { mark, .. }
            | Self::SetHoldPolicy { mark, .. }
            | Self::SetMirror { mark, .. }
            | Self::Hold { mark, .. }
            | Self::SealHold { mark, .. }
            | Self::Unseal { mark, .. }
            | Self::Release { mark, .. }
            | Self::Leave { mark, .. }
            | Self::Bypass { mark } => Some(mark),
            Self::Hello
            | Self::Greet { .. }
            | Self::Stats
            | Self::UnitStats { .. }
            | Self::Claim { .. }
            | Self::WaitIdle { .. }
            | Self::Renew { .. } => None,
        }
    }

    /// Returns the unit that a changing request is about; none if it is about the front.
    pub fn changed_unit(&self) -> Option<&UnitName> {
        match self {
            Self::SetRoute { unit, .. }
            | Self::SetSplit { unit, .. }
            | Self::SetHoldPolicy { unit, .. }
            | Self::SetMirror { unit, .. }
            | Self::Hold { unit, .. }
            | Self::SealHold { unit, .. }
            | Self::Unseal { unit, .. }
            | Self::Release { unit, .. }
            | Self::Leave { unit, .. } => Some(unit),
            _ => None,
        }
    }

    /// Returns whether the request may change the front.
    pub fn changes(&self) -> bool {
        self.mark().is_some() || matches!(self, Self::Claim { .. } | Self::Renew { .. })
    }

    /// Returns operation and object for messages: ``hold unit `shop` ``.
    pub fn what(&self) -> String {
        match self {
            Self::Hello | Self::Greet { .. } => "greet front".into(),
            Self::Stats | Self::UnitStats { .. } => "read counters of front".into(),
            Self::Claim { run, .. } => format!("claim front for run `{run}`"),
            Self::Unclaim { mark } => format!("give front free from run `{}`", mark.run),
            Self::SetRoute { unit, .. } => format!("set route of unit `{unit}`"),
            Self::SetSplit { unit, split, .. } => {
                format!("give the target {} % of unit `{unit}`", split.percent)
            }
            Self::SetHoldPolicy { unit, .. } => format!("set policy of holds of unit `{unit}`"),
            Self::SetMirror { unit, .. } => format!("set copies of requests of unit `{unit}`"),
            Self::Hold { unit, .. } => format!("hold unit `{unit}`"),
            Self::WaitIdle { unit, .. } => format!("wait for requests of unit `{unit}`"),
            Self::Renew { hold_id, .. } => format!("renew hold `{hold_id}`"),
            Self::SealHold { hold_id, .. } => format!("seal hold `{hold_id}`"),
            Self::Unseal { hold_id, .. } => format!("unseal hold `{hold_id}`"),
            Self::Release { unit, to, .. } => format!("release unit `{unit}` to {to}"),
            Self::Leave { unit, .. } => format!("take unit `{unit}` out of front"),
            Self::Bypass { .. } => "bypass front".into(),
        }
    }
}

/// What a front answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// State of the front.
    Hello(Hello),
    /// Counters of the front.
    Stats(Stats),
    /// The request is in force and, if it changed something, on disk.
    Done {
        /// The generation now in force.
        generation: u64,
    },
    /// Requests run that must not: the hold did not begin, or the wait was in vain.
    Busy {
        /// Some of them, the longest running first; ten at most.
        running: Vec<Running>,
        /// How many there are.
        count: usize,
    },
    /// No request of the unit runs at a backend.
    Idle {
        /// How long that took, milliseconds.
        waited_ms: u64,
    },
    /// The hold was not renewed in time: its requests went to the write side.
    Lapsed {
        /// The hold.
        hold_id: HoldId,
        /// When, by the boot clock of the front's machine, milliseconds.
        at_ms: u64,
    },
    /// Refused; the fault says what is left.
    Refused {
        /// Why.
        fault: Fault,
    },
}
