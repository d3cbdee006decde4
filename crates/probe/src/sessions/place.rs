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

/// Returns what an address means, as an application has it: with or without a port, and whatever
/// else its kind of store takes.
pub(super) fn meaning(address: &str) -> Meaning {
    let address = address.trim();
    if let Some(ip) = ip(address) {
        return of_ip(ip);
    }
    if address.is_empty() || address.starts_with(['/', '.', ':']) {
        return Meaning::Here;
    }
    // `127.0.0.1:6379/2`, `fe80::1%eth0`, `127.0.0.1:11211:33`.
    let place = address.split(['/', '?', '%']).next().unwrap_or_default();
    if let Some(ip) = ip(place) {
        return of_ip(ip);
    }
    let (name, rest) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some(parts) => parts,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    if rest.bytes().any(|b| !matches!(b, b':' | b'0'..=b'9')) {
        // Several servers, or words that are no address: nobody knows which one is asked.
        return Meaning::Local;
    }
    ip(name).map_or_else(|| of_name(name), of_ip)
}

fn of_name(name: &str) -> Meaning {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let odd = |b: u8| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    if name.bytes().any(odd) || name.split('.').any(str::is_empty) {
        return Meaning::Local;
    }
    match name.rsplit_once('.') {
        None if name == "localhost" => Meaning::Here,
        Some((_, "localhost")) => Meaning::Here,
        None => Meaning::Local,
        // `127.1` and `127.0.0.0x1` are addresses to many programs.
        Some((_, domain)) if domain.starts_with(|c: char| c.is_ascii_digit()) => Meaning::Local,
        Some((_, domain)) if OWN_DOMAINS.contains(&domain) => Meaning::Local,
        Some(_) => Meaning::Same,
    }
}

fn ip(address: &str) -> Option<IpAddr> {
    let with_port = address.parse::<SocketAddr>().map(|address| address.ip());
    with_port.ok().or_else(|| address.parse().ok())
}

fn of_ip(ip: IpAddr) -> Meaning {
    let ip = ip.to_canonical();
    let of_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match ip.is_loopback() || ip.is_unspecified() {
        true => Meaning::Here,
        false if of_link => Meaning::Local,
        false => Meaning::Same,
    }
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
            // With a weight, a database, or a list as kinds of stores write them.
            ("127.0.0.1:11211:33", Meaning::Here),
            ("127.0.0.1:6379/2", Meaning::Here),
            ("[::1]:6379/2", Meaning::Here),
            ("[::1]:11211:33", Meaning::Here),
            ("10.0.0.5:11211:33", Meaning::Same),
            ("cache.example.test:6379/2", Meaning::Same),
            ("10.0.0.5:6379,127.0.0.1:6379", Meaning::Local),
            ("seed[]=127.0.0.1:7000&seed[]=127.0.0.1:7001", Meaning::Local),
            ("tcp://127.0.0.1:6379", Meaning::Local),
            ("user@cache.example.test", Meaning::Local),
            ("127.1", Meaning::Local),
            ("127.1:6379", Meaning::Local),
            ("127.0.0.0x1", Meaning::Local),
            ("169.254.7.7:6379", Meaning::Local),
            ("fe80::5", Meaning::Local),
            ("fe80::5%eth0", Meaning::Local),
            ("[fe80::5%eth0]:6379", Meaning::Local),
            ("cache_1.example.test", Meaning::Local),
            ("cache..test", Meaning::Local),
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
