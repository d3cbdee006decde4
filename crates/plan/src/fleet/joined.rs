//! How units that switch together become one: what each moves stands side by side.

use super::{problem, stricter};
use crate::{Problem, check};
use segue_model::UnitName;
use segue_model::plan::{FrontPlan, MeasurePlan, Plan, UnitPlan};
use std::sync::Arc;

/// Adds what a joined unit moves to the unit that it becomes part of.
pub(super) fn add(into: &mut Plan, from: Plan, problems: &mut Vec<Problem>) {
    let name = from.unit.name.clone();
    if into.policy != from.policy {
        match stricter::policy(&into.policy, &from.policy) {
            Ok(policy) => into.policy = Arc::new(policy),
            Err(keys) => problems.extend(keys.into_iter().map(|key| {
                let both = format!("it must switch together with `{}`", into.unit.name);
                let text = format!("{both}, and `{key}` says something else there");
                refused(format!("{name}: {key}"), text, "write the same in both")
            })),
        }
    }
    let unit = &mut into.unit;
    unit.requests_per_day = match (unit.requests_per_day, from.unit.requests_per_day) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    };
    unit.sites.extend(from.unit.sites);
    unit.databases.extend(from.unit.databases);
    for front in from.unit.fronts {
        stand(unit, &name, front);
    }
    unit.workers.extend(from.unit.workers.into_iter().map(|mut worker| {
        worker.name = format!("{name}.{}", worker.name);
        worker
    }));
    unit.trees.extend(from.unit.trees.into_iter().map(|mut tree| {
        tree.name = format!("{name}.{}", tree.name);
        tree
    }));
    unit.cdns.extend(from.unit.cdns.into_iter().map(|mut cdn| {
        cdn.name = format!("{name}.{}", cdn.name);
        cdn
    }));
    for zone in from.unit.zones {
        match unit.zones.iter_mut().find(|known| known.label() == zone.label()) {
            Some(known) => {
                if known.authority != zone.authority || known.servers != zone.servers {
                    let text = format!(
                        "zone {} has other servers or another key in `{}`",
                        zone.label(),
                        unit.name
                    );
                    problems.push(refused(
                        format!("{name}: zone[{}]", zone.zone),
                        text,
                        "write the same in both: the zone is published as one set",
                    ));
                }
                known.lowered_ttl_s = known.lowered_ttl_s.min(zone.lowered_ttl_s);
                known.lowered_other_ttl_s = known.lowered_other_ttl_s.min(zone.lowered_other_ttl_s);
                known.records.extend(zone.records);
                add_new(&mut known.query_logs, zone.query_logs);
                // What one unit means to do is not what another one is allowed: both must.
                known.allow.retain(|guard| zone.allow.contains(guard));
            }
            None => unit.zones.push(zone),
        }
    }
    measure(unit, &name, from.unit.measures, problems);
}

/// Adds a front, unless it is one that stands already.
fn stand(unit: &mut UnitPlan, of: &UnitName, mut front: FrontPlan) {
    if unit.fronts.iter().any(|known| front.ports.iter().any(|port| known.listens_at(port.listen)))
    {
        return;
    }
    if unit.fronts.iter().any(|known| known.name == front.name) {
        front.name = format!("{of}-{}", front.name);
    }
    unit.fronts.push(front);
}

/// Adds what is measured besides; a measure of both is taken once.
fn measure(unit: &mut UnitPlan, of: &UnitName, from: MeasurePlan, problems: &mut Vec<Problem>) {
    let known = &mut unit.measures;
    known.application_logs.extend(from.application_logs);
    known.sessions.extend(from.sessions);
    add_new(&mut known.certificates.also, from.certificates.also);
    match (&known.certificates.roots, from.certificates.roots) {
        (Some(own), Some(other)) if *own != other => problems.push(refused(
            format!("{of}: measure.certificates.roots"),
            format!("`{}` trusts other authorities", unit.name),
            "name one file for both",
        )),
        (None, Some(other)) => known.certificates.roots = Some(other),
        _ => {}
    }
    match (&known.mirror, from.mirror) {
        (Some(own), Some(other)) if *own != other => problems.push(refused(
            format!("{of}: measure.mirror"),
            format!("`{}` has other requests copied", unit.name),
            "write the same in both, or in one of them only",
        )),
        (None, Some(other)) => known.mirror = Some(other),
        _ => {}
    }
    add_new(&mut known.mail_logs, from.mail_logs);
    add_new(&mut known.resolvers, from.resolvers);
    add_new(&mut known.hosts, from.hosts);
    for custom in from.custom {
        match known.custom.iter().find(|other| other.name == custom.name) {
            Some(same) if *same == custom => {}
            Some(_) => problems.push(refused(
                format!("{of}: measure.custom[{}]", custom.name),
                format!("`{}` has another measure of this name", unit.name),
                "give each its own name: gates and triggers find it by that",
            )),
            None => known.custom.push(custom),
        }
    }
}

fn add_new<T: PartialEq>(known: &mut Vec<T>, from: Vec<T>) {
    for one in from {
        if !known.contains(&one) {
            known.push(one);
        }
    }
}

/// Refuses what is wrong with the whole although each of its parts is right.
pub(super) fn whole(plan: &Plan, problems: &mut Vec<Problem>) {
    // What is wrong with a part alone was said when it was read.
    if problems.is_empty() {
        problems.extend(check(plan).into_iter().map(|found| {
            let key = format!("{}: {}", plan.unit.name, found.key);
            refused(key, format!("joined, {}: {}", found.code, found.text), found.remedy)
        }));
    }
}

fn refused(key: impl Into<String>, text: impl Into<String>, remedy: impl Into<String>) -> Problem {
    problem("SG0743", key, text, remedy)
}
