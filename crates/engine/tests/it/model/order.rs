//! Where no return begins, and who refuses a controller that was overtaken.
//!
//! Fence, drain, promote, and an operator who may turn round; a controller that stands still
//! between its intent and its effect is a late effect. Each row of [`VARIANTS`] is a protocol
//! that somebody could think of, with what it does in every reachable state.

use super::{Verdict, check};
use stateright::{Model, Property};

const SOURCE: usize = 0;
const TARGET: usize = 1;
const WRITES: u8 = 2;
const EPOCHS: u8 = 2;

/// Until when an operator may turn round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnUntil {
    /// Promote's intent.
    Intent,
    /// Promote's outcome.
    Outcome,
    /// Its end: a reverse stream brings back what the target took.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    turn: TurnUntil,
    /// A resource refuses lower epochs than it has seen.
    at_resource: bool,
    /// The journal takes records of the newest epoch only.
    at_journal: bool,
    drain_first: bool,
    effect_first: bool,
}

const GOOD: Order = Order {
    turn: TurnUntil::Intent,
    at_resource: true,
    at_journal: true,
    drain_first: false,
    effect_first: false,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    Fence,
    Drain,
    Promote,
    Close,
    DrainBack,
    Reopen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Doing {
    /// Knows nothing yet; makes the resources refuse former epochs.
    Starts,
    Thinks,
    Sends(Op),
    Reports(Op),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Side {
    open: bool,
    rows: u8,
    epoch: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Books {
    epoch: u8,
    intents: u8,
    outcomes: u8,
    back: bool,
    finished: bool,
    rolled_back: bool,
}

impl Books {
    fn intended(&self, op: Op) -> bool {
        self.intents & (1 << op as u8) != 0
    }

    fn done(&self, op: Op) -> bool {
        self.outcomes & (1 << op as u8) != 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    sides: [Side; 2],
    books: Books,
    controllers: [Option<(u8, Doing)>; 2],
    acknowledged: u8,
    wish: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Write(usize),
    Replicate(usize),
    Wish,
    Act(usize),
    Crash(usize),
    Start,
}

impl Order {
    /// The next thing to do: a function of the journal alone.
    fn next(&self, books: &Books) -> Option<Op> {
        let there: &[Op] = if self.drain_first {
            &[Op::Drain, Op::Fence, Op::Promote]
        } else {
            &[Op::Fence, Op::Drain, Op::Promote]
        };
        let home: &[Op] = match self.turn {
            TurnUntil::End => &[Op::Close, Op::DrainBack, Op::Reopen],
            _ if books.intended(Op::Promote) => &[Op::Close, Op::Reopen],
            _ => &[Op::Reopen],
        };
        let ops = if books.back { home } else { there };
        ops.iter().copied().find(|op| !books.done(*op))
    }

    fn may_turn(&self, books: &Books) -> bool {
        match self.turn {
            TurnUntil::Intent => !books.intended(Op::Promote),
            TurnUntil::Outcome => !books.done(Op::Promote),
            TurnUntil::End => !books.finished,
        }
    }

    fn land(&self, s: &mut State, epoch: u8, op: Op) -> Option<bool> {
        let at = if matches!(op, Op::Promote | Op::Close) { TARGET } else { SOURCE };
        match op {
            // Reads wait until they are true.
            Op::Drain => (s.sides[SOURCE].rows & !s.sides[TARGET].rows == 0).then_some(true),
            Op::DrainBack => (s.sides[TARGET].rows & !s.sides[SOURCE].rows == 0).then_some(true),
            _ => {
                let side = &mut s.sides[at];
                if self.at_resource && epoch < side.epoch {
                    return Some(false);
                }
                side.epoch = epoch.max(side.epoch);
                side.open = matches!(op, Op::Promote | Op::Reopen);
                Some(true)
            }
        }
    }

    fn act(&self, s: &mut State, at: usize) -> Option<()> {
        let (epoch, doing) = s.controllers[at]?;
        let writes = !self.at_journal || epoch == s.books.epoch;
        let next = match doing {
            Doing::Starts => {
                if self.at_resource {
                    s.sides.iter_mut().for_each(|side| side.epoch = side.epoch.max(epoch));
                }
                Doing::Thinks
            }
            Doing::Thinks if writes && !s.books.finished && !s.books.rolled_back => {
                if s.wish && !s.books.back && self.may_turn(&s.books) {
                    s.books.back = true;
                    Doing::Thinks
                } else if let Some(op) = self.next(&s.books) {
                    if !self.effect_first {
                        s.books.intents |= 1 << op as u8;
                    }
                    Doing::Sends(op)
                } else {
                    *(if s.books.back {
                        &mut s.books.rolled_back
                    } else {
                        &mut s.books.finished
                    }) = true;
                    Doing::Thinks
                }
            }
            Doing::Sends(op) => {
                let taken = self.land(s, epoch, op)?;
                if taken { Doing::Reports(op) } else { Doing::Thinks }
            }
            Doing::Reports(op) if writes => {
                s.books.intents |= 1 << op as u8;
                s.books.outcomes |= 1 << op as u8;
                Doing::Thinks
            }
            _ => return None,
        };
        s.controllers[at] = Some((epoch, next));
        Some(())
    }
}

impl Model for Order {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let side = |open| Side { open, rows: 0, epoch: 0 };
        vec![State {
            sides: [side(true), side(false)],
            books: Books::default(),
            controllers: [None, None],
            acknowledged: 0,
            wish: false,
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Wish, Action::Start]);
        for at in 0..2 {
            actions.extend([
                Action::Write(at),
                Action::Replicate(at),
                Action::Act(at),
                Action::Crash(at),
            ]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Write(side) => {
                if !s.sides[side].open || s.acknowledged == WRITES {
                    return None;
                }
                s.sides[side].rows |= 1 << s.acknowledged;
                s.acknowledged += 1;
            }
            Action::Replicate(from) => {
                if from == TARGET && self.turn != TurnUntil::End {
                    return None;
                }
                let missing = s.sides[from].rows & !s.sides[1 - from].rows;
                if missing == 0 {
                    return None;
                }
                s.sides[1 - from].rows |= 1 << missing.trailing_zeros();
            }
            Action::Wish if s.wish || s.books.epoch == 0 => return None,
            Action::Wish => s.wish = true,
            Action::Act(at) => self.act(&mut s, at)?,
            Action::Crash(at) => {
                s.controllers[at].take()?;
            }
            Action::Start => {
                let free = s.controllers.iter().position(Option::is_none)?;
                if s.books.epoch == EPOCHS {
                    return None;
                }
                s.books.epoch += 1;
                s.controllers[free] = Some((s.books.epoch, Doing::Starts));
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TWO, |_, s: &State| !(s.sides[SOURCE].open && s.sides[TARGET].open)),
            Property::always(LOST, |_, s: &State| {
                let all = (1 << s.acknowledged) - 1;
                s.sides.iter().all(|side| !side.open || side.rows == all)
            }),
            Property::always(UNKNOWN, |_, s: &State| {
                (s.sides[SOURCE].open || s.books.intended(Op::Fence))
                    && (!s.sides[TARGET].open || s.books.intended(Op::Promote))
            }),
            Property::always(OUTAGE, |_, s: &State| {
                !s.books.rolled_back || s.sides[SOURCE].open && !s.sides[TARGET].open
            }),
            Property::sometimes("finishes", |_, s: &State| s.books.finished),
            Property::sometimes("rolls back", |_, s: &State| s.books.rolled_back),
            Property::sometimes("finishes after a takeover", |_, s: &State| {
                s.books.finished && s.books.epoch == EPOCHS
            }),
        ]
    }
}

const TWO: &str = "one writer";
const LOST: &str = "whoever takes writes has every acknowledged one";
const UNKNOWN: &str = "the journal knows what was changed";
const OUTAGE: &str = "rolled back, the source is in service";

/// What it is, the protocol, the property that fails first if one does, and states seen.
const VARIANTS: [(&str, Order, Verdict); 8] = [
    ("no return from promote's intent", GOOD, Verdict::Holds(4986)),
    (
        "no return from promote's outcome",
        Order { turn: TurnUntil::Outcome, ..GOOD },
        Verdict::Fails(LOST, 5442),
    ),
    (
        "reverse stream before promote, turning round at any time",
        Order { turn: TurnUntil::End, ..GOOD },
        Verdict::Holds(10_353),
    ),
    (
        "the same, resources take any epoch",
        Order { turn: TurnUntil::End, at_resource: false, ..GOOD },
        Verdict::Fails(TWO, 10_983),
    ),
    (
        "the same, the journal takes any epoch",
        Order { turn: TurnUntil::End, at_journal: false, ..GOOD },
        Verdict::Holds(12_564),
    ),
    (
        "no return from promote's intent, resources take any epoch",
        Order { at_resource: false, ..GOOD },
        Verdict::Fails(OUTAGE, 3490),
    ),
    ("drain before fence", Order { drain_first: true, ..GOOD }, Verdict::Fails(LOST, 3637)),
    ("effect before intent", Order { effect_first: true, ..GOOD }, Verdict::Fails(UNKNOWN, 1805)),
];

/// Looks for a change that the journal does not know.
pub(super) fn finds() -> Option<&'static str> {
    super::seek(Order { effect_first: true, ..GOOD }, UNKNOWN)
}

#[test]
fn no_return_begins_with_the_intent_of_promote_or_a_stream_comes_back() {
    let wrong: Vec<String> = VARIANTS
        .iter()
        .filter_map(|(what, order, verdict)| check(what, *order, *verdict))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
