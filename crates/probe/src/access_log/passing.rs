//! From where fronts reach the servers whose log is read.

use segue_model::Side;
use segue_model::plan::UnitPlan;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses from which fronts reach servers, and what is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passing {
    addresses: BTreeSet<IpAddr>,
    /// Whether nobody else's connections come from them.
    alone: bool,
    /// Whether fronts count everything that comes from them.
    counted: bool,
}

impl Passing {
    /// Returns those of a unit's fronts to the web servers of a side. A front without an address
    /// of its own for that comes from the one that this machine takes for the way, since fronts
    /// stand where they are started.
    pub fn of(unit: &UnitPlan, side: Side) -> Self {
        let mut all = Self { counted: unit.counts_all(side), alone: true, ..Self::default() };
        for front in unit.fronts.iter().filter(|front| !unit.relays(front, side)) {
            all.addresses.extend(unit.comes_from(front, side));
            for server in unit.backends(side).flat_map(|server| server.addresses()) {
                if front.egress_for(server).is_none() {
                    all.alone = false;
                    all.addresses.extend(routed(server));
                }
            }
        }
        all
    }

    /// Returns addresses from which nobody comes but fronts.
    pub fn only(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses = addresses.into_iter().map(|address| address.to_canonical()).collect();
        Self { addresses, alone: true, counted: false }
    }

    /// Returns addresses from which others come as well, with fronts that count everything.
    #[cfg(test)]
    pub(super) fn shared(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { alone: false, counted: true, ..Self::only(addresses) }
    }

    /// Returns whether a front may have come from there.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }

    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Returns whether what others send from the same addresses shows in numbers.
    pub(super) fn shows_others(&self) -> bool {
        !self.alone && self.counted
    }
}

/// Returns the address from which this machine reaches a server; nothing is sent.
fn routed(server: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip().to_canonical())
}

/// Returns whether an address is one of this machine.
pub(super) fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
