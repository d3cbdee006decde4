use super::{policy_of, refused};
use segue_model::{Side, What};

#[test]
fn refuses_policies() {
    refused(&[
        (
            "short budget",
            |p| {
                policy_of(p).pause_budget_ms = 99;
                policy_of(p).seal_reserve_ms = 20;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "long budget",
            |p| {
                policy_of(p).pause_budget_ms = 60_001;
                policy_of(p).hold_age_max_ms = 60_001;
            },
            &["SG0725 policy.pause_budget_ms"],
        ),
        (
            "reserve is the budget",
            |p| policy_of(p).seal_reserve_ms = 1000,
            &["SG0725 policy.seal_reserve_ms"],
        ),
        ("no reserve", |p| policy_of(p).seal_reserve_ms = 0, &["SG0725 policy.seal_reserve_ms"]),
        (
            "short lease",
            |p| {
                policy_of(p).lease_ms = 499;
                policy_of(p).seal_reserve_ms = 200;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("long lease", |p| policy_of(p).lease_ms = 10_001, &["SG0725 policy.lease_ms"]),
        (
            "lease within the reserve",
            |p| {
                policy_of(p).lease_ms = 1700;
                policy_of(p).seal_reserve_ms = 900;
            },
            &["SG0725 policy.lease_ms"],
        ),
        ("hold age", |p| policy_of(p).hold_age_max_ms = 999, &["SG0725 policy.hold_age_max_ms"]),
        ("hold count", |p| policy_of(p).hold_count_max = 0, &["SG0725 policy.hold_count_max"]),
        ("no gate wait", |p| policy_of(p).gate_wait_s = 0, &["SG0725 policy.gate_wait_s"]),
        (
            "lag",
            |p| policy_of(p).database_lag_max_ms = f64::NAN,
            &["SG0725 policy.database_lag_max_ms"],
        ),
        (
            "slow path",
            |p| policy_of(p).slow_paths = vec!["report".into()],
            &["SG0725 policy.slow_paths"],
        ),
    ]);
}

#[test]
fn refuses_triggers() {
    refused(&[
        (
            "no bound",
            |p| policy_of(p).triggers[0].bound.max = None,
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "bounds crossed",
            |p| policy_of(p).triggers[0].bound.min = Some(2.0),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "not a number",
            |p| policy_of(p).triggers[0].bound.max = Some(f64::INFINITY),
            &["SG0726 trigger[target_failing]"],
        ),
        (
            "no time",
            |p| policy_of(p).triggers[0].for_ms = 0,
            &["SG0726 trigger[target_failing].for_ms"],
        ),
        (
            "more time than is remembered",
            |p| policy_of(p).triggers[0].for_ms = 120_001,
            &["SG0726 trigger[target_failing].for_ms"],
        ),
        (
            "never fresh",
            |p| policy_of(p).triggers[0].bound.fresh_for_ms = 0,
            &["SG0726 trigger[target_failing].fresh_for_ms"],
        ),
        (
            "no sample",
            |p| policy_of(p).triggers[0].min_samples = 0,
            &["SG0726 trigger[target_failing].min_samples"],
        ),
        (
            "one name",
            |p| policy_of(p).triggers[1].name = "target_failing".into(),
            &["SG0705 trigger[target_failing]"],
        ),
        ("no name", |p| policy_of(p).triggers[0].name.clear(), &["SG0703 trigger[#1].name"]),
        (
            "never measured",
            |p| {
                p.unit.trees.clear();
                policy_of(p).triggers[0].bound.what = What::FilesLagMs(Side::Source);
            },
            &["SG0726 trigger[target_failing].what"],
        ),
        (
            "nobody reads the log",
            |p| {
                p.unit.backends.as_mut().unwrap().source.access_log = None;
                policy_of(p).triggers[0].bound.what = What::DirectRequests;
            },
            &["SG0726 trigger[target_failing].what"],
        ),
    ]);
}
