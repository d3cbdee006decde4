//! Whom a connection is for of which the front passes bytes: what its client says first tells.
//!
//! A client of TLS names its host in its first message, one of HTTP in clear in the head of its first
//! request. Only the side that it is led to depends on that, so that it is believed; what was read
//! goes on as it came.

use crate::tls;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Longest head of a request, bytes.
const HEAD_MAX: usize = 16 << 10;

/// Reads what a client says first: the host it asks for, if it names one, and the bytes in which
/// it did.
///
/// # Errors
/// If it speaks something else (which it is told as one of TLS would be), leaves (`NotConnected` if
/// it never said a word), or takes too long.
pub(crate) async fn overhear<S>(
    socket: &mut S,
    limit: Duration,
) -> io::Result<(Option<Box<str>>, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut silent = true;
    let heard = async {
        let mut first = Vec::with_capacity(2 << 10);
        loop {
            if first.len() >= HEAD_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the head is too long"));
            }
            let before = first.len();
            if socket.read_buf(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            silent = false;
            // Within a line nothing is learnt: whoever sends it octet by octet has it read once.
            if before > 0 && !first[before..].contains(&b'\n') {
                continue;
            }
            match look(&first) {
                Look::Named(host) => return Ok((host, first)),
                Look::NotHttp => return tls::overhear(socket, first).await,
                Look::More => {}
            }
        }
    };
    let heard = tokio::time::timeout(limit, heard).await;
    let heard = heard.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if heard.is_err() && silent { Err(io::ErrorKind::NotConnected.into()) } else { heard }
}

/// What the first bytes tell.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Not enough yet.
    More,
    /// A head of HTTP, and the one host that it names.
    Named(Option<Box<str>>),
    /// Something else; TLS, for all that is known.
    NotHttp,
}

/// Looks whether a client speaks HTTP/1, and at whom it asks for.
fn look(first: &[u8]) -> Look {
    let Some(byte) = first.first() else { return Look::More };
    // Of TLS it is a control character; methods in use are in capitals.
    if !byte.is_ascii_uppercase() {
        return Look::NotHttp;
    }
    let mut lines = first.split(|byte| *byte == b'\n');
    let whole = lines.clone().count() - 1;
    let mut lines = lines.by_ref().take(whole).map(<[u8]>::trim_ascii_end);
    match lines.next() {
        None => return Look::More,
        Some(asked) if !asked.ends_with(b" HTTP/1.1") && !asked.ends_with(b" HTTP/1.0") => {
            return Look::NotHttp;
        }
        Some(_) => {}
    }
    let mut hosts: Vec<&[u8]> = Vec::new();
    for line in lines {
        if line.is_empty() {
            // Two hosts are none: the server refuses that.
            let [host] = hosts.as_slice() else { return Look::Named(None) };
            return Look::Named(std::str::from_utf8(host).ok().map(Box::from));
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        if name.eq_ignore_ascii_case(b"host") {
            hosts.push(value.get(1..).unwrap_or_default().trim_ascii());
        }
    }
    Look::More
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_http_is_told_from_everything_else_and_names_one_host() {
        let named = |host: &str| Look::Named(Some(host.into()));
        for (first, expected) in [
            ("", Look::More),
            ("GET / HT", Look::More),
            ("GET / HTTP/1.1\r\nHost: a.test:2082\r\n", Look::More),
            ("GET / HTTP/1.1\r\nHost: a.test:2082\r\n\r\n", named("a.test:2082")),
            ("POST /x HTTP/1.0\nX: y\nhOSt:b.test \n\nHost: c.test", named("b.test")),
            ("GET / HTTP/1.0\r\n\r\n", Look::Named(None)),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Look::Named(None)),
            ("GET / HTTP/1.1\r\nHost\r\n\r\n", Look::Named(Some("".into()))),
            ("A1 LOGIN one x\r\n", Look::NotHttp),
            ("a LOGIN one x\r\n", Look::NotHttp),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Look::NotHttp),
            ("\u{16}\u{3}\u{1}", Look::NotHttp),
        ] {
            assert_eq!(look(first.as_bytes()), expected, "{first:?}");
        }
    }
}
