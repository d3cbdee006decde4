//! Fronts: one on each side at least, each port on an address of its own.

use super::names::{absolute, name};
use super::{Found, joins, key};
use segue_model::Side;
use segue_model::plan::{FrontPlan, PortKind, PortPlan, SitePlan, UnitPlan};
use std::os::unix::ffi::OsStrExt;

/// `sun_path` of unix(7) has 108 bytes, the closing zero included.
const SOCKET_PATH_BYTES: usize = 107;

/// Most header fields that a front can be told to read.
const HEADERS_MAX: usize = 1_000;

pub(super) fn check(found: &mut Found, unit: &UnitPlan) {
    for (index, front) in unit.fronts.iter().enumerate() {
        let at = key("front", index, &front.name).to_string();
        name(found, format!("{at}.name"), &front.name);
        paths(found, &at, front);
        for (index, port) in front.ports.iter().enumerate() {
            let place = place(&at, front, index);
            for path in port.tls.iter().flat_map(|tls| &tls.certificates) {
                absolute(found, &place.replace(".listen", ".certificates"), path);
            }
            nameless(found, &place, port, unit);
            redirect(found, place.replace(".listen", ".redirect"), port);
            joins::check(found, &place, front, port, unit);
            listen(found, place, front.side, port, unit);
        }
        certificates(found, front, unit);
        egress(found, &at, front, unit);
        shown(found, &at, front);
        clients(found, &at, front);
    }
    for side in [Side::Source, Side::Target] {
        if !unit.sites.is_empty() && !unit.fronts.iter().any(|front| front.side == side) {
            found.add(
                "SG0706",
                "front",
                format!("no front stands at the {side}"),
                format!("add a [[front]] with `side = \"{side}\"`"),
            );
        }
    }
    introduced(found, unit);
    distinct(found, &unit.fronts);
}

/// A port that is taken over stays what it was for those who come to it: whoever told the server
/// there of clients tells the front, and the other side's front is one of them.
fn introduced(found: &mut Found, unit: &UnitPlan) {
    let sides = [Side::Source, Side::Target];
    for (site, side) in unit.sites.iter().flat_map(|site| sides.map(|side| (site, side))) {
        let backend = site.backends.get(side);
        let here = unit.fronts.iter().filter(|front| front.side == side);
        let taken = here.flat_map(|front| &front.ports).filter(|port| {
            let mut servers = backend.reached_at();
            port.is_live() && servers.any(|server| server == port.listen)
        });
        for port in taken.filter(|port| port.proxy_in != backend.proxy_out) {
            let (has, lacks) = match port.proxy_in {
                true => ("`proxy_in`", "the web server there no `proxy_out`"),
                false => ("no `proxy_in`", "the web server there `proxy_out`"),
            };
            found.add(
                "SG0762",
                format!("backend.{side}.proxy_out"),
                format!("the port {} is taken over with {has}, and {lacks}", port.listen),
                "write both, if proxies speak the PROXY protocol to that port today, or none of them",
            );
        }
    }
}

/// Returns where the address of a port stands in the plan.
fn place(at: &str, front: &FrontPlan, index: usize) -> String {
    match front.ports.as_slice() {
        [PortPlan { kind: PortKind::Http, proxy_in: false, redirect: None, join: false, .. }] => {
            format!("{at}.listen")
        }
        _ => format!("{at}.port[#{}].listen", index + 1),
    }
}

/// A port for TLS has certificates, unless nobody's TLS ends there.
fn certificates(found: &mut Found, front: &FrontPlan, unit: &UnitPlan) {
    let unread = |site: &SitePlan| site.backends.source.passthrough.is_some();
    let all_unread = !unit.sites.is_empty() && unit.sites.iter().all(unread);
    let named = |port: &PortPlan| port.tls.as_ref().is_some_and(|tls| !tls.certificates.is_empty());
    let default =
        |port: &PortPlan| port.tls.as_ref().is_some_and(|tls| tls.default_certificate.is_some());
    let ports = front.ports.iter().filter(|port| port.kind == PortKind::Tls);
    for port in ports.filter(|port| !named(port) && (!all_unread || default(port))) {
        found.add(
            "SG0749",
            format!("front[{}]", front.name),
            format!("the port {} for tls has no `certificates`", port.listen),
            "name files or folders in `certificates`; without, name a server for `passthrough` at both \
             sides of every site, and no `default_certificate`",
        );
    }
}

/// Where a front shows figures and logs requests.
fn shown(found: &mut Found, at: &str, front: &FrontPlan) {
    if let Some(address) = front.metrics {
        let taken = front.listens_at(address);
        if taken || address.port() == 0 || address.ip().is_unspecified() {
            found.add(
                "SG0778",
                format!("{at}.metrics"),
                format!("{address} is no place to show figures at"),
                "write an address and a port of their own, that visitors do not reach: 127.0.0.1:9180",
            );
        }
    }
    if let Some(log) = &front.access_log {
        absolute(found, &format!("{at}.access_log.path"), &log.path);
        if log.every == 0 {
            found.add(
                "SG0778",
                format!("{at}.access_log.every"),
                "one request of 0 is none",
                "write 1 for every request, 100 for one of a hundred",
            );
        }
    }
}

/// What a front believes of clients and takes from them.
fn clients(found: &mut Found, at: &str, front: &FrontPlan) {
    if let Some(network) = front.trusted.iter().find(|network| network.is_everybody()) {
        found.add(
            "SG0771",
            format!("{at}.trusted"),
            format!("{network} is everybody: each client could say that it is another one"),
            "name the proxies' own networks; where clients come directly, none",
        );
    }
    let named = front.ports.iter().position(|port| port.proxy_in);
    if let Some(index) = named.filter(|_| front.trusted.is_empty()) {
        found.add(
            "SG0772",
            format!("{at}.port[#{}].proxy_in", index + 1),
            "nobody is trusted to say with the PROXY protocol who a client is",
            "name the proxies before the front in `trusted`, or take `proxy_in` away",
        );
    }
    let limits = &front.limits;
    for (key, limit, least) in [
        ("connections", limits.connections, 16),
        ("connections_per_client", limits.connections_per_client, 6),
        ("headers", limits.headers, 16),
    ] {
        if let Some(limit) = limit.filter(|limit| *limit < least) {
            found.add(
                "SG0773",
                format!("{at}.limits.{key}"),
                format!("{limit} would keep ordinary browsers out"),
                format!("allow {least} at least, or leave the default"),
            );
        }
    }
    if limits.headers.is_some_and(|headers| headers > HEADERS_MAX) {
        found.add(
            "SG0773",
            format!("{at}.limits.headers"),
            format!("a front reads {HEADERS_MAX} header fields at most"),
            format!("write {HEADERS_MAX} or less"),
        );
    }
}

fn paths(found: &mut Found, at: &str, front: &FrontPlan) {
    absolute(found, &format!("{at}.state"), &front.state);
    absolute(found, &format!("{at}.control"), &front.control);
    let bytes = front.control.as_os_str().as_bytes().len();
    if bytes > SOCKET_PATH_BYTES {
        found.add(
            "SG0729",
            format!("{at}.control"),
            format!("the path of the socket has {bytes} bytes"),
            format!("choose one of at most {SOCKET_PATH_BYTES} bytes: the system takes no more"),
        );
    }
}

fn listen(found: &mut Found, at: String, side: Side, port: &PortPlan, unit: &UnitPlan) {
    let listen = port.listen;
    if listen.port() == 0 || listen.ip().is_unspecified() {
        found.add(
            "SG0728",
            &at,
            format!("{listen} does not name one address and port"),
            "write the address that DNS names, with the port of the site",
        );
    }
    let behind = |side| port.tcp.as_ref().map(|tcp| *tcp.backends.get(side));
    let stands_at = |side| {
        let all = || unit.backends(side).flat_map(|server| server.reached_at());
        all().any(|address| address == listen) || behind(side) == Some(listen)
    };
    if stands_at(side.other()) {
        found.add(
            "SG0709",
            at,
            format!("{listen} is the web server of the {}", side.other()),
            format!("correct `side`, or write an address of the {side}"),
        );
    } else if stands_at(side) && !port.is_live() && !port.join {
        found.add(
            "SG0709",
            at,
            format!("the web server of the {side} already listens on {listen}"),
            "take the port over with `take_over = true` and an `egress` address, or have its \
             connections led away with `redirect`",
        );
    }
}

/// A port is taken from its live server in one way, and the front needs another one to listen at.
fn redirect(found: &mut Found, at: String, port: &PortPlan) {
    let Some(to) = port.redirect else { return };
    if port.take_over {
        found.add(
            "SG0754",
            at,
            format!("{} is to be taken over and redirected", port.listen),
            "write `take_over` or `redirect`: the latter where the former is not permitted",
        );
    } else if to == 0 || to == port.listen.port() {
        found.add(
            "SG0754",
            at,
            format!("a front cannot listen at port {to} while a server has {}", port.listen),
            "write another port of that address, one that nothing listens at",
        );
    }
}

/// A port that goes by name needs names to go by.
fn nameless(found: &mut Found, place: &str, port: &PortPlan, unit: &UnitPlan) {
    let by_name = port.tcp.as_ref().is_some_and(|tcp| tcp.by_name);
    if by_name && unit.sites.is_empty() {
        found.add(
            "SG0779",
            place.replace(".listen", ".by_name"),
            format!("clients of {} are told apart by host, and the unit has no site", port.listen),
            "add a [[site]] whose `hosts` name what clients ask for, such as mail.shop.example, or \
             take `by_name` away: then the port is this unit's alone",
        );
    }
}

fn egress(found: &mut Found, at: &str, front: &FrontPlan, unit: &UnitPlan) {
    let at = format!("{at}.egress");
    let Some(egress) = front.egress else {
        if front.takes_over() {
            found.add(
                "SG0707",
                at,
                "a port is taken from a live server, and no egress address tells the front's own \
                 connections from those of clients",
                "add `egress` with a spare address of that machine",
            );
        }
        return;
    };
    if !front.takes_over() {
        found.add(
            "SG0707",
            &at,
            "an egress address is for a port that is taken over or redirected only",
            "take `egress` away or write `take_over = true`, or `redirect`",
        );
    }
    if unit.fronts.iter().any(|other| other.stands_on(egress)) {
        found.add(
            "SG0708",
            &at,
            format!("{egress} is also an address that a front listens on"),
            "choose an address that no client connects from or to",
        );
    }
    let other_family =
        |port: &&PortPlan| port.is_live() && port.listen.is_ipv4() != egress.is_ipv4();
    if let Some(port) = front.ports.iter().find(other_family) {
        found.add(
            "SG0708",
            &at,
            format!("no connection to {} can come from {egress}", port.listen),
            "choose a spare address of the same family; ports of the other family need a front \
             of their own",
        );
    } else if egress.is_unspecified() {
        found.add(
            "SG0708",
            &at,
            format!("no connection can come from {egress}"),
            "choose a spare address of that machine",
        );
    }
}

fn distinct(found: &mut Found, fronts: &[FrontPlan]) {
    let named = |index, front: &FrontPlan| key("front", index, &front.name).to_string();
    let every = || fronts.iter().enumerate().map(|(index, front)| (named(index, front), front));
    let names = every().map(|(at, front)| (format!("{at}.name"), front.name.as_str()));
    found.duplicates("front name", names);
    let listen: Vec<_> = every()
        .flat_map(|(at, front)| {
            let ports = front.ports.iter().enumerate();
            ports.flat_map(move |(index, port)| {
                let place = place(&at, front, index);
                let bound = port.redirect.map(|_| port.bound().to_string());
                let bound = bound.map(|bound| (place.replace(".listen", ".redirect"), bound));
                [(place, port.listen.to_string())].into_iter().chain(bound)
            })
        })
        .collect();
    found.duplicates("listen address", listen.iter().map(|(k, v)| (k.clone(), v.as_str())));
    let files: Vec<_> = every()
        .flat_map(|(at, front)| {
            [
                (format!("{at}.control"), front.control.display().to_string()),
                (format!("{at}.state"), front.state.display().to_string()),
            ]
        })
        .collect();
    found.duplicates("file of a front", files.iter().map(|(k, v)| (k.clone(), v.as_str())));
}
