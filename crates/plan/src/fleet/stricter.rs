//! The policy of joined units: the stricter one of both, wherever that is defined.
//!
//! A shorter pause, a shorter lease, a longer reserve and a longer time of stability are
//! stricter, and so is a narrower bound of a gate or trigger. What has no order, such as the
//! action of a trigger, must be the same in both.

use segue_model::gate::{Bound, GateSpec, Trigger};
use segue_model::plan::Policy;

/// Returns the stricter policy.
///
/// # Errors
/// The keys that say something else in both and have no order.
pub(super) fn policy(one: &Policy, other: &Policy) -> Result<Policy, Vec<String>> {
    let mut unlike = Vec::new();
    let gates = named(&one.gates, &other.gates, |gate| &gate.name, gate, "gate", &mut unlike);
    let triggers = named(
        &one.triggers,
        &other.triggers,
        |trigger| &trigger.name,
        trigger,
        "trigger",
        &mut unlike,
    );
    // Without a split is the stricter one.
    let split = match (&one.split, &other.split) {
        (Some(one), Some(other)) if one == other => Some(one.clone()),
        (Some(_), Some(_)) => {
            unlike.push("policy.split".into());
            None
        }
        _ => None,
    };
    if let (Some(one), Some(other)) = (&one.hold_page, &other.hold_page)
        && one != other
    {
        unlike.push("policy.hold_page".into());
    }
    if !unlike.is_empty() {
        return Err(unlike);
    }
    // Each must hold for the sites of both.
    let harmless = one.harmless_paths.iter().filter(|path| other.harmless_paths.contains(path));
    let mut slow_paths = one.slow_paths.clone();
    slow_paths
        .extend(other.slow_paths.iter().filter(|path| !one.slow_paths.contains(path)).cloned());
    Ok(Policy {
        pause_budget_ms: one.pause_budget_ms.min(other.pause_budget_ms),
        failback_budget_ms: one.failback_budget_ms.min(other.failback_budget_ms),
        maintenance_budget_ms: match (one.maintenance_budget_ms, other.maintenance_budget_ms) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        seal_reserve_ms: one.seal_reserve_ms.max(other.seal_reserve_ms),
        lease_ms: one.lease_ms.min(other.lease_ms),
        hold_age_max_ms: one.hold_age_max_ms.min(other.hold_age_max_ms),
        hold_count_max: one.hold_count_max.min(other.hold_count_max),
        quiet_wait_ms: one.quiet_wait_ms.min(other.quiet_wait_ms),
        slow_paths,
        harmless_paths: harmless.cloned().collect(),
        hold_bytes_max: one.hold_bytes_max.min(other.hold_bytes_max),
        hold_page: one.hold_page.clone().or_else(|| other.hold_page.clone()),
        split,
        gate_wait_s: one.gate_wait_s.min(other.gate_wait_s),
        commit_timer_s: match (one.commit_timer_s, other.commit_timer_s) {
            (0, timer) | (timer, 0) => timer,
            (one, other) => one.min(other),
        },
        stable_for_s: one.stable_for_s.max(other.stable_for_s),
        straggler_days: one.straggler_days.max(other.straggler_days),
        triggers,
        gates,
    })
}

/// Joins two lists by name; `both` makes one of two of the same name, if they have an order.
fn named<T: Clone>(
    one: &[T],
    other: &[T],
    name: fn(&T) -> &String,
    both: fn(&T, &T) -> Option<T>,
    kind: &str,
    unlike: &mut Vec<String>,
) -> Vec<T> {
    let mut all = one.to_vec();
    for new in other {
        match all.iter_mut().find(|known| name(known) == name(new)) {
            None => all.push(new.clone()),
            Some(known) => match both(known, new) {
                Some(stricter) => *known = stricter,
                None => unlike.push(format!("{kind}[{}]", name(new))),
            },
        }
    }
    all
}

fn gate(one: &GateSpec, other: &GateSpec) -> Option<GateSpec> {
    let bound = bound(&one.bound, &other.bound)?;
    let stricter = GateSpec { bound, for_ms: one.for_ms.max(other.for_ms), ..one.clone() };
    let alike =
        GateSpec { bound: stricter.bound.clone(), for_ms: stricter.for_ms, ..other.clone() };
    (stricter == alike).then_some(stricter)
}

fn trigger(one: &Trigger, other: &Trigger) -> Option<Trigger> {
    let bound = bound(&one.bound, &other.bound)?;
    let stricter = Trigger { bound, for_ms: one.for_ms.min(other.for_ms), ..one.clone() };
    let alike = Trigger { bound: stricter.bound.clone(), for_ms: stricter.for_ms, ..other.clone() };
    (stricter == alike).then_some(stricter)
}

fn bound(one: &Bound, other: &Bound) -> Option<Bound> {
    let tighter =
        |pick: fn(f64, f64) -> f64, one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(pick(one, other)),
            (one, other) => one.or(other),
        };
    (one.what == other.what && one.from == other.from).then(|| Bound {
        max: tighter(f64::min, one.max, other.max),
        min: tighter(f64::max, one.min, other.min),
        fresh_for_ms: one.fresh_for_ms.min(other.fresh_for_ms),
        ..one.clone()
    })
}
