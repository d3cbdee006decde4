//! The timeline of a run: what is due when, from T-14 d to T+14 d, whose duty it is, and how
//! it stands. A pure function of plan, journal and time; T is the plan's `begins_at`.
//!
//! A **gate** takes its state from what the journal says was done; acknowledging it changes
//! nothing. A **person's step** is done when somebody says so: where the plan names a person
//! for the duty and the step locks the cutover, only that person.

mod before;
mod moves;
mod retire;
mod spread;
mod stand;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests_of_retire;
mod text;

pub use retire::LateAt;
pub use text::{overdue, text};

use segue_model::event::Actor;
use segue_model::fleet::Fleet;
use segue_model::gate::Judged;
use segue_model::plan::Plan;
use segue_model::state::{Acknowledged, RunState, UnitState};
use segue_model::{Finding, UnitName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who runs the migration.
const LEAD: &str = "lead";
/// Who looks after zones and resolvers.
const DNS: &str = "dns";
/// Who talks to the customers.
const CARE: &str = "customer care";

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its state is what the journal says was done.
    Gate,
    /// Somebody says that it is done.
    PersonsStep,
}

/// How an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its time is over and it is not done.
    Overdue,
    /// Its time is over, and nobody knows whether it holds.
    Unknown,
    /// It is time for it.
    Due,
    /// Its time has not come.
    Pending,
    /// A person lets it be, by name and with a reason.
    Waived,
    /// It is done.
    Done,
}

/// What somebody said of an item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Said {
    /// Who.
    pub by: String,
    /// Whether the duty is theirs; anybody's if the plan names no person.
    pub has_duty: bool,
    /// When, wall clock, milliseconds since 1970.
    pub at_ms: u64,
    /// In which words.
    pub note: String,
}

/// An item of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// Its name: what `segue ack` and `segue waive` take.
    pub id: String,
    /// When, counted from the beginning: `T-14 d`.
    pub when: String,
    /// The same in seconds.
    pub due_s: i64,
    /// When it is due, wall clock, milliseconds since 1970; `None` without `begins_at`.
    pub due_ms: Option<u64>,
    /// From when on there is something to do for it.
    pub opens_ms: Option<u64>,
    /// What it is about: `run`, `wave 2`.
    pub about: String,
    /// What there is to do, or must hold.
    pub what: String,
    /// Gate or person's step.
    pub kind: Kind,
    /// Whose duty it is.
    pub duty: String,
    /// Who has the duty, if the plan names somebody.
    pub person: Option<String>,
    /// How it stands.
    pub state: Standing,
    /// Since when, if that is known.
    pub since_ms: Option<u64>,
    /// The numbers it rests on.
    pub because: String,
    /// Who acknowledged it.
    pub acknowledged: Option<Said>,
    /// Who waived it.
    pub waived: Option<Said>,
    /// Whether no cutover begins without it.
    pub locks: bool,
    /// How it is done.
    pub how: String,
}

/// What is known beside the journal.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The last verdicts of the triggers of each unit at work.
    pub judged: BTreeMap<UnitName, Vec<Judged>>,
    /// Who still comes to the fronts at the source of each unit that is settled.
    pub late: BTreeMap<UnitName, Vec<LateAt>>,
}

/// What is known of an item, before times are looked at.
enum Fact {
    /// It holds, since this moment.
    Done(Option<u64>, String),
    /// It does not hold.
    Not(String),
    /// Nobody knows.
    Unknown(String),
}

/// An item before its times and persons are filled in.
struct Draft {
    id: String,
    due_s: i64,
    /// How long before it there is something to do, seconds.
    lead_s: i64,
    about: String,
    what: String,
    kind: Kind,
    duty: String,
    /// Who may do it, if that is not whoever has the duty.
    person: Option<String>,
    /// The rule that a waiver names.
    rule: Option<String>,
    locks: bool,
    how: String,
    fact: Fact,
}

impl Draft {
    fn gate(id: impl Into<String>, due_s: i64, what: impl Into<String>, fact: Fact) -> Self {
        Self {
            id: id.into(),
            due_s,
            // A quarter of the way to the beginning.
            lead_s: (due_s.abs() / 4).max(5 * MINUTE),
            about: "run".to_owned(),
            what: what.into(),
            kind: Kind::Gate,
            duty: LEAD.to_owned(),
            person: None,
            rule: None,
            locks: false,
            how: String::new(),
            fact,
        }
    }

    fn duty(mut self, role: &str) -> Self {
        role.clone_into(&mut self.duty);
        self
    }

    fn how(mut self, how: impl Into<String>) -> Self {
        self.how = how.into();
        self
    }

    fn locks(mut self, rule: impl Into<String>) -> Self {
        (self.locks, self.rule) = (true, Some(rule.into()));
        self
    }
}

/// Everything an item is derived from.
struct View<'a> {
    fleet: &'a Fleet,
    state: &'a RunState,
    facts: &'a Facts,
    now_ms: u64,
    /// The units that take part; none without a run.
    units: Vec<(&'a Plan, &'a UnitState)>,
}

impl<'a> View<'a> {
    fn new(fleet: &'a Fleet, state: &'a RunState, facts: &'a Facts, now_ms: u64) -> Self {
        let of = |plan: &'a Arc<Plan>| {
            let state = state.unit(&plan.unit.name)?;
            state.excluded.is_none().then_some((&**plan, &**state))
        };
        let units = fleet.units.iter().filter_map(of).collect();
        Self { fleet, state, facts, now_ms, units }
    }

    fn begun(&self) -> bool {
        self.state.run.is_some()
    }

    /// Says whether every unit that `wanted` takes does `fits`, with the numbers.
    fn every(
        &self,
        verb: &str,
        wanted: impl Fn(&Plan, &UnitState) -> bool,
        fits: impl Fn(&Plan, &UnitState) -> bool,
    ) -> Fact {
        if !self.begun() {
            return Fact::Not("no run has begun".to_owned());
        }
        let (mut all, mut missing) = (0_usize, Vec::new());
        for (plan, state) in self.units.iter().filter(|(plan, state)| wanted(plan, state)) {
            all += 1;
            if !fits(plan, state) {
                missing.push(plan.unit.name.as_str());
            }
        }
        let text = format!("{} of {all} units {verb}", all - missing.len());
        if missing.is_empty() {
            return Fact::Done(None, text);
        }
        let named = missing.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let more = if missing.len() > 3 { " and more" } else { "" };
        Fact::Not(format!("{text}; missing: {named}{more}"))
    }
}

/// Returns the timeline in order of time, with what is overdue first.
pub fn timeline(fleet: &Fleet, state: &RunState, now_ms: u64, facts: &Facts) -> Vec<Item> {
    let view = View::new(fleet, state, facts, now_ms);
    let mut items: Vec<Item> =
        drafts(&view).into_iter().map(|draft| stand::item(&view, draft)).collect();
    items.sort_by_key(|item| (item.state > Standing::Unknown, item.due_s));
    items
}

fn drafts(view: &View<'_>) -> Vec<Draft> {
    let mut drafts = before::items(view);
    drafts.extend(moves::items(view));
    // What locks is switched off where it is asked for: among the people, or the rehearsal.
    let off = &view.fleet.schedule.timeline.off;
    drafts.retain(|draft| draft.locks || !off.contains(&draft.id));
    drafts.extend(stand::own(view));
    drafts
}

/// Returns what the plan says of its timeline that cannot be, and nothing of the world.
pub fn check(fleet: &Fleet) -> Vec<Finding> {
    let plan = &fleet.schedule.timeline;
    if plan.own.is_empty() && plan.off.is_empty() {
        return Vec::new();
    }
    let (state, facts) = (RunState::default(), Facts::default());
    let view = View::new(fleet, &state, &facts, 0);
    let mut derived = before::items(&view);
    derived.extend(moves::items(&view));
    let find = |id: &String| derived.iter().find(|draft| draft.id == *id);
    let mut findings = Vec::new();
    for id in &plan.off {
        let text = match find(id) {
            None => format!("timeline item `{id}` is left out, and there is none"),
            Some(draft) if draft.locks => {
                format!("timeline item `{id}` is left out, and no cutover begins without it")
            }
            Some(_) => continue,
        };
        let remedy = "`segue timeline` names the items; what locks a cutover is taken away where it is asked for, in `people` or `rehearsal`";
        findings.push(Finding::refuse("SG0650", text, remedy));
    }
    for item in plan.own.iter().filter(|item| find(&item.id).is_some()) {
        let text = format!("timeline item `{}` has the name of a derived one", item.id);
        findings.push(Finding::refuse("SG0650", text, "give it another `id`"));
    }
    findings
}

/// Returns the duty roles of the timeline that nobody has.
pub fn duties_without_person(fleet: &Fleet) -> Vec<String> {
    let (state, facts) = (RunState::default(), Facts::default());
    let view = View::new(fleet, &state, &facts, 0);
    roles(&view).into_iter().filter(|role| fleet.people.holder(role).is_none()).collect()
}

/// Returns the duty roles of the timeline.
fn roles(view: &View<'_>) -> BTreeSet<String> {
    let named = drafts(view).into_iter().filter(|draft| draft.person.is_none());
    named.map(|draft| draft.duty).collect()
}

/// Returns whether an item may be acknowledged, and with which words somebody is told what
/// that means.
///
/// # Errors
/// Says that there is no such item.
pub fn acknowledging(
    (fleet, state): (&Fleet, &RunState),
    (now_ms, facts): (u64, &Facts),
    id: &str,
    by: &Actor,
) -> Result<Ack, String> {
    let items = timeline(fleet, state, now_ms, facts);
    let find = |id: &str| items.iter().find(|item| item.id == id);
    let Some(item) = find(id) else {
        return Err(format!("the timeline has no item `{id}`"));
    };
    if item.kind == Kind::Gate {
        let what = match item.state {
            Standing::Done => "its state is what was done".to_owned(),
            Standing::Waived => "it is waived, and does not hold".to_owned(),
            _ => format!("it does not count until `{id}` holds"),
        };
        let told = format!("`{id}` is acknowledged; it is a gate, and {what}: {}", item.because);
        return Ok(Ack::Take { told, held: None });
    }
    let known: Option<&Acknowledged> = state.acknowledged.get(id);
    // What was written when the gate held is not lost by a later word.
    let mut held = known.and_then(|known| known.held.clone());
    let mut until = String::new();
    match retire::gate_before(id).and_then(find) {
        // Done since a moment, it holds by the journal, and that has it already.
        Some(gate) if gate.state == Standing::Done && gate.since_ms.is_none() => {
            held = Some(gate.because.clone());
        }
        Some(gate) if gate.state < Standing::Waived && held.is_none() => {
            until = format!("; it does not count until `{}` holds: {}", gate.id, gate.because);
        }
        _ => {}
    }
    let take = |told: String| Ack::Take { told: told + &until, held: held.clone() };
    let has = |by: &Actor| fleet.people.has(&item.duty, by);
    match (&item.person, known) {
        (Some(person), Some(known)) if has(&known.by) && !has(by) && held == known.held => {
            Ok(Ack::Note(format!("`{id}` was acknowledged by {person}, who has the duty; noted")))
        }
        (Some(person), _) if !has(by) && item.locks => Ok(take(format!(
            "`{id}` is acknowledged, but the duty is {person}'s: the cutover stays locked until they do it or it is waived"
        ))),
        (Some(person), _) if !has(by) => {
            Ok(take(format!("`{id}` is acknowledged in place of {person}")))
        }
        _ => Ok(take(format!("`{id}` is acknowledged"))),
    }
}

/// What becomes of somebody's word on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// It stands as the item's acknowledgement.
    Take {
        /// What the person is told.
        told: String,
        /// The numbers of the gate that stands before the item, if that holds.
        held: Option<String>,
    },
    /// It is only noted: whoever has the duty said it before.
    Note(String),
}
