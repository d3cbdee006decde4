//! By which ways fronts reach web servers, and what can be known of requests by that.

use super::{FrontPlan, PortKind, UnitPlan};
use crate::side::Side;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `User-Agent` of what Segue itself asks web servers around their fronts: nobody's request.
pub const OWN_AGENT: &str = "segue-look";

impl UnitPlan {
    /// Returns whether requests that `front` sends to `side` pass another front of the unit: one
    /// that took over the very port where the side's application is reached.
    pub fn relays(&self, front: &FrontPlan, side: Side) -> bool {
        let others = || self.fronts.iter().filter(|other| other.name != front.name);
        let web = self.backends(side).flat_map(|server| server.addresses());
        let tcp = front.tcp().map(|(_, tcp)| *tcp.backends.get(side));
        web.chain(tcp).any(|server| others().any(|other| other.listens_at(server)))
    }

    /// Returns the addresses from which a front connects to the web servers of a side, as far as
    /// the plan alone says; without a web server none.
    pub fn comes_from(&self, front: &FrontPlan, side: Side) -> BTreeSet<IpAddr> {
        let listen = || front.ports.iter().map(|port| port.listen.ip());
        let mut all = BTreeSet::new();
        for address in self.backends(side).flat_map(|server| server.addresses()) {
            match front.egress_for(address) {
                Some(egress) => drop(all.insert(egress)),
                // Whatever is asked for there comes from the first address there.
                None if address.ip().is_loopback() && front.side == side => {
                    all.insert(match address {
                        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                    });
                }
                None => all.extend(listen()),
            }
            if front.side != side {
                all.extend(listen());
            }
        }
        all
    }

    /// Says why fronts cannot tell how many requests they pass to the web servers of a side, if
    /// the plan alone says so.
    pub fn uncounted(&self, side: Side) -> Option<String> {
        if self.measures.mirror.is_some() {
            return Some("copies of requests ([measure.mirror]) are asked there too".into());
        }
        if self.backends(side).any(|server| server.passthrough.is_some()) {
            return Some("of TLS that goes through unread nobody counts the requests".into());
        }
        let front = self.fronts.iter().find(|front| !front.abilities().counts)?;
        let kind = front.proxy.as_ref().map_or("front", |proxy| proxy.as_str());
        Some(format!("front `{}` is {kind}, which counts no requests", front.name))
    }

    /// Returns whether fronts count everything that comes from them to the web servers of a side,
    /// requests of hosts that belong to no unit among it.
    pub fn counts_all(&self, side: Side) -> bool {
        let counted = |front: &FrontPlan| {
            let strange = |port: &super::PortPlan| match port.kind {
                PortKind::Http => false,
                // Names without a certificate go on to the live server, unread.
                PortKind::Tls => port.is_live() || port.strangers().is_some(),
                PortKind::Tcp => true,
            };
            front.proxy.is_none() && !front.ports.iter().any(strange)
        };
        self.uncounted(side).is_none() && self.fronts.iter().all(counted)
    }
}

impl FrontPlan {
    /// Returns the address of its own from which it connects to a server, if it has one for that.
    pub fn egress_for(&self, server: SocketAddr) -> Option<IpAddr> {
        self.egress.filter(|egress| egress.is_ipv4() == server.is_ipv4())
    }
}
