//! Gates that could not pass, or would pass without looking.

use super::measured::{Asker, unmeasured};
use super::names::name;
use super::triggers::{REMEMBERED_MS, bound};
use super::{Found, Key, key};
use segue_model::What;
use segue_model::gate::{Before, GateSpec};
use segue_model::plan::Plan;

pub(super) fn check(found: &mut Found, plan: &Plan) {
    let gates = &plan.policy.gates;
    for (index, gate) in gates.iter().enumerate() {
        let at = key("gate", index, &gate.name);
        name(found, format_args!("{at}.name"), &gate.name);
        bound(found, "SG0731", "gate", at, &gate.bound);
        times(found, at, gate);
        possible(found, at, gate);
        if let Some((text, remedy)) = unmeasured(&plan.unit, &gate.bound, Asker::Gate) {
            found.add("SG0731", format!("{at}.what"), text, remedy);
        }
    }
    found.duplicates(
        "gate name",
        gates.iter().enumerate().map(|(i, g)| (key("gate", i, &g.name), g.name.as_str())),
    );
}

fn times(found: &mut Found, at: Key<'_>, gate: &GateSpec) {
    for (field, value, least) in
        [("for_ms", gate.for_ms, 0), ("fresh_for_ms", gate.bound.fresh_for_ms, 1)]
    {
        if !(least..=REMEMBERED_MS).contains(&value) {
            found.add(
                "SG0731",
                format!("{at}.{field}"),
                format!("with {value} the gate never passes: samples are kept for 120 s"),
                format!("write {least} to {REMEMBERED_MS}"),
            );
        }
    }
}

/// Bounds that no value or every value keeps, and questions at the wrong step.
fn possible(found: &mut Found, at: Key<'_>, gate: &GateSpec) {
    let what = gate.bound.what;
    let least = if what == What::Custom { f64::MIN } else { 0.0 };
    let (max, min) = (gate.bound.max, gate.bound.min);
    if max.is_some_and(|max| max < least) || min.is_some_and(|min| min > what.most()) {
        found.add(
            "SG0731",
            at.to_string(),
            format!("no possible value of {what} keeps the bound: the gate would never pass"),
            "change `max` or `min`",
        );
    } else if max.is_none_or(|max| max >= what.most()) && min.is_none_or(|min| min <= least) {
        // A bound that is not there is refused elsewhere.
        if max.is_some() || min.is_some() {
            found.add(
                "SG0731",
                at.to_string(),
                format!("every possible value of {what} keeps the bound: the gate asks nothing"),
                "change `max` or `min`, or switch the gate off",
            );
        }
    }
    let told = matches!(what, What::VerifiedAgeS | What::SafeAfterLeftS);
    if told && (gate.before != Before::Arm || gate.for_ms > 0 || min.is_some()) {
        found.add(
            "SG0731",
            at.to_string(),
            format!("{what} comes from the journal and is asked once, before a cutover"),
            "write `before = \"arm\"` and `max`, without `min` and `for_ms`",
        );
    }
    if gate.failback && gate.before == Before::Settle {
        found.add(
            "SG0731",
            format!("{at}.failback"),
            "a failback has no such step",
            "take `failback` away",
        );
    }
}
