//! Carries out what controllers ask: one change at a time, on disk before it is answered.

mod figures;
mod metrics;
mod routing;
mod rules;
mod serve;
mod succession;
mod told;

pub(crate) use serve::{ControlSocket, serve};

use crate::clock;
use crate::control::{HoldId, Reply, Request};
use crate::front::Front;
use crate::gate::{Begin, Change, Gate, Hold};
use crate::listen::Door;
use crate::mirror::Mirror;
use crate::policy::Policy;
use crate::routes::{Only, Site};
use crate::split::Split;
use crate::stats::Counts;
use crate::store::counts::{Pen, SavedFigures};
use crate::store::{Change as Next, Haste, Journal, Saved, SavedHold};
use arc_swap::ArcSwapOption;
use rules::{conflict, next, refused};
use segue_model::{EffectLeft, Fault, Side, UnitName};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// The front as its controllers see it.
pub(crate) struct Desk {
    front: Arc<Front>,
    door: Door,
    books: Mutex<Books>,
    /// Locked by whoever has the keeper guard the live servers or not, and before `books`: what
    /// the last one asks for is what the last change means. Others change and renew meanwhile.
    guarding: Mutex<()>,
    /// What was counted when another process was let go on; none before.
    handed: Mutex<Option<SavedFigures>>,
    /// Writes it.
    pen: Pen,
    /// Cancelled once another process answers controllers.
    superseded: CancellationToken,
}

/// What is on disk, and the units that live by it.
struct Books {
    journal: Journal,
    saved: Saved,
    units: BTreeMap<UnitName, Unit>,
    /// Whether the keeper was told that visitors must not reach the live servers.
    guarded: Option<bool>,
    /// Another process is about to go on from what is on disk: nothing is changed any more.
    handed_on: bool,
    /// A bypass began.
    leaves: bool,
}

/// A unit of the front.
#[derive(Clone)]
struct Unit {
    gate: Arc<Gate>,
    counts: Arc<Counts>,
    split: Arc<ArcSwapOption<Split>>,
    policy: Arc<ArcSwapOption<Policy>>,
    mirror: Arc<ArcSwapOption<Mirror>>,
    /// In the order of its saved sites.
    sites: Vec<Arc<Site>>,
}

impl Desk {
    /// Builds the desk from what a former process left: its routes, and a sealed hold
    /// still in force. A leased hold ended with the process that kept it.
    ///
    /// # Errors
    /// Those of [`Journal::open`].
    pub(crate) fn restore(front: Arc<Front>, door: Door) -> Result<Self, Fault> {
        let (journal, saved) = Journal::open(front.options().state.clone())?;
        let mut units = BTreeMap::new();
        for (name, unit) in &saved.units {
            let gate = Gate::new(name.clone(), unit.write_side, unit.concurrency.clone());
            if let Some(hold) = &unit.hold {
                rules::restore(&gate, name, hold, unit.write_side);
            }
            units.insert(name.clone(), routing::unit(&front, unit, gate, None));
        }
        // The keeper reads the same file.
        let guarded = Some(saved.guards());
        let books =
            Mutex::new(Books { journal, saved, units, guarded, handed_on: false, leaves: false });
        let (guarding, handed) = (Mutex::new(()), Mutex::new(None));
        let (pen, superseded) = (Pen::default(), CancellationToken::new());
        Ok(Self { front, door, books, guarding, handed, pen, superseded })
    }

    /// Puts the restored routes in force.
    pub(crate) async fn publish(&self) {
        let books = self.books.lock().await;
        let routes = self.front.routes();
        routes.set_run(books.saved.head.claim.clone());
        routes.change([], books.sites(books.saved.units.keys()));
        routes.set_only(books.only());
    }

    /// Carries out one request.
    pub(crate) async fn answer(&self, request: &Request) -> Reply {
        let outcome = match request {
            Request::Hello => Ok(Reply::Hello(self.hello(None).await)),
            Request::Greet { unit } => Ok(Reply::Hello(self.hello(Some(unit)).await)),
            Request::Stats => Ok(Reply::Stats(self.stats(None).await)),
            Request::UnitStats { unit } => Ok(Reply::Stats(self.stats(Some(unit)).await)),
            Request::WaitIdle { unit, timeout_ms } => self.wait_idle(unit, *timeout_ms).await,
            Request::Renew { run, epoch, unit, hold_id } => {
                let books = self.books.lock().await;
                let may = rules::may_act(&books.saved, run, *epoch, &request.what());
                match may.and_then(|()| books.may_change(&request.what())) {
                    Ok(()) => self.renew(&books, unit, hold_id, &request.what()),
                    Err(fault) => Err(fault),
                }
            }
            _ => self.change(request).await,
        };
        outcome.unwrap_or_else(|fault| Reply::Refused { fault })
    }

    /// Makes one change, and says to the keeper what it means for the live servers.
    async fn change(&self, request: &Request) -> Result<Reply, Fault> {
        let done = self.make(request).await;
        // What fails is tried again after the next change: whoever asked has waited long enough.
        // A hold changes nothing of it, and begins a pause.
        let failed = done.as_ref().is_err_and(|fault| fault.code == "SG0190");
        if !failed && !matches!(request, Request::Hold { .. }) {
            self.guard_as_saved().await;
        }
        done
    }

    async fn make(&self, request: &Request) -> Result<Reply, Fault> {
        // What takes its time is done before anybody else has to wait for the books.
        let unserved = match request {
            Request::Leave { .. } | Request::Bypass { .. } => self.front.options().unserved().await,
            _ => None,
        };
        // Kept until the hold is sealed: nobody has it unguarded in between.
        let _guarding = match request {
            Request::SealHold { unit, .. } => self.guard_for_seal(request, unit).await?,
            _ => None,
        };
        let mut books = self.books.lock().await;
        let mut next = next(&books.saved, request)?;
        books.may_change(&request.what())?;
        if let Request::Hold { .. } | Request::SealHold { .. } = request {
            self.may_hold(&books, &request.what())?;
        }
        match request {
            Request::SetRoute { mark, unit, sites, write_side, concurrency } => {
                let route = (sites.as_slice(), *write_side, concurrency);
                let route = routing::saved(unit, route, mark.generation, &books);
                self.set_route(&mut books, next, unit, route).await
            }
            Request::SetSplit { unit, split, .. } => {
                self.set_split(&mut books, next, unit, split).await
            }
            Request::SetHoldPolicy { unit, policy, .. } => {
                self.set_hold_policy(&mut books, next, unit, policy).await
            }
            Request::SetMirror { unit, mirror, .. } => {
                self.set_mirror(&mut books, next, unit, mirror.as_ref()).await
            }
            Request::Hold { .. } => self.hold(&mut books, next, request).await,
            Request::SealHold { unit, hold_id, .. } => {
                self.seal(&mut books, next, unit, hold_id).await
            }
            Request::Unseal { unit, hold_id, lease_ms, .. } => {
                if let Some(hold) = next.units.get_mut(unit).and_then(|u| u.hold.as_mut()) {
                    hold.sealed = false;
                    hold.lease_ms = *lease_ms;
                }
                let gate = books.gate(unit, &request.what())?;
                match gate.unseal(hold_id, *lease_ms) {
                    Change::Done => {
                        self.keep(&mut books, next, EffectLeft::Done, Haste::Pause).await
                    }
                    other => over(other, hold_id, &request.what()),
                }
            }
            Request::Release { unit, hold_id, to, .. } => {
                self.release(&mut books, next, unit, hold_id, *to).await
            }
            Request::Unclaim { .. } => {
                if books.units.values().any(|u| u.gate.is_held()) {
                    return Err(conflict(&request.what(), "a unit is held", "release it first"));
                }
                self.keep_run(&mut books, next).await
            }
            Request::Leave { unit, .. } => self.leave(books, next, unit, unserved).await,
            Request::Bypass { .. } => self.bypass(books, next, &request.what(), unserved).await,
            _ => self.keep_run(&mut books, next).await,
        }
    }

    /// Writes the next state and makes it the present one. `left` says what a failed
    /// write leaves behind: what was changed in memory before stays.
    async fn keep(
        &self,
        books: &mut Books,
        next: Next,
        left: EffectLeft,
        haste: Haste,
    ) -> Result<Reply, Fault> {
        let Books { journal, saved, .. } = books;
        let written = journal.write(saved, &next, haste).await;
        if written.is_ok() || left == EffectLeft::Done {
            saved.apply(next);
        }
        written.map_err(|fault| fault.leaving(left))?;
        Ok(Reply::Done { generation: saved.head.generation })
    }

    /// Writes who has the front.
    async fn keep_run(&self, books: &mut Books, next: Next) -> Result<Reply, Fault> {
        let done = self.keep(books, next, EffectLeft::None, Haste::None).await?;
        self.front.routes().set_run(books.saved.head.claim.clone());
        Ok(done)
    }

    async fn hold(
        &self,
        books: &mut Books,
        mut next: Next,
        request: &Request,
    ) -> Result<Reply, Fault> {
        let Request::Hold { unit, hold_id, lease_ms, age_max_ms, count_max, .. } = request else {
            return Err(refused("hold", "not a hold"));
        };
        let op = request.what();
        let (Some(quiet), gate) = (rules::quiet(request), books.gate(unit, &op)?) else {
            return Err(refused(&op, "not a hold"));
        };
        // One that was released may begin again: another front was busy, and all try once more.
        if gate.history().iter().any(|r| &r.hold_id == hold_id && r.lapsed) {
            let cause = format!("hold `{hold_id}` lapsed before");
            return Err(conflict(&op, &cause, "give the next hold a name of its own"));
        }
        if let Some(busy) = self.former_requests() {
            return Ok(busy);
        }
        // Looked at before anything is written, so that asking again and again is cheap.
        let (running, count) = gate.loud(&quiet);
        if count > 0 {
            return Ok(Reply::Busy { running, count });
        }
        let began_ms = clock::now_ms();
        if let Some(saved) = next.units.get_mut(unit) {
            saved.hold = Some(SavedHold {
                id: hold_id.clone(),
                sealed: false,
                lease_ms: *lease_ms,
                age_max_ms: *age_max_ms,
                count_max: *count_max,
                began_ms,
            });
        }
        // Written first: the sync would lengthen the pause. A leased hold on disk holds nothing.
        let Books { journal, saved, .. } = &mut *books;
        journal.write(saved, &next, Haste::Pause).await?;
        let hold = Hold {
            id: hold_id.clone(),
            lease_ms: *lease_ms,
            ends_ms: Some(clock::now_ms() + lease_ms),
            age_max_ms: *age_max_ms,
            count_max: *count_max,
        };
        match gate.begin(hold, &quiet) {
            Begin::Began => {
                if let Some(mirror) = books.units.get(unit).and_then(|u| u.mirror.load_full()) {
                    mirror.hold();
                }
                books.saved.apply(next);
                Ok(Reply::Done { generation: books.saved.head.generation })
            }
            Begin::Busy(running, count) => Ok(Reply::Busy { running, count }),
            Begin::Held(other) => {
                let cause = format!("hold `{other}` is in force");
                Err(conflict(&op, &cause, "release it first"))
            }
        }
    }

    async fn seal(
        &self,
        books: &mut Books,
        mut next: Next,
        unit: &UnitName,
        hold_id: &HoldId,
    ) -> Result<Reply, Fault> {
        let op = format!("seal hold `{hold_id}`");
        let gate = books.gate(unit, &op)?;
        let lease_ms = gate.held().map_or(0, |h| h.lease_ms);
        // In memory first: while the disk is written no lease may run out.
        let change = gate.seal(hold_id);
        if change != Change::Done {
            return over(change, hold_id, &op);
        }
        if let Some(hold) = next.units.get_mut(unit).and_then(|u| u.hold.as_mut()) {
            hold.sealed = true;
        }
        let kept = self.keep(books, next, EffectLeft::None, Haste::Pause).await;
        if kept.is_err() {
            gate.unseal(hold_id, lease_ms);
        }
        kept
    }

    async fn release(
        &self,
        books: &mut Books,
        mut next: Next,
        unit: &UnitName,
        hold_id: &HoldId,
        to: Side,
    ) -> Result<Reply, Fault> {
        let op = format!("release unit `{unit}` to {to}");
        let gate = books.gate(unit, &op)?;
        // In memory first: the pause ends here. After a crash before the disk is written
        // the unit is sealed again, which is safe, and the controller asks again.
        let change = gate.release(hold_id, to);
        if change != Change::Done {
            return over(change, hold_id, &op);
        }
        let ended = match next.units.get_mut(unit) {
            Some(saved) => {
                saved.write_side = to;
                saved.hold = None;
                if to == Side::Target {
                    saved.mirror = None;
                    routing::end_split(saved)
                } else {
                    None
                }
            }
            None => None,
        };
        let mirror = books.units.get(unit).and_then(|live| live.mirror.load_full());
        if let Some(mirror) = mirror.filter(|_| to == Side::Target) {
            mirror.end();
        }
        if let (Some(split), Some(live)) = (ended, books.units.get(unit)) {
            live.put_split(Some(split));
        }
        self.keep(books, next, EffectLeft::Done, Haste::Pause).await
    }

    fn renew(
        &self,
        books: &Books,
        unit: &UnitName,
        hold_id: &HoldId,
        op: &str,
    ) -> Result<Reply, Fault> {
        match books.gate(unit, op)?.renew(hold_id) {
            Change::Done => Ok(Reply::Done { generation: books.saved.head.generation }),
            other => over(other, hold_id, op),
        }
    }
}

impl Books {
    fn gate(&self, unit: &UnitName, op: &str) -> Result<Arc<Gate>, Fault> {
        match self.units.get(unit) {
            Some(unit) => Ok(unit.gate.clone()),
            None => Err(rules::no_such_unit(unit, op)),
        }
    }

    /// Returns the unit, if there is but one.
    fn only(&self) -> Option<Only> {
        let mut units = self.units.values();
        match (units.next(), units.next()) {
            (Some(Unit { gate, counts, .. }), None) => {
                Some(Only { gate: gate.clone(), counts: counts.clone() })
            }
            _ => None,
        }
    }

    /// Returns every host of some units with its site.
    fn sites<'a>(
        &'a self,
        units: impl IntoIterator<Item = &'a UnitName>,
    ) -> impl Iterator<Item = (&'a str, Arc<Site>)> {
        units.into_iter().flat_map(|name| {
            let saved = self.saved.units.get(name).map_or(&[][..], |unit| &unit.sites[..]);
            let live = self.units.get(name).map_or(&[][..], |unit| &unit.sites[..]);
            let sites = saved.iter().zip(live);
            sites.flat_map(|(saved, live)| {
                saved.hosts.iter().map(move |host| (host.as_str(), live.clone()))
            })
        })
    }
}

/// Answers for a hold that cannot be changed.
fn over(change: Change, hold_id: &HoldId, op: &str) -> Result<Reply, Fault> {
    match change {
        Change::Lapsed(at_ms) => Ok(Reply::Lapsed { hold_id: hold_id.clone(), at_ms }),
        Change::Done | Change::NoSuchHold => Err(rules::no_such_hold(hold_id, op)),
    }
}
