//! The protocol as a state machine: two databases, a front, a journal, controllers that
//! crash or are overtaken, and messages that land when they like.
//!
//! Small on purpose: rows are bits, a lease is over whenever somebody says so, and time
//! does not exist. What holds here holds however slow anything is.

use super::state::*;
use stateright::{Model, Property};

/// Controllers that are ever started: one that crashes or is overtaken, and its successor.
const EPOCHS: u8 = 2;
/// Leases that run out in all.
const LAPSES: u8 = 2;
/// Tables that are executed in all: a cutover, then another one or the failback.
const ATTEMPTS: u8 = 2;

/// The protocol without some of its rules.
pub(super) struct Protocol {
    pub(super) broken: &'static [Broken],
}

const SOURCE: usize = 0;

impl Protocol {
    fn lacks(&self, rule: Broken) -> bool {
        self.broken.contains(&rule)
    }

    fn steps(&self) -> &'static [Step] {
        use Step::*;
        if self.lacks(Broken::Seal) {
            &[Hold, Fence, Drain, Promote, Route]
        } else if self.lacks(Broken::FenceBeforePosition) {
            &[Hold, Drain, Fence, SealFronts, Seal, Promote, Route]
        } else {
            &[Hold, Fence, Drain, SealFronts, Seal, Promote, Route]
        }
    }

    /// Carries a message out. None if it cannot land yet; the answer otherwise.
    fn land(&self, s: &mut State, m: Message) -> Option<Option<u8>> {
        let (from, to) = (m.from, 1 - m.from);
        let at_front =
            matches!(m.step, Step::Hold | Step::SealFronts | Step::Route | Step::Release);
        let side = if m.step == Step::Promote { to } else { from };
        if m.step == Step::Drain {
            // Reads only, so that no epoch is needed.
            let rows = s.databases[from].rows;
            return (rows & !s.databases[to].rows == 0).then_some(Some(rows));
        }
        let floor = if at_front { &mut s.front.epoch } else { &mut s.databases[side].epoch };
        if !self.lacks(Broken::EpochAtResource) {
            if m.epoch < *floor {
                return Some(None);
            }
            *floor = m.epoch;
        }
        let database = &mut s.databases[side];
        let worked = match m.step {
            Step::Hold => {
                s.front.hold =
                    if s.front.hold == Hold::Sealed { Hold::Sealed } else { Hold::Leased };
                true
            }
            Step::SealFronts => {
                let held = s.front.hold != Hold::None;
                if held {
                    s.front.hold = Hold::Sealed;
                }
                held
            }
            Step::Route => {
                s.front = Front { route: to, hold: Hold::None, ..s.front };
                true
            }
            Step::Release => {
                s.front = Front { route: from, hold: Hold::None, ..s.front };
                true
            }
            Step::Fence => {
                if database.mode == Mode::Open {
                    database.mode = Mode::Fenced;
                }
                true
            }
            Step::Seal => {
                let same = database.rows == m.position || self.lacks(Broken::PositionAtSeal);
                let stands =
                    database.mode == Mode::Sealed || (database.mode == Mode::Fenced && same);
                if stands {
                    database.mode = Mode::Sealed;
                }
                stands
            }
            Step::Promote | Step::Reopen => {
                database.mode = Mode::Open;
                true
            }
            Step::Drain => true,
        };
        Some(worked.then_some(m.position))
    }

    /// Returns whether the world shows that a step happened.
    fn observed(s: &State, step: Step) -> bool {
        let (from, to) = (s.journal.write_side, 1 - s.journal.write_side);
        match step {
            Step::Hold => s.front.hold != Hold::None,
            Step::Fence => s.databases[from].mode != Mode::Open,
            Step::Drain => false,
            Step::SealFronts => s.front.hold == Hold::Sealed,
            Step::Seal => s.databases[from].mode == Mode::Sealed,
            Step::Promote => s.databases[to].mode == Mode::Open,
            Step::Route => s.front.route == to && s.front.hold == Hold::None,
            Step::Reopen => s.databases[from].mode == Mode::Open,
            Step::Release => s.front.hold == Hold::None,
        }
    }

    /// Returns the step that the journal says is next, if one is left.
    fn next_step(&self, journal: &Journal) -> Option<Step> {
        match journal.attempt {
            Attempt::Resting => None,
            Attempt::Forward(done) => self.steps().get(done).copied(),
            Attempt::Back(done) => [Step::Reopen, Step::Release].get(done).copied(),
        }
    }

    fn may_withdraw(&self, journal: &Journal) -> bool {
        let Attempt::Forward(done) = journal.attempt else { return false };
        let step = self.steps().get(done);
        if self.lacks(Broken::NoWithdrawalAfterPromote) {
            return step.is_some();
        }
        step.is_some_and(|step| *step <= Step::Promote) && !journal.intended
    }

    fn act(&self, s: &mut State, at: usize) -> Option<()> {
        let mut me = s.controllers[at]?;
        let has_lease = me.epoch == s.journal.epoch;
        me.doing = match me.doing {
            Doing::Starts => {
                if !self.lacks(Broken::Quench) {
                    s.front.epoch = s.front.epoch.max(me.epoch);
                    for database in &mut s.databases {
                        database.epoch = database.epoch.max(me.epoch);
                    }
                }
                if s.journal.intended { Doing::Observes } else { Doing::Decides }
            }
            Doing::Observes if has_lease => {
                let step = self.next_step(&s.journal)?;
                if Self::observed(s, step) {
                    s.journal.done();
                    Doing::Decides
                } else {
                    Doing::Sends(step)
                }
            }
            Doing::Decides if has_lease => self.decide(s)?,
            Doing::Sends(step) => {
                let position = s.journal.position;
                let from = s.journal.write_side;
                s.messages.push(Message { epoch: me.epoch, step, from, position });
                s.messages.sort_unstable();
                Doing::Waits(step)
            }
            Doing::Heard(step, answer) if has_lease => match answer {
                Some(rows) if self.lacks(Broken::OutcomeAfterEffect) => {
                    s.journal.note_position(step, rows);
                    Doing::Decides
                }
                Some(rows) => {
                    s.journal.note_position(step, rows);
                    s.journal.done();
                    Doing::Decides
                }
                None if step < Step::Promote => {
                    s.journal.attempt = Attempt::Back(0);
                    s.journal.intended = false;
                    Doing::Decides
                }
                None => Doing::Sends(step),
            },
            _ => return None,
        };
        s.controllers[at] = Some(me);
        Some(())
    }

    /// Takes out what can have no effect any more, so that states that behave alike are one:
    /// controllers that lost the lease and have nothing to send, and messages that every
    /// resource refuses.
    fn tidy(&self, s: &mut State) {
        let lease = s.journal.epoch;
        for place in &mut s.controllers {
            let inert =
                place.is_some_and(|c| c.epoch < lease && !matches!(c.doing, Doing::Sends(_)));
            if inert {
                *place = None;
            }
        }
        if s.controllers[0].is_none() {
            s.controllers.swap(0, 1);
        }
        if !self.lacks(Broken::EpochAtResource) {
            let floor = s.databases.iter().map(|d| d.epoch).min().unwrap_or(0).min(s.front.epoch);
            s.messages.retain(|m| m.epoch >= floor);
        }
    }

    fn decide(&self, s: &mut State) -> Option<Doing> {
        if s.journal.attempt == Attempt::Resting {
            if s.journal.attempts == ATTEMPTS {
                return None;
            }
            s.journal.attempts += 1;
            s.journal.attempt = Attempt::Forward(0);
            return Some(Doing::Decides);
        }
        if s.wish && self.may_withdraw(&s.journal) {
            s.wish = false;
            s.journal.attempt = Attempt::Back(0);
            s.journal.intended = false;
            return Some(Doing::Decides);
        }
        let Some(step) = self.next_step(&s.journal) else {
            s.journal.end();
            return Some(Doing::Decides);
        };
        if self.lacks(Broken::OutcomeAfterEffect) {
            s.journal.done();
        } else {
            s.journal.intended = true;
        }
        Some(Doing::Sends(step))
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let database = |mode| Database { mode, rows: 0, epoch: 0 };
        vec![State {
            databases: [database(Mode::Open), database(Mode::Sealed)],
            front: Front { route: SOURCE, hold: Hold::None, epoch: 0 },
            journal: Journal {
                epoch: 0,
                write_side: SOURCE,
                attempt: Attempt::Resting,
                intended: false,
                position: 0,
                attempts: 0,
                completed: 0,
                withdrawn: 0,
            },
            controllers: [None, None],
            messages: Vec::new(),
            acknowledged: 0,
            wish: false,
            lapses: 0,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        actions.extend([
            Action::Write,
            Action::Cron,
            Action::HoldLapses,
            Action::Wish,
            Action::Start,
        ]);
        for at in 0..2 {
            actions.extend([
                Action::Replicate(at),
                Action::FenceLapses(at),
                Action::Act(at),
                Action::Crash(at),
            ]);
        }
        actions.extend((0..s.messages.len()).map(Action::Lands));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Write => {
                let side = s.front.route;
                if s.front.hold != Hold::None {
                    return None;
                }
                s.write(side)?;
            }
            Action::Cron => s.write(SOURCE)?,
            Action::Replicate(from) => {
                let missing = s.databases[from].rows & !s.databases[1 - from].rows;
                if missing == 0 {
                    return None;
                }
                s.databases[1 - from].rows |= 1 << missing.trailing_zeros();
            }
            Action::FenceLapses(side) => {
                if s.databases[side].mode != Mode::Fenced || s.lapses == LAPSES {
                    return None;
                }
                s.lapses += 1;
                s.databases[side].mode = Mode::Open;
            }
            Action::HoldLapses => {
                if s.front.hold != Hold::Leased || s.lapses == LAPSES {
                    return None;
                }
                s.lapses += 1;
                s.front.hold = Hold::None;
            }
            Action::Wish => {
                if s.wish || s.journal.attempts == 0 || s.journal.withdrawn > 0 {
                    return None;
                }
                s.wish = true;
            }
            Action::Lands(at) => {
                let message = s.messages.remove(at);
                let answer = self.land(&mut s, message)?;
                for controller in s.controllers.iter_mut().flatten() {
                    if controller.epoch == message.epoch
                        && controller.doing == Doing::Waits(message.step)
                    {
                        controller.doing = Doing::Heard(message.step, answer);
                    }
                }
            }
            Action::Act(at) => self.act(&mut s, at)?,
            Action::Crash(at) => {
                s.controllers[at].take()?;
            }
            Action::Start => {
                let free = s.controllers.iter().position(Option::is_none)?;
                if s.journal.epoch == EPOCHS {
                    return None;
                }
                s.journal.epoch += 1;
                let epoch = s.journal.epoch;
                s.controllers[free] = Some(Controller { epoch, doing: Doing::Starts });
            }
        }
        self.tidy(&mut s);
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one writer", |_, s: &State| {
                s.databases.iter().filter(|d| d.mode == Mode::Open).count() < 2
            }),
            Property::always("whoever takes writes has every acknowledged one", |_, s: &State| {
                s.databases
                    .iter()
                    .all(|d| d.mode != Mode::Open || d.rows == (1 << s.acknowledged) - 1)
            }),
            Property::always("between two tables the site is in service", |_, s: &State| {
                s.journal.attempt != Attempt::Resting
                    || s.front.hold == Hold::None
                        && s.front.route == s.journal.write_side
                        && s.databases[s.journal.write_side].mode == Mode::Open
            }),
            Property::sometimes("goes there", |_, s: &State| s.journal.completed == 1),
            Property::sometimes("goes back", |_, s: &State| s.journal.completed == 2),
            Property::sometimes("a way back is withdrawn, the target stays", |_, s: &State| {
                s.journal.completed == 1
                    && s.journal.withdrawn == 1
                    && s.journal.write_side != SOURCE
            }),
            Property::sometimes("withdraws, then goes there", |_, s: &State| {
                s.journal.withdrawn == 1 && s.journal.completed == 1
            }),
            Property::sometimes("goes there under a second controller", |_, s: &State| {
                s.journal.completed == 1 && s.journal.epoch == EPOCHS
            }),
        ]
    }
}
