//! Whether an address of a store means one server, whoever asks for it.

use std::net::{IpAddr, SocketAddr};

/// Domains that a network, or a machine, gives for itself.
const OWN_DOMAINS: [&str; 6] = ["local", "localhost", "localdomain", "internal", "lan", "home"];

/// What an address means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The machine that asks.
    Here,
    /// What the machine, or its network, has that name for.
    Local,
    /// The same server from everywhere.
    Same,
}

/// Returns what an address means, as an application has it: with or without a port.
pub(super) fn meaning(address: &str) -> Meaning {
    let address = address.trim();
    if address.is_empty() || address.starts_with(['/', '.', ':']) {
        return if ip(address).is_some_and(|ip| !is_here(ip)) {
            Meaning::Same
        } else {
            Meaning::Here
        };
    }
    if let Some(ip) = ip(address) {
        return if is_here(ip) { Meaning::Here } else { Meaning::Same };
    }
    let name = address.split([':', '/']).next().unwrap_or_default().trim_end_matches('.');
    let name = name.to_ascii_lowercase();
    match name.rsplit_once('.') {
        None if name == "localhost" => Meaning::Here,
        Some((_, "localhost")) => Meaning::Here,
        None => Meaning::Local,
        Some((_, domain)) if OWN_DOMAINS.contains(&domain) => Meaning::Local,
        Some(_) => Meaning::Same,
    }
}

fn ip(address: &str) -> Option<IpAddr> {
    let with_port = address.parse::<SocketAddr>().map(|address| address.ip());
    with_port.ok().or_else(|| address.parse().ok())
}

fn is_here(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_each_machine_has_for_itself_is_no_server_that_both_use() {
        for (address, expected) in [
            ("127.0.0.1:6379", Meaning::Here),
            ("127.0.3.1", Meaning::Here),
            ("0.0.0.0:6379", Meaning::Here),
            ("[::1]:6379", Meaning::Here),
            ("::1", Meaning::Here),
            ("localhost", Meaning::Here),
            ("LOCALHOST:11211", Meaning::Here),
            ("/run/redis.sock", Meaning::Here),
            ("", Meaning::Here),
            ("redis:6379", Meaning::Local),
            ("redis", Meaning::Local),
            ("cache.internal:6379", Meaning::Local),
            ("10.0.0.5:6379", Meaning::Same),
            ("2001:db8::5", Meaning::Same),
            ("cache.example.test:6379", Meaning::Same),
            ("localhost.example.test", Meaning::Same),
        ] {
            assert_eq!(meaning(address), expected, "{address}");
        }
    }
}
