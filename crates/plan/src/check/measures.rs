//! What is measured besides.

use super::names::{absolute, domain, name, url_path};
use super::unit::command;
use super::{Found, key};
use segue_model::Side;
use segue_model::plan::{
    CustomSource, HostFigures, MirrorPlan, OwnedSet, ResolversPlan, SessionStore, UnitPlan,
};
use std::net::SocketAddr;

const CODE: &str = "SG0734";

pub(super) fn check(found: &mut Found, unit: &UnitPlan) {
    let measures = &unit.measures;
    for log in &measures.application_logs {
        for (side, file) in [(Side::Source, &log.files.source), (Side::Target, &log.files.target)] {
            if let Some(file) = file {
                absolute(found, &format!("measure.application_log.{side}"), file);
            }
        }
        if log.files.source.is_none() && log.files.target.is_none() {
            let text = "no file is named";
            found.add(CODE, "measure.application_log", text, "write `source`, `target` or both");
        }
        if log.words.is_empty() || log.words.iter().any(String::is_empty) {
            found.add(
                CODE,
                "measure.application_log.words",
                "without words no line counts, and with an empty one every line does",
                "write words that only lines about errors hold",
            );
        }
    }
    for sessions in &measures.sessions {
        for side in [Side::Source, Side::Target] {
            for path in sessions.config.get(side) {
                absolute(found, &format!("measure.sessions.{side}_config"), path);
            }
            if let Some(SessionStore::Files(folder)) = sessions.store.get(side) {
                absolute(found, &format!("measure.sessions.{side}"), folder);
            }
        }
        if let Some(login) = &sessions.login {
            url_path(found, "SG0735", "measure.sessions.path", &login.path);
        }
    }
    if let Some(roots) = &measures.certificates.roots {
        absolute(found, "measure.certificates.roots", roots);
    }
    for (index, (name, address)) in measures.certificates.also.iter().enumerate() {
        let at = format!("measure.certificates.also[#{}]", index + 1);
        if let Some(text) = domain(name, false) {
            found.add(CODE, format!("{at}.name"), text, "write the name that clients use");
        }
        reachable(found, &format!("{at}.address"), *address);
    }
    if let Some(plan) = &measures.mirror {
        mirror(found, unit, plan);
    }
    for log in &measures.mail_logs {
        absolute(found, "measure.mail_log", log);
    }
    for plan in &measures.resolvers {
        resolvers(found, unit, plan);
    }
    for (index, host) in measures.hosts.iter().enumerate() {
        let at = format!("measure.host[#{}]", index + 1);
        match &host.figures {
            HostFigures::Proc(folder) => absolute(found, &format!("{at}.proc"), folder),
            HostFigures::Command(words) => command(found, &format!("{at}.command"), words),
        }
    }
    for (index, custom) in measures.custom.iter().enumerate() {
        let at = key("measure.custom", index, &custom.name).to_string();
        name(found, format!("{at}.name"), &custom.name);
        if !(500..=60_000).contains(&custom.every_ms) {
            found.add(
                CODE,
                format!("{at}.every_ms"),
                format!("one sample in {} ms", custom.every_ms),
                "write 500 to 60000",
            );
        }
        match &custom.source {
            CustomSource::Http { address, path, .. } => {
                reachable(found, &format!("{at}.http.address"), *address);
                url_path(found, CODE, &format!("{at}.http.path"), path);
            }
            CustomSource::Command(words) => command(found, &format!("{at}.command"), words),
            CustomSource::Prometheus { address, query } => {
                reachable(found, &format!("{at}.prometheus.address"), *address);
                if query.trim().is_empty() {
                    let at = format!("{at}.prometheus.query");
                    found.add(CODE, at, "the query is empty", "write a query with one result");
                }
            }
        }
    }
    found.duplicates(
        "measure name",
        measures
            .custom
            .iter()
            .enumerate()
            .map(|(i, c)| (key("measure.custom", i, &c.name), c.name.as_str())),
    );
}

/// Largest body that is compared, bytes.
const BODY_MAX: usize = 4 << 20;

fn mirror(found: &mut Found, unit: &UnitPlan, plan: &MirrorPlan) {
    let at = "measure.mirror";
    let mut refuse = |key: &str, text: String, remedy: &str| {
        found.add("SG0763", format!("{at}{key}"), text, remedy);
    };
    if unit.sites.is_empty() {
        refuse("", "the unit has no web server".to_owned(), "take it away");
    }
    if plan.paths.is_empty() || plan.paths.iter().any(|path| !path.starts_with('/')) {
        let text = "no path is named, or one does not begin with `/`".to_owned();
        refuse(".paths", text, "name paths whose GET changes nothing");
    }
    if !(1..=100).contains(&plan.percent) {
        refuse(".percent", format!("{} of a hundred", plan.percent), "write 1 to 100");
    }
    if !(1..=64).contains(&plan.at_once) {
        refuse(".at_once", format!("{} copies at once", plan.at_once), "write 1 to 64");
    }
    if !(1..=BODY_MAX).contains(&plan.body_bytes_max) {
        let text = format!("bodies of {} bytes", plan.body_bytes_max);
        refuse(".body_bytes_max", text, "write 1 to 4194304");
    }
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    let named = |name: &String| !name.is_empty() && name.bytes().all(token);
    if let Some(bad) = plan.headers.iter().find(|name| !named(name)) {
        let text = format!("`{bad}` is no header in lower case");
        refuse(".headers", text, "write names as `cache-control`");
    }
    if plan.noise.iter().any(|word| word.is_empty() || word.contains('\n')) {
        let text = "an empty word stands in every line, and one over two lines in none".to_owned();
        refuse(".noise", text, "write words that only lines hold which change by themselves");
    }
}

fn reachable(found: &mut Found, at: &str, address: SocketAddr) {
    if address.port() == 0 || address.ip().is_unspecified() {
        let text = format!("{address} is not an address that can be asked");
        found.add(CODE, at, text, "write the server's address and port");
    }
}

/// Names in a command of `flush` that something is put for.
const PLACES: [&str; 2] = ["{name}", "{type}"];

fn flush(found: &mut Found, at: &str, commands: &[Vec<String>]) {
    if commands.len() > 32 {
        found.add(CODE, at, format!("{} commands", commands.len()), "name at most 32");
    }
    for words in commands {
        command(found, at, words);
        for word in words {
            let rest = PLACES.iter().fold(word.clone(), |rest, place| rest.replace(place, ""));
            if rest.contains(['{', '}']) {
                let text = format!("`{word}` has braces around something else");
                found.add(CODE, at, text, "write `{name}` and `{type}`; there is nothing else");
            }
        }
    }
}

fn resolvers(found: &mut Found, unit: &UnitPlan, plan: &ResolversPlan) {
    let at = "measure.resolvers";
    if !(1..=32).contains(&plan.addresses.len()) {
        let text = format!("{} resolvers", plan.addresses.len());
        found.add(CODE, format!("{at}.addresses"), text, "name 1 to 32");
    }
    for address in &plan.addresses {
        reachable(found, &format!("{at}.addresses"), *address);
    }
    if !(1..=30).contains(&plan.every_s) {
        found.add(
            CODE,
            format!("{at}.every_s"),
            format!("each is asked once in {} s", plan.every_s),
            "write 1 to 30",
        );
    }
    flush(found, &format!("{at}.flush"), &plan.flush);
    let owned = unit.zones.iter().flat_map(|zone| &zone.records);
    let mut addresses = owned.filter(|set| matches!(set.rtype.as_str(), "A" | "AAAA"));
    let text = match &plan.name {
        None if addresses.any(OwnedSet::moves) => return,
        None => "no owned set of addresses differs between the sides".to_owned(),
        Some(name) => match domain(name, true) {
            Some(text) => text,
            None if addresses.any(|set| set.name == *name) => return,
            None => format!("the unit owns no A or AAAA record set at `{name}`"),
        },
    };
    found.add(CODE, format!("{at}.name"), text, "name an owned set of addresses");
}
