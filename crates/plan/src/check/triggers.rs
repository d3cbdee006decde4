//! Triggers that could not fire, or would fire for no reason.

use super::names::name;
use super::{Found, key};
use segue_model::gate::{Bound, Trigger};
use segue_model::plan::{Plan, UnitPlan};
use segue_model::{Side, What};

/// How long samples are remembered: a trigger cannot look back further.
const REMEMBERED_MS: u64 = 120_000;

pub(super) fn check(found: &mut Found, plan: &Plan) {
    let triggers = &plan.policy.triggers;
    for (index, trigger) in triggers.iter().enumerate() {
        let at = key("trigger", index, &trigger.name);
        name(found, &format!("{at}.name"), &trigger.name);
        bound(found, &at, &trigger.bound);
        times(found, &at, trigger);
        if let Some((part, section)) = missing(&plan.unit, trigger.bound.what) {
            found.add(
                "SG0726",
                format!("{at}.what"),
                format!("{} is never measured: the plan has no {part}", trigger.bound.what),
                format!("add {section}, or take the trigger away"),
            );
        }
    }
    found.duplicates(
        "trigger name",
        triggers.iter().enumerate().map(|(i, t)| (key("trigger", i, &t.name), t.name.as_str())),
    );
}

fn bound(found: &mut Found, at: &str, bound: &Bound) {
    let limits = [bound.min, bound.max];
    let text = if limits.iter().all(Option::is_none) {
        "the trigger has no bound and can never fire".to_owned()
    } else if limits.iter().flatten().any(|limit| !limit.is_finite()) {
        "a bound is not a number".to_owned()
    } else if let (Some(min), Some(max)) = (bound.min, bound.max)
        && min > max
    {
        format!("no value is at least {min} and at most {max}")
    } else {
        return;
    };
    found.add("SG0726", at, text, "write `max`, `min` or both, `min` not above `max`");
}

fn times(found: &mut Found, at: &str, trigger: &Trigger) {
    for (field, value, most) in [
        ("for_ms", trigger.for_ms, REMEMBERED_MS),
        ("fresh_for_ms", trigger.bound.fresh_for_ms, REMEMBERED_MS),
        ("min_samples", trigger.min_samples as u64, 1000),
    ] {
        if !(1..=most).contains(&value) {
            found.add(
                "SG0726",
                format!("{at}.{field}"),
                format!("with {value} the trigger fires on nothing or never"),
                format!("write 1 to {most}"),
            );
        }
    }
}

/// Returns the part of the plan without which a measure has no sampler.
fn missing(unit: &UnitPlan, what: What) -> Option<(&'static str, &'static str)> {
    let (there, part) = match what {
        What::DatabaseLagMs(_) | What::DatabaseDifferences | What::DatabaseReadable(_) => {
            (unit.database.is_some(), ("database", "[database]"))
        }
        What::FilesLagMs(_) | What::FilesDifferences => {
            (!unit.trees.is_empty(), ("tree", "a [[tree]]"))
        }
        What::ProbeFailed | What::ProbeMaxMs | What::ProbeCount => {
            (unit.probe.is_some(), ("probe", "[probe]"))
        }
        What::ZoneServersEqual | What::ZoneTtlMaxS => {
            (!unit.zones.is_empty(), ("zone", "a [[zone]]"))
        }
        What::DirectRequests => (
            unit.backend(Side::Source).is_some_and(|web| web.access_log.is_some()),
            ("access log of the source", "`backend.source.access_log`"),
        ),
        What::FrontsReady
        | What::RequestsPerSecond(_)
        | What::FailedPerSecond(_)
        | What::ResponseP50Ms(_)
        | What::ResponseP95Ms(_)
        | What::BackendHealthy(_)
        | What::StragglersPerSecond
        | What::TargetDiskFreeBytes => return None,
    };
    (!there).then_some(part)
}
