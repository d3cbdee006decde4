//! Plans of many units.

use crate::{PlanText, UnitText, fleet_hash, hash, read_plan};
use segue_model::Fleet;
use serde_json::json;
use std::time::{Duration, Instant};

const HEAD: &str =
    "name = \"accounts\"\nunits = [\"units.jsonl\"]\nseparate_zones = [\"example.test\"]\n";

/// Accounts of one pair of servers; `login` names the login of each.
fn compiled(count: usize, login: impl Fn(usize) -> String) -> Fleet {
    let PlanText::Many(head) = read_plan(HEAD, "plan.toml").unwrap() else { panic!("of many") };
    let server = |address: &str| json!({ "address": address, "admin": "a", "password": "env:X" });
    let line = |number: usize| {
        let name = format!("acc{number:05}");
        let unit = json!({
            "unit": { "name": name, "requests_per_day": number },
            "database": {
                "schema": name, "logins": [login(number)],
                "source": server("192.0.2.10:3306"), "target": server("203.0.113.20:3306"),
            },
        });
        unit.to_string()
    };
    let text = (0..count).map(line).collect::<Vec<_>>().join("\n");
    head.compile(&[UnitText { name: "units.jsonl".into(), text }]).unwrap()
}

#[test]
fn two_thousand_units_compile_at_once_into_four_waves() {
    let began = Instant::now();
    let fleet = compiled(2_000, |number| format!("acc{number:05}"));
    let hashes: Vec<String> = fleet.units.iter().map(|plan| hash(plan)).collect();
    assert_eq!(fleet_hash(&fleet, &hashes).len(), 32);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(fleet.units.len(), 2_000);
    let sizes: Vec<usize> = fleet.waves.iter().map(|wave| wave.units.len()).collect();
    assert_eq!(sizes, [200, 400, 400, 1_000]);
    let waves = fleet.wave_places();
    assert!(
        fleet.units.iter().all(|plan| waves[&plan.unit.name] == fleet.wave_of(&plan.unit.name))
    );
}

#[test]
fn thousands_of_units_share_one_policy() {
    let fleet = compiled(2_000, |number| format!("acc{number:05}"));
    let first = &fleet.units[0].policy;
    assert!(fleet.units.iter().all(|plan| std::sync::Arc::ptr_eq(&plan.policy, first)));
}
