//! A request's right to be at a backend; ends when the backend is done with it.

use super::Gate;
use super::core::Phase;
use super::flights::Place;
use segue_model::Side;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// Keeps a request counted as running until dropped.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    place: Place,
    side: Side,
    /// Counts against the pacing of a release.
    paced: bool,
}

impl Pass {
    pub(super) fn direct(gate: &Arc<Gate>, place: Place, side: Side) -> Self {
        Self { gate: gate.clone(), place, side, paced: false }
    }

    pub(super) fn paced(gate: &Arc<Gate>, place: Place, side: Side) -> Self {
        Self { gate: gate.clone(), place, side, paced: true }
    }

    /// Returns the side the request goes to.
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// Returns whether the request had to wait.
    pub(crate) fn waited(&self) -> bool {
        self.paced
    }

    /// Returns whether a hold began after it was let through.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.gate.core().phase == Phase::Held
    }

    /// Declares the request a stream. Returns the token that ends it: at the next hold,
    /// or at once if one is in force already.
    pub(crate) fn become_stream(&mut self) -> CancellationToken {
        let gate = self.gate.clone();
        let mut core = gate.core();
        gate.flights.make_stream(self.place);
        let token = if core.phase == Phase::Held {
            core.note(|record| record.closed_streams += 1);
            let over = CancellationToken::new();
            over.cancel();
            over
        } else {
            core.streams_end.clone()
        };
        let orphans = self.unpace(&mut core);
        drop(core);
        drop(orphans);
        self.gate.ring();
        token
    }

    fn unpace(&mut self, core: &mut super::core::Core) -> Vec<Pass> {
        if !std::mem::take(&mut self.paced) {
            return Vec::new();
        }
        core.paced -= 1;
        if core.phase == Phase::Releasing { self.gate.admit(core) } else { Vec::new() }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.flights.leave(self.place);
        if self.paced {
            let gate = self.gate.clone();
            let mut core = gate.core();
            let orphans = self.unpace(&mut core);
            // An orphan takes the lock when it is dropped.
            drop(core);
            drop(orphans);
        }
        self.gate.ring();
    }
}

impl Gate {
    /// Wakes those who wait for the unit to become idle.
    pub(super) fn ring(&self) {
        if self.idle_waiters.load(Ordering::SeqCst) > 0 {
            self.left.notify_waiters();
        }
    }
}
