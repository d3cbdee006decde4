//! Ports whose live server is joined: the front reaches it elsewhere.

use super::Found;
use segue_model::plan::{FrontPlan, PortKind, PortPlan, UnitPlan};
use std::net::SocketAddr;

/// Checks one port; `listen` is where its address stands in the plan.
pub(super) fn check(
    found: &mut Found,
    listen: &str,
    front: &FrontPlan,
    port: &PortPlan,
    unit: &UnitPlan,
) {
    if port.join && port.is_live() {
        found.add(
            "SG0755",
            listen.replace(".listen", ".join"),
            format!("{} is to be joined, and taken over or redirected", port.listen),
            "write one of `take_over`, `redirect` and `join`: `join` where the server shares the port",
        );
    }
    strangers(found, listen.replace(".listen", ".strangers"), port, unit);
    if port.join
        && let Some(address) = reached(front, unit).find(|at| at.port() == port.listen.port())
    {
        found.add(
            "SG0756",
            listen,
            format!(
                "{} is to be joined, and the front would reach the {}'s server at {address}, the \
                 same port: where the server has one socket for all of its addresses the front \
                 would ask itself",
                port.listen, front.side
            ),
            "add a line to the server that has it listen at another port too, reload it, and name \
             that one as its `address`; or write `take_over` in place of `join`",
        );
    }
}

/// Returns every address at which a front reaches servers of its side, or its side's probes do.
fn reached(front: &FrontPlan, unit: &UnitPlan) -> impl Iterator<Item = SocketAddr> {
    let probed = unit.backends(front.side).filter_map(|server| server.probe_address);
    let of_sites = unit.backends(front.side).flat_map(|server| server.reached_at());
    let of_tcp = front.tcp().map(|(_, tcp)| *tcp.backends.get(front.side));
    let of_strangers = front.ports.iter().filter_map(PortPlan::strangers);
    of_sites.chain(probed).chain(of_tcp).chain(of_strangers)
}

/// Names that are not moved stay with the server, which a port for TLS has to know a way to.
fn strangers(found: &mut Found, at: String, port: &PortPlan, unit: &UnitPlan) {
    let listen = port.listen;
    let none = |server: SocketAddr| {
        let fronts = unit.fronts.iter().any(|front| front.listens_at(server));
        fronts || server.port() == 0 || server.ip().is_unspecified()
    };
    match port.strangers() {
        None if port.join && port.kind == PortKind::Tls => found.add(
            "SG0757",
            at,
            format!(
                "{listen} is to be joined, and for names that are not moved there is no way to the \
                 server's own TLS: they would be cut off"
            ),
            "have the server speak TLS at another port too, and name that one in `strangers`",
        ),
        Some(_) if !port.join => found.add(
            "SG0757",
            at,
            format!("{listen} has `strangers` and is not joined"),
            "take `strangers` away: from a port that is taken over or redirected names that are not \
             moved go to the live server by themselves",
        ),
        Some(server) if none(server) => found.add(
            "SG0757",
            at,
            format!("{server} is no address and port of the server's own"),
            "write an address at which the server speaks TLS, with a port that no front has",
        ),
        _ => {}
    }
}
