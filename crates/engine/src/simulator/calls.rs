//! What a run does: looking, draining, or a call whose answers are waited for.

use super::books::{found, read};
use super::dice::Disturbance as D;
use super::mutant::Mutant;
use super::tables::Act;
use super::{Sim, Stop};
use segue_model::side::Way;
use segue_model::{EffectLeft, Fault, FaultKind};
use serde_json::Value;

/// What became of a run: done with an output, failed, or broken off by a wish.
pub(super) enum Ran {
    Done(Value),
    Failed(Fault),
    BrokenOff,
}

impl Sim {
    pub(super) fn look(&mut self, c: usize) -> Result<Ran, Stop> {
        self.pass(10)?;
        if self.strikes(D::Refused) {
            return Ok(Ran::Failed(self.fault(EffectLeft::None)));
        }
        Ok(if self.turned(c) { Ran::BrokenOff } else { Ran::Done(Value::Null) })
    }

    /// Waits until the other side has everything up to the fence's position.
    pub(super) fn drain(&mut self, c: usize, limit: u64) -> Result<Ran, Stop> {
        let until = self.world.now + limit;
        let way = self.courses[c].way();
        let units = self.courses[c].units.clone();
        loop {
            let output = self.fence_output(c);
            let behind = |(number, unit): (usize, &usize)| {
                self.world.units[*unit].store(way.to()).applied < read(output, number).0
            };
            let skipped = self.lacks(Mutant::FailbackWithoutDrain) && way == Way::Back;
            if skipped || !units.iter().enumerate().any(behind) {
                return Ok(Ran::Done(Value::Null));
            }
            if self.turned(c) {
                return Ok(Ran::BrokenOff);
            }
            if self.world.now >= until {
                return Ok(Ran::Failed(self.fault(EffectLeft::None)));
            }
            self.pass(10)?;
        }
    }

    pub(super) fn verify(&mut self, c: usize) -> Result<Ran, Stop> {
        let damaged = self.courses[c].units.iter().any(|u| self.world.units[*u].damaged);
        if damaged && !self.lacks(Mutant::VerifySkipped) {
            self.pass(10)?;
            return Ok(Ran::Failed(self.fault(EffectLeft::None)));
        }
        self.look(c)
    }

    /// Returns position and fence of every unit as they are now.
    pub(super) fn found_at_fence(&self, c: usize, place: usize, call: u64) -> Value {
        if self.courses[c].rows[place].act != Act::Fence {
            return Value::Null;
        }
        let from = self.courses[c].way().from();
        let of = |unit: &usize| (self.world.units[*unit].store(from).wrote, call);
        found(&self.courses[c].units.iter().map(of).collect::<Vec<_>>())
    }

    /// Sends a step or its undo, and waits for the answers of all parts.
    pub(super) fn call(
        &mut self,
        c: usize,
        place: usize,
        undo: bool,
        limit: u64,
    ) -> Result<Ran, Stop> {
        if self.strikes(D::Refused) {
            self.pass(10)?;
            return Ok(Ran::Failed(self.fault(EffectLeft::None)));
        }
        let early = self.found_at_fence(c, place, self.calls + 1);
        let until = self.world.now + limit;
        let answer_lost = self.strikes(D::AnswerLost);
        let slow = self.strikes(D::Slow);
        let from = self.flights.len();
        let parts = self.parts(c, place).len();
        let call = self.send(c, place, undo, slow);
        if self.strikes(D::CallLost) && self.flights.len() > from {
            let lost = from + self.disturbances.amount((self.flights.len() - from) as u64) as usize;
            self.flights.remove(lost);
        }
        self.may_die()?;
        if self.strikes(D::Abort) {
            self.wish_back(c);
        }
        let any = !undo
            && self.courses[c].rows[place].act == Act::Hold
            && self.lacks(Mutant::HoldNotAcknowledgedByAll);
        loop {
            let mistaken = self.lacks(Mutant::AnswerMistaken);
            let mine =
                |reply: &&super::wire::Reply| reply.call == call || (mistaken && reply.course == c);
            let (mut taken, mut refused) = (0, 0);
            for reply in self.replies.iter().filter(mine) {
                *(if reply.taken { &mut taken } else { &mut refused }) += 1;
            }
            if refused > 0 {
                self.replies.clear();
                let fault = Fault::new("SG0621", FaultKind::LeaseLost, "simulate", "refused");
                return Ok(Ran::Failed(fault.leaving(EffectLeft::Maybe)));
            }
            if (taken >= parts || (any && taken > 0)) && !answer_lost {
                self.replies.retain(|reply| reply.course != c);
                let late = self.found_at_fence(c, place, call);
                let before = self.lacks(Mutant::PositionBeforeFence);
                return Ok(Ran::Done(if before { early } else { late }));
            }
            if !undo && self.turned(c) {
                return Ok(Ran::BrokenOff);
            }
            if self.world.now >= until {
                let fault = Fault::new("SG0621", FaultKind::Timeout, "simulate", "no answer");
                return Ok(Ran::Failed(fault.leaving(EffectLeft::Maybe)));
            }
            let left = until - self.world.now;
            self.pass(left.clamp(1, 10 + (limit - left) / 4))?;
        }
    }
}
