//! Two units that move together: both or neither, and one publish of their zone.
//!
//! Each unit has a table of its own here, so that the rules which tie them are visible. So do
//! the units of a maintenance window, which this is the model of: the gate before `promote`
//! waits until every unit is sealed, and after a crash the wish `Through` takes those that are
//! sealed along with the first that was promoted.

use super::{Verdict, check};
use stateright::{Model, Property};

/// The rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// No promote is intended before both units are sealed.
    Barrier,
    /// From the first promote's intent on no unit withdraws.
    SharedNoReturn,
    /// The zone is published once, when both are routed.
    OnePublish,
}

struct Joint(Option<Rule>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum At {
    Resting,
    Held,
    Sealed,
    /// Intended; whether it happened is seen in `open`.
    Promoting,
    Promoted,
    Routed,
    Back,
    Withdrawn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Unit {
    at: At,
    /// Which side takes writes: source, target.
    open: [bool; 2],
    published: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    units: [Unit; 2],
    crashes: u8,
    /// The controller that resumes turns round whatever may.
    resumed: bool,
    publishes: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// The unit's next step.
    Step(usize),
    /// What was sent for promote takes effect.
    Lands(usize),
    /// Its fence lapsed, or its gate does not pass: it withdraws if it may.
    Fails(usize),
    Crash,
    Publish,
}

impl Joint {
    fn lacks(&self, rule: Rule) -> bool {
        self.0 == Some(rule)
    }

    fn crossed(&self, s: &State, unit: usize) -> bool {
        let own = |at: At| matches!(at, At::Promoting | At::Promoted | At::Routed);
        own(s.units[unit].at)
            || !self.lacks(Rule::SharedNoReturn) && s.units.iter().any(|other| own(other.at))
    }

    fn step(&self, s: &mut State, unit: usize) -> Option<()> {
        let both = |least: At| s.units.iter().all(|u| u.at >= least && u.at < At::Back);
        let may_promote = both(At::Sealed) || self.lacks(Rule::Barrier);
        // Resumed before the point of no return, a table goes back.
        let turns = s.resumed && !self.crossed(s, unit);
        let me = &mut s.units[unit];
        me.at = match me.at {
            At::Held | At::Sealed if turns => At::Back,
            At::Resting if !s.resumed => At::Held,
            At::Held => {
                me.open[0] = false;
                At::Sealed
            }
            At::Sealed if may_promote => At::Promoting,
            At::Promoting if me.open[1] => At::Promoted,
            At::Promoted => At::Routed,
            At::Back => {
                me.open[0] = true;
                At::Withdrawn
            }
            _ => return None,
        };
        Some(())
    }
}

impl Model for Joint {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let unit = Unit { at: At::Resting, open: [true, false], published: false };
        vec![State { units: [unit; 2], crashes: 0, resumed: false, publishes: 0 }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Crash, Action::Publish]);
        for unit in 0..2 {
            actions.extend([Action::Step(unit), Action::Lands(unit), Action::Fails(unit)]);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Step(unit) => self.step(&mut s, unit)?,
            Action::Lands(unit) => {
                let me = &mut s.units[unit];
                if me.at != At::Promoting || me.open[1] {
                    return None;
                }
                me.open[1] = true;
            }
            Action::Fails(unit) => {
                let at = s.units[unit].at;
                if !matches!(at, At::Held | At::Sealed) || self.crossed(&s, unit) {
                    return None;
                }
                // One that gives up takes the other one along.
                for me in s.units.iter_mut().filter(|u| matches!(u.at, At::Held | At::Sealed)) {
                    me.at = At::Back;
                }
                s.resumed = true;
            }
            Action::Crash if s.crashes == 2 => return None,
            Action::Crash => (s.crashes, s.resumed) = (s.crashes + 1, true),
            Action::Publish => {
                let ready = |u: &Unit| u.at == At::Routed && !u.published;
                let all = s.units.iter().all(ready);
                if !(all || self.lacks(Rule::OnePublish) && s.units.iter().any(ready)) {
                    return None;
                }
                s.publishes += 1;
                s.units.iter_mut().for_each(|u| u.published |= u.at == At::Routed);
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(APART, |_, s: &State| {
                let [a, b] = &s.units;
                !(a.open[1] && b.open[0] || a.open[0] && b.open[1])
            }),
            Property::always(ZONE, |_, s: &State| {
                s.publishes <= 1 && s.units[0].published == s.units[1].published
            }),
            Property::always("one writer", |_, s: &State| {
                s.units.iter().all(|u| u.open != [true, true])
            }),
            Property::sometimes("both move", |_, s: &State| s.units.iter().all(|u| u.published)),
            Property::sometimes("both stay", |_, s: &State| {
                s.units.iter().all(|u| u.at == At::Withdrawn)
            }),
            Property::sometimes(
                "both move although the controller died in between",
                |_, s: &State| s.crashes > 0 && s.units.iter().all(|u| u.published),
            ),
        ]
    }
}

const APART: &str = "no unit takes writes at the target while the other does at the source";
const ZONE: &str = "the zone is published once, with both units";

/// Looks for the failure of a joint whose units are promoted one by one.
pub(super) fn finds() -> Option<&'static str> {
    super::seek(Joint(Some(Rule::Barrier)), APART)
}

#[test]
fn a_joint_moves_together_or_not_at_all() {
    let wrong: Vec<String> = [
        (None, Verdict::Holds(171)),
        (Some(Rule::Barrier), Verdict::Fails(APART, 219)),
        (Some(Rule::SharedNoReturn), Verdict::Fails(APART, 219)),
        (Some(Rule::OnePublish), Verdict::Fails(ZONE, 204)),
    ]
    .into_iter()
    .filter_map(|(rule, verdict)| check(&format!("joint without {rule:?}"), Joint(rule), verdict))
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
