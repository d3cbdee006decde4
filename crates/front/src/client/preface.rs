//! The PROXY protocol, versions 1 and 2: what a proxy says about the client before the
//! client's own bytes (proxy-protocol.txt of HAProxy).
//!
//! Read strictly: what is not exactly a header is none. Nothing behind it is touched, so
//! that whatever speaks on the connection afterwards finds it as the client left it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// First bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, and length of what follows.
const HEAD_2: usize = 16;
/// Longest line of version 1, its end included.
const LINE_MAX: usize = 107;
/// Most bytes behind the head of version 2: addresses, and notes that are not read.
const REST_MAX: usize = 2_048;

/// Why bytes are no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPreface {
    /// They are something else.
    #[error("not a PROXY header: {0}")]
    Malformed(&'static str),
    /// The connection ended or broke before.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads a header. Returns the client that it names; none if the connection is the
/// proxy's own, such as a look whether anybody is there.
///
/// # Errors
/// If what comes is no header. Takes as long as the peer does: the caller limits it.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, NoPreface> {
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    if first[0] == SIGNATURE[0] {
        let mut head = [0; HEAD_2];
        stream.read_exact(&mut head).await?;
        let length = rest_of(&head)?;
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return binary(&head, &rest).map_err(NoPreface::Malformed);
    }
    let mut line = [0; LINE_MAX];
    let length = read_line(stream, &mut line).await?;
    text(&line[..length]).map_err(NoPreface::Malformed)
}

/// Reads up to the end of a line, and nothing behind it.
async fn read_line(stream: &mut TcpStream, line: &mut [u8; LINE_MAX]) -> Result<usize, NoPreface> {
    let mut length = 0;
    while length < LINE_MAX {
        let there = stream.peek(&mut line[length..]).await?;
        let fresh = &line[length..length + there];
        let end = fresh.iter().position(|b| *b == b'\n');
        // What has no end of line in it belongs to the line as a whole.
        let take = end.map_or(there, |end| end + 1);
        if take == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        stream.read_exact(&mut line[length..length + take]).await?;
        length += take;
        if end.is_some() {
            return Ok(length);
        }
        if !b"PROXY ".starts_with(&line[..length.min(6)]) {
            return Err(NoPreface::Malformed("it begins with something else"));
        }
    }
    Err(NoPreface::Malformed("the line is too long"))
}

/// Reads a line of version 1, its end included.
fn text(line: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    let line = line.strip_suffix(b"\r\n").ok_or("the line does not end with CR LF")?;
    let line = std::str::from_utf8(line).map_err(|_| "the line is not text")?;
    let said = line.strip_prefix("PROXY ").ok_or("it begins with something else")?;
    // Whatever stands behind UNKNOWN is to be ignored.
    if said == "UNKNOWN" || said.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut words = said.split(' ');
    let family = words.next();
    let mut address = || -> Result<IpAddr, &'static str> {
        let word = words.next().ok_or("an address is missing")?;
        match family {
            Some("TCP4") => word.parse::<Ipv4Addr>().map(IpAddr::V4),
            Some("TCP6") => word.parse::<Ipv6Addr>().map(IpAddr::V6),
            _ => return Err("neither TCP4, TCP6 nor UNKNOWN"),
        }
        .map_err(|_| "an address is none of its family")
    };
    let (source, _) = (address()?, address()?);
    let mut port = || port(words.next().ok_or("a port is missing")?);
    let (source_port, _) = (port()?, port()?);
    match words.next() {
        None => Ok(Some(SocketAddr::new(source, source_port))),
        Some(_) => Err("something stands behind the ports"),
    }
}

fn port(word: &str) -> Result<u16, &'static str> {
    let digits =
        word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| digits).ok_or("a port is no number from 0 to 65535")
}

/// Returns how many bytes follow the head of version 2.
fn rest_of(head: &[u8; HEAD_2]) -> Result<usize, NoPreface> {
    if &head[..12] != SIGNATURE {
        return Err(NoPreface::Malformed("it begins with something else"));
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > REST_MAX {
        return Err(NoPreface::Malformed("it is too long"));
    }
    Ok(length)
}

/// Reads version 2: the head, and what it says follows.
fn binary(head: &[u8; HEAD_2], rest: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    match head[12] {
        // Whatever stands behind LOCAL is to be ignored.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err("neither LOCAL nor PROXY of version 2"),
    }
    let short = "it is too short for its addresses";
    match head[13] {
        // IPv4 and IPv6 over a stream.
        0x11 => {
            let (address, port) = addresses::<4>(rest).ok_or(short)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(address).into(), port)))
        }
        0x21 => {
            let (address, port) = addresses::<16>(rest).ok_or(short)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(address).into(), port)))
        }
        // Nothing known, datagrams, Unix sockets: no address that a client could have here.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(None),
        _ => Err("a family of addresses that is not known"),
    }
}

/// Returns the source's address and port of two addresses and two ports.
fn addresses<const LENGTH: usize>(rest: &[u8]) -> Option<([u8; LENGTH], u16)> {
    let source = rest.first_chunk::<LENGTH>()?;
    let ports = rest.get(2 * LENGTH..2 * LENGTH + 4)?;
    Some((*source, u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests;
