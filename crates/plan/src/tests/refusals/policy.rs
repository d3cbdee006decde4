use super::refused;
use segue_model::{Side, What};

#[test]
fn refuses_policies() {
    refused(&[
        (
            "short budget",
            |p| {
                p.policy.pause_budget_ms = 99;
                p.policy.seal_reserve_ms = 20;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "long budget",
            |p| {
                p.policy.pause_budget_ms = 60_001;
                p.policy.hold_age_max_ms = 60_001;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "reserve is the budget",
            |p| p.policy.seal_reserve_ms = 1000,
            &["SG0725 policy.seal_reserve_ms"],
        ),
        ("no reserve", |p| p.policy.seal_reserve_ms = 0, &["SG0725 policy.seal_reserve_ms"]),
        (
            "short lease",
            |p| {
                p.policy.lease_ms = 499;
                p.policy.seal_reserve_ms = 200;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("long lease", |p| p.policy.lease_ms = 10_001, &["SG0725 policy.lease_ms"]),
        (
            "lease within the reserve",
            |p| {
                p.policy.lease_ms = 1700;
                p.policy.seal_reserve_ms = 900;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("hold age", |p| p.policy.hold_age_max_ms = 999, &["SG0725 policy.hold_age_max_ms"]),
        ("hold count", |p| p.policy.hold_count_max = 0, &["SG0725 policy.hold_count_max"]),
        ("no gate wait", |p| p.policy.gate_wait_s = 0, &["SG0725 policy.gate_wait_s"]),
        (
            "lag",
            |p| p.policy.database_lag_max_ms = f64::NAN,
            &["SG0725 policy.database_lag_max_ms"],
        ),
        (
            "slow path",
            |p| p.policy.slow_paths = vec!["report".into()],
            &["SG0725 policy.slow_paths"],
        ),
    ]);
}

#[test]
fn refuses_triggers() {
    refused(&[
        (
            "no bound",
            |p| p.policy.triggers[0].bound.max = None,
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "bounds crossed",
            |p| p.policy.triggers[0].bound.min = Some(2.0),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "not a number",
            |p| p.policy.triggers[0].bound.max = Some(f64::INFINITY),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "no time",
            |p| p.policy.triggers[0].for_ms = 0,
            &["SG0726 trigger[target_failing].for_ms"],
        ),
        (
            "more time than is remembered",
            |p| p.policy.triggers[0].for_ms = 120_001,
            &["SG0726 trigger[target_failing].for_ms"],
        ),
        (
            "never fresh",
            |p| p.policy.triggers[0].bound.fresh_for_ms = 0,
            &["SG0726 trigger[target_failing].fresh_for_ms"],
        ),
        (
            "no sample",
            |p| p.policy.triggers[0].min_samples = 0,
            &["SG0726 trigger[target_failing].min_samples"],
        ),
        (
            "one name",
            |p| p.policy.triggers[1].name = "target_failing".into(),
            &["SG0705 trigger[target_failing]"],
        ),
        ("no name", |p| p.policy.triggers[0].name.clear(), &["SG0703 trigger[#1].name"]),
        (
            "never measured",
            |p| {
                p.unit.trees.clear();
                p.policy.triggers[0].bound.what = What::FilesLagMs(Side::Source);
            },
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "nobody reads the log",
            |p| {
                p.unit.backends.source.access_log = None;
                p.policy.triggers[0].bound.what = What::DirectRequests;
            },
            &["SG0726 trigger[target_failing].what"],
        ),
    ]);
}
