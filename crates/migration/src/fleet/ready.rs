//! What a unit's cutover still lacks before its table may even begin.

use super::windows::{WindowNow, window_now};
use segue_model::UnitName;
use segue_model::event::Actor;
use segue_model::fleet::{Fleet, OwnItem, Strategy};
use segue_model::state::{RunState, UnitState};

/// A roll-call is good for one night, milliseconds.
const ROLL_CALL_MS: u64 = 12 * 3_600_000;
/// Time that must be left of a window for a unit whose cutover nobody measured, milliseconds.
const UNMEASURED_MS: u64 = 600_000;
/// A forecast is stretched by this much, percent.
const MARGIN_PERCENT: u64 = 50;

/// Something that is lacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The rule; a person may waive it by this name.
    pub rule: String,
    /// What is lacking, with the numbers.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

/// Returns what `unit` lacks at `now_ms` (wall clock) to be cut over; waived rules are left out.
pub fn missing(fleet: &Fleet, state: &RunState, unit: &UnitName, now_ms: u64) -> Vec<Missing> {
    let mut all = approvals(fleet, state);
    all.extend(roll_call(fleet, state, now_ms));
    all.extend(unmet(fleet, state));
    all.extend(rehearsal(fleet, state, unit, now_ms));
    all.extend(window(fleet, state, unit, now_ms));
    all.retain(|missing| !state.is_waived(&missing.rule, unit));
    all
}

/// Returns what `unit` lacks to be drilled: visitors wait in a drill as in a cutover, so it
/// takes the same agreement and the same window, but neither roll-call nor rehearsal.
pub fn missing_for_drill(
    fleet: &Fleet,
    state: &RunState,
    unit: &UnitName,
    now_ms: u64,
) -> Vec<Missing> {
    let mut all = missing(fleet, state, unit, now_ms);
    all.retain(|missing| missing.rule == "window" || missing.rule.starts_with("approval:"));
    all
}

fn approvals(fleet: &Fleet, state: &RunState) -> Vec<Missing> {
    let given = |role: &str| state.approvals.contains_key(role);
    let lacking = fleet.people.approvals.iter().filter(|approval| !given(&approval.role));
    lacking
        .map(|approval| Missing {
            rule: format!("approval:{}", approval.role),
            text: format!("nobody agreed to the plan as `{}`", approval.role),
            remedy: match approval.persons.as_slice() {
                [] => format!(
                    "`segue approve {}`, by somebody else than who began the run",
                    approval.role
                ),
                persons => {
                    format!("`segue approve {}`, by {}", approval.role, persons.join(" or "))
                }
            },
        })
        .collect()
}

fn roll_call(fleet: &Fleet, state: &RunState, now_ms: u64) -> Vec<Missing> {
    let lacking =
        fleet.people.roll_call.iter().filter(|role| !is_ready(fleet, state, role, now_ms));
    lacking
        .map(|role| Missing {
            rule: format!("ready:{role}"),
            text: format!("`{role}` has not reported ready in the last 12 h"),
            remedy: match fleet.people.holder(role) {
                None => format!("`segue ack ready:{role}`"),
                Some(person) => format!("`segue ack ready:{role}`, by {person}"),
            },
        })
        .collect()
}

/// Says whether a role reported ready not long ago, by whoever has the duty.
pub(crate) fn is_ready(fleet: &Fleet, state: &RunState, role: &str, now_ms: u64) -> bool {
    state.acknowledged.get(&format!("ready:{role}")).is_some_and(|said| {
        now_ms.saturating_sub(said.at.at_ms) <= ROLL_CALL_MS && fleet.people.has(role, &said.by)
    })
}

/// Items of the plan's own timeline that no cutover begins without.
fn unmet(fleet: &Fleet, state: &RunState) -> Vec<Missing> {
    let done = |item: &OwnItem| {
        let said = state.acknowledged.get(&item.id);
        said.is_some_and(|said| fleet.people.has(&item.duty, &said.by))
    };
    let needed = fleet.schedule.timeline.own.iter().filter(|item| item.needed && !done(item));
    needed
        .map(|item| Missing {
            rule: item.id.clone(),
            text: format!("nobody reported it done: {}", item.what),
            remedy: match fleet.people.holder(&item.duty) {
                None => format!("`segue ack {}`", item.id),
                Some(person) => format!("`segue ack {}`, by {person}", item.id),
            },
        })
        .collect()
}

fn rehearsal(fleet: &Fleet, state: &RunState, unit: &UnitName, now_ms: u64) -> Option<Missing> {
    let rule = fleet.schedule.rehearsal;
    let of_unit = state.unit(unit)?;
    if !rule.needed {
        return None;
    }
    let text = not_rehearsed(of_unit, rule.within_s, now_ms)?;
    Some(Missing {
        rule: "rehearsal".to_owned(),
        text,
        remedy: format!("`segue rehearse HASH --unit {unit}`"),
    })
}

/// Returns why a unit does not count as rehearsed, if it does not.
pub(crate) fn not_rehearsed(of_unit: &UnitState, within_s: u64, now_ms: u64) -> Option<String> {
    Some(match &of_unit.rehearsed {
        None => "it was never rehearsed".to_owned(),
        Some(done) if done.plan_hash != of_unit.plan_hash => {
            "its plan was changed after it was rehearsed".to_owned()
        }
        Some(done) if !done.passed => "its last rehearsal did not pass".to_owned(),
        Some(done) if now_ms.saturating_sub(done.ended.at_ms) > within_s * 1_000 => {
            let age_h = now_ms.saturating_sub(done.ended.at_ms) / 3_600_000;
            format!("its rehearsal is {age_h} h old, allowed {} h", within_s / 3_600)
        }
        Some(_) => return None,
    })
}

/// No unit starts that would not end inside its window.
fn window(fleet: &Fleet, state: &RunState, unit: &UnitName, now_ms: u64) -> Option<Missing> {
    let (text, next) = match window_now(&fleet.schedule, now_ms) {
        WindowNow::Always => return None,
        WindowNow::Closed { because, next } => (because, next),
        WindowNow::Open(opening) => {
            let left = opening.to_ms - now_ms;
            let (wanted, source) = forecast_ms(fleet, state, unit);
            if wanted <= left {
                return None;
            }
            let text = format!(
                "the window closes in {} s, and the cutover takes up to {} s by {source}",
                left / 1_000,
                wanted / 1_000
            );
            (text, None)
        }
    };
    let remedy = match next {
        Some(next) => {
            format!("wait: the next one opens in {} min", (next.from_ms - now_ms) / 60_000)
        }
        None => "wait for the next window".to_owned(),
    };
    Some(Missing { rule: "window".to_owned(), text, remedy })
}

/// Returns how long the unit's cutover may take, and where that is known from.
pub(crate) fn forecast_ms(fleet: &Fleet, state: &RunState, unit: &UnitName) -> (u64, &'static str) {
    if fleet.schedule.strategy == Strategy::MaintenanceWindow {
        let pause = fleet.unit(unit).and_then(|plan| plan.policy.maintenance_budget_ms);
        return (pause.unwrap_or(0) + UNMEASURED_MS, "its budget for the pause");
    }
    let rehearsed = state.unit(unit).and_then(|of| of.rehearsed.as_ref());
    match rehearsed.filter(|done| done.passed) {
        Some(done) => (done.took_ms + done.took_ms * MARGIN_PERCENT / 100, "its rehearsal"),
        None => (UNMEASURED_MS, "a guess: it was not rehearsed"),
    }
}

/// Says whether `by` may give the agreement of `role`, and if not why.
///
/// # Errors
/// Says who may.
pub fn may_approve(fleet: &Fleet, state: &RunState, role: &str, by: &Actor) -> Result<(), String> {
    let Some(approval) = fleet.people.approvals.iter().find(|known| known.role == role) else {
        let roles: Vec<&str> = fleet.people.approvals.iter().map(|a| a.role.as_str()).collect();
        return Err(format!(
            "the plan asks for no agreement as `{role}`, but for: {}",
            roles.join(", ")
        ));
    };
    let Actor::Person(person) = by else {
        return Err("only a person agrees".to_owned());
    };
    if !approval.persons.is_empty() && !approval.persons.contains(person) {
        return Err(format!("`{person}` may not, but {} may", approval.persons.join(" or ")));
    }
    if state.started_by.as_ref() == Some(by) {
        return Err(format!("`{person}` began the run: somebody else must agree"));
    }
    if state.approvals.iter().any(|(other, given)| other != role && given.by == *by) {
        return Err(format!("`{person}` agreed in another role already"));
    }
    Ok(())
}
