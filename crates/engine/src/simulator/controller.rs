//! The simulated executor: carries out what the real [`decide`] says, as the real one does.

use super::books::reads_only;
use super::calls::Ran;
use super::dice::Disturbance as D;
use super::mutant::Mutant;
use super::tables::{Act, BUDGET};
use super::{Course, Sim, Stop};
use crate::decide::{
    AfterFault, AfterObserved, Here, MOST_RUNS, Next, PATIENCE_MS, Wish, after_fault,
    after_observed, decide,
};
use segue_model::event::{Actor, Event};
use segue_model::state::{AttemptState, StepStatus};
use segue_model::table::Pause;
use segue_model::{EffectLeft, Fault, FaultKind, StepName};
use segue_port::Observed;
use serde_json::Value;

/// Tries of one undo before a person is asked, as in the executor.
const MOST_UNDOS: u32 = 8;
/// Time for whatever clears up, milliseconds.
const CLEAR_UP_MS: u64 = 5000;

impl Sim {
    /// One turn of the controller in a course whose attempt is open.
    pub(super) fn turn(&mut self, c: usize) -> Result<(), Stop> {
        if self.strikes(D::Abort) {
            self.wish_back(c);
        }
        let course = &self.courses[c];
        let Some(open) = &course.books.unit().open else { return Ok(()) };
        if open.table.is_none() {
            let table = course.shape.clone();
            return self.append(c, Event::TableFixed { table });
        }
        let mut next = decide(&course.shape, open, course.here, &course.wish);
        if let (Next::Undo(_), true) = (&next, self.lacks(Mutant::UndoForward)) {
            next = first_standing(course, open).map_or(next, Next::Undo);
        }
        match next {
            Next::Gate(place) => self.gate(c, place),
            Next::Intend(place) => self.intend(c, place),
            Next::Run(place) => self.run(c, place),
            Next::Recover(place) => self.recover(c, place, 0, self.world.now),
            Next::Undo(place) => self.undo(c, place),
            Next::Complete => self.append(c, Event::AttemptCompleted),
            Next::Withdraw { by, because } => {
                self.append(c, Event::WithdrawalStarted { by, because })
            }
            Next::Withdrawn => self.append(c, Event::AttemptWithdrawn),
            Next::Stuck(_) => self.person_mends(c),
        }
    }

    fn name(&self, c: usize, place: usize) -> StepName {
        self.courses[c].shape.steps[place].name.clone()
    }

    fn crossed(&self, c: usize) -> bool {
        self.courses[c].books.unit().open.as_ref().is_some_and(AttemptState::crossed)
    }

    /// Says whether a wish to turn back can still be followed.
    pub(super) fn turned(&self, c: usize) -> bool {
        matches!(self.courses[c].wish, Wish::TurnBack { .. }) && !self.crossed(c)
    }

    fn withdraw(&mut self, c: usize, because: &str) -> Result<(), Stop> {
        let by = Actor::Controller;
        self.append(c, Event::WithdrawalStarted { by, because: because.to_owned() })
    }

    /// Returns time used and reserved in the pause; `None` outside it or without a budget.
    fn pause_use(&self, c: usize, place: usize) -> Option<(u64, u64, u64)> {
        let course = &self.courses[c];
        let open = course.books.unit().open.as_ref()?;
        let budget = course.shape.budget.filter(|_| open.pause.ended.is_none() && !open.crossed());
        let (budget, began) = (budget?, open.pause.began?);
        let up_to_seal = course.shape.pause(Pause::Seal).is_none_or(|seal| place <= seal);
        let reserve = if up_to_seal && open.pause.sealed.is_none() { budget.reserve_ms } else { 0 };
        Some((self.world.now.saturating_sub(began.boot_ms), reserve, budget.limit_ms))
    }

    fn gate(&mut self, c: usize, place: usize) -> Result<(), Stop> {
        self.pass(3)?;
        let in_pause = self.pause_use(c, place);
        let spent = in_pause.is_some_and(|(used, reserve, limit)| used + reserve > limit);
        if spent && !self.lacks(Mutant::BudgetIgnored) {
            return self.withdraw(c, "the budget is spent");
        }
        let arm = self.courses[c].rows[place].act == Act::Look && place == 0;
        let streams = self.courses[c]
            .units
            .iter()
            .any(|u| self.world.units[*u].stopped_until > self.world.now);
        if self.strikes(D::Gate) || (arm && streams) {
            if self.crossed(c) {
                return self.pass(100);
            }
            if in_pause.is_some() || self.dice.chance(300) {
                return self.withdraw(c, "a gate");
            }
            return self.pass(200);
        }
        self.courses[c].here = Here::GatesPassed(place);
        self.courses[c].gate_passed = self.disturbances.happened.len();
        Ok(())
    }

    fn intend(&mut self, c: usize, place: usize) -> Result<(), Stop> {
        let mut tries = 0;
        let began = self.world.now;
        while self.strikes(D::Refused) {
            tries += 1;
            let fault = self.fault(EffectLeft::None);
            self.pass(20)?;
            if self.turned(c) {
                return Ok(());
            }
            match self.after_fault(c, place, &fault, tries) {
                AfterFault::Withdraw => return self.withdraw(c, "not prepared"),
                AfterFault::Recover
                    if tries >= MOST_RUNS && self.world.now - began >= PATIENCE_MS =>
                {
                    return self.stuck(c);
                }
                AfterFault::Recover | AfterFault::RunAgain => self.back_off(tries)?,
            }
        }
        let (step, epoch) = (self.name(c, place), self.epoch);
        if self.lacks(Mutant::IntentAfterEffect) {
            self.send(c, place, false, false);
            self.pass(40)?;
        }
        self.append(c, Event::StepIntended { step, prepared: Value::Null, epoch })?;
        self.courses[c].here = Here::Intended(place);
        if self.courses[c].moves() && self.courses[c].shape.no_return() == Some(place) {
            self.crossing(c);
        }
        Ok(())
    }

    /// Promise 8, judged from the clients: nobody waited longer than the budget when the
    /// point of no return was passed, unless something went wrong since the gates.
    fn crossing(&mut self, c: usize) {
        let course = &mut self.courses[c];
        let undisturbed = self.disturbances.happened.len() == course.gate_passed;
        course.calm_since = undisturbed.then_some(course.gate_passed);
        let course = &self.courses[c];
        let limit = BUDGET.limit_ms;
        let now = self.world.now;
        let paused = course.units.iter().map(|u| self.world.units[*u].paused_ms(now)).max();
        // A wish that came before the intent was being written is followed.
        if self.homeward && self.ticks > self.quiet_at + 2 {
            self.world.breaks("asked to go back, it passed the point of no return");
        } else if undisturbed && paused > Some(limit) {
            self.world.breaks("the point of no return was passed over budget");
        }
    }

    fn after_fault(&self, c: usize, place: usize, fault: &Fault, runs: u32) -> AfterFault {
        let course = &self.courses[c];
        match &course.books.unit().open {
            Some(open) => after_fault(&course.shape, open, place, fault, runs),
            None => AfterFault::Withdraw,
        }
    }

    fn run(&mut self, c: usize, place: usize) -> Result<(), Stop> {
        let began = self.world.now;
        let mut runs = 0;
        loop {
            runs += 1;
            let fault = match self.run_once(c, place)? {
                Ran::BrokenOff => return Ok(()),
                Ran::Done(output) => return self.done(c, place, output),
                Ran::Failed(fault) => fault,
            };
            match self.after_fault(c, place, &fault, runs) {
                AfterFault::RunAgain => {
                    self.failed(c, place, fault)?;
                    self.back_off(runs)?;
                    if self.turned(c) {
                        return Ok(());
                    }
                }
                AfterFault::Recover => {
                    self.failed(c, place, fault)?;
                    return self.recover(c, place, runs, began);
                }
                AfterFault::Withdraw => {
                    self.failed(c, place, fault)?;
                    return self.withdraw(c, "a fault");
                }
            }
        }
    }

    fn run_once(&mut self, c: usize, place: usize) -> Result<Ran, Stop> {
        self.courses[c].here = Here::Began;
        let limit = match self.pause_use(c, place) {
            Some((used, reserve, limit)) if !self.lacks(Mutant::BudgetIgnored) => {
                limit.saturating_sub(used + reserve).min(1000)
            }
            _ => 1000,
        };
        if self.lacks(Mutant::OutcomeBeforeEffect) {
            let output = self.found_at_fence(c, place, self.calls + 1);
            self.done(c, place, output)?;
            self.call(c, place, false, limit)?;
            return Ok(Ran::BrokenOff);
        }
        match self.courses[c].rows[place].act {
            Act::Drain => self.drain(c, limit),
            Act::Verify => self.verify(c),
            act if reads_only(act) => self.look(c),
            _ => self.call(c, place, false, limit),
        }
    }

    pub(super) fn fault(&mut self, left: EffectLeft) -> Fault {
        let kinds = [FaultKind::Busy, FaultKind::Denied, FaultKind::Unreachable];
        let kind = kinds[self.disturbances.amount(3) as usize];
        Fault::new("SG0621", kind, "simulate", "a fault").leaving(left)
    }

    fn recover(&mut self, c: usize, place: usize, runs: u32, began: u64) -> Result<(), Stop> {
        let (mut runs, mut asked) = (runs, 0);
        loop {
            if self.turned(c) {
                return Ok(());
            }
            let quenched = self.quench(c, place);
            let mut observed = Observed::Unknown("not quenched".into());
            if quenched {
                observed = self.observe(c, place)?;
            }
            let mut told = (observed, quenched);
            if matches!(told, (Observed::Unknown(_), _)) {
                if self.lacks(Mutant::UnknownAsApplied) {
                    told = (Observed::Applied(Value::Null), true);
                } else if self.lacks(Mutant::UnknownAsNotApplied) {
                    told = (Observed::NotApplied, true);
                }
            }
            let trouble_ms = self.world.now - began;
            let course = &self.courses[c];
            let Some(open) = &course.books.unit().open else { return Ok(()) };
            let (observed, quenched) = &told;
            match after_observed(&course.shape, open, place, observed, *quenched, runs, trouble_ms)
            {
                AfterObserved::Done(output) => return self.done(c, place, output),
                AfterObserved::RunAgain => {
                    if runs > 0 {
                        self.back_off(runs)?;
                    }
                    if self.turned(c) {
                        return Ok(());
                    }
                    runs += 1;
                    match self.run_once(c, place)? {
                        Ran::BrokenOff => return Ok(()),
                        Ran::Done(output) => return self.done(c, place, output),
                        Ran::Failed(fault) => self.failed(c, place, fault)?,
                    }
                }
                AfterObserved::AskAgain => {
                    asked += 1;
                    self.back_off(asked)?;
                }
                AfterObserved::UndoFirst => return self.undo(c, place),
                AfterObserved::Withdraw => return self.withdraw(c, "trouble"),
                AfterObserved::Stuck => {
                    if !self.crossed(c) {
                        self.world.breaks("stuck in a run before the point of no return");
                    }
                    return self.stuck(c);
                }
            }
        }
    }

    fn undo(&mut self, c: usize, place: usize) -> Result<(), Stop> {
        let (step, epoch) = (self.name(c, place), self.epoch);
        let open = self.courses[c].books.unit().open.as_ref();
        let status = open.and_then(|open| open.status(&step));
        if !matches!(status, Some(StepStatus::Undoing | StepStatus::UndoFailed { .. })) {
            self.append(c, Event::UndoIntended { step: step.clone(), epoch })?;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let fault = match self.undo_once(c, place)? {
                Ran::Done(_) | Ran::BrokenOff => break,
                Ran::Failed(fault) => fault,
            };
            if tries == 1 || tries == MOST_UNDOS {
                self.append(c, Event::UndoFailed { step: step.clone(), fault })?;
            }
            if tries == MOST_UNDOS {
                return self.stuck(c);
            }
            self.back_off(tries)?;
        }
        self.append(c, Event::UndoDone { step })
    }

    fn undo_once(&mut self, c: usize, place: usize) -> Result<Ran, Stop> {
        if !self.quench(c, place) {
            self.pass(50)?;
            return Ok(Ran::Failed(self.fault(EffectLeft::None)));
        }
        if reads_only(self.courses[c].rows[place].act) {
            return Ok(Ran::Done(Value::Null));
        }
        self.call(c, place, true, CLEAR_UP_MS)
    }

    fn done(&mut self, c: usize, place: usize, output: Value) -> Result<(), Stop> {
        let step = self.name(c, place);
        let appended = self.append(c, Event::StepDone { step, output });
        let course = &self.courses[c];
        let calm = course.calm_since == Some(self.disturbances.happened.len());
        if calm && course.shape.steps[place].pause == Pause::Ends {
            let pause = course.books.unit().open.as_ref().map(|open| open.pause);
            let took = pause.and_then(|p| Some(p.ended?.boot_ms.saturating_sub(p.began?.boot_ms)));
            if took > Some(BUDGET.limit_ms + BUDGET.reserve_ms) {
                self.world.breaks("an undisturbed pause took longer than its budget");
            }
        }
        appended
    }

    fn failed(&mut self, c: usize, place: usize, fault: Fault) -> Result<(), Stop> {
        let step = self.name(c, place);
        self.append(c, Event::StepFailed { step, fault })
    }

    fn stuck(&mut self, c: usize) -> Result<(), Stop> {
        self.stats.stuck += 1;
        self.append(c, Event::AttemptStuck { because: "trouble".into(), way_out: Vec::new() })
    }

    fn back_off(&mut self, tries: u32) -> Result<(), Stop> {
        self.pass((50 << tries.min(6)).min(5000))
    }
}

/// Returns the first step that is not undone: the wrong one to begin with.
fn first_standing(course: &Course, open: &AttemptState) -> Option<usize> {
    course
        .shape
        .steps
        .iter()
        .position(|step| !matches!(open.status(&step.name), None | Some(StepStatus::Undone)))
}
