//! What holds where the plan file is silent.

mod gates;
mod triggers;

pub(crate) use gates::{all as every_gate, gates};
pub use triggers::triggers;

use segue_model::plan::{Policy, SplitPlan};

/// Returns the default policy, without gates and triggers.
pub fn policy() -> Policy {
    Policy {
        pause_budget_ms: 1000,
        failback_budget_ms: 8000,
        seal_reserve_ms: 250,
        lease_ms: 2000,
        hold_age_max_ms: 8000,
        hold_count_max: 5000,
        quiet_wait_ms: 60_000,
        slow_paths: Vec::new(),
        harmless_paths: Vec::new(),
        hold_bytes_max: Policy::usual_hold_bytes_max(),
        hold_page: None,
        split: None,
        gate_wait_s: 600,
        commit_timer_s: 0,
        stable_for_s: 72 * 3600,
        straggler_days: Policy::usual_straggler_days(),
        maintenance_budget_ms: None,
        triggers: Vec::new(),
        gates: Vec::new(),
    }
}

/// Returns the default split, of a plan that has one.
pub fn split() -> SplitPlan {
    SplitPlan {
        shares: vec![5, 25, 50, 75, 100],
        dwell_s: 300,
        longest_s: 3_600,
        warm_s: 60,
        slow_ms: 2_000,
        false_alarm: 0.01,
        failing_margin: 0.005,
        p50_factor: 1.1,
        p95_factor: 1.1,
        proof: true,
        testers: Vec::new(),
        cookie: "segue-split".into(),
    }
}

type Limits = (Option<f64>, Option<f64>);

fn at_most(max: f64) -> Limits {
    (Some(max), None)
}

fn at_least(min: f64) -> Limits {
    (None, Some(min))
}
