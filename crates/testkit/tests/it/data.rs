//! Writers around the web server, and the zone.

use crate::{admin, shop_program, small_world, wait_for};
use mysql_async::prelude::Queryable;
use rustix::process::{Pid, Signal, kill_process};
use segue_testkit::world::Side;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_stopped_cron_job_writes_no_more_and_its_ledger_agrees_with_its_table() {
    let (world, _dir) = small_world();
    let ledger = world.description().ledger_dir.join("cron.source.jsonl");
    let control = |word: &str| {
        let mut command = Command::new(shop_program());
        command.args(["cron-ctl", "--side", "source", word, "--world"]).arg(world.path());
        command.output().unwrap().status.code()
    };
    wait_for("three jobs ran", || lines(&ledger).len() >= 3);
    assert_eq!(control("running"), Some(0));
    assert_eq!(control("stop"), Some(0));
    assert_eq!(control("running"), Some(1));
    let mut database = admin(world.description(), Side::Source).await;
    let keys = "SELECT job_key FROM shop.jobs WHERE job_key LIKE 'source-%' ORDER BY id";
    let in_table: Vec<String> = database.query(keys).await.unwrap();
    // The neighbour's ledger is the clock: meanwhile a running cron job would have written.
    let tenant = world.description().ledger_dir.join("tenant.jsonl");
    let begun = lines(&tenant).len();
    wait_for("the neighbour wrote thirty rows", || lines(&tenant).len() >= begun + 30);
    assert_eq!(database.query::<String, _>(keys).await.unwrap(), in_table);
    let told: Vec<String> =
        lines(&ledger).iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, in_table);

    assert_eq!(control("start"), Some(0));
    wait_for("jobs run again", || lines(&ledger).len() > in_table.len());
    // Nothing ran in between: the target's cron is there and has been idle all the time.
    assert!(lines(&world.description().ledger_dir.join("cron.target.jsonl")).is_empty());
    database.disconnect().await.unwrap();
}

#[tokio::test]
async fn the_tenants_ledger_tells_its_table_after_a_clean_end() {
    let (world, _dir) = small_world();
    let ledger = world.description().ledger_dir.join("tenant.jsonl");
    wait_for("it changed a row", || lines(&ledger).iter().any(|line| line["op"] == "update"));
    let pid = world.description().pids["tenant"];
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    wait_for("the tenant ended", || {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
    });
    let mut told = BTreeMap::new();
    for line in lines(&ledger) {
        told.insert(line["id"].as_u64().unwrap(), line["body"].as_str().unwrap().to_owned());
    }
    let mut database = admin(world.description(), Side::Source).await;
    let rows: Vec<(u64, String)> =
        database.query("SELECT id, body FROM tenant.entries ORDER BY id").await.unwrap();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), rows);
    let sum: Option<(String, u64)> =
        database.query_first("CHECKSUM TABLE tenant.archive").await.unwrap();
    assert_eq!(sum.unwrap().1, world.description().tenant.archive_checksum);
    database.disconnect().await.unwrap();
    assert!(world.check().is_err(), "an ended process is noticed");
}

#[test]
fn both_name_servers_serve_the_same_zone_with_the_shops_and_foreign_records() {
    let (world, _dir) = small_world();
    let zone = world.dump_zone().unwrap();
    assert!(zone.contains(&"shop.example.test. 20 IN A 127.0.0.11".to_owned()), "{zone:#?}");
    assert!(zone.contains(&"tenant.example.test. 300 IN AAAA ::1".to_owned()), "{zone:#?}");
    for server in &world.description().zone.servers {
        assert_eq!(world.zone_at(*server).unwrap(), zone);
    }
    let at_start = std::fs::read_to_string(&world.description().zone.at_start).unwrap();
    assert_eq!(at_start.lines().collect::<Vec<_>>(), zone);
}

#[tokio::test]
async fn the_target_starts_without_the_shop_and_the_binlog_with_its_first_write() {
    let (world, _dir) = small_world();
    let mut target = admin(world.description(), Side::Target).await;
    let schemas: Vec<String> = target
        .query("SHOW DATABASES WHERE `Database` NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')")
        .await
        .unwrap();
    assert!(schemas.is_empty(), "{schemas:?}");
    let logged: Option<String> = target.query_first("SELECT @@gtid_binlog_pos").await.unwrap();
    assert_eq!(logged.as_deref(), Some(""));
    let tree = std::fs::read_dir(&world.description().trees.target).unwrap();
    assert_eq!(tree.count(), 0);
    let mut source = admin(world.description(), Side::Source).await;
    let settings: Option<(u64, u64, String, u64)> = source
        .query_first("SELECT @@server_id, @@gtid_domain_id, @@binlog_format, @@innodb_flush_log_at_trx_commit")
        .await
        .unwrap();
    assert_eq!(settings, Some((1, 1, "ROW".to_owned(), 1)));
    let jobs = world.description().ledger_dir.join("cron.source.jsonl");
    wait_for("something was written", || !lines(&jobs).is_empty());
    let first: Vec<mysql_async::Row> =
        source.query("SHOW BINLOG EVENTS IN 'mariadb-bin.000001' LIMIT 4").await.unwrap();
    // Format description, GTID list, checkpoint, and then the first transaction.
    let kind: String = first[3].get("Event_type").unwrap();
    assert_eq!(kind, "Gtid");
    source.disconnect().await.unwrap();
    target.disconnect().await.unwrap();
}
