//! Drill: the way into a cutover up to the seal, on the live source, and back.

use super::cutover::{Remembered, up_to_the_seal};
use crate::families::Families;
use segue_engine::{Budget, Pause, Table};
use segue_model::Way;
use segue_model::event::Phase;
use std::time::Duration;

/// Returns the table: the rows of a cutover before its seal, with the same gates and the same
/// time allowed for each. Its last step done, everything is undone in reverse order.
///
/// ```text
/// arm           the way back proven in this run            undo: -
/// stop_workers  cron and workers of the source             undo: start them again
/// hold          fronts queue, in-flight ends   PAUSE       undo: release to the source, PAUSE ENDS
/// fence         the source refuses writes                  undo: release
/// drain         the target has everything                  undo: -
/// verify        what changed is equal; snapshots open      undo: close
/// ---- then back: nothing is sealed, nothing promoted ----
/// ```
pub fn drill(families: &Families, remembered: &Remembered) -> Table {
    let policy = &families.plan.policy;
    let mut steps = up_to_the_seal(families, Way::Forward, remembered);
    // Hold and fence stay leased: without a controller they end by themselves.
    let seal = steps.iter().position(|step| step.pause == Pause::Seal);
    steps.truncate(seal.unwrap_or(steps.len()));
    Table {
        phase: Phase::Drill,
        budget: Some(Budget {
            limit_ms: policy.pause_budget_ms,
            reserve_ms: policy.seal_reserve_ms,
        }),
        gate_wait: Duration::from_secs(policy.gate_wait_s),
        steps,
    }
}
