//! Maintenance window: every unit of the run is held, compared in full and then switched.

use super::cutover::{Remembered, from_the_promotion, up_to_the_seal};
use super::{MINUTE, step};
use crate::families::Families;
use crate::fleet::Meeting;
use crate::together::{Part, Together};
use async_trait::async_trait;
use segue_engine::{Budget, Table};
use segue_model::event::Phase;
use segue_model::{EffectLeft, Fault, FaultKind, Way};
use segue_port::{Call, Effect, Observed, Outcome};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Least time kept in reserve for seal, promote and route of all units, milliseconds.
const RESERVE_MS: u64 = 5_000;

/// Returns the table: that of a cutover, with the full comparison inside the pause, and a
/// meeting of all units before each row that must not be alone.
///
/// ```text
/// arm           the way back proven in this run            undo: -
///                                   every unit is ready
/// stop_workers  cron and workers of the source             undo: start them again
///                                   every unit's workers stand
/// hold          fronts queue, in-flight ends   PAUSE       undo: release to the source
/// fence         the source refuses writes                  undo: release
/// drain         the target has everything                  undo: -
/// verify        snapshots open                             undo: close
/// compare       both sides in full; a difference turns round
///                                   every unit is verified
/// seal_fronts   the hold no longer expires     BUDGET      undo: leased again
/// seal          the fence lasts                            undo: unseal
///                                   every unit is sealed
/// ---- from the next intent on the way back is a failback ----
/// promote       the target takes writes
/// route         every front sends there        PAUSE ENDS
/// start_workers cron and workers over there
/// publish       the owned record sets, read back everywhere; the origins of CDNs
/// ```
///
/// A request that waits longer than `hold_age_max_ms` is answered 503 with `Retry-After`;
/// until the seal, hold and fence are leased all the same.
pub fn window(families: &Families, remembered: &Remembered, meeting: &Arc<Meeting>) -> Table {
    let policy = &families.plan.policy;
    let limit_ms = policy.maintenance_budget_ms.unwrap_or(policy.pause_budget_ms);
    let longest = Duration::from_millis(limit_ms);
    let mut steps = Vec::new();
    for mut row in up_to_the_seal(families, Way::Forward, remembered) {
        let meets = match row.name.as_str() {
            "stop_workers" => Some(("every unit is ready", "arm")),
            "hold" => Some(("every unit's workers stand", "stop_workers")),
            "seal_fronts" => Some(("every unit is verified", "compare")),
            _ => None,
        };
        row.gates.extend(meets.map(|(name, after)| meeting.gate(name, after)));
        match row.name.as_str() {
            "hold" => row.time_allowed = MINUTE.min(longest),
            // The fence is renewed for as long as its step may take.
            "fence" | "drain" | "verify" => row.time_allowed = longest,
            "seal_fronts" => steps.push(step(
                "compare",
                "compare both sides in full while everything stands",
                proven(families),
                longest,
            )),
            _ => {}
        }
        if row.name.as_str() == "seal" {
            // It reads everything that neighbours wrote since the fence.
            row.time_allowed = MINUTE;
        }
        steps.push(row);
    }
    // ---- point of no return ----
    for mut row in from_the_promotion(families) {
        if row.name.as_str() == "promote" {
            row.gates.push(meeting.gate("every unit is sealed", "seal"));
        }
        if row.name.as_str() != "compare" {
            steps.push(row);
        }
    }
    Table {
        phase: Phase::Cutover,
        budget: Some(Budget { limit_ms, reserve_ms: policy.seal_reserve_ms.max(RESERVE_MS) }),
        gate_wait: Duration::from_secs(policy.gate_wait_s),
        steps,
    }
}

/// Compares what `verify` holds, and accepts no difference.
fn proven(families: &Families) -> Arc<dyn Effect> {
    let parts = families.parts(|replica| replica.compare.clone());
    let proven = |part: Part| {
        let effect: Arc<dyn Effect> =
            Arc::new(Proven { name: part.name.clone(), inner: part.effect });
        Part { name: part.name, effect }
    };
    Together::new(parts.into_iter().map(proven).collect())
}

struct Proven {
    name: String,
    inner: Arc<dyn Effect>,
}

/// Returns what a comparison found, if that is nothing.
fn accept(name: &str, output: Value) -> Outcome<Value> {
    // Nothing is written, so nothing has a reason to move.
    let moving = output.get("in_motion").and_then(Value::as_u64).unwrap_or(0);
    let cause = match output.get("differences").and_then(Value::as_u64) {
        Some(0) if moving == 0 => return Ok(output),
        Some(0) => format!("{moving} paths were written although everything is held"),
        Some(found) => {
            let named = output.get("found").map_or_else(String::new, |named| format!(": {named}"));
            format!("{found} differences between both sides{named}")
        }
        None => format!("it could not be compared: {output}"),
    };
    let op = format!("compare `{name}` inside the pause");
    Err(Fault::new("SG0848", FaultKind::Conflict, op, cause)
        .leaving(EffectLeft::None)
        .hint("nothing was switched; `segue sync` compares while both sides are in use"))
}

#[async_trait]
impl Effect for Proven {
    fn what(&self) -> String {
        self.inner.what()
    }

    fn by_hand(&self) -> String {
        self.inner.by_hand()
    }

    async fn prepare(&self, call: &Call) -> Outcome<Value> {
        self.inner.prepare(call).await
    }

    async fn run(&self, call: &Call) -> Outcome<Value> {
        accept(&self.name, self.inner.run(call).await?)
    }

    async fn observe(&self, call: &Call) -> Outcome<Observed> {
        self.inner.observe(call).await
    }

    async fn undo(&self, call: &Call) -> Outcome<()> {
        self.inner.undo(call).await
    }

    async fn quench(&self, call: &Call) -> Outcome<()> {
        self.inner.quench(call).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::accept;
    use serde_json::json;

    #[test]
    fn only_a_comparison_without_differences_is_accepted() {
        assert!(accept("database", json!({ "differences": 0 })).is_ok());
        let refused = accept("files:site", json!({ "differences": 2, "found": ["`a`: size"] }));
        let fault = refused.unwrap_err();
        assert_eq!(fault.code, "SG0848");
        assert!(fault.cause.contains("2 differences"), "{fault}");
        assert!(fault.cause.contains("`a`: size"), "{fault}");
        assert!(accept("files:site", json!({ "differences": 0, "in_motion": 1 })).is_err());
        let unknown = accept("database", json!({ "differences": null, "lost": true }));
        assert!(unknown.unwrap_err().cause.contains("could not be compared"));
    }
}
