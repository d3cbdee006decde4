//! Whether the fleet is where it must be, with everything that was acknowledged.

use crate::accounts::{Accounts, ROWS, SOURCE, TARGET, admin, host, runtime};
use crate::writers::Ledger;
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use segue_testkit::world::{Description, Side};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Judges by both databases, both name servers and the report; returns what is wrong.
pub(crate) fn judge(
    world: &Description,
    accounts: &Accounts,
    ledger: &Ledger,
    out: &Path,
) -> Result<Vec<String>> {
    let back = accounts.at_source();
    let mut wrong = Vec::new();
    let written: usize = ledger.acknowledged.values().map(Vec::len).sum();
    let runtime = runtime()?;
    for name in &accounts.names {
        let side = if back.contains(name) { Side::Source } else { Side::Target };
        let rows = runtime.block_on(rows(world, side, name))?;
        let distinct: BTreeSet<&String> = rows.iter().collect();
        let lost = ledger.acknowledged.get(name).into_iter().flatten();
        let lost = lost.filter(|payload| !distinct.contains(payload)).count();
        if lost > 0 || distinct.len() != rows.len() || rows.len() < ROWS {
            let doubled = rows.len() - distinct.len();
            wrong.push(format!("{name} at the {side}: {lost} lost, {doubled} doubled"));
        }
        let address = if side == Side::Source { SOURCE } else { TARGET };
        for server in &world.zone.servers {
            let served = world.address_at(*server, &host(world, name))?;
            if served != [address] {
                wrong.push(format!("{name} at {server}: {served:?}, not {address}"));
            }
        }
    }
    wrong.extend(ledger.failed.iter().cloned());
    wrong.extend(report(&back, accounts, out)?);
    println!(
        "{written} acknowledged writes to {} accounts; longest {} ms (`{}`)",
        accounts.names.len(),
        ledger.longest.0,
        ledger.longest.1
    );
    Ok(wrong)
}

async fn rows(world: &Description, side: Side, name: &str) -> Result<Vec<String>> {
    let mut conn = admin(world, side).await?;
    Ok(conn.query(format!("SELECT payload FROM `{name}`.orders")).await?)
}

/// The report must tell which units went back, and that the others are at the target.
fn report(back: &[String], accounts: &Accounts, out: &Path) -> Result<Vec<String>> {
    let file = out.join("report.json");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let report: Value = serde_json::from_str(&text)?;
    let mut wrong = Vec::new();
    if report["outcome"] != "went_back" {
        wrong.push(format!("the report says {}", report["outcome"]));
    }
    let units = report["units"].as_array().context("the report has units")?;
    if units.len() != accounts.names.len() {
        wrong.push(format!("the report has {} units", units.len()));
    }
    for unit in units {
        let name = unit["unit"].as_str().unwrap_or_default().to_owned();
        let stayed = back.contains(&name);
        let expected = if stayed { "source" } else { "target" };
        if unit["at"] != expected {
            wrong.push(format!("the report has {name} at {}, not {expected}", unit["at"]));
        }
        if stayed && unit["because"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("the report does not say why {name} went back"));
        }
    }
    Ok(wrong)
}
