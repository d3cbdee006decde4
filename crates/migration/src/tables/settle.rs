//! Settle: the point of no return.

use super::{MINUTE, Remembered, StepExt, step};
use crate::families::{Families, zone_part};
use crate::gates;
use segue_engine::Table;
use segue_model::Way;
use segue_model::event::Phase;
use segue_model::gate::Before;
use serde_json::Value;

/// Returns the table. `lowered` is the recorded output of `lower_ttls`.
///
/// ```text
/// ---- point of no return ----
/// restore_ttls  exact former TTLs, data as published
/// end           reverse streams, claims and logins of this run
/// ```
pub fn settle(families: &Families, lowered: &Value, confirmed_at_boot_ms: Option<u64>) -> Table {
    let former = |place: usize| {
        let zone = families.plan.unit.zones.get(place).map(|plan| zone_part(&plan.label()));
        zone.and_then(|part| lowered.get(part).cloned()).unwrap_or(Value::Null)
    };
    let remembered = Remembered::default();
    let mut before = gates::of_plan(families, Before::Settle, Way::Forward, &remembered);
    before.push(gates::stable_for(confirmed_at_boot_ms, families.plan.policy.stable_for_s));
    Table {
        phase: Phase::Settle,
        budget: None,
        gate_wait: std::time::Duration::from_secs(families.plan.policy.gate_wait_s),
        steps: vec![
            step(
                "restore_ttls",
                "give the record sets their former TTLs back",
                families.zones_at(|place, zone| zone.restore_ttls(former(place))),
                10 * MINUTE,
            )
            .behind(before)
            .no_return()
            .until_done(),
            step(
                "end",
                "end the reverse streams and give the claims back",
                families.replicas_at(|r| r.end.clone()),
                10 * MINUTE,
            )
            .until_done(),
        ],
    }
}
