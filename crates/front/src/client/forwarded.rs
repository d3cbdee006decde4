//! One hop of `X-Forwarded-For` and of `Forwarded` (RFC 7239).

use http::HeaderValue;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What a proxy says about where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    /// The address.
    Address(IpAddr),
    /// It does not say, or says it in a way that is not known.
    Unnamed,
}

/// Reads an address, with or without a port.
pub(super) fn address(text: &[u8]) -> Hop {
    let read = || {
        let text = std::str::from_utf8(text).ok()?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(address);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(address.ip());
        }
        let inside = text.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    read().map_or(Hop::Unnamed, |address| Hop::Address(address.to_canonical()))
}

/// Reads an element of `Forwarded`. One whose quotes hold a comma or a semicolon is torn,
/// and names nobody.
pub(super) fn hop_of(element: &[u8]) -> Hop {
    for pair in element.split(|b| *b == b';') {
        let mut parts = pair.splitn(2, |b| *b == b'=');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if name.trim_ascii().eq_ignore_ascii_case(b"for") {
            let value = value.trim_ascii();
            let inside = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
            return address(inside.unwrap_or(value));
        }
    }
    Hop::Unnamed
}

/// Returns the element that the front adds to `Forwarded`.
pub(crate) fn element(peer: IpAddr, host: Option<&HeaderValue>, scheme: &str) -> String {
    let mut text = match peer {
        IpAddr::V4(v4) => format!("for={v4};proto={scheme}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\";proto={scheme}"),
    };
    // A host is a token or holds nothing that would have to be escaped in quotes.
    let plain = |h: &&str| h.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if let Some(host) = host.and_then(|host| host.to_str().ok()).filter(plain) {
        text += &format!(";host=\"{host}\"");
    }
    text
}
