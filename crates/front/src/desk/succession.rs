//! One process goes on where another one was: what each may do meanwhile.

use super::{Books, Desk, rules};
use crate::clock;
use crate::control::{HoldStatus, Reply, Request, Running};
use crate::keeper::{GUARDS, Kept};
use futures_util::FutureExt;
use segue_model::{EffectLeft, Fault, FaultKind, UnitName};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

impl Books {
    /// # Errors
    /// `SG0128` if another process is about to go on from what is on disk.
    pub(super) fn may_change(&self, op: &str) -> Result<(), Fault> {
        if !self.handed_on {
            return Ok(());
        }
        Err(Fault::new("SG0128", FaultKind::Busy, op, "the front's process is being replaced")
            .hint("ask again in a second"))
    }
}

impl Desk {
    /// Returns what ends once another process answers controllers.
    pub(super) fn superseded(&self) -> &CancellationToken {
        &self.superseded
    }

    /// Says whether another process may go on from what is on disk: no request waits here, and
    /// nothing is being changed. That may need an answer of the keeper, which is heard by whoever
    /// asks this. If so, nothing is changed any more.
    pub(crate) async fn hand_on(&self) -> bool {
        let Ok(mut books) = self.books.try_lock() else { return false };
        books.handed_on =
            books.units.values().all(|unit| unit.gate.view().hold == HoldStatus::Open);
        let handed_on = books.handed_on;
        drop(books);
        if handed_on {
            self.hand_figures_on().await;
        }
        handed_on
    }

    /// No other process came: this one goes on.
    pub(crate) async fn take_back(&self) {
        self.books.lock().await.handed_on = false;
        *self.handed.lock().await = None;
    }

    /// Leaves the controllers to the process that succeeds.
    pub(crate) fn supersede(&self) {
        self.superseded.cancel();
    }

    /// # Errors
    /// `SG0116` if the front leaves: new connections pass it by, whatever its gates do.
    pub(super) fn may_hold(&self, books: &Books, op: &str) -> Result<(), Fault> {
        if !books.leaves && self.door.leaving().now_or_never().is_none() {
            return Ok(());
        }
        let cause = "the front leaves: it takes no new connections any more";
        Err(rules::conflict(op, cause, "insert the front again, and hold the unit there"))
    }

    /// Returns the keeper, if visitors are kept from the live servers by the packet filter.
    fn filters(&self) -> Option<&Arc<Kept>> {
        self.door.kept().filter(|_| self.front.options().redirects())
    }

    /// Sees to it that visitors reach no live server, whoever dies, before a hold is sealed; that
    /// stays so as long as what is returned is kept. The books are not locked meanwhile, so whether
    /// the hold may be sealed is to be looked at afterwards.
    ///
    /// # Errors
    /// Those of whoever may not seal it; `SG0190` if the keeper cannot bring it about, or not soon
    /// enough.
    pub(super) async fn guard_for_seal(
        &self,
        request: &Request,
        unit: &UnitName,
    ) -> Result<Option<MutexGuard<'_, ()>>, Fault> {
        let Some(kept) = self.filters() else { return Ok(None) };
        let (op, until) = (request.what(), Instant::now() + GUARDS);
        if let Ok(guarding) = timeout_at(until, self.guarding.lock()).await {
            let mut books = self.books.lock().await;
            rules::next(&books.saved, request)?;
            books.may_change(&op)?;
            self.may_hold(&books, &op)?;
            books.gate(unit, &op)?;
            // What is not answered in time may be done later.
            books.guarded = None;
            drop(books);
            let guarded = kept.guard(true, until).await;
            let mut books = self.books.lock().await;
            if guarded {
                books.guarded = Some(true);
                return Ok(Some(guarding));
            }
            if !books.saved.guards() {
                // It may come about late, and nothing would end it if this front died.
                let _ = kept.wish_guarded(false).await;
            }
        }
        let cause = "the packet filter was not changed: the keeper's log says why";
        Err(Fault::new("SG0190", FaultKind::Unreachable, op, cause)
            .leaving(EffectLeft::None)
            .hint("look whether `nft` is there and may be used; then ask again"))
    }

    /// Sees to it that visitors reach no live server, whoever dies, if the last change means that,
    /// or that they may again. What fails is asked for anew after the next change.
    pub(super) async fn guard_as_saved(&self) {
        let Some(kept) = self.filters() else { return };
        let is_so = |books: &Books| books.guarded == Some(books.saved.guards());
        if is_so(&*self.books.lock().await) {
            return;
        }
        let until = Instant::now() + GUARDS;
        let Ok(_guarding) = timeout_at(until, self.guarding.lock()).await else { return };
        let mut books = self.books.lock().await;
        if is_so(&books) {
            return;
        }
        let guards = books.saved.guards();
        books.guarded = None;
        drop(books);
        if kept.guard(guards, until).await {
            self.books.lock().await.guarded = Some(guards);
        }
    }

    /// Ends the open streams of all units: their clients come back to whoever serves now.
    pub(crate) async fn end_streams(&self) {
        for unit in self.books.lock().await.units.values() {
            unit.gate.end_streams();
        }
    }

    /// Says that a unit is busy as long as the process before this one has requests.
    pub(super) fn former_requests(&self) -> Option<Reply> {
        let kept = self.door.kept().filter(|kept| !kept.is_alone())?;
        let running = Running {
            method: "any".into(),
            path: "(in the process before this one)".into(),
            age_ms: clock::now_ms().saturating_sub(self.front.started_ms()),
        };
        tracing::debug!(alone = kept.is_alone(), "requests run in the former process");
        Some(Reply::Busy { running: vec![running], count: 1 })
    }

    pub(super) async fn wait_idle(&self, unit: &UnitName, timeout_ms: u64) -> Result<Reply, Fault> {
        let gate = self.books.lock().await.gate(unit, "wait for requests")?;
        let (began_ms, timeout) = (clock::now_ms(), Duration::from_millis(timeout_ms));
        if let Some(kept) = self.door.kept() {
            // When the time is over that is what the answer is about.
            let _ = tokio::time::timeout(timeout, kept.alone()).await;
            if let Some(busy) = self.former_requests() {
                return Ok(busy);
            }
        }
        let waited_ms = clock::now_ms() - began_ms;
        let left = timeout.saturating_sub(Duration::from_millis(waited_ms));
        Ok(match gate.wait_idle(left).await {
            Ok(waited) => Reply::Idle { waited_ms: waited_ms + waited.as_millis() as u64 },
            Err((running, count)) => Reply::Busy { running, count },
        })
    }
}
