//! People, triggers and the commit timer: whatever starts an attempt or turns one round.

use super::dice::Disturbance as D;
use super::mutant::Mutant;
use super::tables::{self, Act};
use super::{Course, Sim, Stop};
use crate::decide::{Here, Wish};
use segue_model::event::{Actor, Event, Phase, WriteSide};
use segue_model::state::{EndedHow, Stage};
use segue_model::{Side, StepName};

/// Time that a person has to confirm, milliseconds.
const COMMIT_MS: u64 = 3000;

fn person() -> Actor {
    Actor::Person("admin".into())
}

impl Sim {
    pub(super) fn wish_back(&mut self, c: usize) {
        self.courses[c].wish = Wish::TurnBack { by: person(), because: "asked".into() };
    }

    /// What happens in a course while no attempt is open.
    pub(super) fn rest(&mut self, c: usize) -> Result<(), Stop> {
        let course = &self.courses[c];
        let (stage, may_move) = (course.books.unit().stage, course.moves_left > 0);
        let home = self.homeward && self.disturbances.ended();
        match stage {
            Stage::Fresh | Stage::Synced | Stage::Prepared if home => {
                self.courses[c].over = true;
                Ok(())
            }
            Stage::Fresh => self.begin(c, Phase::Sync, Actor::Controller),
            Stage::Synced => self.begin(c, Phase::Prepare, Actor::Controller),
            Stage::Prepared if may_move && !self.disturbances.ended() => self.set_out(c),
            Stage::Watching => self.watch(c),
            Stage::Confirmed if may_move && self.strikes(D::Rollback) => {
                self.begin(c, Phase::Failback, person())
            }
            Stage::Confirmed if self.dice.chance(300) => self.begin(c, Phase::Settle, person()),
            Stage::Prepared | Stage::Confirmed | Stage::Settled => {
                self.courses[c].over = true;
                Ok(())
            }
        }
    }

    /// A unit that is prepared is cut over, now and then after a split, or after one that was
    /// taken back again.
    fn set_out(&mut self, c: usize) -> Result<(), Stop> {
        let past = self.courses[c].books.unit().history.last().map(|past| past.state.attempt.phase);
        let phase = match past {
            Some(Phase::Split) if self.dice.chance(200) => Phase::Unsplit,
            Some(Phase::Split | Phase::Unsplit) => Phase::Cutover,
            _ if self.dice.chance(150) => Phase::Split,
            _ => Phase::Cutover,
        };
        self.begin(c, phase, person())
    }

    fn begin(&mut self, c: usize, phase: Phase, by: Actor) -> Result<(), Stop> {
        let timer = by == Actor::Trigger("commit timer".into());
        let confirmed = self.courses[c].books.unit().stage == Stage::Confirmed;
        if confirmed && matches!(by, Actor::Trigger(_)) {
            self.world.breaks("a failback by itself although a person confirmed");
        }
        if timer && !self.courses[c].watched {
            self.world.breaks("a failback by itself although nobody watched");
        }
        let damaged = phase == Phase::Cutover && self.strikes(D::Damage);
        let stops = self.strikes(D::StreamStops);
        let stopped_until = if stops { self.world.now + self.disturbances.amount(5000) } else { 0 };
        for unit in self.courses[c].units.clone() {
            self.world.units[unit].damaged |= damaged;
            self.world.units[unit].stopped_until = stopped_until;
        }
        let mutant = self.mutant;
        let course = &mut self.courses[c];
        (course.shape, course.rows) = tables::table(phase, mutant, course.units.len());
        course.attempt = course.books.unit().next_attempt(phase);
        (course.here, course.plain) = (Here::Began, 0);
        if course.moves() {
            course.moves_left = course.moves_left.saturating_sub(1);
        }
        self.courses[c].wish = Wish::Forward;
        let attempt = self.courses[c].attempt;
        self.append(c, Event::AttemptStarted { attempt, by, because: String::new() })
    }

    /// Appends an event if its state still allows it: of two that exclude each other, the
    /// first wins.
    fn append_if(&mut self, c: usize, event: Event) -> Result<bool, Stop> {
        let allowed = self.courses[c].books.allows(&event);
        if allowed {
            self.append(c, event)?;
        }
        Ok(allowed)
    }

    /// A unit is at the target: triggers, the commit timer and people may act.
    fn watch(&mut self, c: usize) -> Result<(), Stop> {
        let ms = self.dice.between(50, 600);
        self.pass(ms)?;
        let state = self.courses[c].books.unit();
        let waits = state.refused.is_some();
        let due = state
            .watching_since
            .is_some_and(|since| self.world.now.saturating_sub(since.boot_ms) >= COMMIT_MS);
        // The timer looks first and acts later: a person may come in between.
        if self.strikes(D::Confirm) || self.disturbances.ended() {
            return self.confirm_and(c, due && !waits);
        }
        if self.strikes(D::Rollback) && self.courses[c].moves_left > 0 {
            return self.begin(c, Phase::Failback, person());
        }
        if waits || self.courses[c].moves_left == 0 {
            // A person chooses, here to stay.
            return self.append_if(c, Event::Confirmed { by: person() }).map(drop);
        }
        if self.strikes(D::Trigger) {
            return self.trigger(c);
        }
        if due { self.timer(c) } else { Ok(()) }
    }

    fn confirm_and(&mut self, c: usize, due: bool) -> Result<(), Stop> {
        if self.append_if(c, Event::Confirmed { by: person() })? {
            self.stats.confirmed += 1;
        }
        if due && self.lacks(Mutant::TimerAfterConfirm) {
            return self.begin(c, Phase::Failback, Actor::Trigger("commit timer".into()));
        }
        Ok(())
    }

    fn trigger(&mut self, c: usize) -> Result<(), Stop> {
        let (trigger, because) = ("target_slow".to_owned(), "simulated".to_owned());
        if !self.append_if(c, Event::TriggerFired { trigger: trigger.clone(), because })? {
            return Ok(());
        }
        let stopped = |unit: &usize| self.world.units[*unit].stopped_until > self.world.now;
        if self.courses[c].units.iter().any(stopped) {
            return self.ask(c, "the stream back does not run");
        }
        self.begin(c, Phase::Failback, Actor::Trigger(trigger))
    }

    /// Nobody confirmed in time. A timer that ran out while no controller watched, or after
    /// a failback that was withdrawn, waits for a person.
    fn timer(&mut self, c: usize) -> Result<(), Stop> {
        let epoch = self.courses[c].books.state.epoch;
        let state = self.courses[c].books.unit();
        let last = state.history.last().map(|past| &past.state);
        let compare = StepName::from("compare");
        let watched = last.is_some_and(|past| {
            past.attempt.phase == Phase::Cutover
                && past.steps.get(&compare).is_some_and(|step| step.epoch == epoch)
        });
        if !watched && !self.lacks(Mutant::FailbackUnwatched) {
            self.stats.overdue += 1;
            return self.ask(c, "the confirmation is overdue");
        }
        self.stats.timer += 1;
        self.begin(c, Phase::Failback, Actor::Trigger("commit timer".into()))
    }

    fn ask(&mut self, c: usize, because: &str) -> Result<(), Stop> {
        let event = Event::FailbackRefused { because: because.into(), way_out: Vec::new() };
        self.append_if(c, event).map(drop)
    }

    /// A person mends what made the attempt stuck, and lets it try again.
    pub(super) fn person_mends(&mut self, c: usize) -> Result<(), Stop> {
        self.pass(500)?;
        self.courses[c].here = Here::Resumed;
        self.append(c, Event::AttemptResumed { by: person() })
    }

    /// An attempt ended: the units must be in service on one side, and nothing half done.
    pub(super) fn ended(&mut self, c: usize) {
        let course = &mut self.courses[c];
        let Some(past) = course.books.unit().history.last().cloned() else { return };
        let phase = past.state.attempt.phase;
        let done = past.how == EndedHow::Completed;
        course.watched = done && phase == Phase::Cutover;
        match (phase, done) {
            (Phase::Cutover, true) => self.stats.moved += 1,
            (Phase::Failback, true) => self.stats.went_back += 1,
            (Phase::Cutover, false) => self.stats.withdrawn += 1,
            (Phase::Failback, false) => self.stats.stayed += 1,
            _ => {}
        }
        let at_rest = self.at_rest(&self.courses[c]);
        let whole = Self::whole(&self.courses[c], done);
        if let Err(why) = at_rest {
            self.world.breaks(format!("{} ended, {why}", phase.as_str()));
        } else if !whole {
            self.world.breaks(format!("{} ended, a step is half done", phase.as_str()));
        }
        for unit in self.courses[c].units.clone() {
            self.world.units[unit].damaged = false;
        }
    }

    /// Judges the world between two attempts.
    pub(super) fn at_rest(&self, course: &Course) -> Result<(), &'static str> {
        let state = course.books.unit();
        let at_target = matches!(state.stage, Stage::Watching | Stage::Confirmed | Stage::Settled);
        let side = if at_target { Side::Target } else { Side::Source };
        if state.write_side != WriteSide::At(side) {
            return Err("the journal is of two minds where the unit is");
        }
        for unit in &course.units {
            if !self.world.serves(*unit, side) {
                return Err("a unit is not in service where the journal says");
            }
            if self.world.units[*unit].published != side {
                return Err("the zone names the other side");
            }
        }
        Ok(())
    }

    /// Says whether every plain step of the attempt that ended is in force, or none.
    fn whole(course: &Course, done: bool) -> bool {
        let plain = course.rows.iter().enumerate().filter(|(_, row)| row.act == Act::Plain);
        let wanted = plain.map(|(place, _)| 1_u32 << place).sum::<u32>();
        course.plain == if done { wanted } else { 0 }
    }
}
