//! `segue dns drill`: how fast changes arrive, measured with a throw-away name.

use super::{DIFFERENCES, detail, tell};
use crate::args::DrillArgs;
use crate::commands::doctor;
use anyhow::{Result, bail};
use segue_dns::drill::{self, Drill, DrillQuestion};
use segue_model::plan::ZonePlan;
use std::collections::{BTreeMap, BTreeSet};
use tokio::signal::unix::{SignalKind, signal};

/// Drills the zones of a plan.
///
/// # Errors
/// If the plan cannot be read, or a change fails; the name is taken away first.
pub(crate) async fn run(args: DrillArgs, json: bool) -> Result<u8> {
    let fleet = doctor::read_plan(&args.plan)?;
    // A zone of several units is drilled once.
    let mut zones: BTreeMap<String, Vec<ZonePlan>> = BTreeMap::new();
    for zone in fleet.units.iter().flat_map(|plan| &plan.unit.zones) {
        let known = zones.entry(zone.zone.clone()).or_default();
        if known.iter().all(|known| known.label() != zone.label()) {
            known.push(zone.clone());
        }
    }
    if let Some(only) = &args.zone {
        zones.retain(|zone, _| zone == only);
    }
    if zones.is_empty() {
        let known = fleet.units.iter().flat_map(|plan| &plan.unit.zones);
        let known: BTreeSet<&str> = known.map(|zone| zone.zone.as_str()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        bail!("the plan has no such zone; it has: {}", known.join(", "));
    }
    let measured = fleet.units.iter().flat_map(|plan| &plan.unit.measures.resolvers);
    let flush: BTreeSet<&Vec<String>> = measured.clone().flat_map(|plan| &plan.flush).collect();
    let flush: Vec<Vec<String>> = flush.into_iter().cloned().collect();
    let mut resolvers = args.resolvers.clone();
    if resolvers.is_empty() {
        let known: BTreeSet<_> = measured.flat_map(|plan| plan.addresses.iter().copied()).collect();
        resolvers = known.into_iter().collect();
    }
    let mut arrived = true;
    for zones in zones.into_values() {
        let question = DrillQuestion {
            label: format!("_segue-drill-{:x}", jiff::Timestamp::now().as_microsecond()),
            zones,
            resolvers: resolvers.clone(),
            ttl_s: args.ttl,
            flush: flush.clone(),
            waiting: |what| eprintln!("{what}"),
        };
        let zone = question.zones.first().map_or("", |zone| zone.zone.as_str());
        eprintln!("drill with {}.{zone} TXT; it is taken away at the end", question.label);
        let stop = stopped()?;
        let drill = drill::drill(&question, stop, |seen, curve| tell(seen, curve, json)).await?;
        arrived &= drill.resolvers.iter().all(|(_, verdict)| verdict.is_new());
        if json {
            println!("{}", serde_json::to_string(&drill)?);
        } else {
            print(&drill);
        }
    }
    Ok(if arrived { 0 } else { DIFFERENCES })
}

/// Ends when somebody wants the drill to end: the name is taken away first.
fn stopped() -> Result<impl Future<Output = ()>> {
    let mut ended = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = ended.recv() => {}
            _ = interrupted.recv() => {}
            _ = hung_up.recv() => {}
        }
        eprintln!("ending; the name is taken away first");
    })
}

fn print(drill: &Drill) {
    for provider in &drill.providers {
        println!("zone {} by `{}`", provider.zone, provider.driver);
        for took in &provider.steps {
            println!("  {:<10} the provider has it after {} ms", took.step, took.provider_ms);
            for (server, ms) in &took.servers {
                println!("             {server:<22} after {ms} ms");
            }
        }
    }
    for reached in &drill.reached {
        let after = reached
            .after_ms
            .map_or("never".to_owned(), |ms| format!("after {:.1} s", ms as f64 / 1000.0));
        println!("  {:>2} % of the resolvers {after}", reached.percent);
    }
    for (resolver, verdict) in drill.resolvers.iter().filter(|(_, verdict)| !verdict.is_new()) {
        println!("  {resolver}: {}", detail(verdict));
    }
    for flushed in &drill.flushed {
        let why = flushed.why.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        let (runs, failed) = (flushed.runs, flushed.failed);
        println!("  flush {}: {failed} of {runs} runs failed{why}", flushed.command);
    }
    super::queries::print(&drill.queries);
}
