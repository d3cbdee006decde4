//! Cutover and failback: one table, the sides exchanged.

use super::{MINUTE, SECOND, StepExt, step};
use crate::families::Families;
use crate::gates;
use segue_dns::flush_resolvers;
use segue_engine::{Budget, Pause, Step, Table};
use segue_model::Way;
use segue_model::event::Phase;
use segue_model::gate::Before;
use segue_workers::{start_workers, stop_workers};
use std::time::Duration;

/// What earlier phases recorded and this one's gates ask about.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// Wall clock after which no honest resolver holds an answer with a former TTL.
    pub safe_after_wall_ms: Option<u64>,
    /// Last full comparison: boot clock of its end and differences found, by `what`.
    pub compared: Vec<(String, u64, u64)>,
}

/// Returns the table.
///
/// ```text
/// arm           the way back proven in this run            undo: -
/// stop_workers  cron and workers of the writing side       undo: start them again
/// hold          fronts queue, in-flight ends   PAUSE       undo: release to the writing side
/// fence         the writing side refuses writes            undo: release
/// drain         the other side has everything              undo: -
/// verify        what changed is equal; snapshots open      undo: close
/// seal_fronts   the hold no longer expires     BUDGET      undo: leased again
/// seal          the fence lasts                            undo: unseal
/// ---- from the next intent on the way back is a failback ----
/// promote       the other side takes writes
/// route         every front sends there        PAUSE ENDS
/// start_workers cron and workers over there
/// publish       the owned record sets, read back everywhere; the origins of CDNs
/// flush         the operator's own resolvers forget them; only if the plan says how
/// compare       the snapshots, in full
/// ```
pub fn cutover(families: &Families, way: Way, remembered: &Remembered) -> Table {
    let policy = &families.plan.policy;
    let wait = Duration::from_secs(policy.gate_wait_s);
    let mut steps = up_to_the_seal(families, way, remembered);
    // ---- point of no return ----
    steps.extend(from_the_promotion(families));
    Table {
        phase: if way == Way::Forward { Phase::Cutover } else { Phase::Failback },
        budget: Some(Budget {
            limit_ms: policy.budget_ms(way),
            reserve_ms: policy.seal_reserve_ms,
        }),
        gate_wait: match way {
            Way::Forward => wait,
            Way::Back => wait.min(Duration::from_secs(gates::BACK_WAIT_S)),
        },
        steps,
    }
}

pub(super) fn up_to_the_seal(families: &Families, way: Way, remembered: &Remembered) -> Vec<Step> {
    let policy = &families.plan.policy;
    let workers = &families.plan.unit.workers;
    let fronts = &families.fronts;
    let quiet = Duration::from_millis(policy.budget_ms(way));
    let mut before_hold = gates::of_plan(families, Before::Hold, way, remembered);
    before_hold.push(gates::quiet(fronts, policy, way));
    vec![
        step("arm", "prove the way back", families.replicas_at(|r| r.arm.clone()), 10 * SECOND)
            .behind(gates::of_plan(families, Before::Arm, way, remembered)),
        step(
            "stop_workers",
            "stop cron and workers of the writing side",
            Families::alone("workers", stop_workers(workers.clone())),
            MINUTE,
        ),
        step(
            "hold",
            "queue requests at every front",
            Families::alone("fronts", fronts.hold()),
            quiet,
        )
        .behind(before_hold)
        .pause(Pause::Begins),
        step(
            "fence",
            "refuse writes at the writing side",
            families.replicas_at(|r| r.fence.clone()),
            quiet,
        ),
        step(
            "drain",
            "apply everything on the other side",
            families.replicas_at(|r| r.drain.clone()),
            quiet,
        ),
        step("verify", "compare what changed", families.replicas_at(|r| r.verify.clone()), quiet),
        step("seal_fronts", "make the hold last", Families::alone("fronts", fronts.seal()), SECOND)
            .pause(Pause::Seal),
        step("seal", "make the fence last", families.replicas_at(|r| r.seal.clone()), SECOND),
    ]
}

pub(super) fn from_the_promotion(families: &Families) -> Vec<Step> {
    let unit = &families.plan.unit;
    let workers = &unit.workers;
    let fronts = &families.fronts;
    let mut steps = vec![
        step(
            "promote",
            "let the other side take writes",
            families.replicas_at(|r| r.promote.clone()),
            2 * SECOND,
        )
        .no_return(),
        step(
            "route",
            "send every request there",
            Families::alone("fronts", fronts.route()),
            2 * SECOND,
        )
        .until_done()
        .pause(Pause::Ends),
        step(
            "start_workers",
            "start cron and workers there",
            Families::alone("workers", start_workers(workers.clone(), "stop_workers".into())),
            MINUTE,
        )
        .until_done(),
        step("publish", "publish the record sets", families.publish(), 30 * SECOND).until_done(),
    ];
    steps.extend(flush_resolvers(&unit.measures.resolvers, &unit.zones).map(|flush| {
        step(
            "flush",
            "make the operator's own resolvers forget what was published",
            Families::alone("resolvers", flush),
            30 * SECOND,
        )
        .until_done()
    }));
    steps.push(
        step(
            "compare",
            "compare both sides as they were in the pause",
            families.replicas_at(|r| r.compare.clone()),
            60 * MINUTE,
        )
        .until_done(),
    );
    steps
}
