//! Two fronts: hold, seal and route reach them one by one, or not at all.

use super::{Verdict, check};
use segue_engine::simulator::Mutant;
use stateright::{Model, Property};

/// The rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Every front acknowledges the hold before the fence.
    AllAcknowledge,
    /// A front that missed its route stays in its hold.
    MissedStays,
    /// The fronts are sealed before the source.
    FrontsFirst,
    /// Promote comes before route.
    PromoteFirst,
}

struct Fronts(Option<Rule>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hold {
    Open,
    Leased,
    /// Its lease ran out: open again.
    Lapsed,
    Sealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Front {
    hold: Hold,
    to_target: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Open,
    Fenced,
    Sealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Step {
    Hold,
    Fence,
    SealFronts,
    Seal,
    Promote,
    Route,
    End,
    /// Undo, in reverse.
    Reopen,
    Release,
    Withdrawn,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    fronts: [Front; 2],
    source: Source,
    target_open: bool,
    /// The step that is under way.
    step: Step,
    lapses: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// The message of the present step reaches this front.
    Reaches(usize),
    /// The present step of the store happens, or the next step begins.
    Goes,
    /// The controller gives up, or another one comes and does.
    TurnsBack,
    HoldLapses(usize),
    FenceLapses,
    /// A front that is sealed for too long lets go.
    LetsGo(usize),
}

impl Fronts {
    fn lacks(&self, rule: Rule) -> bool {
        self.0 == Some(rule)
    }

    fn order(&self) -> [Step; 7] {
        use Step::*;
        match self.0 {
            Some(Rule::FrontsFirst) => [Hold, Fence, Seal, SealFronts, Promote, Route, End],
            Some(Rule::PromoteFirst) => [Hold, Fence, SealFronts, Seal, Route, Promote, End],
            _ => [Hold, Fence, SealFronts, Seal, Promote, Route, End],
        }
    }

    fn after(&self, step: Step) -> Step {
        let order = self.order();
        let at = order.iter().position(|s| *s == step);
        at.and_then(|at| order.get(at + 1)).copied().unwrap_or(Step::End)
    }

    /// Says whether every front, or one if that is enough, did what the step asks.
    fn reached(&self, s: &State) -> bool {
        let did = |front: &Front| match s.step {
            Step::Hold => matches!(front.hold, Hold::Leased | Hold::Lapsed),
            Step::SealFronts => front.hold == Hold::Sealed,
            Step::Route => front.to_target && front.hold == Hold::Open,
            _ => front.hold == Hold::Open,
        };
        let any = s.step == Step::Hold && self.lacks(Rule::AllAcknowledge);
        if any { s.fronts.iter().any(did) } else { s.fronts.iter().all(did) }
    }

    fn reaches(&self, s: &mut State, at: usize) -> Option<()> {
        let front = &mut s.fronts[at];
        match (s.step, front.hold) {
            (Step::Hold, Hold::Open) => front.hold = Hold::Leased,
            (Step::SealFronts, Hold::Leased) => front.hold = Hold::Sealed,
            // It never answers for another hold than the one it was asked for.
            (Step::SealFronts, Hold::Lapsed) => s.step = self.back(s),
            (Step::Route, _) if !front.to_target => {
                *front = Front { hold: Hold::Open, to_target: true };
            }
            (Step::Release, Hold::Leased | Hold::Lapsed | Hold::Sealed) => front.hold = Hold::Open,
            _ => return None,
        }
        Some(())
    }

    fn back(&self, s: &State) -> Step {
        if s.source == Source::Open { Step::Release } else { Step::Reopen }
    }

    fn goes(&self, s: &mut State) -> Option<()> {
        match s.step {
            Step::Hold | Step::SealFronts | Step::Route | Step::Release if !self.reached(s) => {
                return None;
            }
            Step::Fence => s.source = Source::Fenced,
            // Refused if the fence lapsed.
            Step::Seal if s.source == Source::Open => {
                s.step = Step::Release;
                return Some(());
            }
            Step::Seal => s.source = Source::Sealed,
            Step::Promote => s.target_open = true,
            Step::Reopen => s.source = Source::Open,
            Step::End | Step::Withdrawn => return None,
            _ => {}
        }
        s.step = match s.step {
            Step::Reopen => Step::Release,
            Step::Release => Step::Withdrawn,
            step => self.after(step),
        };
        Some(())
    }
}

impl Model for Fronts {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let front = Front { hold: Hold::Open, to_target: false };
        vec![State {
            fronts: [front; 2],
            source: Source::Open,
            target_open: false,
            step: Step::Hold,
            lapses: 0,
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Goes, Action::TurnsBack, Action::FenceLapses]);
        for at in 0..2 {
            actions.extend([Action::Reaches(at), Action::HoldLapses(at), Action::LetsGo(at)]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Reaches(at) => self.reaches(&mut s, at)?,
            Action::Goes => self.goes(&mut s)?,
            Action::TurnsBack => {
                let crossed = s.step >= Step::Promote;
                if crossed {
                    return None;
                }
                s.step = self.back(&s);
            }
            Action::HoldLapses(at) => {
                if s.fronts[at].hold != Hold::Leased || s.lapses == 2 {
                    return None;
                }
                s.lapses += 1;
                s.fronts[at].hold = Hold::Lapsed;
            }
            Action::FenceLapses => {
                if s.source != Source::Fenced || s.lapses == 2 {
                    return None;
                }
                s.lapses += 1;
                s.source = Source::Open;
            }
            Action::LetsGo(at) => {
                if !self.lacks(Rule::MissedStays) || s.fronts[at].hold != Hold::Sealed {
                    return None;
                }
                s.fronts[at].hold = Hold::Open;
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one writer", |_, s: &State| {
                !(s.target_open && s.source == Source::Open)
            }),
            Property::always(FAILS, |_, s: &State| {
                s.fronts.iter().all(|f| f.hold != Hold::Open || serves(s, f))
            }),
            Property::always(SHUT, |_, s: &State| {
                s.source != Source::Sealed
                    || s.step > Step::End
                    || s.fronts
                        .iter()
                        .all(|f| !matches!(f.hold, Hold::Open | Hold::Lapsed) || serves(s, f))
            }),
            Property::sometimes("moves", |_, s: &State| s.step == Step::End),
            Property::sometimes("withdraws", |_, s: &State| s.step == Step::Withdrawn),
            Property::sometimes("withdraws after a lapse", |_, s: &State| {
                s.step == Step::Withdrawn && s.lapses > 0
            }),
        ]
    }
}

/// Says whether the side that a front sends to takes writes.
fn serves(s: &State, front: &Front) -> bool {
    if front.to_target { s.target_open } else { s.source == Source::Open }
}

const FAILS: &str = "no request passes a front to a side that refuses it, unless a hold lapsed";
const SHUT: &str = "behind the seal no front sends requests to the source";

/// Looks for the failure that a mistake at the fronts leads to.
pub(super) fn finds(mutant: Mutant) -> Option<&'static str> {
    let rule = match mutant {
        Mutant::HoldNotAcknowledgedByAll => Rule::AllAcknowledge,
        Mutant::HoldOpensAfterSeal => Rule::MissedStays,
        _ => Rule::PromoteFirst,
    };
    super::seek(Fronts(Some(rule)), FAILS)
}

#[test]
fn every_front_holds_before_the_fence_and_until_its_route() {
    let wrong: Vec<String> = [
        (None, Verdict::Holds(94)),
        (Some(Rule::AllAcknowledge), Verdict::Fails(FAILS, 122)),
        (Some(Rule::MissedStays), Verdict::Fails(FAILS, 136)),
        (Some(Rule::FrontsFirst), Verdict::Fails(SHUT, 83)),
        (Some(Rule::PromoteFirst), Verdict::Fails(FAILS, 94)),
    ]
    .into_iter()
    .filter_map(|(rule, verdict)| check(&format!("fronts without {rule:?}"), Fronts(rule), verdict))
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
