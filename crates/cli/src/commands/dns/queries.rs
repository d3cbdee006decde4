//! `segue dns queries`: who still asks which name servers.

use super::DIFFERENCES;
use crate::args::QueriesArgs;
use crate::commands::doctor;
use anyhow::{Result, bail};
use segue_dns::queries::{AuthorityQueries, QueryLogs, ZoneQueries};
use segue_model::plan::ZonePlan;
use std::net::SocketAddr;
use std::time::Duration;

/// Time between two looks at the logs.
const EVERY: Duration = Duration::from_secs(1);
/// Resolvers that are named for one authority; `--json` has more.
const ROWS_MAX: usize = 10;

/// Reads the query logs of a plan and tells the shares.
///
/// # Errors
/// If the plan cannot be read, or names no query log.
pub(crate) async fn run(args: &QueriesArgs, json: bool) -> Result<u8> {
    let fleet = doctor::read_plan(&args.plan)?;
    let wanted = |name: &str| args.unit.as_deref().is_none_or(|only| only == name);
    let units: Vec<_> = fleet.units.iter().filter(|plan| wanted(plan.unit.name.as_str())).collect();
    if units.is_empty() {
        bail!("the plan has no such unit");
    }
    let zones = joined(units.iter().flat_map(|plan| &plan.unit.zones));
    let measured = units.iter().flat_map(|plan| &plan.unit.measures.resolvers);
    let watched: Vec<SocketAddr> = measured.flat_map(|plan| plan.addresses.clone()).collect();
    let Some(mut logs) = QueryLogs::of(&zones, &watched) else {
        bail!("the plan names no query log; add `query_log` to a [[zone]] or [[zone.authority]]");
    };
    logs.read();
    for _ in 0..args.time {
        tokio::time::sleep(EVERY).await;
        logs.read();
    }
    let told = logs.told();
    if json {
        println!("{}", serde_json::to_string(&told)?);
    } else {
        print(&told);
    }
    let all = told.iter().all(|zone| zone.authorities.iter().all(|one| one.unknown.is_empty()));
    Ok(if all { 0 } else { DIFFERENCES })
}

/// Joins what several units own in one zone at one provider: its logs are read once.
fn joined<'a>(zones: impl Iterator<Item = &'a ZonePlan>) -> Vec<ZonePlan> {
    let mut all: Vec<ZonePlan> = Vec::new();
    for zone in zones {
        match all.iter_mut().find(|known| known.label() == zone.label()) {
            None => all.push(zone.clone()),
            Some(known) => {
                known.records.extend(zone.records.iter().cloned());
                for log in &zone.query_logs {
                    if !known.query_logs.contains(log) {
                        known.query_logs.push(log.clone());
                    }
                }
            }
        }
    }
    all
}

/// Prints who asked, zone by zone.
pub(super) fn print(told: &[ZoneQueries]) {
    for zone in told {
        println!("zone {}: who asked its name servers in the last minute", zone.zone);
        for authority in &zone.authorities {
            one(authority);
        }
    }
}

fn one(authority: &AuthorityQueries) {
    let name = authority.authority.as_deref().unwrap_or("its only provider");
    if let Some(why) = authority.unknown.first() {
        println!("  {name}: unknown, {why}");
        return;
    }
    let count = |value: Option<u64>| value.map_or("unknown".to_owned(), |n| n.to_string());
    let percent = |value: Option<f64>| value.map_or("unknown".to_owned(), |p| format!("{p:.1} %"));
    println!(
        "  {name}: {} questions for owned names in {} s ({}), {} for the zone; {} resolvers ({}); {} from this machine",
        count(authority.queries),
        authority.covered_s,
        percent(authority.queries_percent),
        count(authority.zone_queries),
        count(authority.resolvers),
        percent(authority.resolvers_percent),
        authority.own_queries,
    );
    for asking in authority.asking.iter().take(ROWS_MAX) {
        let watched = if asking.watched { ", a resolver of the plan" } else { "" };
        println!(
            "    {} last at {}, {} questions{watched}",
            asking.resolver,
            crate::output::date_time(asking.last_ms),
            asking.queries
        );
    }
    let more = authority.asking.len().saturating_sub(ROWS_MAX) as u64 + authority.more;
    if more > 0 {
        println!("    and {more} more");
    }
}
