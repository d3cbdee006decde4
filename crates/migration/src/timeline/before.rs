//! Items before the beginning.

use super::{CARE, DAY, DNS, Draft, Fact, HOUR, Kind, View};
use crate::fleet::{is_ready, not_rehearsed};
use segue_model::event::Phase;
use segue_model::plan::Plan;
use segue_model::state::{Stage, UnitState};
use segue_model::{StepName, UnitName};

/// Oldest rehearsal that counts where the plan says nothing, seconds.
const REHEARSED_WITHIN_S: u64 = 14 * 86_400;
/// Oldest full comparison and drill that count days before, milliseconds.
const COMPARED_WITHIN_MS: u64 = 3 * 86_400_000;
const DRILLED_WITHIN_MS: u64 = 7 * 86_400_000;

pub(super) fn items(view: &View<'_>) -> Vec<Draft> {
    let mut items = days(view);
    items.extend(ttls(view));
    items.extend(people(view));
    items
}

/// What is due days before.
fn days(view: &View<'_>) -> Vec<Draft> {
    let any = |_: &Plan, _: &UnitState| true;
    let inventory = match view.begun() {
        true => Fact::Done(None, "nothing was refused when the run began".to_owned()),
        false => Fact::Not("no run has begun".to_owned()),
    };
    let synced = |_: &Plan, unit: &UnitState| {
        let begun = unit.open.as_ref().is_some_and(|open| open.attempt.phase == Phase::Sync);
        unit.stage >= Stage::Synced || begun
    };
    let rule = view.fleet.schedule.rehearsal;
    let within_s = if rule.within_s == 0 { REHEARSED_WITHIN_S } else { rule.within_s };
    let rehearsed = |_: &Plan, unit: &UnitState| {
        // What moved needs no rehearsal any more.
        unit.stage >= Stage::Watching || not_rehearsed(unit, within_s, view.now_ms).is_none()
    };
    let rehearsal = Draft::gate(
        "rehearsal",
        -7 * DAY,
        format!("every unit passed a rehearsal, at most {} d ago", within_s / 86_400),
        view.every("passed", any, rehearsed),
    )
    .how("segue rehearse HASH --unit UNIT");
    let compared = |_: &Plan, unit: &UnitState| {
        let fresh = |at_ms: u64| view.now_ms.saturating_sub(at_ms) <= COMPARED_WITHIN_MS;
        let clean = unit.compared.values().all(|c| c.differences == 0 && fresh(c.ended.at_ms));
        unit.stage >= Stage::Watching || unit.stage >= Stage::Synced && clean
    };
    vec![
        Draft::gate(
            "inventory",
            -14 * DAY,
            "the inventory is taken and the doctor refuses nothing",
            inventory,
        )
        .how("segue doctor PLAN, then segue sync HASH"),
        Draft::gate("duties", -14 * DAY, "every duty has a person", duties(view))
            .how("[[people.duty]] in the plan"),
        Draft::gate("sync", -10 * DAY, "the first copy of every unit has begun", {
            view.every("are copied or being copied", any, synced)
        })
        .how("segue sync HASH"),
        if rule.needed { rehearsal.locks("rehearsal") } else { rehearsal },
        step(view, "notice", -7 * DAY, "the customers are told").duty(CARE),
        Draft::gate(
            "compared",
            -3 * DAY,
            "a full comparison of every unit found nothing, at most 3 d ago",
            view.every("are equal", any, compared),
        )
        .how("segue sync HASH compares again"),
        step(view, "freeze", -3 * DAY, "the freeze of changes is announced"),
        drill(view),
    ]
}

/// A person's step that locks nothing.
pub(super) fn step(view: &View<'_>, id: &str, due_s: i64, what: &str) -> Draft {
    let said = view.state.acknowledged.get(id);
    let fact = match said {
        Some(said) => Fact::Done(Some(said.at.at_ms), said.note.clone()),
        None => Fact::Not("nobody has acknowledged it".to_owned()),
    };
    Draft { kind: Kind::PersonsStep, ..Draft::gate(id, due_s, what, fact) }
        .how(format!("segue ack {id} --note TEXT"))
}

fn duties(view: &View<'_>) -> Fact {
    let plan = &view.fleet.schedule.timeline.own;
    let roles = [super::LEAD, DNS, CARE].into_iter().map(str::to_owned);
    let roles = roles.chain(plan.iter().map(|item| item.duty.clone()));
    let mut roles: Vec<String> = roles.chain(view.fleet.people.roll_call.clone()).collect();
    roles.sort();
    roles.dedup();
    roles.retain(|role| view.fleet.people.holder(role).is_none());
    match roles.as_slice() {
        [] => Fact::Done(None, "every duty role has one".to_owned()),
        roles => Fact::Not(format!("nobody has: {}", roles.join(", "))),
    }
}

fn drill(view: &View<'_>) -> Draft {
    let first = view.fleet.waves.first();
    let canaries = first.map_or(0, |wave| wave.canaries.max(1));
    let names: Vec<&UnitName> =
        first.into_iter().flat_map(|wave| wave.units.iter().take(canaries)).collect();
    let fact = view.every(
        "of the first ones are drilled",
        |plan, _| names.contains(&&plan.unit.name),
        |_, unit| {
            let fresh = |at_ms| view.now_ms.saturating_sub(at_ms) <= DRILLED_WITHIN_MS;
            unit.stage >= Stage::Watching || unit.drilled.is_some_and(|(at, _)| fresh(at.at_ms))
        },
    );
    let what = "the pause of the first units is measured on the live source, at most 7 d ago";
    let unit = names.first().map_or("UNIT", |name| name.as_str());
    Draft::gate("drill", -2 * HOUR, what, fact).how(format!("segue drill HASH --unit {unit}"))
}

/// Low TTLs: lowered while there is time, and former answers gone before the beginning.
fn ttls(view: &View<'_>) -> Vec<Draft> {
    if view.fleet.units.iter().all(|plan| plan.unit.zones.is_empty()) {
        return Vec::new();
    }
    let zoned = |plan: &Plan, _: &UnitState| !plan.unit.zones.is_empty();
    let begins_ms = view.fleet.schedule.begins_at_ms;
    let in_time = match begins_ms {
        None => Fact::Unknown("the plan has no `begins_at`".to_owned()),
        Some(begins_ms) => view.every("are over in time", zoned, |_, unit| {
            safe_after(unit).is_some_and(|at_ms| at_ms <= begins_ms)
        }),
    };
    let how = "segue cutover HASH --prepare-only";
    vec![
        Draft::gate(
            "ttls",
            -72 * HOUR,
            "the TTLs of every unit with records are lowered",
            view.every("have low TTLs", zoned, |_, unit| unit.stage >= Stage::Prepared),
        )
        .duty(DNS)
        .how(how),
        Draft::gate(
            "ttls:in-time",
            -48 * HOUR,
            "the former TTLs of every unit end before the beginning",
            in_time,
        )
        .duty(DNS)
        .how(how),
        Draft::gate(
            "ttls:over",
            -24 * HOUR,
            "no honest resolver holds an answer with a former TTL",
            view.every("are over", zoned, |_, unit| {
                safe_after(unit).is_some_and(|at_ms| at_ms <= view.now_ms)
            }),
        )
        .duty(DNS)
        .how("wait; a former TTL ends by itself"),
    ]
}

/// Returns from when on no honest resolver holds a former answer of the unit.
fn safe_after(unit: &UnitState) -> Option<u64> {
    let step = StepName::from("lower_ttls");
    let lowered = unit.history.iter().rev().find_map(|past| past.state.steps.get(&step));
    let zones = lowered?.output.as_ref()?.as_object()?;
    let each = zones.values().map(segue_dns::safe_after_gate_value);
    each.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

/// Agreements and the roll-call.
fn people(view: &View<'_>) -> Vec<Draft> {
    let people = &view.fleet.people;
    let mut items = Vec::new();
    for approval in &people.approvals {
        let role = &approval.role;
        let fact = match view.state.approvals.get(role) {
            Some(given) => Fact::Done(Some(given.at.at_ms), format!("by {}", who(&given.by))),
            None => Fact::Not("nobody has agreed".to_owned()),
        };
        let rule = format!("approval:{role}");
        let mut item = Draft::gate(rule.clone(), -24 * HOUR, "somebody agrees to the plan", fact)
            .duty(role)
            .locks(rule)
            .how(format!("segue approve {role}"));
        item.person = Some(match approval.persons.as_slice() {
            [] => "anybody but who began the run".to_owned(),
            persons => persons.join(" or "),
        });
        items.push(item);
    }
    let mut ready = 0;
    for role in &people.roll_call {
        let id = format!("ready:{role}");
        let mut item = step(view, &id, -HOUR, "reports ready at the roll-call");
        // The roll-call opens twelve hours before.
        item.lead_s = 11 * HOUR;
        if is_ready(view.fleet, view.state, role, view.now_ms) {
            ready += 1;
        } else if view.state.acknowledged.contains_key(&id) {
            item.fact = Fact::Not("not in the last 12 h, or by somebody else".to_owned());
        }
        items.push(item.duty(role).locks(id));
    }
    if !people.roll_call.is_empty() {
        let all = people.roll_call.len();
        let text = format!("{ready} of {all} roles are ready");
        let fact = if ready == all { Fact::Done(None, text) } else { Fact::Not(text) };
        let mut item = Draft::gate("roll-call", -HOUR, "every role is ready", fact)
            .how("segue ack ready:ROLE, by each");
        item.lead_s = 11 * HOUR;
        items.push(item);
    }
    items
}

/// Returns who did something, in words.
pub(super) fn who(by: &segue_model::event::Actor) -> String {
    match by {
        segue_model::event::Actor::Person(name) => name.clone(),
        segue_model::event::Actor::Trigger(name) => format!("trigger {name}"),
        segue_model::event::Actor::Controller => "the controller".to_owned(),
    }
}
