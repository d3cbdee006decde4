use super::example;
use crate::{Hashes, PlanText, canonical, fleet_hash, hash, read_plan, schema, short};
use serde_json::Value;

#[test]
fn hash_changes_with_every_value() {
    let base = hash(&example());
    let mut other = example();
    std::sync::Arc::make_mut(&mut other.policy).stable_for_s += 1;
    assert_ne!(hash(&other), base);
    other = example();
    other.unit.zones[0].records[0].data.target[0] = "203.0.113.21".into();
    assert_ne!(hash(&other), base);
}

#[test]
fn the_days_without_stragglers_are_in_the_hash_only_where_they_are_others() {
    let with = |lines: &str| {
        let text = crate::template().replace("[policy]\n", &format!("[policy]\n{lines}"));
        crate::parse(&text, "shop.toml").unwrap()
    };
    let silent = with("");
    assert_eq!(silent.policy.straggler_days, 7);
    assert!(!canonical(&silent).to_string().contains("straggler_days"));
    assert_eq!(hash(&with("straggler_days = 7\n")), hash(&silent));
    assert_ne!(hash(&with("straggler_days = 8\n")), hash(&silent));
    let wrong = crate::template().replace("[policy]\n", "[policy]\nstraggler_days = 0\n");
    assert!(crate::parse(&wrong, "shop.toml").is_err());
}

#[test]
fn a_lock_that_is_switched_off_is_part_of_what_is_approved() {
    let fleet = |lines: &str| {
        let text = crate::template().replace("[rehearsal]\n", &format!("[rehearsal]\n{lines}"));
        match read_plan(&text, "shop.toml") {
            Ok(PlanText::One(fleet)) => *fleet,
            _ => panic!("refused"),
        }
    };
    let (silent, off) = (fleet(""), fleet("needed = false\n"));
    assert!(silent.schedule.rehearsal.needed && !off.schedule.rehearsal.needed);
    let own = hash(&silent.units[0]);
    assert_eq!(fleet_hash(&silent, std::slice::from_ref(&own)), own);
    assert_eq!(hash(&off.units[0]), own, "the unit's own plan is the same");
    assert_ne!(fleet_hash(&off, std::slice::from_ref(&own)), own);
}

#[test]
fn hash_is_the_same_after_a_way_through_the_journal() {
    let stored = serde_json::to_string(&canonical(&example())).unwrap();
    let restored = serde_json::from_str(&stored).unwrap();
    assert_eq!(hash(&restored), hash(&example()));
    assert_eq!(hash(&restored).len(), 32);
    assert_eq!(short(&hash(&restored)).len(), 8);
}

#[test]
fn hash_is_that_of_the_canonical_form_whether_of_one_plan_or_of_many() {
    let (one, mut other) = (example(), example());
    other.unit.name = "other".into();
    let mut hashes = Hashes::default();
    for plan in [&one, &other, &one] {
        let text = canonical(plan).to_string();
        assert_eq!(hash(plan), blake3::hash(text.as_bytes()).to_hex()[..32]);
        assert_eq!(hashes.of(plan), hash(plan));
    }
}

#[test]
fn canonical_form_has_sorted_keys_throughout() {
    fn sorted(value: &Value) -> bool {
        match value {
            Value::Object(map) => map.keys().is_sorted() && map.values().all(sorted),
            Value::Array(items) => items.iter().all(sorted),
            _ => true,
        }
    }
    assert!(sorted(&canonical(&example())));
}

#[test]
fn committed_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/plan.schema.json");
    let committed = std::fs::read_to_string(path).unwrap();
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert!(committed == current, "docs/plan.schema.json is stale: run `cargo xtask codegen`");
}
