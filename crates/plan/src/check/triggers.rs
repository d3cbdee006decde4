//! Triggers that could not fire, or would fire for no reason.

use super::measured::{Asker, unmeasured};
use super::names::name;
use super::{Found, Key, key};
use segue_model::What;
use segue_model::gate::{Bound, Scope, Trigger, TriggerAction};
use segue_model::plan::Plan;

/// How long samples are remembered: neither trigger nor gate can look back further.
pub(super) const REMEMBERED_MS: u64 = 120_000;

pub(super) fn check(found: &mut Found, plan: &Plan) {
    let triggers = &plan.policy.triggers;
    for (index, trigger) in triggers.iter().enumerate() {
        let at = key("trigger", index, &trigger.name);
        name(found, format_args!("{at}.name"), &trigger.name);
        bound(found, "SG0726", "trigger", at, &trigger.bound);
        times(found, at, trigger);
        comparison(found, at, trigger);
        reach(found, at, trigger, plan.policy.split.is_some());
        if let Some((text, remedy)) = unmeasured(&plan.unit, &trigger.bound, Asker::Trigger) {
            found.add("SG0726", format!("{at}.what"), text, remedy);
        }
    }
    found.duplicates(
        "trigger name",
        triggers.iter().enumerate().map(|(i, t)| (key("trigger", i, &t.name), t.name.as_str())),
    );
}

pub(super) fn bound(found: &mut Found, code: &'static str, kind: &str, at: Key<'_>, bound: &Bound) {
    let limits = [bound.min, bound.max];
    let text = if limits.iter().all(Option::is_none) {
        format!("the {kind} has no bound and can never be violated")
    } else if limits.iter().flatten().any(|limit| !limit.is_finite()) {
        "a bound is not a number".to_owned()
    } else if let (Some(min), Some(max)) = (bound.min, bound.max)
        && min > max
    {
        format!("no value is at least {min} and at most {max}")
    } else {
        return;
    };
    found.add(code, at.to_string(), text, "write `max`, `min` or both, `min` not above `max`");
}

fn times(found: &mut Found, at: Key<'_>, trigger: &Trigger) {
    for (field, value, least, most) in [
        ("for_ms", trigger.for_ms, 1, REMEMBERED_MS),
        ("after_ms", trigger.after_ms, 0, 86_400_000),
        ("fresh_for_ms", trigger.bound.fresh_for_ms, 1, REMEMBERED_MS),
        ("min_samples", trigger.min_samples as u64, 1, 1000),
    ] {
        if !(least..=most).contains(&value) {
            found.add(
                "SG0726",
                format!("{at}.{field}"),
                format!("with {value} the trigger fires on nothing or never"),
                format!("write {least} to {most}"),
            );
        }
    }
}

/// What only a trigger that compares may have, and what it needs.
fn comparison(found: &mut Found, at: Key<'_>, trigger: &Trigger) {
    let Some(against) = trigger.against else { return };
    if trigger.reference().is_none() {
        found.add(
            "SG0726",
            format!("{at}.against"),
            format!("{} is measured once, so there is no other side", trigger.bound.what),
            "take `against` away and write the bound as numbers",
        );
    }
    if !(against.slack.is_finite() && against.slack >= 0.0) {
        found.add(
            "SG0726",
            format!("{at}.slack"),
            format!("{} is no difference", against.slack),
            "write 0 or a number above",
        );
    }
    // The fronts tell 64 clients apart, and several may share a place.
    if against.min_clients > 32 {
        found.add(
            "SG0726",
            format!("{at}.min_clients"),
            format!("{} clients are more than the fronts count", against.min_clients),
            "write 0 to 32",
        );
    }
}

/// Actions that nothing here can carry out, and those that contradict the measure.
fn reach(found: &mut Found, at: Key<'_>, trigger: &Trigger, split: bool) {
    if trigger.action == TriggerAction::StepBack && !split {
        found.add(
            "SG0732",
            format!("{at}.action"),
            "`step_back` needs a split of the traffic, and the plan has none",
            "add `[policy.split]`, or write `fail_back`, `hold_and_ask` or `alert`",
        );
    }
    if trigger.scope == Scope::Mail {
        found.add(
            "SG0732",
            format!("{at}.scope"),
            "the scope `mail` needs mail in the plan, and no plan can move mail yet",
            "write `unit`, or take the trigger away",
        );
    }
    let moves = matches!(trigger.action, TriggerAction::FailBack | TriggerAction::StepBack);
    if !moves && trigger.scope != Scope::Unit {
        found.add(
            "SG0726",
            format!("{at}.scope"),
            "the trigger moves nothing, so its scope has no meaning",
            "take `scope` away, or write `action = \"fail_back\"`",
        );
    }
    let different =
        matches!(trigger.bound.what, What::DatabaseDifferences | What::FilesDifferences);
    if moves && different {
        found.add(
            "SG0733",
            format!("{at}.action"),
            "the sides differ and no program can tell which is right: nothing goes back by itself",
            "write `action = \"hold_and_ask\"`",
        );
    }
}
