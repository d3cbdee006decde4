//! Split: the target gets a rising share of the requests that read, while the source writes.

use super::{MINUTE, StepExt, step};
use crate::families::Families;
use crate::gates;
use segue_engine::{Table, canary};
use segue_model::event::Phase;
use segue_model::plan::SplitPlan;
use std::time::Duration;

/// Returns the table; one without a row, which is refused, where the plan has no split.
///
/// ```text
/// split_5     the first share                              undo: none
/// split_25    the next, once the former is no worse        undo: the former share
/// ...
/// split_100   everything that may leave the write side     undo: the former share
/// judge       the last share is no worse                   changes nothing
/// ```
/// Harm, or a share that is not shown to be no worse in time, takes all of it back. A trigger
/// with `step_back` takes the last share back alone, and its gates are asked again.
pub fn split(families: &Families) -> Table {
    let plan = families.plan.policy.split.as_ref();
    let mut steps = Vec::new();
    let longest = plan.map_or(0, |plan| plan.longest_s + plan.warm_s);
    if let Some(plan) = plan {
        let mut former = 0;
        for share in plan.shares.iter().copied() {
            let row = step(
                &format!("split_{share}"),
                &format!("give the target {share} % of the visitors"),
                families.fronts.split(plan, share, former),
                MINUTE,
            );
            steps.push(row.behind(gates::of_split(families, plan, former)));
            former = share;
        }
        let judged = gates::of_split(families, plan, former);
        let title = "see that the target is no worse with all of them";
        steps.push(step("judge", title, crate::judge::effect(families), MINUTE).behind(judged));
    }
    Table {
        phase: Phase::Split,
        budget: None,
        gate_wait: Duration::from_secs(longest) + MINUTE,
        steps,
    }
}

/// Returns the table that ends a split.
///
/// ```text
/// unsplit     every request goes to the source             -
/// ```
pub fn unsplit(families: &Families) -> Table {
    Table {
        phase: Phase::Unsplit,
        budget: None,
        gate_wait: MINUTE,
        steps: vec![
            step("unsplit", "send every request to the source", families.fronts.unsplit(), MINUTE)
                .until_done(),
        ],
    }
}

/// Looks at the same figures: each look could be wrong, so each has a part of the error.
pub(crate) const LOOKS: u32 = 4;

/// Returns what a split counts as no worse.
pub(crate) fn margins(plan: &SplitPlan) -> canary::Margins {
    canary::Margins {
        failing: plan.failing_margin,
        p50: plan.p50_factor,
        p95: plan.p95_factor,
        error: 0.05 / f64::from(LOOKS),
    }
}
