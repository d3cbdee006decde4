//! The last routes and holds on disk: what a front knows after a restart.
//!
//! One file ([`journal`]): the state as it was, then every change since, each written and
//! synced by itself. A change of one unit costs what that unit needs, however many there are.

pub(crate) mod counts;
mod journal;
#[cfg(test)]
mod tests;

#[cfg(any(feature = "testing", debug_assertions))]
pub(crate) use journal::put;
pub(crate) use journal::{Haste, Journal};

use crate::control::{HoldId, HoldPolicy, HoldRecord, MirrorRoute, SiteRoute, SplitRoute};
use segue_model::{Epoch, Fault, FaultKind, RunId, Side, Sides, UnitName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

/// The holds of each unit that has a record of one, oldest first.
pub(crate) type SavedHolds = BTreeMap<UnitName, VecDeque<HoldRecord>>;

/// Everything that outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Who has the front.
    pub(crate) head: Head,
    /// Units that left, with their last generation: nothing of theirs may land later.
    pub(crate) left: BTreeMap<UnitName, u64>,
    /// Routes.
    pub(crate) units: BTreeMap<UnitName, SavedUnit>,
}

/// Who has the front, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The run that claimed the front.
    pub(crate) claim: Option<RunId>,
    /// Highest epoch seen.
    pub(crate) epoch: Epoch,
    /// Highest generation in force.
    pub(crate) generation: u64,
}

/// A unit's route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedUnit {
    /// Last generation in force.
    pub(crate) generation: u64,
    pub(crate) sites: Vec<SiteRoute>,
    pub(crate) write_side: Side,
    pub(crate) concurrency: Sides<usize>,
    /// The latest hold, unless it was released.
    pub(crate) hold: Option<SavedHold>,
    /// The latest split; one with 0 percent is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<SplitRoute>,
    /// Its copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mirror: Option<MirrorRoute>,
    /// What requests meet during a hold.
    #[serde(default)]
    pub(crate) policy: HoldPolicy,
}

/// A hold. Only a sealed one is in force after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedHold {
    pub(crate) id: HoldId,
    pub(crate) sealed: bool,
    pub(crate) lease_ms: u64,
    pub(crate) age_max_ms: u64,
    pub(crate) count_max: usize,
    pub(crate) began_ms: u64,
}

/// What one request changes. It is on disk as a whole or not at all, and stands for itself:
/// it holds whatever it touches as it shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Who has the front from now on. Without a claim, nobody's former units are remembered.
    pub(crate) head: Head,
    /// Units with their new routes or holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) units: BTreeMap<UnitName, SavedUnit>,
    /// Units that leave, with their last generation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) left: BTreeMap<UnitName, u64>,
}

impl Saved {
    /// Returns the last generation of a unit, or of the whole front.
    pub(crate) fn last_generation(&self, unit: Option<&UnitName>) -> u64 {
        match unit {
            None => self.head.generation,
            Some(unit) => {
                let routed = self.units.get(unit).map(|unit| unit.generation);
                routed.or_else(|| self.left.get(unit).copied()).unwrap_or(0)
            }
        }
    }

    /// Returns whether a unit is sealed or at the target: visitors must not reach the server in
    /// whose place the front stands.
    pub(crate) fn guards(&self) -> bool {
        let guarded = |unit: &SavedUnit| {
            unit.write_side == Side::Target || unit.hold.as_ref().is_some_and(|hold| hold.sealed)
        };
        self.units.values().any(guarded)
    }

    /// Makes a change part of the state.
    pub(crate) fn apply(&mut self, change: Change) {
        let Change { head, units, left } = change;
        if head.claim.is_none() {
            self.left.clear();
        }
        self.head = head;
        for (name, unit) in units {
            self.left.remove(&name);
            self.units.insert(name, unit);
        }
        for (name, generation) in left {
            self.units.remove(&name);
            self.left.insert(name, generation);
        }
    }
}

impl SavedUnit {
    /// Returns every host name.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &String> {
        self.sites.iter().flat_map(|site| &site.hosts)
    }
}

/// Says whether the front with this state file has a route of a unit; if it does not run, it
/// should. A file that cannot be read says so itself when the front is started.
pub fn has_route(state: &Path, unit: &UnitName) -> bool {
    match journal::read(state) {
        Ok(read) => read.saved.units.contains_key(unit),
        Err(_) => true,
    }
}

/// Says whether visitors must not reach the server whose port the front with this state file
/// took over: a unit is sealed or at the target. One that cannot be read may say so.
pub fn guards(state: &Path) -> bool {
    journal::read(state).map_or(true, |read| read.saved.guards())
}

fn fault(path: &Path, verb: &str, cause: &dyn std::fmt::Display) -> Fault {
    let op = format!("{verb} state of front `{}`", path.display());
    Fault::new("SG0120", FaultKind::Invalid, op, cause).hint(
        "make room and rights on the disk of the state file; never delete it during a cutover",
    )
}
