//! Calls on their way: what is sent, what lands when, and who answers.

use super::books::read;
use super::dice::Disturbance as D;
use super::mutant::Mutant;
use super::tables::Act;
use super::world::{Front, Hold, Lease, Mode, Store};
use super::{Sim, Stop};
use segue_model::event::Attempt;
use segue_model::{Epoch, Side, StepName};
use segue_port::Observed;
use serde_json::Value;

/// A resource that acts on messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Front(usize, usize),
    Store(usize, Side),
    /// Record sets of a unit.
    Zone(usize),
    /// Whatever a plain step switches on, by journal.
    Plain(usize),
}

/// One part of a call on its way to its resource.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) lands_at: u64,
    pub(super) epoch: Epoch,
    generation: u64,
    pub(super) course: usize,
    attempt: Attempt,
    place: usize,
    step: StepName,
    act: Act,
    undo: bool,
    at: At,
    /// Position and fence that a seal is about.
    fence: (u64, u64),
    pub(super) call: u64,
    /// Its sender was overtaken and cannot be ended from outside.
    pub(super) zombie: bool,
    /// A network brought it twice; nobody waits for its answer.
    pub(super) copy: bool,
}

/// The answer to one part of a call.
pub(super) struct Reply {
    pub(super) call: u64,
    pub(super) course: usize,
    pub(super) taken: bool,
}

impl Sim {
    /// Returns the resources of a step.
    pub(super) fn parts(&self, c: usize, place: usize) -> Vec<At> {
        let row = self.courses[c].rows[place];
        let way = self.courses[c].way();
        let units = self.courses[c].units.clone();
        let mut parts = Vec::new();
        for (number, unit) in units.into_iter().enumerate() {
            if row.only.is_some_and(|only| only != number) {
                continue;
            }
            match row.act {
                Act::Hold | Act::SealFronts | Act::Route => {
                    let fronts = self.world.units[unit].fronts.len();
                    parts.extend((0..fronts).map(|front| At::Front(unit, front)));
                }
                Act::Fence | Act::Seal => parts.push(At::Store(unit, way.from())),
                Act::Promote => parts.push(At::Store(unit, way.to())),
                Act::Publish => parts.push(At::Zone(unit)),
                Act::Look | Act::Plain | Act::Drain | Act::Verify => {}
            }
        }
        if row.act == Act::Plain {
            parts.push(At::Plain(c));
        }
        parts
    }

    /// Sends a step or its undo to every resource; some parts may be late or lost.
    pub(super) fn send(&mut self, c: usize, place: usize, undo: bool, slow: bool) -> u64 {
        self.calls += 1;
        let call = self.calls;
        let course = &self.courses[c];
        let (act, step) = (course.rows[place].act, course.shape.steps[place].name.clone());
        let attempt = course.attempt;
        for at in self.parts(c, place) {
            self.generation += 1;
            let mut lands_at = self.world.now + self.dice.between(2, 30);
            if slow {
                lands_at += self.disturbances.amount(800);
            }
            if self.strikes(D::Late) {
                lands_at += 200 + self.disturbances.amount(6000);
            }
            let mut flight = Flight {
                lands_at,
                epoch: self.epoch,
                generation: self.generation,
                course: c,
                attempt,
                place,
                step: step.clone(),
                act,
                undo,
                at,
                fence: self.fence_of(c, at),
                call,
                zombie: false,
                copy: false,
            };
            if matches!(at, At::Front(..)) && self.strikes(D::Twice) {
                let copy = Flight {
                    lands_at: lands_at + self.disturbances.amount(3000),
                    copy: true,
                    ..flight.clone()
                };
                self.flights.push(copy);
            }
            if self.lacks(Mutant::LeaseNotCheckedAtSeal) && act == Act::Seal && !undo {
                flight.fence.0 = self.position_seen(at, flight.fence.0);
            }
            self.flights.push(flight);
        }
        call
    }

    /// The mistaken seal compares the position before it locks: a marker if it differs.
    fn position_seen(&self, at: At, position: u64) -> u64 {
        let At::Store(unit, side) = at else { return position };
        let same = self.world.units[unit].store(side).wrote == position;
        if same { position } else { u64::MAX }
    }

    /// Returns what the fence's outcome in the journal says of the resource's unit.
    fn fence_of(&self, c: usize, at: At) -> (u64, u64) {
        let At::Store(unit, _) = at else { return (0, 0) };
        let number = self.courses[c].units.iter().position(|u| *u == unit).unwrap_or(0);
        read(self.fence_output(c), number)
    }

    pub(super) fn fence_output(&self, c: usize) -> Option<&Value> {
        let open = self.courses[c].books.unit().open.as_ref()?;
        open.steps.get(&StepName::from("fence"))?.output.as_ref()
    }

    /// Lets everything land that is due.
    pub(super) fn deliver(&mut self) {
        let now = self.world.now;
        loop {
            let due = self.flights.iter().enumerate().filter(|(_, f)| f.lands_at <= now);
            let Some((next, _)) = due.min_by_key(|(_, f)| f.lands_at) else { return };
            let flight = self.flights.swap_remove(next);
            let taken = self.land(&flight);
            if !flight.copy {
                let (call, course) = (flight.call, flight.course);
                self.replies.push(Reply { call, course, taken });
            }
        }
    }

    /// Says whether the resource took the message.
    fn land(&mut self, flight: &Flight) -> bool {
        let (epoch, checked) = (flight.epoch, !self.lacks(Mutant::EpochNotChecked));
        let floor = self.floor(flight.at);
        if checked && epoch < *floor {
            return false;
        }
        *floor = epoch.max(*floor);
        if let At::Front(unit, front) = flight.at {
            let ordered = !self.lacks(Mutant::GenerationNotChecked) && !flight.zombie;
            let last = &mut self.world.units[unit].fronts[front].generation;
            if ordered && flight.generation <= *last {
                return false;
            }
            *last = flight.generation.max(*last);
        }
        if !self.act(flight) {
            return false;
        }
        let books = &self.courses[flight.course].books;
        if !books.knows(flight.attempt, &flight.step, flight.undo) {
            let verb = if flight.undo { "undo of" } else { "step" };
            self.world.breaks(format!("{verb} `{}` unknown to the journal", flight.step));
        }
        if self.traced {
            let verb = if flight.undo { "undone" } else { "in force" };
            self.note(format!("    {} {verb} at {:?}", flight.step, flight.at));
        }
        true
    }

    fn floor(&mut self, at: At) -> &mut Epoch {
        match at {
            At::Front(unit, front) => &mut self.world.units[unit].fronts[front].epoch,
            At::Store(unit, side) => &mut self.world.units[unit].store_mut(side).epoch,
            At::Zone(unit) => &mut self.courses[self.world.units[unit].joint].floor,
            At::Plain(c) => &mut self.courses[c].floor,
        }
    }

    /// Changes the world; false if the resource refuses.
    fn act(&mut self, flight: &Flight) -> bool {
        let way = flight.attempt.phase.way();
        let lease = Lease {
            epoch: flight.epoch,
            until: self.world.now + self.world.lease_ms,
            id: flight.call,
        };
        match flight.at {
            At::Front(unit, front) => {
                let now = self.world.now;
                let front = &mut self.world.units[unit].fronts[front];
                let (from, to) = (way.from(), way.to());
                at_front(front, flight, lease, [from, to], now)
            }
            At::Store(unit, side) => self.at_store(flight, lease, unit, side),
            At::Zone(unit) => {
                self.world.units[unit].published = if flight.undo { way.from() } else { way.to() };
                true
            }
            At::Plain(c) => {
                let bit = 1 << flight.place;
                let on = &mut self.courses[c].plain;
                *on = if flight.undo { *on & !bit } else { *on | bit };
                true
            }
        }
    }

    fn at_store(&mut self, flight: &Flight, lease: Lease, unit: usize, side: Side) -> bool {
        let unread =
            self.lacks(Mutant::PositionNotReadAgain) || self.lacks(Mutant::PositionBeforeFence);
        let blind = self.lacks(Mutant::LeaseNotCheckedAtSeal);
        let leased = self.lacks(Mutant::FenceOpensAfterSeal);
        let (position, fence) = flight.fence;
        let store = self.world.units[unit].store_mut(side);
        match (flight.act, flight.undo, store.mode) {
            (Act::Fence, false, Mode::Open) => store.mode = Mode::Fenced(lease),
            (Act::Fence, false, Mode::Fenced(_)) => store.mode = Mode::Fenced(lease),
            (Act::Fence, false, Mode::Sealed(_)) => return false,
            (Act::Fence, true, Mode::Fenced(_)) => self.world.open(unit, side),
            (Act::Seal, false, Mode::Sealed(of)) if of.id == fence => {}
            (Act::Seal, false, _) if blind => {
                if position == u64::MAX {
                    return false;
                }
                store.mode = Mode::Sealed(Lease { id: fence, ..lease });
            }
            (Act::Seal, false, Mode::Fenced(of)) => {
                if of.id != fence || (store.wrote != position && !unread) {
                    return false;
                }
                if !leased {
                    store.mode = Mode::Sealed(of);
                }
            }
            (Act::Seal, false, _) => return false,
            (Act::Seal, true, Mode::Sealed(of)) if of.id == fence => self.world.open(unit, side),
            (Act::Promote, false, Mode::Open) => {}
            (Act::Promote, false, _) => self.world.open(unit, side),
            (Act::Promote, true, _) => store.mode = Mode::Sealed(lease),
            _ => {}
        }
        true
    }

    /// Ends what a former attempt at the step sent; false if that cannot be shown.
    pub(super) fn quench(&mut self, c: usize, place: usize) -> bool {
        if self.lacks(Mutant::QuenchSkipped) {
            return true;
        }
        let mut ended = true;
        for at in self.parts(c, place) {
            if self.strikes(D::NotQuenched) {
                ended = false;
            } else {
                self.end_at(at);
            }
        }
        ended
    }

    /// Makes a resource refuse former epochs and ends the sessions there.
    pub(super) fn end_at(&mut self, at: At) {
        let epoch = self.epoch;
        let floor = self.floor(at);
        *floor = epoch.max(*floor);
        self.flights.retain(|flight| flight.at != at || flight.zombie || flight.epoch > epoch);
        // The locks of a fence end with the session that holds them.
        if let At::Store(unit, side) = at
            && let Mode::Fenced(lease) = self.world.units[unit].store(side).mode
            && lease.epoch < epoch
        {
            self.world.open(unit, side);
        }
    }

    /// Returns what the world says of a step.
    pub(super) fn observe(&mut self, c: usize, place: usize) -> Result<Observed, Stop> {
        let unknown = self.strikes(D::Unknown);
        self.pass(5)?;
        if unknown {
            return Ok(Observed::Unknown("simulated".into()));
        }
        let parts = self.parts(c, place);
        let applied = !parts.is_empty() && parts.iter().all(|at| self.in_force(c, place, *at));
        Ok(if applied { Observed::Applied(Value::Null) } else { Observed::NotApplied })
    }

    fn in_force(&self, c: usize, place: usize, at: At) -> bool {
        let to = self.courses[c].way().to();
        let act = self.courses[c].rows[place].act;
        match at {
            At::Front(unit, front) => {
                let front: &Front = &self.world.units[unit].fronts[front];
                match act {
                    Act::Hold => front.hold != Hold::Open,
                    Act::SealFronts => matches!(front.hold, Hold::Sealed(_)),
                    _ => front.hold == Hold::Open && front.route == to,
                }
            }
            At::Store(unit, side) => {
                let store: &Store = self.world.units[unit].store(side);
                match act {
                    Act::Fence => store.mode != Mode::Open,
                    Act::Seal => matches!(store.mode, Mode::Sealed(_)),
                    _ => store.mode == Mode::Open,
                }
            }
            At::Zone(unit) => self.world.units[unit].published == to,
            At::Plain(c) => self.courses[c].plain & (1 << place) != 0,
        }
    }
}

fn at_front(front: &mut Front, flight: &Flight, lease: Lease, way: [Side; 2], now: u64) -> bool {
    let [from, to] = way;
    match (flight.act, flight.undo, front.hold) {
        (Act::Hold, false, Hold::Sealed(_)) => {}
        (Act::Hold, false, _) => {
            (front.hold, front.lapsed) = (Hold::Leased(lease), false);
            front.held_since.get_or_insert(now);
        }
        (Act::SealFronts, false, Hold::Open) => return false,
        (Act::SealFronts, false, Hold::Leased(of) | Hold::Sealed(of)) => {
            front.hold = Hold::Sealed(of);
        }
        (Act::SealFronts, true, Hold::Sealed(_)) => front.hold = Hold::Leased(lease),
        (Act::Hold, true, _) | (Act::Route, false, _) => {
            front.route = if flight.undo { from } else { to };
            (front.hold, front.lapsed, front.held_since) = (Hold::Open, false, None);
        }
        _ => {}
    }
    true
}
