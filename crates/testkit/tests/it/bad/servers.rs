//! Database servers that cannot be used as they are.

use super::change::set;
use super::desk::Desk;
use super::table::Kind;
use crate::admin;
use segue_testkit::world::Side;
use std::collections::BTreeSet;

/// Claim, side, statements that disturb, statements that take it back, code.
type Disturbed =
    (&'static str, Side, &'static [&'static str], &'static [&'static str], &'static str);

const SETTINGS: [Disturbed; 8] = [
    (
        "a binary log of statements",
        Side::Source,
        &["SET GLOBAL binlog_format = 'STATEMENT'"],
        &["SET GLOBAL binlog_format = 'ROW'"],
        "SG0232 binlog_format",
    ),
    (
        "a binary log of half rows",
        Side::Source,
        &["SET GLOBAL binlog_row_image = 'MINIMAL'"],
        &["SET GLOBAL binlog_row_image = 'FULL'"],
        "SG0232 binlog_row_image",
    ),
    (
        "one server id at both sides",
        Side::Target,
        &["SET GLOBAL server_id = 1"],
        &["SET GLOBAL server_id = 2"],
        "SG0239 server_id",
    ),
    (
        "one domain of positions at both sides",
        Side::Target,
        &["SET GLOBAL gtid_domain_id = 1"],
        &["SET GLOBAL gtid_domain_id = 2"],
        "SG0239 gtid_domain_id",
    ),
    (
        "a target that refuses writes",
        Side::Target,
        &["SET GLOBAL read_only = 1"],
        &["SET GLOBAL read_only = 0"],
        "SG0237 read_only",
    ),
    (
        "a target that loads no rows",
        Side::Target,
        &["SET GLOBAL local_infile = 0"],
        &["SET GLOBAL local_infile = 1"],
        "SG0237 local_infile",
    ),
    (
        "triggers that would act twice",
        Side::Target,
        &["SET GLOBAL slave_run_triggers_for_rbr = 'YES'"],
        &["SET GLOBAL slave_run_triggers_for_rbr = 'NO'"],
        "SG0234",
    ),
    (
        "a source that reads from another server",
        Side::Source,
        &["CHANGE MASTER 'other' TO MASTER_HOST = '127.0.0.9', MASTER_PORT = 1, MASTER_USER = 'x'"],
        &["RESET SLAVE 'other' ALL"],
        "SG0243",
    ),
];

const OBJECTS: [Disturbed; 8] = [
    (
        "a schema in the way at the target",
        Side::Target,
        &["CREATE DATABASE shop"],
        &["DROP DATABASE shop"],
        "SG0208 shop",
    ),
    (
        "a schema of Segue's name that is somebody else's",
        Side::Source,
        &["CREATE DATABASE segue", "CREATE TABLE segue.bikes (id INT PRIMARY KEY)"],
        &["DROP DATABASE segue"],
        "SG0208 segue",
    ),
    (
        "a login in the way at the target",
        Side::Target,
        &["CREATE USER `shop`@`%` IDENTIFIED BY 'other'", "GRANT SELECT ON *.* TO `shop`@`%`"],
        &["DROP USER `shop`@`%`"],
        "SG0209",
    ),
    (
        "a table without transactions",
        Side::Source,
        &["CREATE TABLE shop.bare (id INT PRIMARY KEY) ENGINE = MyISAM"],
        &["DROP TABLE shop.bare"],
        "SG0247",
    ),
    (
        "a table that is a sequence",
        Side::Source,
        &["CREATE SEQUENCE shop.numbers"],
        &["DROP SEQUENCE shop.numbers"],
        "SG0246",
    ),
    (
        "a foreign key into another customer's schema",
        Side::Source,
        &[
            "CREATE TABLE tenant.parents (id INT PRIMARY KEY)",
            "CREATE TABLE shop.children (id INT PRIMARY KEY, CONSTRAINT abroad FOREIGN KEY (id) \
             REFERENCES tenant.parents (id))",
        ],
        &["DROP TABLE shop.children", "DROP TABLE tenant.parents"],
        "SG0249",
    ),
    (
        "a login outside the plan that may write",
        Side::Source,
        &["CREATE USER `panel`@`%` IDENTIFIED BY 'x'", "GRANT INSERT ON shop.* TO `panel`@`%`"],
        &["DROP USER `panel`@`%`"],
        "SG0252",
    ),
    (
        "a claim of another run",
        Side::Source,
        &[
            "CREATE DATABASE segue",
            "CREATE TABLE segue.claim (unit VARCHAR(64) PRIMARY KEY, run VARCHAR(64), epoch BIGINT)",
            "INSERT INTO segue.claim (unit, run) VALUES ('shop', 'another-run')",
        ],
        &["DROP DATABASE segue"],
        "SG0207",
    ),
];

pub(super) fn play(desk: &mut Desk) {
    let sound = desk.sound.clone();
    for (name, side, disturb, mend, code) in SETTINGS.into_iter().chain(OBJECTS) {
        let done = format!("at the {side}: {}", disturb.join("; "));
        desk.case(Kind::Environment, name, &done, code, |desk| {
            desk.sql(side, disturb);
            let said = desk.plan(&sound, |_| ());
            desk.sql(side, mend);
            said.refuses(1, code)
        });
    }
    rights(desk);
    connections(desk);
    logs(desk);
}

/// Rights that the administrator's login must have.
const RIGHTS: [&str; 10] = [
    "PROCESS",
    "CREATE USER",
    "BINLOG MONITOR",
    "BINLOG ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION SLAVE",
    "SLAVE MONITOR",
    "CONNECTION ADMIN",
    "SELECT",
    "INSERT",
];

/// Each right is taken away in turn: each must be missed by its name.
fn rights(desk: &mut Desk) {
    let password = desk.description().dir.join("secrets/shop");
    let plan = set("[database.target]", "admin", "\"weak\"").of(&desk.sound);
    let from = desk.description().database.target.admin_password_file.display().to_string();
    let plan = plan.replace(&from, &password.display().to_string());
    let secret = std::fs::read_to_string(&password).unwrap();
    let create = format!("CREATE USER `weak`@`%` IDENTIFIED BY '{}'", secret.trim());
    let name = "an administrator without one of the rights it needs";
    let done = format!("each of {} rights taken away in turn", RIGHTS.len());
    desk.case(Kind::Environment, name, &done, "SG0242", |desk| {
        let mut missed = BTreeSet::new();
        for right in RIGHTS {
            let revoke = format!("REVOKE {right} ON *.* FROM `weak`@`%`");
            let grant = "GRANT ALL PRIVILEGES ON *.* TO `weak`@`%` WITH GRANT OPTION";
            desk.sql(Side::Target, &[&create, grant, &revoke]);
            let said = desk.plan(&plan, |_| ());
            desk.sql(Side::Target, &["DROP USER `weak`@`%`"]);
            said.refuses(1, &format!("SG0242 {right}"))?;
            missed.insert(right);
        }
        Ok(format!("exit 1, SG0242 names each of {}", missed.len()))
    });
}

/// Nobody gets in any more.
fn connections(desk: &mut Desk) {
    let sound = desk.sound.clone();
    let name = "a database server without a free connection";
    let done = "max_connections = 10, and all are in use";
    desk.case(Kind::Environment, name, done, "SG0204", |desk| {
        let mut held = desk.runtime.block_on(async {
            let mut first = admin(desk.description(), Side::Target).await;
            mysql_async::prelude::Queryable::query_drop(
                &mut first,
                "SET GLOBAL max_connections = 10",
            )
            .await
            .unwrap();
            let mut held = vec![first];
            // One more than the limit is kept for an administrator.
            while held.len() < 11 {
                held.push(admin(desk.description(), Side::Target).await);
            }
            held
        });
        let said = desk.plan(&sound, |_| ());
        desk.runtime.block_on(async {
            let mut first = held.swap_remove(0);
            mysql_async::prelude::Queryable::query_drop(
                &mut first,
                "SET GLOBAL max_connections = 151",
            )
            .await
            .unwrap();
            held.push(first);
            for conn in held {
                conn.disconnect().await.unwrap();
            }
        });
        said.refuses(1, "SG0204")
    });
}

/// What only a start of the server changes.
fn logs(desk: &mut Desk) {
    let sound = desk.sound.clone();
    for (name, lines, code) in [
        ("a server without a binary log", "skip-log-bin", "SG0231"),
        ("a server that leaves the schema out of its log", "binlog-ignore-db=shop", "SG0244"),
    ] {
        let done = format!("the target is started with {lines}");
        desk.case(Kind::Environment, name, &done, code, |desk| {
            desk.world.kill_database(Side::Target).unwrap();
            desk.world.restart_database_with(Side::Target, lines).unwrap();
            let said = desk.plan(&sound, |_| ());
            desk.world.kill_database(Side::Target).unwrap();
            desk.world.restart_database(Side::Target).unwrap();
            said.refuses(1, code)
        });
    }
}
