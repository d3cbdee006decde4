//! Claims about a maintenance window: three units on one pair of servers are held, compared and
//! switched together, or not at all.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

use crate::{admin, bin, small_world};
use mysql_async::prelude::Queryable;
use segue_testkit::stage::Segue;
use segue_testkit::world::{Side, World};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

const UNITS: [&str; 3] = ["acc1", "acc2", "shop"];
const ACCOUNTS: [&str; 2] = ["acc1", "acc2"];
const PATIENCE: Duration = Duration::from_secs(30);

const HEAD: &str = r#"name = "night"
units = ["shop.toml", "units.jsonl"]
strategy = "maintenance_window"
begins_at = "2026-12-01T02:00:00+01:00"

[rehearsal]
needed = false

[people]
duty = [{ role = "lead", person = "ada" }]

[[timeline]]
id = "backup"
at = "-12h"
what = "the backup was restored on trial"

[policy]
maintenance_budget_s = 60
gate_wait_s = 120
stable_for_s = 1
"#;

/// The run of a shop with fronts and of two plain accounts, before its cutover.
struct Night {
    segue: Segue,
    hash: String,
    world: World,
    _dir: tempfile::TempDir,
}

impl Drop for Night {
    fn drop(&mut self) {
        self.segue.end_everything(self.world.description());
    }
}

impl Night {
    async fn synced() -> Self {
        let (world, dir) = small_world();
        let mut conn = admin(world.description(), Side::Source).await;
        for name in ACCOUNTS {
            for statement in [
                format!("CREATE DATABASE {name}"),
                format!("CREATE TABLE {name}.orders (id BIGINT PRIMARY KEY, payload VARCHAR(64))"),
                format!(
                    "INSERT INTO {name}.orders SELECT seq, CONCAT('row ', seq) FROM {name}.seq_1_to_200"
                ),
                format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'password'"),
                format!("GRANT ALL ON {name}.* TO '{name}'@'%'"),
            ] {
                conn.query_drop(statement).await.unwrap();
            }
        }
        conn.disconnect().await.unwrap();
        let segue = Segue::new(&bin(), &world.description().dir).unwrap();
        let folder = segue.plan_file().parent().unwrap().to_owned();
        let lines: Vec<String> =
            ACCOUNTS.iter().map(|name| account(&world, name).to_string()).collect();
        std::fs::write(folder.join("units.jsonl"), lines.join("\n")).unwrap();
        // What must have been rehearsed is said for all units together.
        let shop = world.plan_toml().replace("[rehearsal]\nneeded = false\n", "") + "\n";
        let shop = shop.replace("[policy]\n", "[policy]\nmaintenance_budget_s = 60\n");
        std::fs::write(folder.join("shop.toml"), shop).unwrap();
        std::fs::write(segue.plan_file(), HEAD).unwrap();
        let hash = segue.plan().unwrap();
        segue.must(&["sync", &hash], 0).unwrap();
        Self { segue, hash, world, _dir: dir }
    }

    fn stages(&self) -> Vec<(String, String)> {
        let status = self.segue.status().unwrap();
        let units = status["units"].as_array().unwrap().clone();
        let of = |unit: &Value| {
            let word = |key: &str| unit[key].as_str().unwrap_or_default().to_owned();
            (word("stage"), unit["write_side"]["at"].as_str().unwrap_or("held").to_owned())
        };
        units.iter().map(of).collect()
    }

    fn all(&self, stage: &str, side: &str) {
        let wanted = vec![(stage.to_owned(), side.to_owned()); UNITS.len()];
        assert_eq!(self.stages(), wanted);
    }

    fn settled_down(&self) {
        let quiet = |status: &Value| {
            status["units"].as_array().unwrap().iter().all(|unit| unit["open"].is_null())
        };
        self.segue.wait_for("every attempt ended", PATIENCE, quiet).unwrap();
    }

    fn journal(&self) -> Vec<Value> {
        let output = self.segue.command(&["--json", "journal"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Places of the records about a step, by event.
    fn places(&self, event: &str, step: &str) -> Vec<usize> {
        let records = self.journal();
        let fits =
            |record: &Value| record["event"]["event"] == event && record["event"]["step"] == step;
        records.iter().enumerate().filter(|(_, r)| fits(r)).map(|(at, _)| at).collect()
    }

    /// Writes as the accounts do, at the source.
    async fn write_at_source(&self, id: u64) {
        let server = self.world.description().database.server(Side::Source);
        for name in ACCOUNTS {
            let opts = mysql_async::OptsBuilder::default()
                .ip_or_hostname(server.address.ip().to_string())
                .tcp_port(server.address.port())
                .prefer_socket(false)
                .user(Some(name))
                .pass(Some("password"));
            let mut conn = mysql_async::Conn::new(opts).await.unwrap();
            conn.query_drop(format!("INSERT INTO {name}.orders VALUES ({id}, 'written')"))
                .await
                .unwrap();
            conn.disconnect().await.unwrap();
        }
    }

    /// Changes the target behind everybody's back.
    async fn at_target_alone(&self, statement: &str) {
        let mut conn = admin(self.world.description(), Side::Target).await;
        conn.query_drop("SET SESSION sql_log_bin = 0").await.unwrap();
        conn.query_drop(statement).await.unwrap();
        conn.disconnect().await.unwrap();
    }

    /// Asks for the cutover of a controller that dies at `point`, and for another one.
    fn dies_at(&self, point: &str) {
        self.segue.must(&["stop"], 0).unwrap();
        let exit = self
            .segue
            .command(&["cutover", &self.hash])
            .env("SEGUE_CRASH_AT", point)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(exit.code(), Some(1), "{point}: the controller dies");
        self.segue.show(&["resume"]).unwrap();
        self.settled_down();
    }
}

fn account(world: &World, name: &str) -> Value {
    let server = |side: Side| {
        let server = world.description().database.server(side);
        json!({
            "address": server.address,
            "admin": server.admin,
            "password": format!("file:{}", server.admin_password_file.display()),
        })
    };
    json!({
        "unit": { "name": name },
        "database": {
            "schema": name,
            "logins": [name],
            "source": server(Side::Source),
            "target": server(Side::Target),
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maintenance_window_switches_every_unit_together_or_none() {
    let night = Night::synced().await;
    let hash = night.hash.clone();
    night.at_target_alone("INSERT INTO acc2.orders VALUES (100000, 'nobody wrote this')").await;
    night.segue.must(&["cutover", &hash], 5).unwrap();
    night.all("prepared", "source");
    let stopped = night.segue.status().unwrap()["waves"][0]["stopped"].to_string();
    assert!(stopped.contains("acc2") || stopped.contains("differences"), "{stopped}");
    assert_eq!(night.places("step_intended", "seal_fronts"), Vec::<usize>::new(), "none is sealed");
    assert!(!night.places("step_intended", "hold").is_empty(), "it was found inside the pause");
    night.write_at_source(300).await;

    night.at_target_alone("DELETE FROM acc2.orders WHERE id = 100000").await;
    night.segue.must(&["cutover", &hash], 0).unwrap();
    night.all("watching", "target");
    let last = |event: &str, step: &str| {
        let places = night.places(event, step);
        (places[places.len() - UNITS.len()], places[places.len() - 1])
    };
    assert!(last("step_done", "stop_workers").1 < last("step_intended", "hold").0);
    assert!(last("step_done", "compare").1 < last("step_intended", "seal_fronts").0);
    assert!(last("step_done", "seal").1 < last("step_intended", "promote").0);

    let output = night.segue.command(&["timeline"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    assert!(text.contains("backup") && text.contains("lead: ada"), "{text}");
    let output = night.segue.command(&["--json", "timeline"]).output().unwrap();
    let data: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = data["items"].as_array().unwrap();
    let moved = items.iter().find(|item| item["id"] == "moved:1").unwrap();
    assert_eq!(moved["state"], "done", "{moved}");
    night.segue.must(&["ack", "backup", "--note", "it works"], 0).unwrap();
    night.segue.must(&["ack", "nothing"], 1).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_dies_in_a_maintenance_window_leaves_no_unit_behind() {
    let night = Night::synced().await;
    night.segue.must(&["cutover", &night.hash, "--prepare-only"], 0).unwrap();
    night.dies_at("outcome.durable/compare");
    night.all("prepared", "source");
    night.write_at_source(400).await;
    // One unit passed its point of no return: the others were sealed, and go on.
    night.dies_at("intent.durable/promote");
    night.all("watching", "target");
}
