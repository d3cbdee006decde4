//! A meeting: units of a maintenance window go on together or not at all.
//!
//! Each of them asks before a step whether all the others got as far. What they did is read
//! from the journal; a unit that turned round makes every other one turn round, as long as
//! none of them was promoted.

use async_trait::async_trait;
use segue_engine::{Gate, GateContext, Journal};
use segue_model::event::Phase;
use segue_model::gate::{Answer, Verdict};
use segue_model::state::{AttemptState, Direction, EndedHow, RunState, StepStatus, UnitState};
use segue_model::{StepName, UnitName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An answer is given again for so long.
const SAME_ANSWER: Duration = Duration::from_millis(15);
/// So many units are named that the others wait for.
const NAMED: usize = 3;

/// Units with the number of the attempt with which each of them takes part.
type Members = BTreeMap<UnitName, u32>;

/// Units that switch together.
pub struct Meeting {
    journal: Option<Journal>,
    members: Members,
    /// Why nobody shall go on.
    off: Mutex<Option<String>>,
    /// The last answer for each step: all units ask the same at the same time.
    last: Mutex<BTreeMap<StepName, (Instant, Verdict, String)>>,
}

impl Meeting {
    /// Lets these units meet in their next cutover.
    pub fn of(journal: &Journal, units: &[UnitName]) -> Arc<Self> {
        let members = journal.with(|state| {
            let number = |name: &UnitName| {
                let unit = state.unit(name)?;
                Some((name.clone(), unit.next_attempt(Phase::Cutover).number))
            };
            units.iter().filter_map(number).collect()
        });
        Arc::new(Self {
            journal: Some(journal.clone()),
            members,
            off: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// Finds the meeting that a former controller began: the cutovers that are open, and those
    /// that were completed since the first of them began.
    pub fn found(journal: &Journal) -> Arc<Self> {
        let members = journal.with(found);
        Arc::new(Self {
            journal: Some(journal.clone()),
            members,
            off: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// Returns the meeting of a plan that is only shown.
    pub fn nobody() -> Arc<Self> {
        Arc::new(Self {
            journal: None,
            members: Members::new(),
            off: Mutex::default(),
            last: Mutex::default(),
        })
    }

    /// Makes everybody turn round who still can.
    pub fn call_off(&self, because: &str) {
        let mut off = self.off.lock().unwrap_or_else(PoisonError::into_inner);
        off.get_or_insert_with(|| because.to_owned());
    }

    /// Says whether one of the units passed its point of no return: then the others follow.
    pub fn decided(&self) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|journal| journal.with(|state| decided(state, &self.members)))
    }

    /// Returns the gate that passes once every unit has done the step `after`.
    pub(crate) fn gate(self: &Arc<Self>, name: &str, after: &str) -> Arc<dyn Gate> {
        Arc::new(Together {
            name: name.to_owned(),
            after: StepName::from(after),
            meeting: Arc::clone(self),
        })
    }

    fn answer(&self, after: &StepName) -> (Verdict, String) {
        let Some(journal) = &self.journal else {
            return (Verdict::Unknown, "nobody meets".to_owned());
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, verdict, because)) = last.get(after)
            && at.elapsed() < SAME_ANSWER
        {
            return (verdict.clone(), because.clone());
        }
        let (verdict, because) = journal.with(|state| {
            let off = self.off.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match off {
                Some(because) if !decided(state, &self.members) => (Verdict::Fail, because),
                _ => met(state, &self.members, after),
            }
        });
        last.insert(after.clone(), (Instant::now(), verdict.clone(), because.clone()));
        (verdict, because)
    }
}

struct Together {
    name: String,
    after: StepName,
    meeting: Arc<Meeting>,
}

#[async_trait]
impl Gate for Together {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn asks(&self) -> String {
        format!("{}: each has done `{}`", self.name, self.after)
    }

    fn waits_in_pause(&self) -> bool {
        true
    }

    async fn ask(&self, _context: &GateContext) -> Answer {
        let (verdict, because) = self.meeting.answer(&self.after);
        Answer { gate: self.name.clone(), verdict, because }
    }
}

/// How far a member is.
enum Stands {
    /// It is before the step, or has not begun.
    Waits,
    /// It has done the step.
    There,
    /// It does not come any more.
    Gone(String),
}

fn stands(unit: &UnitState, number: u32, after: &StepName) -> Stands {
    let past = unit.history.iter().find(|past| past.state.attempt.number == number);
    if let Some(past) = past {
        return match (past.how, &past.state.direction) {
            (EndedHow::Completed, _) => Stands::There,
            (_, Direction::Back { because, .. }) => Stands::Gone(because.clone()),
            _ => Stands::Gone("it went back".to_owned()),
        };
    }
    let Some(open) = unit.open.as_ref().filter(|open| open.attempt.number == number) else {
        return Stands::Waits;
    };
    match (&open.direction, &open.stuck) {
        _ if open.crossed() => Stands::There,
        (Direction::Back { because, .. }, _) => Stands::Gone(because.clone()),
        (_, Some(stuck)) => Stands::Gone(stuck.because.clone()),
        _ if open.status(after) == Some(&StepStatus::Done) => Stands::There,
        _ => Stands::Waits,
    }
}

/// Answers whether every member has done the step `after`.
pub(crate) fn met(state: &RunState, members: &Members, after: &StepName) -> (Verdict, String) {
    let mut waits = Vec::new();
    for (name, number) in members {
        let stands = state.unit(name).map_or(Stands::Waits, |unit| stands(unit, *number, after));
        match stands {
            Stands::There => {}
            Stands::Waits => waits.push(name.as_str()),
            Stands::Gone(because) if decided(state, members) => {
                tracing::warn!(unit = %name, because, "a unit stays behind: others were promoted");
            }
            Stands::Gone(because) => {
                return (Verdict::Fail, format!("unit `{name}` turned round: {because}"));
            }
        }
    }
    let (all, there) = (members.len(), members.len() - waits.len());
    let mut text = format!("{there} of {all} units have done `{after}`");
    if waits.is_empty() {
        return (Verdict::Pass, text);
    }
    let named = waits.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    text += &format!("; the others wait for {named}");
    if waits.len() > NAMED {
        text += " and more";
    }
    (Verdict::Wait, text)
}

/// Says whether a member passed its point of no return.
pub(crate) fn decided(state: &RunState, members: &Members) -> bool {
    members.iter().any(|(name, number)| {
        let Some(unit) = state.unit(name) else { return false };
        let crossed = |open: &AttemptState| open.attempt.number == *number && open.crossed();
        unit.open.as_ref().is_some_and(crossed)
            || unit
                .history
                .iter()
                .any(|past| past.state.attempt.number == *number && past.how == EndedHow::Completed)
    })
}

/// Returns who met when a controller ended.
pub(crate) fn found(state: &RunState) -> Members {
    let open = |unit: &UnitState| {
        let open = unit.open.as_ref().filter(|open| open.attempt.phase == Phase::Cutover)?;
        Some((open.attempt.number, open.started.seq))
    };
    let begins = state.units.values().filter_map(|unit| Some(open(unit)?.1)).min();
    let Some(begins) = begins else { return Members::new() };
    let member = |unit: &UnitState| {
        let completed = unit.history.last().filter(|past| {
            let cutover = past.state.attempt.phase == Phase::Cutover;
            cutover && past.how == EndedHow::Completed && past.ended.seq > begins
        });
        let number = open(unit).map(|(number, _)| number);
        number.or(completed.map(|past| past.state.attempt.number))
    };
    let members = state.units.iter();
    members.filter_map(|(name, unit)| Some((name.clone(), member(unit)?))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::tests::{Log, fleet};
    use segue_model::Epoch;
    use segue_model::event::{Actor, Event};
    use segue_model::table::{Pause, Retry, StepShape, TableShape};
    use serde_json::Value;

    const STEPS: [&str; 3] = ["compare", "seal", "promote"];

    fn shape() -> TableShape {
        let step = |name: &str| StepShape {
            name: StepName::from(name),
            title: String::new(),
            no_return: name == "promote",
            pause: Pause::None,
            retry: Retry::Never,
        };
        TableShape {
            phase: Phase::Cutover,
            steps: STEPS.iter().map(|name| step(name)).collect(),
            budget: None,
        }
    }

    fn begins(log: &mut Log, unit: &str) {
        let attempt = log.0.unit(&UnitName::from(unit)).unwrap().next_attempt(Phase::Cutover);
        let (by, because) = (Actor::Controller, String::new());
        log.add(Some(unit), Event::AttemptStarted { attempt, by, because });
        log.add(Some(unit), Event::TableFixed { table: shape() });
    }

    fn does(log: &mut Log, unit: &str, step: &str) {
        let (step, epoch) = (StepName::from(step), Epoch(1));
        let intended = Event::StepIntended { step: step.clone(), prepared: Value::Null, epoch };
        log.add(Some(unit), intended);
        log.add(Some(unit), Event::StepDone { step, output: Value::Null });
    }

    fn turns(log: &mut Log, unit: &str) {
        let (by, because) = (Actor::Controller, "2 differences".to_owned());
        log.add(Some(unit), Event::WithdrawalStarted { by, because });
    }

    /// Two units that can be cut over, as the members of a meeting.
    fn two() -> (Log, Members) {
        let mut log = Log::new(&fleet(&["a", "b"], 0));
        log.synced(&["a", "b"]);
        let number =
            |name: &UnitName| log.0.unit(name).unwrap().next_attempt(Phase::Cutover).number;
        let names = ["a", "b"].map(UnitName::from);
        let members = names.iter().map(|name| (name.clone(), number(name))).collect();
        (log, members)
    }

    fn verdict(log: &Log, members: &Members, after: &str) -> (Verdict, String) {
        met(&log.0, members, &StepName::from(after))
    }

    #[test]
    fn a_unit_waits_until_every_other_one_got_as_far() {
        let (mut log, members) = two();
        begins(&mut log, "a");
        does(&mut log, "a", "compare");
        let (answer, text) = verdict(&log, &members, "compare");
        assert_eq!((answer, text.contains("wait for b")), (Verdict::Wait, true), "{text}");
        begins(&mut log, "b");
        assert_eq!(verdict(&log, &members, "compare").0, Verdict::Wait);
        does(&mut log, "b", "compare");
        assert_eq!(verdict(&log, &members, "compare").0, Verdict::Pass);
        assert_eq!(verdict(&log, &members, "seal").0, Verdict::Wait);
    }

    #[test]
    fn one_that_turns_round_makes_all_turn_round_as_long_as_none_is_promoted() {
        let (mut log, members) = two();
        for unit in ["a", "b"] {
            begins(&mut log, unit);
            does(&mut log, unit, "compare");
        }
        turns(&mut log, "b");
        let (answer, text) = verdict(&log, &members, "compare");
        assert_eq!(answer, Verdict::Fail);
        assert!(text.contains("`b` turned round: 2 differences"), "{text}");
        assert!(!decided(&log.0, &members));
        // Its withdrawal may be over before the other one looks.
        for event in [
            Event::UndoIntended { step: "compare".into(), epoch: Epoch(1) },
            Event::UndoDone { step: "compare".into() },
            Event::AttemptWithdrawn,
        ] {
            log.add(Some("b"), event);
        }
        assert_eq!(verdict(&log, &members, "compare").0, Verdict::Fail);
    }

    #[test]
    fn one_that_was_promoted_takes_the_others_along() {
        let (mut log, members) = two();
        for unit in ["a", "b"] {
            begins(&mut log, unit);
            does(&mut log, unit, "compare");
            does(&mut log, unit, "seal");
        }
        assert!(!decided(&log.0, &members));
        let (step, epoch) = (StepName::from("promote"), Epoch(1));
        log.add(Some("a"), Event::StepIntended { step, prepared: Value::Null, epoch });
        assert!(decided(&log.0, &members));
        assert_eq!(verdict(&log, &members, "seal").0, Verdict::Pass);
        let again = found(&log.0);
        assert_eq!(again, members, "another controller finds who met");
        log.add(Some("a"), Event::StepDone { step: "promote".into(), output: Value::Null });
        log.add(Some("a"), Event::AttemptCompleted);
        assert!(decided(&log.0, &found(&log.0)), "also when the first has ended");
        assert_eq!(found(&log.0), members);
    }

    #[test]
    fn a_cutover_of_another_night_was_no_meeting() {
        let (mut log, _) = two();
        log.attempt("a", Phase::Cutover, true);
        begins(&mut log, "b");
        let names: Vec<UnitName> = found(&log.0).into_keys().collect();
        assert_eq!(names, [UnitName::from("b")]);
    }
}
