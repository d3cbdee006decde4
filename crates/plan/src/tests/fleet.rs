//! Claims about plans of many units: waves, strategies, hashes, timeline; and about what a plan
//! of one unit may say of times and people.

use crate::{FleetHead, PlanError, PlanText, UnitText, fleet_hash, hash, read_plan, template};
use segue_model::fleet::{Fleet, Strategy};
use segue_model::{Side, What};

/// Twenty units with rising traffic: `u01` has 100 requests a day, `u20` 2,000; odd ones are
/// from 2020, even ones from 2024.
fn units() -> UnitText {
    let line = |n: usize| {
        let (year, requests) = (if n % 2 == 1 { 2020 } else { 2024 }, n * 100);
        format!(
            r#"{{"unit":{{"name":"u{n:02}","requests_per_day":{requests},"created":"{year}-05-31"}},"tree":[{{"name":"site","source":"/srv/source/u{n}","target":"/srv/target/u{n}"}}]}}"#
        )
    };
    let lines: Vec<String> = (1..=20).map(line).collect();
    UnitText { name: "units.jsonl".into(), text: lines.join("\n") }
}

fn head(rest: &str) -> FleetHead {
    let text = format!("name = \"many\"\nunits = [\"units.jsonl\"]\n{rest}");
    match read_plan(&text, "fleet.toml").unwrap() {
        PlanText::Many(head) => *head,
        PlanText::One(_) => panic!("one unit"),
    }
}

fn fleet(rest: &str) -> Fleet {
    head(rest).compile(&[units()]).unwrap()
}

fn refused(rest: &str) -> Vec<&'static str> {
    match head(rest).compile(&[units()]).unwrap_err() {
        PlanError::Refused { problems, .. } => problems.into_iter().map(|p| p.code).collect(),
        other => panic!("{other}"),
    }
}

fn waves(fleet: &Fleet) -> Vec<Vec<&str>> {
    let names = |wave: &segue_model::fleet::Wave| {
        wave.units.iter().map(|unit| fleet.unit(unit).unwrap().unit.name.as_str()).collect()
    };
    fleet.waves.iter().map(names).collect()
}

fn hashes(fleet: &Fleet) -> (String, Vec<String>) {
    let units: Vec<String> = fleet.units.iter().map(|plan| hash(plan)).collect();
    (fleet_hash(fleet, &units), units)
}

#[test]
fn the_preset_is_ten_twenty_twenty_and_the_rest_least_traffic_first_with_a_canary() {
    let fleet = fleet("");
    let sizes: Vec<usize> = fleet.waves.iter().map(|wave| wave.units.len()).collect();
    assert_eq!(sizes, [2, 4, 4, 10]);
    assert_eq!(waves(&fleet)[0], ["u01", "u02"], "the least traffic first");
    let canaries: Vec<usize> = fleet.waves.iter().map(|wave| wave.canaries).collect();
    assert_eq!(canaries, [1, 0, 0, 0]);
}

#[test]
fn waves_select_by_name_percent_traffic_and_age() {
    let fleet = fleet(
        "[[wave]]\nname = \"named\"\nunits = [\"u20\", \"u1*\"]\npercent = 20.0\ncanaries = 2\n\
         [[wave]]\ntraffic = \"medium\"\n\
         [[wave]]\ncreated_before = \"2021-01-01\"\n\
         [[wave]]\ncreated_from = \"2024-01-01\"\npercent = 10.0\n\
         [[wave]]\n",
    );
    let waves = waves(&fleet);
    assert_eq!(waves[0], ["u10", "u11", "u12", "u13"], "of the named ones a fifth of all");
    assert_eq!(fleet.waves[0].canaries, 2);
    let medium = ["u14", "u15", "u16", "u17", "u18", "u19", "u20"];
    assert_eq!(waves[1], medium, "1,000 requests a day and more");
    assert_eq!(waves[2], ["u01", "u03", "u05", "u07", "u09"]);
    assert_eq!(waves[3], ["u02", "u04"]);
    assert_eq!(waves[4], ["u06", "u08"], "the rest");
}

#[test]
fn times_people_and_timeline_change_the_plan_and_no_units_hash() {
    let (whole, units) = hashes(&fleet(""));
    for rest in [
        "begins_at = \"2026-12-01T02:00:00+01:00\"\n",
        "[[window]]\nfrom = \"02:00\"\nto = \"04:00\"\n",
        "[[freeze]]\nfrom = \"2026-12-20\"\nto = \"2026-12-27\"\n",
        "[people]\nroll_call = [\"dns\"]\n",
        "[[timeline]]\nid = \"call\"\nat = \"-3d\"\nwhat = \"call the customer\"\n",
        "[[timeline]]\nid = \"notice\"\noff = true\n",
        "[limits]\ncutovers = 3\n",
    ] {
        let (other, same) = hashes(&fleet(rest));
        assert_ne!(other, whole, "{rest}");
        assert_eq!(same, units, "{rest}");
    }
}

fn bound(fleet: &Fleet, what: What) -> f64 {
    let gates = &fleet.units[0].policy.gates;
    gates.iter().find(|gate| gate.bound.what == what).unwrap().bound.max.unwrap()
}

#[test]
fn all_at_once_has_one_wave_and_stricter_gates() {
    let (plain, strict) =
        (fleet(""), fleet("strategy = \"all_at_once\"\n[rehearsal]\nneeded = false\n"));
    assert_eq!(strict.schedule.strategy, Strategy::AllAtOnce);
    assert_eq!((strict.waves.len(), strict.waves[0].units.len()), (1, 20));
    assert!(strict.schedule.rehearsal.needed, "whatever the plan says");
    assert_eq!(strict.people.approvals.len(), 1, "somebody else agrees");
    let lag = What::FilesLagMs(Side::Source);
    assert!((bound(&strict, lag) - bound(&plain, lag) / 2.0).abs() < 1e-9);
    assert!((bound(&strict, What::VerifiedAgeS) - 900.0).abs() < 1e-9);
    let own = fleet(
        "strategy = \"all_at_once\"\n[policy]\nverified_within_s = 60\n[people]\napproval = [{ role = \"owner\" }]\n",
    );
    assert!((bound(&own, What::VerifiedAgeS) - 60.0).abs() < 1e-9, "the plan is stricter");
    assert_eq!(own.people.approvals[0].role, "owner");
    assert_eq!(own.people.approvals.len(), 1);
    let shared =
        strict.units.iter().all(|p| std::sync::Arc::ptr_eq(&p.policy, &strict.units[0].policy));
    assert!(shared, "kept once for all of them");
}

#[test]
fn a_maintenance_window_has_a_pause_of_its_own_and_others_have_none() {
    let pause = |rest: &str| fleet(rest).units[0].policy.maintenance_budget_ms;
    assert_eq!(pause("strategy = \"maintenance_window\"\n"), Some(1_800_000));
    let said = "strategy = \"maintenance_window\"\n[policy]\nmaintenance_budget_s = 60\n";
    assert_eq!(pause(said), Some(60_000));
    assert_eq!(pause(""), None);
    assert_eq!(pause("[policy]\nmaintenance_budget_s = 60\n"), None, "no such strategy");
    assert!(
        refused("strategy = \"maintenance_window\"\n[policy]\nmaintenance_budget_s = 5\n")
            .contains(&"SG0725")
    );
    assert_eq!(refused("strategy = \"maintenance_window\"\n[[wave]]\n"), ["SG0742"]);
}

#[test]
fn a_timeline_that_cannot_be_is_refused() {
    for wrong in [
        "id = \"\"",
        "id = \"a b\"\nat = \"-1d\"\nwhat = \"x\"",
        "id = \"a\"\nat = \"soon\"\nwhat = \"x\"",
        "id = \"a\"\nwhat = \"x\"",
        "id = \"a\"\nat = \"+1d\"\nwhat = \"x\"\nneeded = true",
        "id = \"a\"\noff = true\nwhat = \"x\"",
        "id = \"a\"\noff = true\n[[timeline]]\nid = \"a\"\noff = true",
    ] {
        assert_eq!(refused(&format!("[[timeline]]\n{wrong}\n")), ["SG0748"], "{wrong}");
    }
    let fleet =
        fleet("[[timeline]]\nid = \"call\"\nat = \"-12h\"\nwhat = \"call\"\nneeded = true\n");
    let own = &fleet.schedule.timeline.own[0];
    assert_eq!((own.at_s, own.duty.as_str(), own.needed), (-43_200, "lead", true));
}

fn one(rest: &str) -> Result<Fleet, PlanError> {
    match read_plan(&(template().to_owned() + rest), "one.toml")? {
        PlanText::One(fleet) => Ok(*fleet),
        PlanText::Many(_) => panic!("many units"),
    }
}

#[test]
fn a_plan_of_one_unit_may_say_when_and_by_whom() {
    let plain = one("").unwrap();
    let (whole, units) = hashes(&plain);
    assert_eq!(whole, units[0], "it says nothing of times and people");
    let fleet = one("\n[people]\nroll_call = [\"dns\"]\napproval = [{ role = \"owner\" }]\n\
         [[window]]\nfrom = \"02:00\"\nto = \"04:00\"\nzone = \"Europe/Berlin\"\n\
         [[freeze]]\nfrom = \"2026-12-20\"\nto = \"2026-12-27\"\n\
         [[timeline]]\nid = \"call\"\nat = \"-3d\"\nwhat = \"call\"\n")
    .unwrap();
    assert_eq!(fleet.schedule.windows.len(), 1);
    assert_eq!(fleet.schedule.freezes.len(), 1);
    assert!(fleet.schedule.rehearsal.needed, "unless it says otherwise");
    assert_eq!(fleet.people.roll_call, ["dns"]);
    let (other, same) = hashes(&fleet);
    assert_ne!(other, whole, "what was approved says who and when");
    assert_eq!(same, units);
    let wrong = one("\n[[window]]\nfrom = \"25:00\"\nto = \"04:00\"\n").unwrap_err();
    assert!(wrong.to_string().contains("SG0744"), "{wrong}");
}

#[test]
fn a_units_file_of_many_says_neither_when_nor_by_whom() {
    let mut text = units();
    text.text =
        text.text.replacen("{\"unit\"", "{\"begins_at\":\"2026-12-01T02:00:00Z\",\"unit\"", 1);
    let wrong = head("").compile(&[text]).unwrap_err();
    assert!(wrong.to_string().contains("SG0748"), "{wrong}");
}
