//! State of a gate that all its requests share; touched only while something waits.

use super::Weight;
use super::flights::Flight;
use super::pass::Pass;
use crate::clock;
use crate::control::{HoldId, HoldRecord, HoldStatus};
use segue_model::{Side, Sides, UnitName};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Most holds that are remembered.
const HISTORY_MAX: usize = 64;

/// What the gate does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Lets it pass.
    Open,
    /// Makes it wait.
    Held,
    /// Makes it wait behind those that are being released.
    Releasing,
}

/// A request that waits.
pub(super) struct Waiter {
    pub(super) ticket: u64,
    pub(super) hint: usize,
    pub(super) flight: Flight,
    pub(super) since_us: u64,
    pub(super) admit: oneshot::Sender<Pass>,
    pub(super) weight: Weight,
}

/// A hold in force.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) id: HoldId,
    pub(crate) lease_ms: u64,
    /// When the lease is over; none once sealed.
    pub(crate) ends_ms: Option<u64>,
    pub(crate) age_max_ms: u64,
    pub(crate) count_max: usize,
}

pub(super) struct Core {
    pub(super) unit: UnitName,
    pub(super) phase: Phase,
    pub(super) side: Side,
    pub(super) concurrency: Sides<usize>,
    pub(super) hold: Option<Hold>,
    /// In order of arrival; tickets rise.
    pub(super) queue: VecDeque<Waiter>,
    pub(super) next_ticket: u64,
    /// Released requests now at a backend.
    pub(super) paced: usize,
    pub(super) age_max: Duration,
    pub(super) count_max: usize,
    /// Bytes of the requests in the queue.
    pub(super) bytes: u64,
    pub(super) bytes_max: Option<u64>,
    /// Ends every stream opened before the next hold.
    pub(super) streams_end: CancellationToken,
    pub(super) history: VecDeque<HoldRecord>,
    /// What those were that are not remembered any more.
    pub(super) forgotten: HoldTotals,
}

/// What a unit's holds were, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HoldTotals {
    /// Holds.
    pub(crate) holds: u64,
    /// Requests that waited.
    pub(crate) waited: u64,
    /// Requests that were answered 503.
    pub(crate) refused: u64,
}

impl HoldTotals {
    fn add(&mut self, record: &HoldRecord) {
        self.holds += 1;
        self.waited += record.held_count;
        self.refused += record.refused_503;
    }
}

impl Core {
    pub(super) fn new(unit: UnitName, side: Side, concurrency: Sides<usize>) -> Self {
        Self {
            unit,
            phase: Phase::Open,
            side,
            concurrency,
            hold: None,
            queue: VecDeque::new(),
            next_ticket: 0,
            paced: 0,
            age_max: Duration::ZERO,
            count_max: 0,
            bytes: 0,
            bytes_max: None,
            streams_end: CancellationToken::new(),
            history: VecDeque::new(),
            forgotten: HoldTotals::default(),
        }
    }

    /// Takes a waiting request out; none if it does not wait any more.
    pub(super) fn take(&mut self, ticket: u64) -> Option<Waiter> {
        let at = self.queue.binary_search_by_key(&ticket, |w| w.ticket).ok()?;
        let waiter = self.queue.remove(at)?;
        self.bytes -= waiter.weight.bytes;
        Some(waiter)
    }

    /// Takes the request out that has waited for the longest time.
    pub(super) fn next(&mut self) -> Option<Waiter> {
        let waiter = self.queue.pop_front()?;
        self.bytes -= waiter.weight.bytes;
        Some(waiter)
    }

    /// Puts a hold in force and begins its record.
    pub(super) fn hold(&mut self, hold: Hold, closed_streams: usize) {
        self.age_max = Duration::from_millis(hold.age_max_ms);
        self.count_max = hold.count_max;
        if self.history.len() == HISTORY_MAX
            && let Some(record) = self.history.pop_front()
        {
            self.forgotten.add(&record);
        }
        self.history.push_back(HoldRecord {
            unit: self.unit.clone(),
            hold_id: hold.id.clone(),
            began_ms: clock::now_ms(),
            released_ms: None,
            released_to: None,
            held_count: 0,
            held_max_ms: 0.0,
            refused_503: 0,
            closed_streams: closed_streams as u64,
            lapsed: false,
        });
        self.hold = Some(hold);
        self.phase = Phase::Held;
        self.end_streams();
    }

    /// Ends every stream that is open.
    pub(super) fn end_streams(&mut self) {
        std::mem::replace(&mut self.streams_end, CancellationToken::new()).cancel();
    }

    /// Ends the hold in force in the books; the caller lets the requests through.
    pub(super) fn unhold(&mut self, to: Side, lapsed: bool) {
        self.hold = None;
        self.side = to;
        self.phase = Phase::Releasing;
        let now = clock::now_ms();
        self.note(|record| {
            record.released_ms = Some(now);
            record.released_to = Some(to);
            record.lapsed = lapsed;
        });
    }

    /// Puts former records before those that are known. What the disk said of a hold that was
    /// open counts, for its process did not see the end.
    pub(super) fn remember(&mut self, holds: &VecDeque<HoldRecord>) {
        let own: Vec<_> = self.history.iter().map(|record| record.hold_id.clone()).collect();
        let former = holds.iter().rev().filter(|former| !own.contains(&former.hold_id));
        for record in former {
            if self.history.len() < HISTORY_MAX {
                self.history.push_front(record.clone());
            }
        }
    }

    /// Returns what all holds were, also those that are not remembered any more.
    pub(super) fn hold_totals(&self) -> HoldTotals {
        let mut totals = self.forgotten;
        self.history.iter().for_each(|record| totals.add(record));
        totals
    }

    /// Changes the record of the latest hold.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut HoldRecord)) {
        if let Some(record) = self.history.back_mut() {
            change(record);
        }
    }

    /// Counts a request that was answered 503.
    pub(super) fn refuse(&mut self) {
        self.note(|record| record.refused_503 += 1);
    }

    pub(super) fn status(&self) -> HoldStatus {
        match (&self.hold, self.phase) {
            (Some(Hold { id, ends_ms: None, .. }), _) => HoldStatus::Sealed { hold_id: id.clone() },
            (Some(Hold { id, ends_ms: Some(ends), .. }), _) => HoldStatus::Leased {
                hold_id: id.clone(),
                left_ms: ends.saturating_sub(clock::now_ms()),
            },
            (None, Phase::Releasing) => HoldStatus::Releasing,
            (None, _) => HoldStatus::Open,
        }
    }
}
