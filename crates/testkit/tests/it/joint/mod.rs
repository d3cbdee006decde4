//! Units that switch together and a unit that does not, behind one address.
//!
//! `left` and `right` share a login, so they are one; `apart` shares nothing with them but the
//! zone and the fronts. Each has a schema on the one pair of servers and a site of its own.

mod sites;

use crate::{admin, bin, small_world, wait_for};
use mysql_async::prelude::Queryable;
use segue_testkit::stage::Segue;
use segue_testkit::world::{Description, Side, World};
use serde_json::{Value, json};
use sites::{PASSWORD, Seen, Visitor, serve};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

const SITES: [(&str, &str); 3] = [("left", "pair"), ("right", "pair"), ("apart", "apart")];
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 61);
const TARGET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 62);
const TTL_S: u32 = 3;

const HEAD: &str = r#"name = "joint"
units = ["units.jsonl"]
separate_zones = ["example.test"]
trigger = []

[rehearsal]
needed = false

[policy]
pause_budget_ms = 4000
seal_reserve_ms = 500
lease_ms = 5000
gate_wait_s = 120
stable_for_s = 1
"#;

/// Ends what the run started, also when a claim does not hold.
struct Run {
    segue: Segue,
    world: World,
    _dir: tempfile::TempDir,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.segue.end_everything(self.world.description());
    }
}

fn host(world: &Description, name: &str) -> String {
    format!("{name}.{}", world.zone.name)
}

fn free(address: Ipv4Addr) -> SocketAddr {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap()
}

async fn prepare(world: &Description) {
    let mut conn = admin(world, Side::Source).await;
    for (name, login) in SITES {
        for statement in [
            format!("CREATE DATABASE `{name}`"),
            format!(
                "CREATE TABLE `{name}`.notes \
                 (id BIGINT AUTO_INCREMENT PRIMARY KEY, payload VARCHAR(64) NOT NULL)"
            ),
            format!("INSERT INTO `{name}`.notes (payload) VALUES ('first')"),
            format!("CREATE USER IF NOT EXISTS '{login}'@'%' IDENTIFIED BY '{PASSWORD}'"),
            format!("GRANT ALL ON `{name}`.* TO '{login}'@'%'"),
        ] {
            conn.query_drop(statement).await.unwrap();
        }
    }
    conn.disconnect().await.unwrap();
    for (name, _) in SITES {
        world.point(&host(world, name), TTL_S, SOURCE).unwrap();
    }
    for (name, _) in SITES {
        wait_for("every server serves every name", || served(world, name, SOURCE));
    }
}

/// Says whether every name server gives this address for a site.
fn served(world: &Description, name: &str, address: Ipv4Addr) -> bool {
    let at = |server: &SocketAddr| world.address_at(*server, &host(world, name));
    world.zone.servers.iter().all(|server| at(server).is_ok_and(|found| found == [address]))
}

/// A unit as a line of the plan; all of them have the same two fronts.
fn unit(
    world: &Description,
    name: &str,
    login: &str,
    backends: &[SocketAddr; 2],
    fronts: &[SocketAddr; 2],
) -> Value {
    let server = |side: Side| {
        let server = world.database.server(side);
        let file = server.admin_password_file.display();
        json!({ "address": server.address, "admin": server.admin, "password": format!("file:{file}") })
    };
    let front = |side: Side, listen: SocketAddr| {
        let file = |end: &str| world.dir.join("run").join(format!("shared-{side}.{end}"));
        json!({
            "name": side.as_str(), "side": side.as_str(), "listen": listen,
            "control": file("sock"), "state": file("json"),
        })
    };
    let backend = |address| json!({ "address": address, "health_path": "/", "concurrency": 16 });
    json!({
        "unit": { "name": name, "hosts": [host(world, name)] },
        "backend": { "source": backend(backends[0]), "target": backend(backends[1]) },
        "front": [front(Side::Source, fronts[0]), front(Side::Target, fronts[1])],
        "probe": { "path": "/", "marker": format!("site {name}"), "per_second": 5 },
        "database": {
            "schema": name, "logins": [login],
            "source": server(Side::Source), "target": server(Side::Target),
        },
        "zone": [{
            "zone": world.zone.name,
            "primary": world.zone.primary,
            "servers": world.zone.servers,
            "lowered_ttl_s": 2,
            "key": {
                "name": world.zone.key_name,
                "algorithm": world.zone.key_algorithm,
                "secret": format!("file:{}", world.zone.key_secret_file.display()),
            },
            "record": [{
                "name": host(world, name), "type": "A",
                "source": [SOURCE.to_string()], "target": [TARGET.to_string()],
            }],
        }],
    })
}

/// Returns the zone's serial at the primary: every update raises it by one.
fn serial(world: &World) -> u64 {
    let zone = world.dump_zone().unwrap();
    let soa = zone.iter().find(|line| line.contains(" SOA ")).unwrap();
    let data = soa.split(" SOA ").nth(1).unwrap();
    data.split_whitespace().nth(2).unwrap().parse().unwrap()
}

async fn rows(world: &Description, side: Side, name: &str) -> Vec<String> {
    let mut conn = admin(world, side).await;
    let found =
        conn.query(format!("SELECT payload FROM `{name}`.notes ORDER BY id")).await.unwrap();
    conn.disconnect().await.unwrap();
    found
}

/// What was acknowledged is there once, at the side where the unit is.
async fn nothing_lost(world: &Description, side: Side, name: &str, seen: &Seen) {
    assert_eq!(seen.failed, Vec::<String>::new(), "{name}");
    let mut expected = vec!["first".to_owned()];
    expected.extend(seen.acknowledged.iter().map(|(payload, _)| payload.clone()));
    assert_eq!(rows(world, side, name).await, expected, "{name} at the {side}");
    println!("{name}: {} writes, longest {:?}", seen.acknowledged.len(), seen.longest);
}

fn sides(seen: &Seen) -> Vec<&str> {
    let mut sides: Vec<&str> =
        seen.acknowledged.iter().map(|(_, from)| from.split('@').nth(1).unwrap()).collect();
    sides.dedup();
    sides
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joined_units_move_as_one_and_the_other_stays_behind_the_same_front() {
    let (world, dir) = small_world();
    let description = world.description().clone();
    let segue = Segue::new(&bin(), &description.dir).unwrap();
    let run = Run { segue, world, _dir: dir };
    let (segue, world) = (&run.segue, &run.world);
    prepare(&description).await;
    let fronts = [free(SOURCE), free(TARGET)];
    let mut lines = String::new();
    for (name, login) in SITES {
        let source = serve(&description, name, login, Side::Source).await;
        let target = serve(&description, name, login, Side::Target).await;
        lines += &format!("{}\n", unit(&description, name, login, &[source, target], &fronts));
    }
    std::fs::write(segue.plan_file().with_file_name("units.jsonl"), lines).unwrap();
    std::fs::write(segue.plan_file(), HEAD).unwrap();

    let hash = segue.plan().unwrap();
    segue.must(&["doctor", &segue.plan_file().display().to_string()], 0).unwrap();
    segue.must(&["sync", &hash], 0).unwrap();
    segue.must(&["cutover", &hash, "--prepare-only"], 0).unwrap();
    let visitors: Vec<_> = SITES
        .iter()
        .map(|(name, _)| (*name, Visitor::start(host(&description, name), name, fronts)))
        .collect();
    let before = serial(world);
    segue.must(&["cutover", &hash, "--unit", "left"], 0).unwrap();
    assert_eq!(serial(world), before + 1, "both names in one update");
    for (name, address) in [("left", TARGET), ("right", TARGET), ("apart", SOURCE)] {
        assert!(served(&description, name, address), "{name} is at {address}");
    }
    segue.must(&["rollback", "--unit", "left"], 0).unwrap();
    assert_eq!(serial(world), before + 2, "and back in one");
    segue.must(&["cutover", &hash, "--unit", "apart"], 0).unwrap();
    for (name, address) in [("left", SOURCE), ("right", SOURCE), ("apart", TARGET)] {
        assert!(served(&description, name, address), "{name} is at {address}");
    }
    for (name, visitor) in visitors {
        let seen = visitor.stop();
        let (side, went) = match name {
            "apart" => (Side::Target, &["source", "target"][..]),
            _ => (Side::Source, &["source", "target", "source"][..]),
        };
        nothing_lost(&description, side, name, &seen).await;
        assert_eq!(sides(&seen), went, "{name}");
    }
    report(&run);
}

/// The report counts every unit's requests by itself, and joined ones as one unit.
fn report(run: &Run) {
    let out = run.world.description().dir.join("report");
    run.segue.must(&["report", "--out", &out.display().to_string()], 0).unwrap();
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let units: Vec<&str> =
        report["units"].as_array().unwrap().iter().filter_map(|u| u["unit"].as_str()).collect();
    assert_eq!(units, ["left", "apart"]);
    assert_eq!(report["summary"]["failed_requests"], 0, "{}", report["summary"]);
}
