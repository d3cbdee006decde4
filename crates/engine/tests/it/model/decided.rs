//! The engine's own decisions when calls fail, answers are lost and the world cannot be told.
//!
//! Every answer of a four-step cutover is tried in every state, with the real [`decide`],
//! [`after_fault`] and [`after_observed`].

use super::{Verdict, check};
use segue_engine::decide::{AfterFault, AfterObserved, Here, Next, after_fault, after_observed};
use segue_engine::{Wish, decide};
use segue_model::event::{Actor, Attempt, Phase};
use segue_model::state::{
    AttemptState, Direction, Moment, PauseTiming, StepState, StepStatus, Stuck,
};
use segue_model::table::{Pause, Retry, StepShape, TableShape};
use segue_model::{EffectLeft, Epoch, Fault, FaultKind, StepName};
use segue_port::Observed;
use serde_json::Value;
use stateright::{Model, Property};
use std::collections::BTreeMap;
use std::time::Duration;

const NAMES: [&str; 4] = ["fence", "seal", "promote", "route"];
const FENCE: usize = 0;
const PROMOTE: usize = 2;

/// What is done instead of what the engine says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Unknown counts as applied.
    UnknownAsApplied,
    /// Unknown, or a former attempt that cannot be ended, counts as not applied.
    UnknownAsNotApplied,
    /// Nothing that was sent is ended.
    NoQuench,
    /// What cannot be told after promote's intent is given up and undone.
    GivesUpAfterPromote,
}

struct Decided {
    shape: TableShape,
    wrong: Option<Wrong>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    None,
    Intended,
    Failed,
    Done,
    Undoing,
    UndoFailed,
    Undone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Began,
    Resumed,
    GatesPassed(usize),
    Intended(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    steps: [At; 4],
    back: bool,
    stuck: bool,
    here: Place,
    /// In force.
    world: [bool; 4],
    /// Sent and not landed.
    late: Option<(usize, bool)>,
    wish: bool,
    troubles: u8,
    /// 0: under way, 1: completed, 2: withdrawn.
    ended: u8,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Good,
    /// Refused, nothing changed.
    Refused,
    /// Carried out, the answer lost.
    ReplyLost,
    /// Never arrived, the answer missing.
    CallLost,
    /// It lands later.
    Late,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// The controller's next turn, with the answer of its call.
    Turn(Answer),
    /// A turn that asks the world: whether the former attempt was ended, whether the world
    /// tells, and whether patience is at its end.
    Asks {
        quenched: bool,
        tells: bool,
        patient: bool,
    },
    Lands,
    Crash,
    Wish,
    Resume,
}

const TROUBLES: u8 = 4;

impl Decided {
    fn new(wrong: Option<Wrong>) -> Self {
        let step = |at: usize| StepShape {
            name: StepName::from(NAMES[at]),
            title: String::new(),
            no_return: at == PROMOTE,
            pause: Pause::None,
            retry: if at > PROMOTE {
                Retry::Until { every: Duration::from_millis(1) }
            } else {
                Retry::Never
            },
        };
        let steps = (0..NAMES.len()).map(step).collect();
        Self { shape: TableShape { phase: Phase::Cutover, steps, budget: None }, wrong }
    }

    /// Returns the state as the journal would give it.
    fn attempt(&self, s: &State) -> AttemptState {
        let now = Moment { seq: 1, at_ms: 0, boot_ms: 0 };
        let fault = || Fault::new("SG0600", FaultKind::Busy, "model", "a fault");
        let status = |at: At| match at {
            At::None => None,
            At::Intended => Some(StepStatus::Intended),
            At::Failed => Some(StepStatus::Failed { fault: fault() }),
            At::Done => Some(StepStatus::Done),
            At::Undoing => Some(StepStatus::Undoing),
            At::UndoFailed => Some(StepStatus::UndoFailed { fault: fault() }),
            At::Undone => Some(StepStatus::Undone),
        };
        let steps: BTreeMap<_, _> = NAMES
            .iter()
            .zip(s.steps)
            .filter_map(|(name, at)| {
                let state = StepState {
                    status: status(at)?,
                    prepared: Value::Null,
                    output: None,
                    epoch: Epoch(1),
                    intended: now,
                    latest: now,
                };
                Some((StepName::from(*name), state))
            })
            .collect();
        let (by, because) = (Actor::Controller, String::new());
        AttemptState {
            attempt: Attempt { phase: Phase::Cutover, number: 1 },
            by: by.clone(),
            because: because.clone(),
            started: now,
            table: Some(self.shape.clone()),
            steps,
            gates: BTreeMap::new(),
            direction: if s.back { Direction::Back { by, because } } else { Direction::Forward },
            pause: PauseTiming::default(),
            stuck: s.stuck.then(|| Stuck { because: String::new(), way_out: Vec::new() }),
        }
    }

    fn next(&self, s: &State) -> Next {
        let here = match s.here {
            Place::Began => Here::Began,
            Place::Resumed => Here::Resumed,
            Place::GatesPassed(at) => Here::GatesPassed(at),
            Place::Intended(at) => Here::Intended(at),
        };
        let turn = Wish::TurnBack { by: Actor::Controller, because: String::new() };
        let wish = if s.wish { turn } else { Wish::Forward };
        decide(&self.shape, &self.attempt(s), here, &wish)
    }

    /// Sends a change; true if it was answered.
    fn send(&self, s: &mut State, at: usize, on: bool, answer: Answer) -> Option<bool> {
        if answer != Answer::Good {
            s.troubles += 1;
        }
        // The seal refuses if the fence does not stand.
        let refuses = on && NAMES[at] == "seal" && !s.world[FENCE];
        match answer {
            Answer::Good if refuses => return Some(false),
            Answer::Good => s.world[at] = on,
            Answer::ReplyLost if !refuses => s.world[at] = on,
            Answer::Late if s.late.is_some() => return None,
            Answer::Late => s.late = Some((at, on)),
            _ => {}
        }
        Some(answer == Answer::Good)
    }

    fn turn(&self, s: &mut State, answer: Answer) -> Option<()> {
        let good = answer == Answer::Good;
        match self.next(s) {
            Next::Gate(at) if good => s.here = Place::GatesPassed(at),
            Next::Intend(at) if good => (s.steps[at], s.here) = (At::Intended, Place::Intended(at)),
            Next::Run(at) => {
                s.here = Place::Began;
                self.runs(s, at, answer)?;
            }
            Next::Undo(at) => {
                s.steps[at] =
                    if s.steps[at] == At::UndoFailed { At::UndoFailed } else { At::Undoing };
                if self.wrong != Some(Wrong::NoQuench) {
                    s.late = s.late.filter(|(of, _)| *of != at);
                }
                let undone = self.send(s, at, false, answer)?;
                s.steps[at] = if undone { At::Undone } else { At::UndoFailed };
            }
            Next::Complete if good => s.ended = 1,
            Next::Withdraw { .. } if good => s.back = true,
            Next::Withdrawn if good => s.ended = 2,
            _ => return None,
        }
        Some(())
    }

    fn runs(&self, s: &mut State, at: usize, answer: Answer) -> Option<()> {
        if self.send(s, at, true, answer)? {
            s.steps[at] = At::Done;
            return Some(());
        }
        let left = if answer == Answer::Refused { EffectLeft::None } else { EffectLeft::Maybe };
        let fault = Fault::new("SG0600", FaultKind::Timeout, "model", "a fault").leaving(left);
        s.steps[at] = At::Failed;
        match after_fault(&self.shape, &self.attempt(s), at, &fault, 1) {
            AfterFault::Withdraw => s.back = true,
            AfterFault::RunAgain => s.here = Place::Intended(at),
            AfterFault::Recover => {}
        }
        Some(())
    }

    fn asks(&self, s: &mut State, quenched: bool, tells: bool, patient: bool) -> Option<()> {
        let Next::Recover(at) = self.next(s) else { return None };
        s.troubles += u8::from(!quenched) + u8::from(!tells);
        let quench_works = quenched && self.wrong != Some(Wrong::NoQuench);
        if quench_works {
            s.late = s.late.filter(|(of, _)| *of != at);
        }
        let (mut observed, mut ended) = match (quenched && tells, s.world[at]) {
            (false, _) => (Observed::Unknown(String::new()), quenched),
            (true, true) => (Observed::Applied(Value::Null), true),
            (true, false) => (Observed::NotApplied, true),
        };
        if matches!(observed, Observed::Unknown(_)) {
            match self.wrong {
                Some(Wrong::UnknownAsApplied) => {
                    (observed, ended) = (Observed::Applied(Value::Null), true);
                }
                Some(Wrong::UnknownAsNotApplied) => {
                    (observed, ended) = (Observed::NotApplied, true)
                }
                Some(Wrong::GivesUpAfterPromote) => {
                    s.back = true;
                    return Some(());
                }
                _ => {}
            }
        }
        let (runs, trouble_ms) = if patient { (1, 0) } else { (99, u64::MAX) };
        let open = self.attempt(s);
        match after_observed(&self.shape, &open, at, &observed, ended, runs, trouble_ms) {
            AfterObserved::Done(_) => s.steps[at] = At::Done,
            AfterObserved::RunAgain => (s.steps[at], s.here) = (At::Intended, Place::Intended(at)),
            AfterObserved::AskAgain => {}
            AfterObserved::UndoFirst => s.steps[at] = At::Undoing,
            AfterObserved::Withdraw => s.back = true,
            AfterObserved::Stuck => s.stuck = true,
        }
        Some(())
    }
}

impl Model for Decided {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            steps: [At::None; 4],
            back: false,
            stuck: false,
            here: Place::Began,
            world: [false; 4],
            late: None,
            wish: false,
            troubles: 0,
            ended: 0,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Lands);
        if s.ended > 0 {
            return;
        }
        actions.push(Action::Turn(Answer::Good));
        actions.extend([Action::Resume, Action::Wish]);
        let asks = |quenched, tells, patient| Action::Asks { quenched, tells, patient };
        for patient in [true, false] {
            actions.push(asks(true, true, patient));
        }
        if s.troubles < TROUBLES {
            actions.extend(
                [Answer::Refused, Answer::ReplyLost, Answer::CallLost, Answer::Late]
                    .map(Action::Turn),
            );
            actions.push(Action::Crash);
            for patient in [true, false] {
                actions.extend([asks(false, false, patient), asks(true, false, patient)]);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Turn(answer) => self.turn(&mut s, answer)?,
            Action::Asks { quenched, tells, patient } => {
                self.asks(&mut s, quenched, tells, patient)?;
            }
            Action::Lands => {
                let (at, on) = s.late.take()?;
                if !(on && NAMES[at] == "seal" && !s.world[FENCE]) {
                    s.world[at] = on;
                }
            }
            Action::Crash => (s.here, s.wish, s.troubles) = (Place::Resumed, false, s.troubles + 1),
            Action::Wish if s.wish => return None,
            Action::Wish => s.wish = true,
            Action::Resume if !s.stuck => return None,
            Action::Resume => (s.stuck, s.here) = (false, Place::Resumed),
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TWO, |_, s: &State| !s.world[PROMOTE] || s.world[FENCE]),
            Property::always("promoted only behind a seal", |_, s: &State| {
                !s.world[PROMOTE] || s.world[1]
            }),
            Property::always(KEPT, |_, s: &State| {
                s.steps[PROMOTE] == At::None || !s.back && s.ended != 2
            }),
            Property::always("before promote's intent nobody is asked", |_, s: &State| {
                !s.stuck || s.steps[PROMOTE] != At::None
            }),
            Property::always(WHOLE, |_, s: &State| match s.ended {
                1 => s.world == [true; 4],
                2 => s.world == [false; 4],
                _ => true,
            }),
            Property::always(LATE, |_, s: &State| s.ended == 0 || s.late.is_none()),
            Property::sometimes("completes after a crash", |_, s: &State| {
                s.ended == 1 && s.here == Place::Resumed
            }),
            Property::sometimes(
                "promote cannot be told: stuck, then it goes on",
                |_, s: &State| s.ended == 1 && s.troubles == TROUBLES,
            ),
            Property::sometimes("stuck behind promote's intent", |_, s: &State| {
                s.stuck && s.world[PROMOTE]
            }),
            Property::sometimes("withdraws", |_, s: &State| s.ended == 2),
        ]
    }
}

const TWO: &str = "one writer";
const KEPT: &str = "from promote's intent on nothing is undone";
const LATE: &str = "after the end nothing lands";
const WHOLE: &str = "what ended is whole or never was";

/// Looks for the failure that a wrong reading of Unknown leads to.
pub(super) fn finds(applied: bool) -> Option<&'static str> {
    if applied {
        super::seek(Decided::new(Some(Wrong::UnknownAsApplied)), WHOLE)
    } else {
        super::seek(Decided::new(Some(Wrong::UnknownAsNotApplied)), LATE)
    }
}

#[test]
fn unknown_is_undone_before_promote_and_held_from_its_intent_on() {
    let wrong: Vec<String> = [
        (None, Verdict::Holds(857)),
        (Some(Wrong::UnknownAsApplied), Verdict::Fails(WHOLE, 981)),
        (Some(Wrong::UnknownAsNotApplied), Verdict::Fails(LATE, 933)),
        (Some(Wrong::NoQuench), Verdict::Fails(WHOLE, 1559)),
        (Some(Wrong::GivesUpAfterPromote), Verdict::Fails(KEPT, 1273)),
    ]
    .into_iter()
    .filter_map(|(wrong, verdict)| {
        check(&format!("decisions with {wrong:?}"), Decided::new(wrong), verdict)
    })
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
