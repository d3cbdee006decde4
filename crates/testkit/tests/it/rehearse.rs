//! Claims about rehearsals: the whole move in a closed room, and the live world untouched.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

use crate::{admin, bin, small_world};
use mysql_async::prelude::Queryable;
use segue_testkit::stage::{Segue, Visitors};
use segue_testkit::world::{Description, Side, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Triggers besides the world's own: one that asks, and two that tell.
const MORE: &str = r#"
[[trigger]]
name = "database_differs"
what = "database_differences"
max = 0
for_ms = 2000
min_samples = 1
min_count = 0
action = "hold_and_ask"

[[trigger]]
name = "client_errors"
what = "client_error_percent"
side = "target"
max = 20.0
for_ms = 2000
action = "alert"

[[trigger]]
name = "lag_back"
what = "database_lag_ms"
side = "target"
max = 5000.0
for_ms = 1000
action = "alert"
"#;

/// What a rehearsal must leave as it is: schemas, logins, events, what streams, zone, and
/// everything in the target's tree; of the source's tree, which visitors write to, the names
/// that are not theirs.
async fn live(world: &World) -> Vec<Vec<String>> {
    let mut all = vec![world.dump_zone().unwrap()];
    for side in Side::BOTH {
        let mut conn = admin(world.description(), side).await;
        for query in [
            "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
            "SELECT CONCAT(User, '@', Host, ' ', Priv) FROM mysql.global_priv ORDER BY 1",
            "SELECT CONCAT(event_schema, '.', event_name, ' ', status) \
             FROM information_schema.events ORDER BY 1",
            "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables \
             WHERE table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY 1",
            "SELECT COUNT(*) FROM information_schema.processlist WHERE USER LIKE 'segue_%_e%'",
        ] {
            let rows: Vec<mysql_async::Row> = conn.query(query).await.unwrap();
            all.push(rows.into_iter().map(|row| format!("{:?}", row.unwrap())).collect());
        }
        if side == Side::Source {
            let sum: Option<(String, u64)> =
                conn.query_first("CHECKSUM TABLE tenant.archive").await.unwrap();
            all.push(vec![format!("{sum:?}")]);
        }
        conn.disconnect().await.unwrap();
    }
    let trees = &world.description().trees;
    all.push(
        files(&trees.target).into_iter().map(|(name, about)| format!("{name} {about}")).collect(),
    );
    let own = |name: &String| !name.starts_with("uploads") && !name.starts_with("sessions");
    all.push(files(&trees.source).into_keys().filter(own).collect());
    all
}

fn files(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let about = entry.metadata().unwrap();
            let name = entry.path().strip_prefix(root).unwrap().display().to_string();
            all.insert(name, format!("{} {} {}", about.mtime(), about.len(), about.ino()));
            if about.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    all
}

/// A world under visitors, whose plan wants a rehearsal.
struct Stage {
    segue: Segue,
    visitors: Option<Visitors>,
    world: World,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn open() -> Self {
        Self::with(|_, plan| format!("{plan}\n{MORE}"))
    }

    /// One whose plan is silent about triggers, and measures all that one can ask about.
    fn with_every_trigger() -> Self {
        Self::with(|world, plan| {
            let silent = plan.split("[[trigger]]").next().unwrap();
            let log = |name: &str| {
                let path = world.dir.join(name);
                std::fs::write(&path, "").unwrap();
                path.display().to_string()
            };
            let servers: Vec<String> =
                world.zone.servers.iter().map(|server| format!("\"{server}\"")).collect();
            // Three of them: so many must fail.
            let resolvers = [servers.clone(), servers].concat()[..3].join(", ");
            format!(
                "{silent}\n[measure]\nmail_log = \"{}\"\n\n[measure.application_log]\n\
                 source = \"{}\"\ntarget = \"{}\"\nwords = [\"ERROR\"]\n\n\
                 [measure.resolvers]\naddresses = [{resolvers}]\nname = \"{}\"\n\n\
                 [[measure.host]]\nside = \"target\"\nproc = \"/proc\"\n",
                log("mail.log"),
                log("app-source.log"),
                log("app-target.log"),
                world.host,
            )
        })
    }

    fn with(change: impl Fn(&Description, String) -> String) -> Self {
        let (world, dir) = small_world();
        let description = world.description().clone();
        std::fs::create_dir_all(&description.ledger_dir).unwrap();
        let segue = Segue::new(&bin(), &description.dir).unwrap();
        let plan = world.plan_toml().replace("needed = false", "needed = true");
        std::fs::write(segue.plan_file(), change(&description, plan)).unwrap();
        let visitors = Visitors::start(&bin(), &description, 60).unwrap();
        visitors.wait_until_busy(Duration::from_secs(15)).unwrap();
        Self { segue, visitors: Some(visitors), world, _dir: dir }
    }

    fn rehearsed(&self) -> Vec<Value> {
        let output = self.segue.command(&["--json", "journal"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|record| record["event"].clone())
            .filter(|event| event["event"] == "unit_rehearsed")
            .collect()
    }

    fn report(&self) -> Value {
        let out = self.world.description().dir.join("report");
        self.segue.must(&["report", "--out", &out.display().to_string()], 0).unwrap();
        serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.visitors.take());
        self.segue.end_everything(self.world.description());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_opens_the_lock_of_its_very_plan_and_touches_nothing_live() {
    let stage = Stage::open();
    let hash = stage.segue.plan().unwrap();
    let before = live(&stage.world).await;
    let faults = ["target_slow", "database_differs", "client_errors", "lag_back"];
    let asked: Vec<&str> = faults.iter().flat_map(|name| ["--fault", name]).collect();
    let command: Vec<&str> = ["rehearse", hash.as_str()].into_iter().chain(asked).collect();
    stage.segue.must(&command, 0).unwrap();

    // The live world: nothing was made, changed, held or slowed down to failing.
    assert_eq!(live(&stage.world).await, before, "something live is not as it was");
    let (sent, failed) = stage.visitors.as_ref().unwrap().counted();
    assert!(sent > 300, "{sent} requests");
    assert_eq!(failed, 0, "failed requests of {sent}");
    let left = stage.segue.dir().join("rehearsals/shop");
    assert!(!left.exists(), "the rehearsal's folder is left");

    let rehearsed = stage.rehearsed();
    let (event, detail) = (&rehearsed[0], &rehearsed[0]["detail"]);
    assert_eq!(event["passed"], true, "{detail:#}");
    let pause = event["pause_ms"].as_f64().unwrap();
    assert!(pause > 0.0 && pause < 1_000.0, "{pause} ms");
    assert!(event["took_ms"].as_u64().unwrap() > 0);
    assert!(detail["visitors"]["requests"].as_u64().unwrap() > 300, "{detail:#}");
    assert_eq!(detail["visitors"]["failed"], 0);
    assert_eq!(detail["differences"], 1, "the row that was changed on purpose: {detail:#}");
    for look in detail["ledger"].as_array().unwrap() {
        assert!(look[1]["acknowledged"].as_u64().unwrap() > 10, "{look}");
        assert_eq!((&look[1]["lost"], &look[1]["doubled"]), (&0.into(), &0.into()), "{look}");
    }
    let skipped = detail["not_rehearsed"].to_string();
    assert!(skipped.contains("cron"), "{skipped}");

    // The room had no way out: not to a listener of its own, nor to the live world.
    let tried = detail["egress"]["tried"].as_array().unwrap();
    let live_database = stage.world.description().database.source.address.to_string();
    assert!(tried.iter().any(|address| *address == live_database.as_str()), "{tried:?}");
    assert_eq!(detail["egress"]["reached"].as_array().unwrap().len(), 0);

    for (fault, followed) in detail["faults"].as_array().unwrap().iter().zip([
        "failed back",
        "a person was asked",
        "told",
        "told",
    ]) {
        assert_eq!(fault["right"], true, "{fault:#}");
        assert!(fault["fired_ms"].as_u64().is_some(), "{fault:#}");
        assert!(fault["followed"].as_str().unwrap().starts_with(followed), "{fault:#}");
    }
    let planted = |at: usize| detail["faults"][at]["planted"].as_str().unwrap().to_owned();
    assert!(planted(0).starts_with("in the world"), "{}", planted(0));
    assert!(planted(3).starts_with("in the samples"), "{}", planted(3));

    // A forecast, and no proof.
    let report = stage.report();
    assert!(report["summary"]["write_pause_ms"].is_null(), "nothing live was cut over");
    assert!(report["summary"]["requests"].is_null());
    assert_eq!(report["forecasts"][0]["pause_ms"], event["pause_ms"]);
    let status = stage.segue.status().unwrap();
    assert_eq!(status["rehearsed"]["forecast_pause_ms"], event["pause_ms"]);
    assert_eq!(status["stage"], "fresh");

    // The lock is open, for this plan.
    stage.segue.must(&["sync", &hash], 0).unwrap();
    let exit = stage.segue.show(&["cutover", &hash]).unwrap();
    assert!(matches!(exit, 0 | 5), "{exit}");
    let (sent, failed) = stage.visitors.as_ref().unwrap().counted();
    assert_eq!(failed, 0, "failed requests of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_is_locked_until_its_plan_was_rehearsed_or_somebody_says_why_not() {
    let stage = Stage::open();
    let hash = stage.segue.plan().unwrap();
    stage.segue.must(&["sync", &hash], 0).unwrap();
    assert_eq!(stage.segue.show(&["cutover", &hash]).unwrap(), 4, "never rehearsed");
    let refused = ["rehearse", &hash, "--fault", "no_such_trigger"];
    assert_eq!(stage.segue.show(&refused).unwrap(), 1);
    assert!(stage.rehearsed().is_empty());
    assert_eq!(stage.segue.status().unwrap()["stage"], "synced", "nothing moved");
    stage
        .segue
        .must(&["waive", "rehearsal", "--because", "a test shows that it can be said"], 0)
        .unwrap();
    // It may withdraw over its budget where much else runs; the lock is open.
    let exit = stage.segue.show(&["cutover", &hash]).unwrap();
    assert!(matches!(exit, 0 | 5), "{exit}");
    let report = stage.report();
    let told = report["timeline"].to_string();
    assert!(told.contains("a test shows that it can be said"), "{told}");
}

/// Fewest triggers that a plan has which says nothing of them.
const DEFAULTS: usize = 30;

#[test]
#[ignore = "a quarter of an hour: `make rehearse`"]
fn every_trigger_fires_once_in_a_rehearsal_and_what_it_starts_follows() {
    let stage = Stage::with_every_trigger();
    let hash = stage.segue.plan().unwrap();
    // `SEGUE_REHEARSE_FAULTS=one,other` plays some alone, for whoever works on them.
    let only = std::env::var("SEGUE_REHEARSE_FAULTS").ok();
    let mut args = vec!["rehearse", hash.as_str()];
    for name in only.as_deref().unwrap_or("all").split(',') {
        args.extend(["--fault", name]);
    }
    let exit = stage.segue.show(&args).unwrap();
    let rehearsed = stage.rehearsed();
    let (event, detail) = (&rehearsed[0], &rehearsed[0]["detail"]);
    let faults = detail["faults"].as_array().unwrap();
    let mut wrong = Vec::new();
    for fault in faults {
        println!(
            "{} {:<24} {:<12} fired after {:>6} ms, followed after {:>6} ms: {}; {}",
            if fault["right"] == true { "ok   " } else { "WRONG" },
            fault["trigger"].as_str().unwrap_or_default(),
            fault["action"].as_str().unwrap_or_default(),
            fault["fired_ms"],
            fault["followed_ms"],
            fault["followed"].as_str().unwrap_or_default(),
            fault["planted"].as_str().unwrap_or_default(),
        );
        // Those that want the fault to last for half a minute have that time besides.
        let in_time = fault["fired_ms"].as_u64().is_some_and(|ms| ms < 35_000);
        if fault["right"] != true || !in_time {
            wrong.push(fault["trigger"].clone());
        }
    }
    assert_eq!(exit, 0, "{detail:#}");
    println!("rehearsal: {} faults, {} not as promised", faults.len(), wrong.len());
    assert!(faults.len() >= DEFAULTS || only.is_some(), "{} faults", faults.len());
    assert!(wrong.is_empty(), "{wrong:?}: {detail:#}");
    assert_eq!(event["passed"], true, "{detail:#}");
    let back = faults.iter().filter(|fault| fault["action"] == "fail_back").count();
    let attempts = detail["attempts"].as_array().unwrap();
    let failbacks = attempts.iter().filter(|attempt| attempt["phase"] == "failback").count();
    assert!(failbacks > back, "{failbacks} ways back for {back} faults that fail back");
    let (sent, failed) = stage.visitors.as_ref().unwrap().counted();
    assert_eq!(failed, 0, "failed live requests of {sent}");
}
