//! Hosts, backends, workers and probe.

use super::names::{absolute, domain, name, url_path};
use super::{Found, key};
use crate::Problem;
use segue_model::plan::{Backend, SitePlan, UnitPlan, WorkerPlan};
use segue_model::{Side, Sides};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

pub(super) fn check(found: &mut Found, unit: &UnitPlan) {
    name(found, "unit.name", unit.name.as_str());
    for one in &unit.sites {
        site(found, one);
    }
    if unit.sites.is_empty() {
        without_site(found, unit);
    }
    workers(found, &unit.workers);
    for probe in unit.sites.iter().filter_map(|site| site.probe.as_ref()) {
        url_path(found, "SG0724", "probe.path", &probe.path);
        if probe.marker.is_empty() {
            found.add(
                "SG0724",
                "probe.marker",
                "the marker is empty, so every answer would count as right",
                "write a text that only a right answer holds",
            );
        }
        if !(1..=1000).contains(&probe.per_second) {
            found.add(
                "SG0724",
                "probe.per_second",
                format!("{} requests per second to each front", probe.per_second),
                "write 1 to 1000",
            );
        }
    }
}

fn site(found: &mut Found, site: &SitePlan) {
    let backends = &site.backends;
    hosts(found, &site.hosts);
    for side in [Side::Source, Side::Target] {
        backend(found, &format!("backend.{side}"), backends.get(side));
    }
    let of_both = |server: &SocketAddr| backends.source.addresses().any(|other| other == *server);
    if let Some(server) = backends.target.addresses().find(of_both) {
        found.add(
            "SG0728",
            "backend.target.address",
            format!("both sides have the web server {server}"),
            "name the server of the target",
        );
    }
    passthrough(found, site);
    if site.answer_timeout_s.is_some_and(|seconds| !(1..=3_600).contains(&seconds)) {
        found.add(
            "SG0751",
            "backend.answer_timeout_s",
            "an answer may take no time, or more than an hour",
            "write 1 to 3600 seconds",
        );
    }
}

/// TLS goes unread to both sides, or to none.
fn passthrough(found: &mut Found, site: &SitePlan) {
    let Sides { source, target } = &site.backends;
    match (source.passthrough, target.passthrough) {
        (Some(source), Some(target)) if source == target => found.add(
            "SG0753",
            "backend.target.passthrough",
            format!("TLS goes to {target} at both sides"),
            "name the server of the target",
        ),
        (Some(_), Some(_)) | (None, None) => {}
        _ => found.add(
            "SG0753",
            "backend.passthrough",
            "TLS goes unread to one side and not to the other",
            "name a server for it at both sides, or at none",
        ),
    }
}

/// A unit without a web server moves data and records only.
fn without_site(found: &mut Found, unit: &UnitPlan) {
    if !unit.fronts.is_empty() {
        found.problems.push(without_web_server("front"));
    }
    if unit.databases.is_empty() && unit.trees.is_empty() && unit.zones.is_empty() {
        found.add(
            "SG0728",
            "unit",
            "the unit has no site, no database, no tree and no zone",
            "say what moves",
        );
    }
}

/// Refuses a part of a site that has no web server.
pub(crate) fn without_web_server(key: &str) -> Problem {
    Problem {
        code: "SG0728",
        key: key.to_owned(),
        text: "the unit has no web server".into(),
        remedy: "add [backend.source] and [backend.target], or take this away".into(),
    }
}

fn hosts(found: &mut Found, hosts: &[String]) {
    if hosts.is_empty() {
        found.add(
            "SG0704",
            "unit.hosts",
            "the unit has no host",
            "name every host of the site: `hosts = [\"www.example.test\"]`",
        );
    }
    for (at, host) in hosts.iter().enumerate() {
        if let Some(text) = domain(host, false) {
            found.add(
                "SG0704",
                format!("unit.hosts[#{}]", at + 1),
                text,
                "write each host in full, lower case, without dot at the end; no wildcard",
            );
        }
    }
    found.duplicates("host", hosts.iter().map(|host| ("unit.hosts", host.as_str())));
}

fn backend(found: &mut Found, at: &str, backend: &Backend) {
    for address in backend.addresses() {
        if address.port() == 0 || address.ip().is_unspecified() {
            found.add(
                "SG0728",
                format!("{at}.address"),
                format!("{address} is not an address that can be connected to"),
                "write the web server's address and port",
            );
        }
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = backend.addresses().find(|address| !seen.insert(*address)) {
        found.add(
            "SG0750",
            format!("{at}.address"),
            format!("the list names {twice} twice"),
            "write each server once",
        );
    }
    url_path(found, "SG0728", &format!("{at}.health_path"), &backend.health_path);
    if let Some(log) = &backend.access_log {
        absolute(found, &format!("{at}.access_log"), log);
    }
    if !(1..=10_000).contains(&backend.concurrency) {
        found.add(
            "SG0728",
            format!("{at}.concurrency"),
            format!("{} requests at once", backend.concurrency),
            "write 1 to 10000: what the server takes without queueing",
        );
    }
}

fn workers(found: &mut Found, workers: &[WorkerPlan]) {
    for (index, worker) in workers.iter().enumerate() {
        let at = key("worker", index, &worker.name).to_string();
        name(found, format!("{at}.name"), &worker.name);
        for side in [Side::Source, Side::Target] {
            let commands = worker.sides.get(side);
            for (verb, words) in [
                ("stop", &commands.stop),
                ("start", &commands.start),
                ("running", &commands.running),
            ] {
                command(found, &format!("{at}.{side}.{verb}"), words);
            }
        }
    }
    found.duplicates(
        "worker name",
        workers.iter().enumerate().map(|(i, w)| (key("worker", i, &w.name), w.name.as_str())),
    );
}

pub(super) fn command(found: &mut Found, at: &str, words: &[String]) {
    let text = match words.first() {
        None => "there is no command".to_owned(),
        Some(program) if !Path::new(program).is_absolute() => {
            format!("the program `{program}` is not an absolute path")
        }
        Some(_) => return,
    };
    found.add(
        "SG0723",
        at,
        text,
        "write a list of words that begins with the program's path from `/` on",
    );
}
