//! Sync: claim, seed, follow, the way back, a first comparison.

use super::{DAY, MINUTE, Remembered, StepExt, step};
use crate::families::Families;
use crate::gates;
use segue_engine::Table;
use segue_model::Way;
use segue_model::event::Phase;
use segue_model::gate::Before;
use std::time::Duration;

/// Returns the table.
///
/// ```text
/// claim     the unit is this run's at every resource      undo: give the claim back
/// seed      first copy of everything                      undo: drop what was copied
/// follow    the target keeps up                           undo: stop
/// reverse   the source would keep up with the target      undo: stop
/// check     full comparison while live                    changes nothing
/// ```
pub fn sync(families: &Families) -> Table {
    Table {
        phase: Phase::Sync,
        budget: None,
        // How much there is to copy is counted first.
        gate_wait: Duration::from_secs(families.plan.policy.gate_wait_s),
        steps: vec![
            step(
                "claim",
                "claim the unit at every resource",
                families.replicas_at(|r| r.claim.clone()),
                MINUTE,
            ),
            step("seed", "copy everything once", families.replicas_at(|r| r.seed.clone()), 7 * DAY)
                .behind(gates::of_plan(
                    families,
                    Before::Seed,
                    Way::Forward,
                    &Remembered::default(),
                )),
            step(
                "follow",
                "keep the target up with the source",
                families.replicas_at(|r| r.follow.clone()),
                60 * MINUTE,
            ),
            step(
                "reverse",
                "make the way back ready",
                families.replicas_at(|r| r.reverse.clone()),
                10 * MINUTE,
            ),
            step("check", "compare both sides in full", crate::check::effect(families), DAY),
        ],
    }
}
