//! Who a client is: whom the front believes about it, and what it says to backends.
//!
//! A proxy before the front, such as a CDN or a TLS terminator, hides the client's address
//! and says it in `X-Forwarded-For`, `Forwarded` (RFC 7239) or the PROXY protocol. Anybody
//! can say that, so only those count that the operator names. The client is the right-most
//! hop that is not one of them: what stands left of it is the client's own word.

mod forwarded;
mod introduction;
mod preface;

pub(crate) use forwarded::element;
pub(crate) use introduction::{Caller, ToldOf, introduction};
pub(crate) use preface::read as read_preface;

use forwarded::{Hop, hop_of};
use http::{HeaderMap, HeaderName, HeaderValue};
use segue_model::Network;
use std::net::IpAddr;

/// As said by a proxy: the addresses that a request came from, latest last.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most hops that are looked at.
const HOPS_MAX: usize = 32;

/// The proxies that are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trusted(Vec<Network>);

impl Trusted {
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Returns whether what comes from an address is believed.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns the client of a request that a trusted `peer` sent.
    ///
    /// `X-Forwarded-For` counts before `Forwarded`. Where a hop is no address, the one
    /// that named it is the client: nobody knows more.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let plain = headers.contains_key(FORWARDED_FOR);
        let name = if plain { FORWARDED_FOR } else { http::header::FORWARDED };
        let read = |hop: &[u8]| if plain { forwarded::address(hop) } else { hop_of(hop) };
        let mut client = peer;
        let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|b| *b == b','));
        for hop in hops.take(HOPS_MAX) {
            match read(hop.trim_ascii()) {
                Hop::Address(address) => client = address,
                Hop::Unnamed => break,
            }
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let trusted = Trusted::new(trusted.iter().map(|t| t.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_not_trusted() {
        const FOR: &str = "x-forwarded-for";
        let both = ["10.0.0.0/8", "2001:db8::/32"];
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&[(FOR, "192.0.2.7")], "192.0.2.7"),
            (&[(FOR, "203.0.113.9, 192.0.2.7")], "192.0.2.7"),
            (&[(FOR, "203.0.113.9,192.0.2.7 , 10.9.9.9")], "192.0.2.7"),
            (&[(FOR, "192.0.2.7"), (FOR, "10.2.2.2, 2001:db8::5")], "192.0.2.7"),
            (&[(FOR, "10.3.3.3, 10.2.2.2")], "10.3.3.3"),
            (&[(FOR, "192.0.2.7, unknown, 10.2.2.2")], "10.2.2.2"),
            (&[(FOR, "192.0.2.7:4711")], "192.0.2.7"),
            (&[(FOR, "[2001:db9::7]:4711")], "2001:db9::7"),
            (&[(FOR, "::ffff:192.0.2.7")], "192.0.2.7"),
            (&[(FOR, "")], "10.0.0.1"),
            (&[("forwarded", "for=192.0.2.7;proto=https")], "192.0.2.7"),
            (&[("forwarded", "for=192.0.2.7"), (FOR, "192.0.2.8")], "192.0.2.8"),
            (
                &[("forwarded", "for=203.0.113.9, proto=http;For=\"[2001:db9::7]:4711\"")],
                "2001:db9::7",
            ),
            (&[("forwarded", "for=192.0.2.7, for=_hidden")], "10.0.0.1"),
        ] {
            assert_eq!(client(&both, "10.0.0.1", lines), expected, "{lines:?}");
        }
    }
}
