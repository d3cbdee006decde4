//! Networks of addresses, as `10.0.0.0/8` (RFC 4632) and `2001:db8::/32` (RFC 4291).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: every address that begins with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address.
    first: IpAddr,
    /// Bits that all of its addresses have in common.
    prefix: u8,
}

/// Why a text names no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotANetwork {
    /// No address before the slash.
    Address,
    /// No length after the slash, or one above the address's own.
    Length,
    /// Bits behind the length are set: another network may be meant.
    Bits,
}

impl std::error::Error for NotANetwork {}

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "it begins with no address",
            Self::Length => "its length is none from 0 to 32, or to 128 for IPv6",
            Self::Bits => "bits behind its length are set",
        })
    }
}

impl Network {
    /// Returns whether every address of its family belongs to it.
    pub fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    /// Returns whether an address belongs to it. An IPv4 address that stands in an IPv6
    /// one (`::ffff:10.0.0.1`) is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                masked(address.to_canonical(), self.prefix) == self.first
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, prefix: bits(first) }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// Reads `address/length`; an address alone is the network of that one.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| NotANetwork::Address)?;
        let Some(length) = length else { return Ok(first.into()) };
        let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
        let prefix = length.parse().ok().filter(|prefix| digits && *prefix <= bits(first));
        let prefix = prefix.ok_or(NotANetwork::Length)?;
        if masked(first, prefix) != first {
            return Err(NotANetwork::Bits);
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|why| serde::de::Error::custom(format!("`{text}`: {why}")))
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Returns an address with all bits behind the first `prefix` cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn holds_the_addresses_that_begin_with_its_bits() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
        ] {
            assert!(network(text).contains(inside.parse().unwrap()), "{inside} in {text}");
            assert!(!network(text).contains(outside.parse().unwrap()), "{outside} not in {text}");
        }
    }

    #[test]
    fn refuses_what_may_mean_another_network() {
        for (text, why) in [
            ("", NotANetwork::Address),
            ("10.0.0/8", NotANetwork::Address),
            ("example.test/8", NotANetwork::Address),
            ("10.0.0.0/", NotANetwork::Length),
            ("10.0.0.0/33", NotANetwork::Length),
            ("10.0.0.0/+8", NotANetwork::Length),
            ("10.0.0.0/255.0.0.0", NotANetwork::Length),
            ("::/129", NotANetwork::Length),
            ("10.0.0.1/8", NotANetwork::Bits),
            ("2001:db8::1/64", NotANetwork::Bits),
        ] {
            assert_eq!(text.parse::<Network>(), Err(why), "{text}");
        }
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"] {
            let json = serde_json::to_string(&network(text)).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Network>(&json).unwrap(), network(text));
        }
    }
}
