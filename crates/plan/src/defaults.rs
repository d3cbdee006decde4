//! What holds where the plan file is silent.

use segue_model::gate::{Bound, NoData, Trigger, TriggerAction};
use segue_model::plan::{Policy, UnitPlan};
use segue_model::{Side, What};

/// Returns the default policy, without triggers.
pub fn policy() -> Policy {
    Policy {
        pause_budget_ms: 1000,
        seal_reserve_ms: 250,
        lease_ms: 2000,
        hold_age_max_ms: 8000,
        hold_count_max: 5000,
        quiet_wait_ms: 60_000,
        slow_paths: Vec::new(),
        database_lag_max_ms: 1000.0,
        files_lag_max_ms: 60_000.0,
        verified_within_s: 3600,
        all_traffic_for_s: 60,
        gate_wait_s: 600,
        commit_timer_s: 0,
        stable_for_s: 72 * 3600,
        triggers: Vec::new(),
    }
}

/// Returns the triggers of a plan that names none.
///
/// Only those whose measure the unit has: a trigger that can never fire is worse than
/// none, because somebody relies on it.
pub fn triggers(unit: &UnitPlan) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    if unit.backends.is_some() {
        triggers.extend([
            trigger("target_failing", What::FailedPerSecond(Side::Target), at_most(1.0), 10),
            trigger("target_slow", What::ResponseP95Ms(Side::Target), at_most(2000.0), 10),
            trigger("target_down", What::BackendHealthy(Side::Target), at_least(1.0), 1),
        ]);
    }
    if unit.probe.is_some() {
        triggers.push(trigger("probe_failing", What::ProbeFailed, at_most(0.0), 1));
    }
    if unit.database.is_some() {
        // Going back needs the target's data, so these two ask instead.
        triggers.push(Trigger {
            for_ms: 10_000,
            no_data: NoData::Violates,
            action: TriggerAction::HoldAndAsk,
            ..trigger("data_unreadable", What::DatabaseReadable(Side::Target), at_least(1.0), 1)
        });
        triggers.push(Trigger {
            for_ms: 10_000,
            action: TriggerAction::HoldAndAsk,
            ..trigger("way_back_late", What::DatabaseLagMs(Side::Target), at_most(30_000.0), 1)
        });
    }
    triggers
}

type Limits = (Option<f64>, Option<f64>);

fn at_most(max: f64) -> Limits {
    (Some(max), None)
}

fn at_least(min: f64) -> Limits {
    (None, Some(min))
}

fn trigger(name: &str, what: What, (max, min): Limits, min_count: u64) -> Trigger {
    Trigger {
        name: name.to_owned(),
        bound: Bound { what, max, min, fresh_for_ms: 3000 },
        for_ms: 3000,
        min_samples: 3,
        min_count,
        no_data: NoData::Ignore,
        action: TriggerAction::FailBack,
    }
}
