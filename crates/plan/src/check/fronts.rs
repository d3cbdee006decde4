//! Fronts: one on each side, each on an address of its own.

use super::names::{absolute, name};
use super::{Found, key};
use segue_model::Side;
use segue_model::plan::{FrontPlan, UnitPlan};
use std::os::unix::ffi::OsStrExt;

/// `sun_path` of unix(7) has 108 bytes, the closing zero included.
const SOCKET_PATH_BYTES: usize = 107;

pub(super) fn check(found: &mut Found, unit: &UnitPlan) {
    for (index, front) in unit.fronts.iter().enumerate() {
        let at = key("front", index, &front.name).to_string();
        name(found, format!("{at}.name"), &front.name);
        paths(found, &at, front);
        listen(found, &at, front, unit);
        egress(found, &at, front, unit);
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
    distinct(found, &unit.fronts);
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

fn listen(found: &mut Found, at: &str, front: &FrontPlan, unit: &UnitPlan) {
    let at = format!("{at}.listen");
    if front.listen.port() == 0 || front.listen.ip().is_unspecified() {
        found.add(
            "SG0728",
            &at,
            format!("{} does not name one address and port", front.listen),
            "write the address that DNS names, with the port of the site",
        );
    }
    let stands_at = |side| unit.backends(side).any(|server| server.address == front.listen);
    if stands_at(front.side.other()) {
        found.add(
            "SG0709",
            at,
            format!("{} is the web server of the {}", front.listen, front.side.other()),
            format!("correct `side`, or write an address of the {}", front.side),
        );
    } else if stands_at(front.side) && !front.take_over {
        found.add(
            "SG0709",
            at,
            format!("the web server of the {} already listens on {}", front.side, front.listen),
            "take the port over with `take_over = true` and an `egress` address",
        );
    }
}

fn egress(found: &mut Found, at: &str, front: &FrontPlan, unit: &UnitPlan) {
    let at = format!("{at}.egress");
    let Some(egress) = front.egress else {
        if front.take_over {
            found.add(
                "SG0707",
                at,
                "the port is taken over, and no egress address tells the front's own \
                 connections from those of clients",
                "add `egress` with a spare address of that machine",
            );
        }
        return;
    };
    if !front.take_over {
        found.add(
            "SG0707",
            &at,
            "an egress address is for a port that is taken over only",
            "take `egress` away or write `take_over = true`",
        );
    }
    if unit.fronts.iter().any(|other| other.listen.ip() == egress) {
        found.add(
            "SG0708",
            &at,
            format!("{egress} is also an address that a front listens on"),
            "choose an address that no client connects from or to",
        );
    }
    if egress.is_ipv4() != front.listen.is_ipv4() || egress.is_unspecified() {
        found.add(
            "SG0708",
            &at,
            format!("no connection to {} can come from {egress}", front.listen),
            "choose a spare address of the same family",
        );
    }
}

fn distinct(found: &mut Found, fronts: &[FrontPlan]) {
    let at = |field: &str| {
        let field = field.to_owned();
        move |(index, front): (usize, &FrontPlan)| {
            format!("{}.{field}", key("front", index, &front.name))
        }
    };
    let every = || fronts.iter().enumerate();
    found.duplicates("front name", every().map(|f| (at("name")(f), f.1.name.as_str())));
    let listen: Vec<_> = every().map(|f| (at("listen")(f), f.1.listen.to_string())).collect();
    found.duplicates("listen address", listen.iter().map(|(k, v)| (k.clone(), v.as_str())));
    let files: Vec<_> = every()
        .flat_map(|f| {
            [
                (at("control")(f), f.1.control.display().to_string()),
                (at("state")(f), f.1.state.display().to_string()),
            ]
        })
        .collect();
    found.duplicates("file of a front", files.iter().map(|(k, v)| (k.clone(), v.as_str())));
}
