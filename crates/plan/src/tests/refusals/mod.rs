//! One row for every reason to refuse a plan.

mod data;
mod fronts;
mod joins;
mod policy;
mod split;
mod unit;
mod zones;

use crate::check;
use segue_model::Sides;
use segue_model::plan::{OwnedSet, Plan, Policy};
use std::sync::Arc;

/// The triggers that the rows change: what a row takes from the plan, none of them needs.
const TRIGGERS: [&str; 6] = [
    "target_failing",
    "target_slow",
    "target_down",
    "probe_failing",
    "data_unreadable",
    "way_back_late",
];

/// The template's plan with few triggers and no gates, so that a row shows one problem and
/// not everything that follows from it.
fn example() -> Plan {
    let mut plan = super::example();
    policy_of(&mut plan).triggers.retain(|trigger| TRIGGERS.contains(&trigger.name.as_str()));
    policy_of(&mut plan).gates.clear();
    plan
}

type Change = fn(&mut Plan);

fn policy_of(plan: &mut Plan) -> &mut Policy {
    Arc::make_mut(&mut plan.policy)
}

/// Applies the change and expects exactly these `code key` pairs.
fn refused(rows: &[(&str, Change, &[&str])]) {
    for (claim, change, expected) in rows {
        let mut plan = example();
        change(&mut plan);
        let problems = check(&plan);
        let got: Vec<_> = problems.iter().map(|p| format!("{} {}", p.code, p.key)).collect();
        assert_eq!(got, *expected, "{claim}: {problems:#?}");
        for problem in &problems {
            assert!(problem.text.len() > 8 && problem.remedy.len() > 8, "{claim}: {problem}");
        }
    }
}

fn set(name: &str, rtype: &str, source: &[&str], target: &[&str]) -> OwnedSet {
    let list = |data: &[&str]| data.iter().map(|&datum| datum.to_owned()).collect();
    OwnedSet {
        name: name.into(),
        rtype: rtype.into(),
        data: Sides { source: list(source), target: list(target) },
    }
}

fn own(plan: &mut Plan, owned: OwnedSet) {
    plan.unit.zones[0].records.push(owned);
}

#[test]
fn accepts_the_example() {
    assert_eq!(check(&super::example()), []);
}

#[test]
fn accepts_what_looks_unusual_and_is_right() {
    let rows: [Change; 7] = [
        |p| own(p, set("*.example.test", "A", &["192.0.2.10"], &["203.0.113.20"])),
        |p| own(p, set("_acme._tcp.example.test", "TXT", &["\"a\""], &["\"b\""])),
        |p| own(p, set("sub.example.test", "NS", &["ns.example.net."], &["ns.example.org."])),
        |p| p.unit.zones.clear(),
        |p| p.unit.trees.clear(),
        |p| {
            policy_of(p).hold_age_max_ms = policy_of(p).pause_budget_ms;
            policy_of(p).failback_budget_ms = policy_of(p).pause_budget_ms;
        },
        |p| p.unit.sites[0].backends.target.access_log = Some("/var/log/a.log".into()),
    ];
    for (nth, change) in rows.into_iter().enumerate() {
        let mut plan = example();
        change(&mut plan);
        assert_eq!(check(&plan), [], "row {nth}");
    }
}
