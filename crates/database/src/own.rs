//! What Segue keeps at each server: the schema `segue`.
//!
//! Created and filled outside the binary log, at both servers alike; of its rows only
//! heartbeat and marker travel, as updates of rows that exist on both sides.

use crate::fault::Explain;
use crate::link::{Link, Wire};
use crate::settings::{OWN_SCHEMA, own};
use segue_doors::sql::Literal;
use segue_model::{EffectLeft, Fault, FaultKind, Side};
use segue_port::Outcome;

/// Tables that all units of a server share, with their columns.
const SHARED: [(&str, &str); 4] = [
    (
        "claim",
        "unit VARCHAR(255) PRIMARY KEY, run VARCHAR(64) NOT NULL, epoch BIGINT UNSIGNED NOT NULL",
    ),
    (
        "seed",
        "unit VARCHAR(255) PRIMARY KEY, run VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL, \
         logins LONGTEXT NOT NULL, output LONGTEXT NOT NULL",
    ),
    (
        "stream",
        "stream VARCHAR(64) NOT NULL, unit VARCHAR(255) NOT NULL, gtid LONGTEXT NOT NULL, \
         stage VARCHAR(16) NOT NULL, others LONGTEXT NOT NULL, why LONGTEXT NOT NULL, \
         `schemas` LONGTEXT NOT NULL, patterns LONGTEXT NOT NULL, PRIMARY KEY (stream, unit)",
    ),
    (
        "sealed",
        "unit VARCHAR(255) NOT NULL, kind VARCHAR(16) NOT NULL, name VARCHAR(255) NOT NULL, \
         detail LONGTEXT NOT NULL, PRIMARY KEY (unit, kind, name)",
    ),
];

/// Options of every table of the own schema: names compare by their bytes.
pub(crate) const OPTIONS: &str = "ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin";

/// Makes the own schema if it is not there, and claims the unit for this run.
///
/// # Errors
/// `SG0207` if another run has claimed it.
pub(crate) async fn claim(link: &Link, wire: &mut Wire) -> Outcome<()> {
    let side = wire.side();
    let op = format!("claim unit `{}` at the {side}", link.names.unit);
    let mut statements = vec![format!("CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}")];
    for (table, columns) in SHARED {
        statements.push(format!("CREATE TABLE IF NOT EXISTS {} ({columns}) {OPTIONS}", own(table)));
    }
    for statement in statements {
        wire.run(statement).await.changing(&op)?;
    }
    let unit = link.names.unit_literal();
    let epoch = link.epoch().unwrap_or_default();
    wire.run(format!(
        "INSERT IGNORE INTO {} (unit, run, epoch) VALUES ({unit}, {}, {epoch})",
        own("claim"),
        Literal::new(link.settings.run.as_str()),
    ))
    .await
    .changing(&op)?;
    let holder: String = wire
        .one(format!("SELECT run FROM {} WHERE unit = {unit}", own("claim")))
        .await
        .changing(&op)?;
    if holder != link.settings.run.as_str() {
        return Err(Fault::new("SG0207", FaultKind::Conflict, op, format!("run {holder} has claimed it"))
            .leaving(EffectLeft::Maybe)
            .hint(format!(
                "if that run is gone for ever: DELETE FROM segue.claim WHERE unit = {unit} at both servers"
            )));
    }
    wire.run(format!("UPDATE {} SET epoch = {epoch} WHERE unit = {unit}", own("claim")))
        .await
        .changing(&op)?;
    for (table, column) in [
        (link.names.heartbeat(), "beat BIGINT UNSIGNED NOT NULL DEFAULT 0"),
        (link.names.marker(), "token VARCHAR(64) NOT NULL DEFAULT ''"),
    ] {
        wire.run(format!(
            "CREATE TABLE IF NOT EXISTS {table} (side VARCHAR(8) PRIMARY KEY, {column}) {OPTIONS}"
        ))
        .await
        .changing(&op)?;
        // Both rows on both sides: an update of a row that is missing stops a stream.
        wire.run(format!("INSERT IGNORE INTO {table} (side) VALUES ('source'), ('target')"))
            .await
            .changing(&op)?;
    }
    Ok(())
}

/// Returns the run and epoch that claimed the unit at the server, if any.
pub(crate) async fn claimed(link: &Link, wire: &mut Wire) -> Outcome<Option<String>> {
    let op = format!("read the claim of unit `{}` at the {}", link.names.unit, wire.side());
    if !exists(wire).await? {
        return Ok(None);
    }
    wire.first(format!(
        "SELECT run FROM {} WHERE unit = {}",
        own("claim"),
        link.names.unit_literal()
    ))
    .await
    .reading(&op)
}

/// Returns whether the own schema is there.
pub(crate) async fn exists(wire: &mut Wire) -> Outcome<bool> {
    let count: u64 = wire
        .one(format!(
            "SELECT COUNT(*) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = '{OWN_SCHEMA}' AND TABLE_NAME = 'claim'"
        ))
        .await
        .reading(&format!("look for schema `{OWN_SCHEMA}` at the {}", wire.side()))?;
    Ok(count > 0)
}

/// Takes this run's claim back and removes what is the unit's alone; the schema too when
/// no unit is left.
pub(crate) async fn release(link: &Link, wire: &mut Wire) -> Outcome<()> {
    let op = format!("release unit `{}` at the {}", link.names.unit, wire.side());
    if claimed(link, wire).await?.as_deref() == Some(link.settings.run.as_str()) {
        for table in [link.names.heartbeat(), link.names.marker()] {
            wire.run(format!("DROP TABLE IF EXISTS {table}")).await.changing(&op)?;
        }
        // The claim last: without it nobody would know whose the rest is.
        for table in ["seed", "stream", "sealed", "claim"] {
            wire.run(format!(
                "DELETE FROM {} WHERE unit = {}",
                own(table),
                link.names.unit_literal()
            ))
            .await
            .changing(&op)?;
        }
    }
    drop_if_empty(wire, &op).await
}

async fn drop_if_empty(wire: &mut Wire, op: &str) -> Outcome<()> {
    if !exists(wire).await? {
        return Ok(());
    }
    let tables: Vec<String> = wire
        .rows(format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{OWN_SCHEMA}'"
        ))
        .await
        .reading(op)?;
    if tables.iter().any(|table| SHARED.iter().all(|(shared, _)| shared != table)) {
        return Ok(());
    }
    for table in &tables {
        let rows: u64 =
            wire.one(format!("SELECT COUNT(*) FROM {}", own(table))).await.reading(op)?;
        if rows > 0 {
            return Ok(());
        }
    }
    wire.run(format!("DROP SCHEMA {OWN_SCHEMA}")).await.changing(op)
}

/// Writes a beat of `side` at that side into a unit's heartbeat table; it travels to the
/// other one.
pub(crate) async fn beat(table: &str, wire: &mut Wire, beat: u64) -> Outcome<()> {
    let side = wire.side();
    wire.run(format!("UPDATE {table} SET beat = {beat} WHERE side = '{side}'"))
        .await
        .changing(&format!("write a heartbeat at the {side}"))
}

/// Returns the newest beat of `origin` that this server has.
pub(crate) async fn beat_of(table: &str, wire: &mut Wire, origin: Side) -> Outcome<u64> {
    wire.one(format!("SELECT beat FROM {table} WHERE side = '{origin}'"))
        .await
        .reading(&format!("read the heartbeat of the {origin} at the {}", wire.side()))
}

/// Writes a marker of `side` at that side; it travels to the other one.
pub(crate) async fn mark(link: &Link, wire: &mut Wire, token: &str) -> Outcome<()> {
    let side = wire.side();
    wire.run(format!(
        "UPDATE {} SET token = {} WHERE side = '{side}'",
        link.names.marker(),
        Literal::new(token)
    ))
    .await
    .changing(&format!("write a marker at the {side}"))
}

/// Returns the marker of `origin` that this server has.
pub(crate) async fn mark_of(link: &Link, wire: &mut Wire, origin: Side) -> Outcome<String> {
    wire.one(format!("SELECT token FROM {} WHERE side = '{origin}'", link.names.marker()))
        .await
        .reading(&format!("read the marker of the {origin} at the {}", wire.side()))
}

/// Makes what a session writes travel.
pub(crate) async fn travelling(wire: &mut Wire) -> Outcome<()> {
    wire.run("SET SESSION sql_log_bin = 1")
        .await
        .reading(&format!("prepare writing at the {}", wire.side()))
}
