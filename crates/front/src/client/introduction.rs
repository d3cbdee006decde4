//! The PROXY protocol, version 2, as the front speaks it: who the client of a connection is.

use std::net::{IpAddr, SocketAddr};

/// First bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The client of a connection to a server, and the address that it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Port 0 if only its address is known.
    pub(crate) client: SocketAddr,
    pub(crate) listen: SocketAddr,
}

/// Who a connection is opened for, where its server wants to know; none for the front itself. In
/// a box, as most servers do not.
pub(crate) type ToldOf = Option<Box<Caller>>;

/// Returns what a connection for a client begins with: `PROXY` over TCP with both addresses, those
/// of IPv4 written as IPv6 where they are of two families. `LOCAL` for one of the front's own.
pub(crate) fn introduction(caller: Option<&Caller>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some(Caller { client, listen }) = caller else {
        header.extend([0x20, 0, 0, 0]);
        return header;
    };
    let (family, addresses) = match (client.ip().to_canonical(), listen.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
        (from, to) => (0x21, [wide(from), wide(to)].concat()),
    };
    header.extend([0x21, family]);
    header.extend((addresses.len() as u16 + 4).to_be_bytes());
    header.extend(addresses);
    header.extend(client.port().to_be_bytes());
    header.extend(listen.port().to_be_bytes());
    header
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(client: &str, listen: &str) -> Vec<u8> {
        let (client, listen) = (client.parse().unwrap(), listen.parse().unwrap());
        let header = introduction(Some(&Caller { client, listen }));
        assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
        header[12..].to_vec()
    }

    #[test]
    fn names_both_ends_in_one_family() {
        let four = [&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1][..], &[0x12, 0x67, 0, 80]];
        assert_eq!(header("192.0.2.7:4711", "192.0.2.1:80"), four.concat());
        assert_eq!(header("[::ffff:192.0.2.7]:4711", "192.0.2.1:80"), four.concat());
        let six = header("[2001:db8::7]:0", "192.0.2.1:80");
        assert_eq!((&six[..4], six.len()), (&[0x21, 0x21, 0, 36][..], 40));
        assert_eq!(six[4..8], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(six[30..36], [0xff, 0xff, 192, 0, 2, 1]);
        assert_eq!(six[36..], [0, 0, 0, 80]);
        assert_eq!(introduction(None)[12..], [0x20, 0, 0, 0]);
    }
}
