//! Claims about the order of the tables: the protocol itself.

use crate::Families;
use crate::fleet::Meeting;
use crate::tables::{self, Remembered};
use segue_database::{MariaReplica, Settings as DatabaseSettings};
use segue_dns::{Settings as ZoneSettings, Zone};
use segue_engine::{Pause, Retry, Table};
use segue_files::{TreeReplica, TreeSettings};
use segue_model::plan::{Plan, labelled};
use segue_model::{RunId, Way};
use segue_traffic::{FrontSettings, Fronts};
use serde_json::Value;

fn families() -> Families {
    of(segue_plan::parse(segue_plan::template(), "example.toml").unwrap())
}

fn of(plan: Plan) -> Families {
    let (run, unit) = (RunId::from("run-1"), plan.unit.clone());
    Families {
        run: run.clone(),
        fronts: Fronts::new(FrontSettings {
            unit: unit.clone(),
            policy: plan.policy.clone(),
            run: run.clone(),
            program: "segue".into(),
        }),
        databases: unit
            .databases
            .iter()
            .zip(unit.database_labels())
            .map(|(plan, label)| {
                MariaReplica::new(DatabaseSettings {
                    plan: plan.clone(),
                    run: run.clone(),
                    unit: labelled(unit.name.as_str(), label.as_deref()).as_str().into(),
                    lease_ms: 2_000,
                })
            })
            .collect(),
        trees: unit
            .trees
            .iter()
            .map(|plan| {
                TreeReplica::new(TreeSettings {
                    plan: plan.clone(),
                    run: run.clone(),
                    unit: unit.name.clone(),
                    state_dir: std::env::temp_dir(),
                })
            })
            .collect(),
        cdns: unit.cdns.iter().map(|cdn| segue_traffic::Cdn::new(cdn.clone())).collect(),
        zones: unit
            .zones
            .iter()
            .map(|plan| {
                Zone::new(ZoneSettings {
                    plan: plan.clone(),
                    run: run.clone(),
                    unit: unit.name.clone(),
                })
            })
            .collect(),
        plan,
    }
}

/// The example with a split of these shares.
fn split_in(shares: &[u8]) -> Families {
    let mut plan = segue_plan::parse(segue_plan::template(), "example.toml").unwrap();
    let policy = std::sync::Arc::make_mut(&mut plan.policy);
    policy.harmless_paths = vec!["/static/".into()];
    policy.split = Some(segue_model::plan::SplitPlan {
        shares: shares.to_vec(),
        ..segue_plan::defaults::split()
    });
    of(plan)
}

fn place(table: &Table, name: &str) -> usize {
    table.steps.iter().position(|step| step.name.as_str() == name).unwrap()
}

#[test]
fn every_table_is_sound() {
    let families = families();
    let remembered = Remembered::default();
    for table in [
        tables::sync(&families),
        tables::prepare(&families),
        tables::split(&split_in(&[5, 25, 50, 75, 100])),
        tables::unsplit(&families),
        tables::drill(&families, &remembered),
        tables::cutover(&families, Way::Forward, &remembered),
        tables::cutover(&families, Way::Back, &remembered),
        tables::window(&families, &remembered, &Meeting::nobody()),
        tables::settle(&families, &Value::Null, None),
    ] {
        assert_eq!(table.shape().check(), Ok(()), "{}", table.phase.as_str());
    }
}

#[test]
fn nothing_is_promoted_before_hold_fence_drain_and_seal() {
    let families = families();
    for way in [Way::Forward, Way::Back] {
        let table = tables::cutover(&families, way, &Remembered::default());
        let order =
            ["arm", "hold", "fence", "drain", "verify", "seal_fronts", "seal", "promote", "route"];
        let places: Vec<usize> = order.iter().map(|name| place(&table, name)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(place(&table, "route") < place(&table, "start_workers"));
        assert!(place(&table, "route") < place(&table, "publish"));
        assert!(place(&table, "publish") < place(&table, "compare"));
    }
}

#[test]
fn the_way_back_is_a_failback_from_promote_on_and_only_from_there() {
    let table = tables::cutover(&families(), Way::Forward, &Remembered::default());
    let promote = place(&table, "promote");
    for (at, step) in table.steps.iter().enumerate() {
        assert_eq!(step.no_return, at == promote, "{}", step.name);
        // What comes after has no undo, so it is tried until it is done.
        let until = matches!(step.retry, Retry::Until { .. });
        assert_eq!(until, at > promote, "{}", step.name);
    }
}

#[test]
fn the_budget_is_asked_before_the_first_thing_that_lasts() {
    let table = tables::cutover(&families(), Way::Forward, &Remembered::default());
    assert_eq!(table.shape().pause(Pause::Seal), Some(place(&table, "seal_fronts")));
    assert_eq!(table.shape().pause(Pause::Begins), Some(place(&table, "hold")));
    assert_eq!(table.shape().pause(Pause::Ends), Some(place(&table, "route")));
}

#[test]
fn a_failback_does_not_wait_for_what_only_a_planned_cutover_owes() {
    let families = families();
    let gates = |way| -> Vec<String> {
        let table = tables::cutover(&families, way, &Remembered::default());
        table.steps[0].gates.iter().map(|gate| gate.name()).collect()
    };
    let (there, back) = (gates(Way::Forward), gates(Way::Back));
    for only in ["verified", "safe_after", "all_traffic", "clock_target", "counts"] {
        assert!(there.iter().any(|name| name == only), "{there:?}");
        assert!(back.iter().all(|name| name != only), "{back:?}");
    }
}

/// What is simulated is what runs: the same steps with the same rules, titles apart.
#[test]
fn the_simulator_follows_these_very_tables() {
    let families = families();
    let remembered = Remembered::default();
    for table in [
        tables::sync(&families),
        tables::prepare(&families),
        tables::cutover(&families, Way::Forward, &remembered),
        tables::cutover(&families, Way::Back, &remembered),
        tables::drill(&families, &remembered),
        tables::settle(&families, &Value::Null, None),
        tables::split(&split_in(&[5, 50, 100])),
        tables::unsplit(&families),
    ] {
        let rules = |shape: segue_model::table::TableShape| -> Vec<_> {
            let rule = |step: segue_model::table::StepShape| {
                (step.name, step.no_return, step.pause, step.retry)
            };
            shape.steps.into_iter().map(rule).collect()
        };
        let simulated = segue_engine::simulator::shape(table.phase);
        assert_eq!(rules(simulated), rules(table.shape()), "{}", table.phase.as_str());
    }
}

#[test]
fn a_drill_is_a_cutover_up_to_its_seal_and_nothing_of_it_lasts() {
    let families = families();
    let drill = tables::drill(&families, &Remembered::default());
    let cutover = tables::cutover(&families, Way::Forward, &Remembered::default());
    let row = |step: &segue_engine::Step| {
        let gates: Vec<String> = step.gates.iter().map(|gate| gate.name()).collect();
        (step.name.clone(), step.time_allowed, step.pause, gates)
    };
    let rows: Vec<_> = drill.steps.iter().map(row).collect();
    let of_cutover: Vec<_> = cutover.steps.iter().map(row).collect();
    assert_eq!(rows, of_cutover[..place(&cutover, "seal_fronts")]);
    assert!(drill.shape().goes_back_whole() && drill.shape().only_measures());
    assert_eq!(drill.shape().no_return(), None);
    assert_eq!(drill.budget.map(|b| b.limit_ms), cutover.budget.map(|b| b.limit_ms));
}

/// The example with another site and schema, as joining leaves it.
fn joined() -> Families {
    let mut plan = segue_plan::parse(segue_plan::template(), "example.toml").unwrap();
    let (mut site, mut database) = (plan.unit.sites[0].clone(), plan.unit.databases[0].clone());
    site.name = "other".into();
    site.hosts = vec!["other.test".into()];
    database.schema = "other".into();
    plan.unit.sites.push(site);
    plan.unit.databases.push(database);
    of(plan)
}

#[test]
fn a_joined_unit_has_the_same_steps_with_a_part_for_each_database() {
    let (one, both) = (families(), joined());
    let remembered = Remembered::default();
    let names = |families: &Families| -> Vec<String> {
        let table = tables::cutover(families, Way::Forward, &remembered);
        table.steps.iter().map(|step| step.name.to_string()).collect()
    };
    assert_eq!(names(&one), names(&both), "one table, one intent of each step");
    let parts = |families: &Families| -> Vec<String> {
        families.parts(|replica| replica.promote.clone()).into_iter().map(|p| p.name).collect()
    };
    assert_eq!(parts(&one)[0], "database", "the only one goes by its kind alone");
    let schema = &both.plan.unit.databases[0].schema;
    assert_eq!(parts(&both)[..2], [format!("database:{schema}"), "database:other".to_owned()]);
    let publish = tables::cutover(&both, Way::Forward, &remembered);
    let told = publish.steps[place(&publish, "promote")].effect.what();
    assert!(told.contains(schema.as_str()) && told.contains("`other`"), "{told}");
}

#[tokio::test]
async fn a_gate_over_two_databases_takes_the_worst_and_wants_both() {
    use segue_port::Clock;
    let families = joined();
    let clock = std::sync::Arc::new(segue_engine::clock::TestClock::standing(1_000_000));
    let board = segue_engine::Board::without_samplers(clock.clone());
    let remembered = Remembered::default();
    let gates =
        crate::gates::of_plan(&families, segue_model::gate::Before::Arm, Way::Forward, &remembered);
    let gate = gates.iter().find(|gate| gate.name() == "database_lag").unwrap();
    let context = segue_engine::GateContext {
        board: board.clone(),
        clock: clock.clone(),
        facts: std::sync::Arc::default(),
        state: std::sync::Arc::default(),
    };
    let lag = |from: &str, value| segue_model::Sample {
        what: segue_model::What::DatabaseLagMs(segue_model::Side::Source),
        value,
        count: 1,
        taken_at_ms: clock.boot_ms(),
        from: from.to_owned(),
    };
    use segue_model::gate::Verdict;
    board.put(lag("database-lag:source:a", 1.0));
    assert_eq!(gate.ask(&context).await.verdict, Verdict::Unknown, "one is not measured");
    board.put(lag("database-lag:source:b", 5_000.0));
    assert_eq!(gate.ask(&context).await.verdict, Verdict::Wait, "the worst counts");
    board.put(lag("database-lag:source:b", 1.0));
    assert_eq!(gate.ask(&context).await.verdict, Verdict::Pass);
}

#[test]
fn a_maintenance_window_compares_before_the_seal_and_meets_before_what_must_not_be_alone() {
    let mut families = families();
    std::sync::Arc::make_mut(&mut families.plan.policy).maintenance_budget_ms = Some(60_000);
    let table = tables::window(&families, &Remembered::default(), &Meeting::nobody());
    let order = [
        "arm",
        "stop_workers",
        "hold",
        "fence",
        "drain",
        "verify",
        "compare",
        "seal_fronts",
        "seal",
        "promote",
        "route",
        "start_workers",
        "publish",
    ];
    let names: Vec<&str> = table.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, order);
    let budget = table.budget.unwrap();
    assert_eq!(budget.limit_ms, 60_000);
    let waits = |name: &str| {
        let gates = &table.steps[place(&table, name)].gates;
        gates
            .iter()
            .filter(|gate| gate.waits_in_pause())
            .map(|gate| gate.asks())
            .collect::<Vec<_>>()
    };
    let meets: Vec<&str> = names.iter().copied().filter(|name| !waits(name).is_empty()).collect();
    assert_eq!(meets, ["stop_workers", "hold", "seal_fronts", "promote"]);
    assert!(waits("seal_fronts")[0].contains("`compare`"));
    assert!(waits("promote")[0].contains("`seal`"));
    assert_eq!(table.steps[place(&table, "fence")].time_allowed.as_millis(), 60_000);
}

#[test]
fn a_split_rises_behind_proof_of_the_share_before_and_has_no_point_of_no_return() {
    let table = tables::split(&split_in(&[5, 25, 100]));
    let names: Vec<&str> = table.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["split_5", "split_25", "split_100", "judge"]);
    let proven = |name: &str| -> Vec<String> {
        let gates = &table.steps[place(&table, name)].gates;
        gates.iter().map(|gate| gate.asks()).filter(|asks| asks.starts_with("no worse")).collect()
    };
    assert!(proven("split_5").is_empty(), "nobody was there yet");
    for (name, share) in
        [("split_25", "with 5 %"), ("split_100", "with 25 %"), ("judge", "with 100 %")]
    {
        assert_eq!(proven(name).len(), 1, "{name}");
        assert!(proven(name)[0].contains(share), "{name}: {:?}", proven(name));
    }
    let up: Vec<String> = table.steps[0].gates.iter().map(|gate| gate.name()).collect();
    assert!(up.iter().any(|name| name == "target_up"), "{up:?}");
    assert!(!table.shape().goes_back_whole() && table.shape().steps_back());
    // Longer than a share may take to be judged.
    assert!(table.gate_wait.as_secs() > 3_660);
    assert!(tables::split(&families()).shape().check().is_err(), "no split in the plan");
}
