//! Zones that move between DNS providers.

use super::names::domain;
use super::{Found, zones};
use crate::Problem;
use segue_model::Side;
use segue_model::plan::{MovesPlan, ProviderPlan, SigningWish, ZoneMove};
use std::collections::BTreeSet;

/// Returns everything in the file that is refused.
pub(crate) fn check(plan: &MovesPlan) -> Vec<Problem> {
    let mut found = Found::default();
    for (key, value, most) in
        [("at_once", plan.at_once, 64), ("zones_per_s", plan.zones_per_s, 1000)]
    {
        if !(1..=most).contains(&value) {
            found.add("SG0736", key, format!("{value}"), format!("write 1 to {most}"));
        }
    }
    if plan.zones.is_empty() {
        found.add("SG0736", "zones", "no zone is named", "name at least one in `zones`");
    }
    let names = plan.zones.iter().map(|zone| (format!("zone[{}]", zone.zone), zone.zone.as_str()));
    found.duplicates("zone", names);
    for zone in &plan.zones {
        one(&mut found, zone);
    }
    // What all zones have in common is wrong once, not once a zone.
    let mut seen = BTreeSet::new();
    found.problems.retain(|problem| seen.insert((problem.key.clone(), problem.text.clone())));
    found.problems
}

fn one(found: &mut Found, plan: &ZoneMove) {
    let at = format!("zone[{}]", plan.zone);
    if let Some(text) = domain(&plan.zone, true) {
        let remedy = "write the zone's name, lower case, without dot at the end";
        found.add("SG0711", format!("{at}.zone"), text, remedy);
    }
    if !(1..=3600).contains(&plan.lowered_ttl_s) {
        let text = format!("{} seconds", plan.lowered_ttl_s);
        found.add("SG0725", "lowered_ttl_s", text, "write 1 to 3600");
    }
    if plan.resolvers.is_empty() {
        found.add(
            "SG0736",
            "resolvers",
            "no resolver is named",
            "name one that validates, such as one of your own: `resolvers = [\"192.0.2.2:53\"]`",
        );
    }
    for side in [Side::Source, Side::Target] {
        if plan.moves() || side == Side::Target {
            provider(found, &format!("{at}.{side}"), plan.providers.get(side));
        }
    }
    together(found, &at, plan);
}

fn provider(found: &mut Found, at: &str, plan: &ProviderPlan) {
    zones::authority(found, at, &plan.authority);
    let listed = [("name_servers", plan.name_servers.len()), ("servers", plan.servers.len())];
    for (key, _) in listed.into_iter().filter(|(_, count)| *count == 0) {
        found.add(
            "SG0736",
            format!("{at}.{key}"),
            "the list is empty",
            "write the names as in NS records, and every address of every one of them",
        );
    }
    for name in &plan.name_servers {
        if let Some(text) = domain(name, false) {
            found.add(
                "SG0736",
                format!("{at}.name_servers"),
                text,
                "write the name of a name server in full, lower case, without dot at the end",
            );
        }
    }
    let names = plan.name_servers.iter();
    found.duplicates("name", names.map(|name| (format!("{at}.name_servers"), name.as_str())));
}

/// What is wrong only with both providers at once.
fn together(found: &mut Found, at: &str, plan: &ZoneMove) {
    let (source, target) = (&plan.providers.source, &plan.providers.target);
    if !plan.moves() {
        if plan.dnssec == SigningWish::Keep {
            found.add(
                "SG0736",
                at,
                "there is no `source`, and `dnssec` is `keep`: nothing would change",
                "write the provider that the zone leaves as `source`, or `dnssec = \"sign\"` or \
                 `\"unsign\"`",
            );
        }
        return;
    }
    let common = |a: &[String], b: &[String]| a.iter().find(|name| b.contains(name)).cloned();
    if let Some(name) = common(&source.name_servers, &target.name_servers) {
        found.add(
            "SG0736",
            at,
            format!("`{name}` is a name server of both providers"),
            "if the names stay, what moves are their addresses: change their A and AAAA sets and \
             the glue at the registrar instead",
        );
    }
    if let Some(server) = source.servers.iter().find(|server| target.servers.contains(server)) {
        found.add(
            "SG0736",
            at,
            format!("{server} is a server of both providers"),
            "write for each provider the addresses that answer from its own records",
        );
    }
    if source.authority == target.authority {
        found.add(
            "SG0736",
            at,
            "both providers keep their records in the same place",
            "write for each provider how its own records are changed",
        );
    }
}
