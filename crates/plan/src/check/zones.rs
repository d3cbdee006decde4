//! Zones and owned record sets.

use super::Found;
use super::names::{domain, secret};
use segue_model::Side;
use segue_model::plan::{
    AuthorityPlan, OwnedSet, SecretRef, TsigKey, UnitPlan, ZoneGuard, ZonePlan,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// TSIG algorithms that Segue speaks (RFC 8945 section 6).
const ALGORITHMS: [&str; 4] = ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// Types that a unit may own. Others belong to the zone, to a signer or to nobody.
const TYPES: [&str; 13] = [
    "A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SRV", "SSHFP", "SVCB", "TLSA", "TXT",
];

pub(super) fn check(found: &mut Found, unit: &UnitPlan) {
    let labels: Vec<_> = unit.zones.iter().map(ZonePlan::label).collect();
    found.duplicates("zone", labels.iter().map(|label| (format!("zone[{label}]"), label.as_ref())));
    let mut seen = BTreeSet::new();
    shared(found, unit);
    for zone in &unit.zones {
        let at = format!("zone[{}]", zone.label());
        servers(found, &at, zone);
        authority(found, &at, &zone.authority);
        query_logs(found, &at, zone);
        // Every provider of a zone has the same records.
        if zone.provider.is_some() && !seen.insert(&zone.zone) {
            continue;
        }
        if let Some(text) = domain(&zone.zone, true) {
            found.add(
                "SG0711",
                format!("{at}.zone"),
                text,
                "write the zone's name, lower case, without dot at the end",
            );
        }
        let ttls = [
            ("lowered_ttl_s", zone.lowered_ttl_s),
            ("lowered_other_ttl_s", zone.lowered_other_ttl_s),
        ];
        for (key, ttl) in ttls.into_iter().filter(|(_, ttl)| !(1..=3600).contains(ttl)) {
            found.add("SG0725", format!("{at}.{key}"), format!("{ttl} seconds"), "write 1 to 3600");
        }
        if zone.records.is_empty() {
            found.add(
                "SG0714",
                format!("{at}.record"),
                "the unit owns no record set in this zone",
                "add a [[zone.record]], or take the zone away",
            );
        }
        for set in &zone.records {
            record(found, &at, zone, set, unit);
        }
        together(found, &at, zone);
    }
}

/// Two providers of a zone that share a server are one: members of a cluster copy from each other
/// what is changed at any of them, so neither "both have it" nor "this one has it not" can be told.
fn shared(found: &mut Found, unit: &UnitPlan) {
    for (place, zone) in unit.zones.iter().enumerate() {
        let others = unit.zones[..place]
            .iter()
            .filter(|other| other.zone == zone.zone && other.provider != zone.provider);
        for other in others.filter(|other| !other.allow.contains(&ZoneGuard::SharedCluster)) {
            let server = zone.servers.iter().find(|server| other.servers.contains(server));
            if let Some(server) = server {
                found.add(
                    "SG0735",
                    format!("zone[{}].servers", zone.label()),
                    format!("{server} is also a server of `{}`", other.label()),
                    "name for each provider the servers that answer from its own records; two \
                     members of one DNS cluster are one provider; if it is meant, write \
                     `allow = [\"shared_cluster\"]`",
                );
            }
        }
    }
}

fn servers(found: &mut Found, at: &str, zone: &ZonePlan) {
    let hidden = zone.allow.contains(&ZoneGuard::HiddenPrimary);
    match zone.authority.update() {
        Some((primary, _)) if !zone.servers.contains(&primary) && !hidden => found.add(
            "SG0716",
            format!("{at}.servers"),
            format!("the primary {primary} is not among the servers"),
            "list every address of every authoritative server, the primary included; if nobody \
             else shall ask it, write `allow = [\"hidden_primary\"]`",
        ),
        _ if hidden && zone.servers.is_empty() => found.add(
            "SG0716",
            format!("{at}.servers"),
            "no name server is named",
            "list every address of every name server that users ask",
        ),
        None if zone.servers.is_empty() => found.add(
            "SG0716",
            format!("{at}.servers"),
            "no name server is named",
            "list every address of every name server that answers from these records",
        ),
        _ => {}
    }
    let servers: Vec<_> = zone.servers.iter().map(ToString::to_string).collect();
    found.duplicates("server", servers.iter().map(|s| (format!("{at}.servers"), s.as_str())));
}

/// Most query logs of one provider.
const LOGS_MAX: usize = 16;

fn query_logs(found: &mut Found, at: &str, zone: &ZonePlan) {
    let key = format!("{at}.query_log");
    if zone.query_logs.len() > LOGS_MAX {
        let text = format!("{} query logs", zone.query_logs.len());
        found.add("SG0735", &key, text, "name at most 16");
    }
    for log in zone.query_logs.iter().filter(|log| !log.file.is_absolute()) {
        let text = format!("`{}` is no absolute path", log.file.display());
        found.add("SG0735", &key, text, "write the whole path");
    }
}

pub(super) fn authority(found: &mut Found, at: &str, authority: &AuthorityPlan) {
    let program = |found: &mut Found, key: &str, words: &[String]| {
        if !words.first().is_some_and(|first| Path::new(first).is_absolute()) {
            found.add(
                "SG0735",
                format!("{at}.{key}"),
                "this is no command",
                "write its words as a list, the first an absolute path; no shell reads them",
            );
        }
    };
    // A zone has one way at each provider: it tells which authority is meant.
    let way = format!("{at}.{}", authority.kind());
    match authority {
        AuthorityPlan::Update { key, .. } => tsig_key(found, at, key),
        AuthorityPlan::Powerdns { url, .. } => web(found, &way, url),
        AuthorityPlan::ZoneFile { file, reload } => {
            program(found, "zone_file.reload", reload);
            if !file.is_absolute() {
                found.add(
                    "SG0735",
                    format!("{way}.file"),
                    format!("`{}` is no absolute path", file.display()),
                    "write the whole path",
                );
            }
        }
        AuthorityPlan::Route53 { url, zone_id, .. } => {
            web(found, &way, url);
            id(found, &way, zone_id);
        }
        AuthorityPlan::Cloudflare { url, zone_id, batch_max, ttl_min_s, .. } => {
            web(found, &way, url);
            id(found, &way, zone_id);
            if !(1..=3500).contains(batch_max) || !(1..=3600).contains(ttl_min_s) {
                found.add(
                    "SG0735",
                    way,
                    format!("`batch_max` {batch_max} or `ttl_min_s` {ttl_min_s} is out of range"),
                    "write 1 to 3500 records and 1 to 3600 seconds",
                );
            }
        }
        AuthorityPlan::Command { command } => program(found, "command", command),
    }
    let secrets: &[(&str, &SecretRef)] = match authority {
        AuthorityPlan::Powerdns { key, .. } => &[("key", key)],
        AuthorityPlan::Route53 { access_key, secret_key, .. } => {
            &[("access_key", access_key), ("secret_key", secret_key)]
        }
        AuthorityPlan::Cloudflare { token, .. } => &[("token", token)],
        _ => &[],
    };
    for (name, place) in secrets {
        secret(found, &format!("{at}.{}.{name}", authority.kind()), place);
    }
}

/// Keys travel in a header: outside this machine only encrypted.
pub(super) fn web(found: &mut Found, at: &str, url: &str) {
    let host = |rest: &str| rest.split(['/', ':']).next().unwrap_or_default().to_owned();
    let here = |rest: &str| {
        let host = host(rest);
        host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    };
    let right = match url.split_once("://") {
        Some(("https", rest)) => !host(rest).is_empty() && !rest.contains(['@', '?', '#']),
        Some(("http", rest)) => here(rest) && !rest.contains(['@', '?', '#']),
        _ => false,
    };
    if !right {
        found.add(
            "SG0735",
            format!("{at}.url"),
            format!("{url:?} is no address of an API"),
            "write `https://host/path`; `http://` only to 127.0.0.1 or localhost, because the key \
             travels along",
        );
    }
}

fn id(found: &mut Found, at: &str, id: &str) {
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric()) {
        found.add(
            "SG0735",
            format!("{at}.zone_id"),
            format!("{id:?} is no zone id"),
            "write the id that the provider shows, letters and digits",
        );
    }
}

fn tsig_key(found: &mut Found, at: &str, key: &TsigKey) {
    if !ALGORITHMS.contains(&key.algorithm.as_str()) {
        found.add(
            "SG0717",
            format!("{at}.key.algorithm"),
            format!("`{}` is not known", key.algorithm),
            format!("write one of {}", ALGORITHMS.join(", ")),
        );
    }
    if domain(&key.name.to_ascii_lowercase(), true).is_some() {
        found.add(
            "SG0717",
            format!("{at}.key.name"),
            "this is not the name of a key",
            "write it as in the server's configuration, without dot at the end",
        );
    }
    secret(found, &format!("{at}.key.secret"), &key.secret);
}

fn record(found: &mut Found, at: &str, zone: &ZonePlan, set: &OwnedSet, unit: &UnitPlan) {
    let at = format!("{at}.record[{} {}]", set.name, set.rtype);
    let inside = set.name == zone.zone || set.name.ends_with(&format!(".{}", zone.zone));
    let text = domain(&set.name, true)
        .or_else(|| (!inside).then(|| format!("`{}` is not in `{}`", set.name, zone.zone)));
    if let Some(text) = text {
        found.add(
            "SG0711",
            format!("{at}.name"),
            text,
            "write the owner name in full, lower case, without dot at the end",
        );
    }
    if set.name == zone.zone && set.rtype == "SOA" {
        found.add(
            "SG0713",
            &at,
            "the SOA of the zone itself does not switch with a unit",
            "take it away: it is the server's",
        );
    } else if zone.is_apex_ns(set) {
        own_ns(found, &at, zone, set);
    } else if !TYPES.contains(&set.rtype.as_str()) {
        found.add(
            "SG0730",
            format!("{at}.type"),
            format!("`{}` is not a type that a unit owns", set.rtype),
            format!("write one of {}", TYPES.join(", ")),
        );
    }
    if set.rtype == "CNAME" && set.name == zone.zone {
        found.add(
            "SG0712",
            &at,
            "a CNAME cannot stand at the top of a zone (RFC 1034 section 3.6.2)",
            "own the A and AAAA sets there instead",
        );
    }
    for side in [Side::Source, Side::Target] {
        data(found, &format!("{at}.{side}"), set, side, unit);
    }
}

/// The zone's own name servers belong to all units in it, and never to none.
fn own_ns(found: &mut Found, at: &str, zone: &ZonePlan, set: &OwnedSet) {
    if !zone.allow.contains(&ZoneGuard::ApexNs) {
        found.add(
            "SG0713",
            at,
            "the NS of the zone itself does not switch with a unit",
            "take it away: name servers are moved on their own; if it is meant, write \
             `allow = [\"apex_ns\"]` into the [[zone]]",
        );
    }
    if [Side::Source, Side::Target].iter().any(|side| set.data.get(*side).is_empty()) {
        found.add(
            "SG0713",
            at,
            "the zone would be left without name servers",
            "write at least one NS on each side",
        );
    }
}

fn data(found: &mut Found, at: &str, set: &OwnedSet, side: Side, unit: &UnitPlan) {
    let data = set.data.get(side);
    // A set may come or go; one that is on neither side is none.
    let none = data.is_empty() && (side == Side::Source) && set.data.target.is_empty();
    if none || data.iter().any(|datum| datum.trim().is_empty()) {
        found.add(
            "SG0714",
            at,
            format!("the set has no data at the {side}"),
            "write what the set says while the unit is on that side; an empty list on one side is \
             a set that comes or goes",
        );
    }
    found.duplicates("datum", data.iter().map(|datum| (at.to_owned(), datum.as_str())));
    if set.rtype == "CNAME" && data.len() > 1 {
        found.add(
            "SG0712",
            at,
            format!("a CNAME with {} targets", data.len()),
            "a name has one CNAME at most (RFC 1034 section 3.6.2): keep one",
        );
    }
    for datum in data {
        let address = match set.rtype.as_str() {
            "A" => datum.parse::<Ipv4Addr>().map(IpAddr::from),
            "AAAA" => datum.parse::<Ipv6Addr>().map(IpAddr::from),
            _ => continue,
        };
        match address {
            // Without a site there is nothing that a front could stand before.
            Ok(_) if unit.sites.is_empty() => {}
            Ok(address) => stands(found, at, address, side, unit),
            Err(_) => found.add(
                "SG0730",
                at,
                format!("{datum:?} is not the data of a record of type {}", set.rtype),
                "write one address",
            ),
        }
    }
}

/// Fronts first, DNS second: no address is published where no front stands.
fn stands(found: &mut Found, at: &str, address: IpAddr, side: Side, unit: &UnitPlan) {
    let mut here = unit.fronts.iter().filter(|front| front.stands_on(address)).peekable();
    match here.peek() {
        None => found.add(
            "SG0710",
            at,
            format!("DNS would name {address}, and no front stands there"),
            format!("add a [[front]] at the {side} that listens on {address}"),
        ),
        Some(first) => {
            let name = first.name.clone();
            if !here.any(|front| front.side == side) {
                found.add(
                    "SG0709",
                    at,
                    format!(
                        "{address} is data of the {side}, but front `{name}` there is the {}'s",
                        side.other()
                    ),
                    "exchange the data of the two sides, or correct the front's `side`",
                );
            }
        }
    }
}

/// What several sets of one zone may not do together.
fn together(found: &mut Found, at: &str, zone: &ZonePlan) {
    let mut by_name: BTreeMap<&str, Vec<&OwnedSet>> = BTreeMap::new();
    for set in &zone.records {
        let sets = by_name.entry(&set.name).or_default();
        if sets.iter().any(|known| known.rtype == set.rtype) {
            found.add(
                "SG0715",
                format!("{at}.record[{} {}]", set.name, set.rtype),
                "this record set is owned twice",
                "put all its data into one [[zone.record]]",
            );
        }
        sets.push(set);
    }
    for (name, sets) in by_name {
        // An alias may take the place of other sets, or give it to them.
        let beside = |side: Side| {
            let here = || sets.iter().filter(move |set| !set.data.get(side).is_empty());
            here().any(|set| set.rtype == "CNAME") && here().any(|set| set.rtype != "CNAME")
        };
        if beside(Side::Source) || beside(Side::Target) {
            found.add(
                "SG0712",
                format!("{at}.record[{name}]"),
                "a CNAME allows no other data at its name (RFC 1034 section 3.6.2)",
                "keep the CNAME or the other sets",
            );
        }
    }
}
