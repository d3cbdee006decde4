//! What a strategy makes of a plan: one wave, and numbers that nobody has to write.

use super::problem;
use super::shared::Shared;
use crate::Problem;
use segue_model::fleet::{Approval, Fleet, Strategy, Wave};
use segue_model::plan::Policy;
use segue_model::{UnitName, What};
use std::collections::HashMap;
use std::sync::Arc;

/// Oldest full comparison before every unit moves at once, seconds.
const VERIFIED_S: f64 = 900.0;
/// Share of the lag bounds that is left then.
const LAG_SHARE: f64 = 0.5;
/// Longest pause of a maintenance window that says nothing else, milliseconds.
const MAINTENANCE_MS: u64 = 1_800_000;
/// As what somebody must agree to a move of everything, if the plan asks for no agreement.
const EVERYTHING: &str = "everything";

/// Returns the only wave of a strategy that has no waves.
pub(super) fn one_wave(said: bool, shared: &Shared, problems: &mut Vec<Problem>) -> Vec<Wave> {
    if said {
        problems.push(problem(
            "SG0742",
            "wave",
            "a plan whose units all move together has no waves",
            "leave `[[wave]]` out, or write `strategy = \"waves\"`",
        ));
    }
    let units: Vec<UnitName> = shared.units.iter().map(|plan| plan.unit.name.clone()).collect();
    vec![Wave { name: "all".into(), units, canaries: 0 }]
}

/// Gives the units the numbers of the plan's strategy.
pub(super) fn apply(fleet: &mut Fleet) {
    let strategy = fleet.schedule.strategy;
    if strategy == Strategy::AllAtOnce {
        fleet.schedule.rehearsal.needed = true;
        if fleet.people.approvals.is_empty() {
            let role = EVERYTHING.to_owned();
            fleet.people.approvals.push(Approval { role, persons: Vec::new() });
        }
    }
    // Thousands of units have the same policy: changed and kept once.
    let mut changed: HashMap<*const Policy, Arc<Policy>> = HashMap::new();
    let mut former = Vec::new();
    let policy = match strategy {
        Strategy::Waves => without_pause,
        Strategy::AllAtOnce => stricter,
        Strategy::MaintenanceWindow => with_pause,
    };
    for plan in &mut fleet.units {
        if strategy == Strategy::Waves && plan.policy.maintenance_budget_ms.is_none() {
            continue;
        }
        let known = Arc::as_ptr(&plan.policy);
        let new = changed.entry(known).or_insert_with(|| Arc::new(policy(&plan.policy)));
        let new = Arc::clone(new);
        // Kept, so that no other policy gets its address.
        former.push(std::mem::replace(&mut Arc::make_mut(plan).policy, new));
    }
}

/// Returns a policy whose cutovers are no maintenance windows.
fn without_pause(policy: &Policy) -> Policy {
    Policy { maintenance_budget_ms: None, ..policy.clone() }
}

fn stricter(policy: &Policy) -> Policy {
    let mut policy = without_pause(policy);
    for gate in &mut policy.gates {
        match gate.bound.what {
            What::DatabaseLagMs(_) | What::FilesLagMs(_) => {
                gate.bound.max = gate.bound.max.map(|max| max * LAG_SHARE);
            }
            What::VerifiedAgeS => {
                gate.bound.max = Some(gate.bound.max.map_or(VERIFIED_S, |max| max.min(VERIFIED_S)));
            }
            _ => {}
        }
    }
    policy
}

fn with_pause(policy: &Policy) -> Policy {
    let pause = policy.maintenance_budget_ms.unwrap_or(MAINTENANCE_MS);
    Policy { maintenance_budget_ms: Some(pause), ..policy.clone() }
}
