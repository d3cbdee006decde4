//! The simulated resources: fronts, stores on both sides, streams between them, clients.
//!
//! The world judges. It knows nothing of tables and states; what it refuses to accept is
//! what a user would notice: two sides that take writes, a write that is missing, a request
//! that fails although its front should hold it.

use super::dice::Dice;
use super::mutant::Mutant;
use segue_model::{Epoch, Side};

/// A lease: who renews it and until when it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) epoch: Epoch,
    pub(super) until: u64,
    /// Which hold or fence it is.
    pub(super) id: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Open,
    Leased(Lease),
    Sealed(Lease),
}

/// What one front does for one unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front {
    pub(super) route: Side,
    pub(super) hold: Hold,
    /// Highest epoch and generation it was told.
    pub(super) epoch: Epoch,
    pub(super) generation: u64,
    /// Its hold ran out, so that it may be open while the side refuses.
    pub(super) lapsed: bool,
    pub(super) held_since: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    Fenced(Lease),
    /// Refuses for good; the lease tells which fence it was.
    Sealed(Lease),
}

/// One side's copy of a unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Store {
    pub(super) mode: Mode,
    /// Writes it took from clients.
    pub(super) wrote: u64,
    /// Of the other side's writes, those that came here.
    pub(super) applied: u64,
    pub(super) epoch: Epoch,
}

#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) joint: usize,
    pub(super) fronts: Vec<Front>,
    pub(super) stores: [Store; 2],
    /// The side that the zone names.
    pub(super) published: Side,
    /// The target's copy is damaged.
    pub(super) damaged: bool,
    /// The streams stand still until then.
    pub(super) stopped_until: u64,
}

impl Unit {
    fn new(joint: usize, fronts: u64) -> Self {
        let never = Lease { epoch: Epoch(0), until: 0, id: 0 };
        let store = |mode| Store { mode, wrote: 0, applied: 0, epoch: Epoch(0) };
        let front = Front {
            route: Side::Source,
            hold: Hold::Open,
            epoch: Epoch(0),
            generation: 0,
            lapsed: false,
            held_since: None,
        };
        Self {
            joint,
            fronts: vec![front; fronts as usize],
            stores: [store(Mode::Open), store(Mode::Sealed(never))],
            published: Side::Source,
            damaged: false,
            stopped_until: 0,
        }
    }

    pub(super) fn store(&self, side: Side) -> &Store {
        &self.stores[side as usize]
    }

    pub(super) fn store_mut(&mut self, side: Side) -> &mut Store {
        &mut self.stores[side as usize]
    }

    /// Says whether `side` has every write that the other one took.
    pub(super) fn whole(&self, side: Side) -> bool {
        self.store(side).applied == self.store(side.other()).wrote
    }

    /// Time for which some client has waited, milliseconds.
    pub(super) fn paused_ms(&self, now: u64) -> u64 {
        self.fronts.iter().filter_map(|f| Some(now - f.held_since?)).max().unwrap_or(0)
    }
}

/// Everything outside the controller.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) units: Vec<Unit>,
    /// Time for which an unrenewed hold or fence lasts, milliseconds.
    pub(super) lease_ms: u64,
    /// What a user would notice, as soon as it happened.
    pub(super) broken: Option<String>,
    mutant: Option<Mutant>,
    dice: Dice,
}

impl World {
    pub(super) fn new(seed: u64, joints: &[usize], mutant: Option<Mutant>) -> Self {
        let mut dice = Dice::new(seed ^ 0x776f_726c);
        let fronts = dice.between(1, 3);
        let lease_ms = [300, 800, 2000][dice.roll(3) as usize];
        let units = joints.iter().map(|joint| Unit::new(*joint, fronts)).collect();
        Self { now: 1000, units, lease_ms, broken: None, mutant, dice }
    }

    pub(super) fn breaks(&mut self, what: impl Into<String>) {
        self.broken.get_or_insert(what.into());
    }

    /// Lets a side take writes. From here on it must be the only one, and whole.
    pub(super) fn open(&mut self, unit: usize, side: Side) {
        self.units[unit].store_mut(side).mode = Mode::Open;
        let (joint, at) = (self.units[unit].joint, &self.units[unit]);
        if at.store(side.other()).mode == Mode::Open {
            self.breaks("two writers");
        } else if !at.whole(side) {
            self.breaks("a side takes writes that lacks acknowledged ones");
        } else if side == Side::Target && at.damaged {
            self.breaks("a damaged copy takes writes");
        }
        let apart =
            |unit: &Unit| unit.joint == joint && unit.store(side.other()).mode == Mode::Open;
        if self.units.iter().any(apart) {
            self.breaks("the units of a joint take writes on different sides");
        }
    }

    fn write(&mut self, unit: usize, side: Side) -> bool {
        let at = &mut self.units[unit];
        if at.store(side).mode != Mode::Open {
            return false;
        }
        let whole = at.whole(side);
        at.store_mut(side).wrote += 1;
        if !whole {
            self.breaks("a side took a write that lacks an acknowledged one");
        }
        true
    }

    /// A client comes to every front, and a writer that no front sees to the stores.
    fn clients(&mut self) {
        for unit in 0..self.units.len() {
            for front in 0..self.units[unit].fronts.len() {
                let at = self.units[unit].fronts[front];
                if at.hold == Hold::Open && !self.write(unit, at.route) && !at.lapsed {
                    self.breaks("a request failed at a front that should hold it");
                }
            }
            if self.dice.chance(300) {
                let side = if self.dice.chance(500) { Side::Source } else { Side::Target };
                self.write(unit, side);
            }
        }
    }

    fn streams(&mut self) {
        let now = self.now;
        for at in &mut self.units {
            if at.stopped_until > now {
                continue;
            }
            for side in [Side::Source, Side::Target] {
                let missing = at.store(side.other()).wrote - at.store(side).applied;
                let some = if self.dice.chance(700) { missing } else { missing / 2 };
                at.store_mut(side).applied += some;
            }
        }
    }

    /// Somebody with all rights writes where a leased fence stands.
    pub(super) fn intrude(&mut self) {
        for store in self.units.iter_mut().flat_map(|unit| &mut unit.stores) {
            if matches!(store.mode, Mode::Fenced(_)) {
                store.wrote += 1;
            }
        }
    }

    /// Renews what this controller holds, at the fronts and at the stores.
    fn renew(&mut self, epoch: Epoch, [fronts, stores]: [bool; 2]) {
        let until = self.now + self.lease_ms;
        for at in &mut self.units {
            for front in &mut at.fronts {
                if let Hold::Leased(lease) | Hold::Sealed(lease) = &mut front.hold
                    && lease.epoch == epoch
                    && fronts
                {
                    lease.until = until;
                }
            }
            for store in &mut at.stores {
                if let Mode::Fenced(lease) = &mut store.mode
                    && lease.epoch == epoch
                    && stores
                {
                    lease.until = until;
                }
            }
        }
    }

    /// Ends what was not renewed.
    fn lapse(&mut self) {
        let now = self.now;
        let forgets = self.mutant == Some(Mutant::HoldOpensAfterSeal);
        for unit in 0..self.units.len() {
            for front in &mut self.units[unit].fronts {
                match front.hold {
                    Hold::Leased(lease) if lease.until <= now => front.lapsed = true,
                    Hold::Sealed(lease) if lease.until <= now && forgets => {}
                    _ => continue,
                }
                (front.hold, front.held_since) = (Hold::Open, None);
            }
            for side in [Side::Source, Side::Target] {
                if let Mode::Fenced(lease) = self.units[unit].store(side).mode
                    && lease.until <= now
                {
                    self.open(unit, side);
                }
            }
        }
    }

    /// Lets a moment pass; `renewed` says where the controller of `epoch` lives and renews.
    pub(super) fn moment(&mut self, ms: u64, epoch: Epoch, renewed: [bool; 2]) {
        self.now += ms;
        self.renew(epoch, renewed);
        self.lapse();
        self.clients();
        self.streams();
    }

    /// Says whether the unit is in service at `side`, and only there.
    pub(super) fn serves(&self, unit: usize, side: Side) -> bool {
        let at = &self.units[unit];
        let open = |side| at.store(side).mode == Mode::Open;
        let fronts = at.fronts.iter().all(|f| f.hold == Hold::Open && f.route == side);
        open(side) && !open(side.other()) && fronts
    }
}
