//! `segue dns audit --plan`: what the providers of a plan have.

use super::shown;
use crate::args::AuditArgs;
use crate::commands::doctor;
use anyhow::{Result, bail};
use segue_dns::audit::{From, Question, audit};
use segue_model::plan::ZonePlan;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// Audits every zone of a plan at every provider, or those that are wanted.
///
/// # Errors
/// If the plan cannot be read, has none that is wanted, or a zone cannot be read.
pub(super) async fn run(args: &AuditArgs, plan: &Path, json: bool) -> Result<u8> {
    let fleet = doctor::read_plan(plan)?;
    let all = || fleet.units.iter().flat_map(|plan| &plan.unit.zones);
    let only = args.only.as_ref().or(args.zone.as_ref());
    let only = only.map(|zone| zone.trim_end_matches('.').to_ascii_lowercase());
    let wanted = |zone: &&ZonePlan| {
        only.as_ref().is_none_or(|only| zone.zone == *only)
            && args.provider.as_ref().is_none_or(|name| zone.provider.as_ref() == Some(name))
    };
    // A zone of several units is read once.
    let mut seen = BTreeSet::new();
    let zones: Vec<&ZonePlan> =
        all().filter(wanted).filter(|zone| seen.insert(zone.label())).collect();
    if zones.is_empty() {
        let known: BTreeSet<_> = all().map(ZonePlan::label).collect();
        let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
        bail!("the plan has no such zone; it has: {}", known.join(", "));
    }
    let (mut exit, mut unread) = (0, 0);
    for (number, zone) in zones.into_iter().enumerate() {
        let question = question(args, zone, || all().filter(|other| other.zone == zone.zone));
        if number > 0 && !json {
            println!();
        }
        match audit(&question).await {
            Ok(audit) => exit = exit.max(shown(&audit, json)?),
            // The others are still worth looking at.
            Err(fault) => {
                unread += 1;
                if json {
                    let zone = zone.label();
                    println!("{}", serde_json::json!({ "zone": zone, "error": fault }));
                } else {
                    println!("zone {}: not read\n  {fault}\n  {}", zone.label(), fault.hint);
                }
            }
        }
    }
    if unread > 0 {
        bail!("{unread} of the plan's zones could not be read");
    }
    Ok(exit)
}

fn question<'p, Z: Iterator<Item = &'p ZonePlan>>(
    args: &AuditArgs,
    zone: &ZonePlan,
    units: impl Fn() -> Z,
) -> Question {
    // What a unit's addresses are before it moves, and not afterwards, is left.
    let records = || units().flat_map(|zone| &zone.records);
    let stays: BTreeSet<&String> = records().flat_map(|set| &set.data.target).collect();
    let left = records().flat_map(|set| &set.data.source).filter(|data| !stays.contains(data));
    let left: BTreeSet<IpAddr> = left.filter_map(|data| data.parse().ok()).collect();
    let or = |named: &[_], planned: Vec<_>| match named.is_empty() {
        true => planned,
        false => named.to_vec(),
    };
    Question {
        zone: zone.zone.clone(),
        from: From::Provider(Box::new(zone.clone())),
        sources: match args.sources.is_empty() {
            true => left.into_iter().collect(),
            false => args.sources.clone(),
        },
        ca: args.ca.clone(),
        servers: or(&args.servers, zone.servers.clone()),
        parents: args.parents.clone(),
    }
}
