//! Plans and environments that cannot go well: `segue plan` refuses each, says what to do,
//! and touches nothing.
//!
//! They need the program `segue` beside the other binaries (`cargo build` makes it).

use crate::{admin, bin, small_world};
use mysql_async::prelude::Queryable;
use segue_testkit::stage::Segue;
use segue_testkit::world::{Description, Side, World};
use std::net::TcpListener;
use std::path::Path;

/// A change to a sound plan, and the fault that must be named.
type Row = (&'static str, Box<dyn Fn(&str) -> String>, &'static str);

/// Replaces the first `from` behind the line that begins with `after`.
fn swap(
    after: &'static str,
    from: &'static str,
    to: impl Into<String>,
) -> Box<dyn Fn(&str) -> String> {
    let to = to.into();
    Box::new(move |plan| {
        let (head, tail) = plan.split_at(plan.find(after).expect(after));
        assert!(tail.contains(from), "`{from}` stands behind `{after}`");
        format!("{head}{}", tail.replacen(from, &to, 1))
    })
}

/// Gives the key behind the line `after` another value.
fn set(
    after: &'static str,
    key: &'static str,
    value: impl Into<String>,
) -> Box<dyn Fn(&str) -> String> {
    let value = value.into();
    Box::new(move |plan| {
        let (head, tail) = plan.split_at(plan.find(after).expect(after));
        let begin = tail.find(&format!("\n{key} = ")).expect(key) + 1;
        let end = begin + tail[begin..].find('\n').expect("a line ends");
        format!("{head}{}{key} = {value}{}", &tail[..begin], &tail[end..])
    })
}

/// Everything that Segue might have touched.
#[derive(Debug, PartialEq)]
struct Trace {
    databases: Vec<Vec<String>>,
    zone: Vec<String>,
    trees: Vec<String>,
    runs: Vec<String>,
}

impl Trace {
    async fn of(world: &World, segue: &Segue) -> Self {
        let description = world.description();
        let mut databases = Vec::new();
        for side in Side::BOTH {
            let mut conn = admin(description, side).await;
            for query in [
                "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
                "SELECT CONCAT(user, '@', host) FROM mysql.user ORDER BY 1",
                "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables ORDER BY 1",
                "SELECT CONCAT(variable_value) FROM information_schema.global_status \
                 WHERE variable_name IN ('Slaves_connected', 'Slave_connections') ORDER BY variable_name",
                "SELECT CONCAT(@@global.read_only, @@global.server_id, @@global.gtid_domain_id)",
            ] {
                databases.push(conn.query(query).await.unwrap());
            }
        }
        let mut trees = names(&description.trees.target);
        trees.extend(names(&description.dir.join("run")));
        trees.retain(|name| name != "segue" && !name.contains(".log"));
        Self { databases, zone: world.dump_zone().unwrap(), trees, runs: names(segue.dir()) }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Rows that the file itself shows to be wrong.
fn files() -> Vec<Row> {
    vec![
        ("not TOML", swap("[unit]", "hosts = [", "hosts = "), "SG0701"),
        ("an unknown key", swap("[unit]", "hosts =", "hots ="), "SG0701"),
        ("a secret", set("[database.source]", "password", "\"hunter2\""), "SG0718"),
        ("a time in words", set("[policy]", "stable_for_s", "\"soon\""), "SG0701"),
        ("an unknown action", set("[[trigger]]", "action", "\"panic\""), "SG0701"),
        ("no hosts", set("[unit]", "hosts", "[]"), "SG0704"),
        ("a host that is no name", set("[unit]", "hosts", "[\"shop example\"]"), "SG0704"),
        ("no egress address", swap("[[front]]", "egress = \"127.0.0.250\"\n", ""), "SG0707"),
        ("a relative path", set("[[tree]]", "target", "\"site\""), "SG0722"),
        ("a foreign name", set("[[zone.record]]", "name", "\"shop.example.org\""), "SG0711"),
        ("no front there", set("[[zone.record]]", "target", "[\"127.0.0.77\"]"), "SG0710"),
        ("a reserve above the budget", set("[policy]", "stable_for_s", RESERVE), "SG0725"),
        ("a trigger that cannot fire", set("[[trigger]]", "max", "nan"), "SG0726"),
        ("no login", set("[database]", "logins", "[]"), "SG0720"),
    ]
}

const RESERVE: &str = "3\npause_budget_ms = 100\nseal_reserve_ms = 200";

/// Rows in which both sides are one.
fn twins(world: &Description) -> Vec<Row> {
    let text = |value: &dyn std::fmt::Display| format!("\"{value}\"");
    let web = text(&world.backend.source);
    let front = text(&world.site.source);
    let tree = text(&world.trees.source.display());
    let database = text(&world.database.source.address);
    vec![
        ("one web server", set("[backend.target]", "address", web), "SG0728"),
        ("two fronts at one address", set("name = \"target\"", "listen", front), "SG0705"),
        ("one directory", set("[[tree]]", "target", tree), "SG0722"),
        ("one database server", set("[database.target]", "address", database), "SG0719"),
    ]
}

/// Addresses that are not what the plan says of them.
struct Addresses {
    /// Of another program.
    busy: String,
    /// Where nothing listens, not at a side's address.
    quiet: String,
    /// Where nothing listens, at the source's address.
    free: String,
}

/// Rows that only a look at the servers shows to be wrong.
fn environments(world: &Description, at: &Addresses) -> Vec<Row> {
    let secret = |name: &str| format!("\"file:{}/secrets/{name}\"", world.dir.display());
    let file = format!("\"{}/secrets/shop\"", world.dir.display());
    let text = |value: &str| format!("\"{value}\"");
    let servers = format!("servers = [\"{}\", ", at.quiet);
    vec![
        ("no password", set("[database.source]", "password", secret("nothing")), "SG0801"),
        ("a wrong password", set("[database.target]", "password", secret("shop")), "SG0202"),
        ("no database", set("[database.target]", "address", text(&at.quiet)), "SG0201"),
        ("no schema", set("[database]", "schema", "\"shup\""), "SG0245"),
        ("an unknown login", set("[database]", "logins", "[\"shup\"]"), "SG0250"),
        ("no source directory", set("[[tree]]", "source", "\"/nonexistent/site\""), "SG0421"),
        ("a file for a directory", set("[[tree]]", "target", file), "SG0421"),
        ("a wrong key", swap("[[zone]]", "secrets/mig-key", "secrets/shop"), "SG0305"),
        ("a zone nobody serves", set("[[zone]]", "zone", "\"test\""), "[SG0307]"),
        ("a dead name server", swap("[[zone]]", "servers = [", servers), "SG0303"),
        ("no such record", set("[[zone.record]]", "name", "\"shup.example.test\""), "[SG0321]"),
        ("nothing to take over", set("[[front]]", "listen", text(&at.free)), "SG0158"),
        ("a busy address", set("name = \"target\"", "listen", text(&at.busy)), "SG0159"),
        ("no command", set("[worker.source]", "stop", "[\"/nonexistent/stop\"]"), "SG0511"),
        ("no log", set("[backend.source]", "access_log", "\"/nonexistent/log\""), "SG0521"),
        ("no health", set("[backend.source]", "health_path", "\"/nothing\""), "SG0523"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_broken_plans_and_environments_and_touches_nothing() {
    let (world, _dir) = small_world();
    let segue = Segue::new(&bin(), &world.description().dir).unwrap();
    let sound = world.plan_toml();
    let listener = TcpListener::bind("127.0.0.12:0").unwrap();
    let was_free = |address| TcpListener::bind(address).unwrap().local_addr().unwrap().to_string();
    let at = Addresses {
        busy: listener.local_addr().unwrap().to_string(),
        quiet: was_free("127.0.0.9:0"),
        free: was_free("127.0.0.11:0"),
    };
    let before = Trace::of(&world, &segue).await;
    let rows = [files(), twins(world.description()), environments(world.description(), &at)];
    let mut wrong = Vec::new();
    for (what, change, code) in rows.into_iter().flatten() {
        std::fs::write(segue.plan_file(), change(&sound)).unwrap();
        let file = segue.plan_file().display().to_string();
        let output = segue.command(&["plan", &file]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        println!("--- {what}: {:?}\n{said}", output.status.code());
        if output.status.code() != Some(1) || !said.contains(code) {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(Trace::of(&world, &segue).await, before, "something was touched");
    std::fs::write(segue.plan_file(), &sound).unwrap();
    segue.plan().expect("the plan without the change is sound");
}
