//! Beginning, keeping, sealing and ending a hold.

use super::Gate;
use super::core::{Core, Hold};
use super::flights::Quiet;
use super::pass::Pass;
use crate::clock;
use crate::control::{HoldId, HoldRecord, Running};
use segue_model::Side;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Outcome of an attempt to begin a hold.
pub(crate) enum Begin {
    /// It is in force.
    Began,
    /// Requests run that must not.
    Busy(Vec<Running>, usize),
    /// Another hold is in force.
    Held(HoldId),
}

/// Outcome of a change to a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is in force.
    Done,
    /// The hold lapsed before, at this time.
    Lapsed(u64),
    /// Another hold is in force, or none of that name was ever.
    NoSuchHold,
}

impl Gate {
    /// Begins a leased hold if the unit is quiet, in one step.
    pub(crate) fn begin(self: &Arc<Self>, hold: Hold, quiet: &Quiet<'_>) -> Begin {
        let mut core = self.core();
        let orphans = self.lapse_if_due(&mut core);
        let id = hold.id.clone();
        let outcome = match &core.hold {
            Some(other) => Begin::Held(other.id.clone()),
            None => match self.flights.close_if(quiet) {
                Ok(streams) => {
                    core.hold(hold, streams);
                    Begin::Began
                }
                Err((running, count)) => Begin::Busy(running, count),
            },
        };
        drop(core);
        drop(orphans);
        if matches!(outcome, Begin::Began) {
            self.watch_lease(id);
        }
        outcome
    }

    /// Returns what keeps a hold from beginning, changing nothing.
    pub(crate) fn loud(&self, quiet: &Quiet<'_>) -> (Vec<Running>, usize) {
        self.flights.loud(quiet)
    }

    /// Puts a sealed hold in force without a look at what runs: after a restart.
    pub(crate) fn restore_sealed(&self, hold: Hold) {
        let mut core = self.core();
        let nothing_counts = Quiet { age_us: u64::MAX, slow_paths: &[] };
        // Nothing runs yet, so that closing cannot be refused.
        if let Ok(streams) = self.flights.close_if(&nothing_counts) {
            core.hold(Hold { ends_ms: None, ..hold }, streams);
        }
    }

    /// Enters a hold into the books that ended with the former process.
    pub(crate) fn restore_lapsed(&self, record: HoldRecord) {
        self.core().history.push_back(record);
    }

    /// Renews the lease. A sealed hold needs none.
    pub(crate) fn renew(self: &Arc<Self>, id: &HoldId) -> Change {
        self.change(id, |core| {
            if let Some(hold) = &mut core.hold
                && hold.ends_ms.is_some()
            {
                hold.ends_ms = Some(clock::now_ms() + hold.lease_ms);
            }
        })
    }

    /// Takes the lease away: the hold lasts until it is released.
    pub(crate) fn seal(self: &Arc<Self>, id: &HoldId) -> Change {
        self.change(id, |core| {
            if let Some(hold) = &mut core.hold {
                hold.ends_ms = None;
            }
        })
    }

    /// Gives the hold a lease again.
    pub(crate) fn unseal(self: &Arc<Self>, id: &HoldId, lease_ms: u64) -> Change {
        let change = self.change(id, |core| {
            if let Some(hold) = &mut core.hold {
                hold.lease_ms = lease_ms;
                hold.ends_ms = Some(clock::now_ms() + lease_ms);
            }
        });
        if change == Change::Done {
            self.watch_lease(id.clone());
        }
        change
    }

    /// Sends the unit to `to` and lets the waiting requests through.
    ///
    /// For a hold that is over already it is done if the requests go to `to`.
    pub(crate) fn release(self: &Arc<Self>, id: &HoldId, to: Side) -> Change {
        let mut core = self.core();
        let orphans = self.lapse_if_due(&mut core);
        let change = match &core.hold {
            Some(hold) if &hold.id == id => Change::Done,
            Some(_) => Change::NoSuchHold,
            None if core.side == to => Change::Done,
            None => core.over(id),
        };
        let mut more = Vec::new();
        if change == Change::Done && core.hold.is_some() {
            core.unhold(to, false);
            self.flights.set_side(to);
            more = self.admit(&mut core);
        }
        drop(core);
        drop((orphans, more));
        change
    }

    /// Ends every open stream.
    pub(crate) fn end_streams(&self) {
        self.core().end_streams();
    }

    /// Returns the hold in force.
    pub(crate) fn held(&self) -> Option<Hold> {
        self.core().hold.clone()
    }

    fn change(self: &Arc<Self>, id: &HoldId, change: impl FnOnce(&mut Core)) -> Change {
        let mut core = self.core();
        let orphans = self.lapse_if_due(&mut core);
        let outcome = match &core.hold {
            Some(hold) if &hold.id == id => {
                change(&mut core);
                Change::Done
            }
            _ => core.over(id),
        };
        drop(core);
        drop(orphans);
        outcome
    }

    /// Ends the hold if its lease is over. Asked before every change, so that a lease
    /// is over on time even if the task that watches it is late.
    fn lapse_if_due(self: &Arc<Self>, core: &mut Core) -> Vec<Pass> {
        let due = core.hold.as_ref().and_then(|h| h.ends_ms).is_some_and(|e| clock::now_ms() >= e);
        if !due {
            return Vec::new();
        }
        let side = core.side;
        if let Some(hold) = &core.hold {
            tracing::warn!(unit = %self.unit, hold = %hold.id, %side, "hold lapsed, requests released");
        }
        core.unhold(side, true);
        self.admit(core)
    }

    fn watch_lease(self: &Arc<Self>, id: HoldId) {
        tokio::spawn(watch(Arc::downgrade(self), id));
    }

    /// Returns what is left of a lease; none if the hold is over or sealed.
    fn lease_left(self: &Arc<Self>, id: &HoldId) -> Option<Duration> {
        let mut core = self.core();
        let orphans = self.lapse_if_due(&mut core);
        let left = match &core.hold {
            Some(hold) if &hold.id == id => {
                hold.ends_ms.map(|ends| Duration::from_millis(ends.saturating_sub(clock::now_ms())))
            }
            _ => None,
        };
        drop(core);
        drop(orphans);
        left
    }
}

impl Core {
    /// Says what became of a hold that is not in force.
    fn over(&self, id: &HoldId) -> Change {
        match self.history.iter().rev().find(|r| &r.hold_id == id) {
            Some(record) if record.lapsed => Change::Lapsed(record.released_ms.unwrap_or_default()),
            _ => Change::NoSuchHold,
        }
    }
}

/// Sleeps until the lease is over, as often as it is renewed.
async fn watch(gate: Weak<Gate>, id: HoldId) {
    loop {
        let Some(left) = gate.upgrade().and_then(|gate| gate.lease_left(&id)) else { return };
        // Sleeps run by the monotonic clock; after a suspended machine wakes up, the
        // next look at the boot clock decides. At most a second of sleep keeps that short.
        tokio::time::sleep(left.clamp(Duration::from_millis(1), Duration::from_secs(1))).await;
    }
}
