//! The first message of a TLS client, read before anything is decided.

use rustls::server::{Accepted, Acceptor};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest first message, bytes. Keys that withstand quantum computers make it 2 KB, in two
/// segments as a rule.
const HELLO_MAX: usize = 16 << 10;

/// A fatal alert in a record of its own, before any key is agreed on (RFC 8446 6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

/// What a client wants, and the bytes in which it said so.
pub(super) struct Hello {
    pub(super) accepted: Accepted,
    pub(super) bytes: Vec<u8>,
}

/// Reads the first message, of which `bytes` were read already; a client that speaks no TLS is told
/// so with an alert.
///
/// # Errors
/// If the client leaves (`NotConnected` if it never said anything), or sends something else
/// or too much.
pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    mut bytes: Vec<u8>,
) -> io::Result<Hello> {
    let (mut acceptor, mut before) = (Acceptor::default(), 0);
    loop {
        if before >= HELLO_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the first message is too long",
            ));
        }
        bytes.reserve(2 << 10);
        if before == bytes.len() && socket.read_buf(&mut bytes).await? == 0 {
            // Who never said a word only looked whether somebody listens.
            let silent = bytes.is_empty();
            let kind =
                if silent { io::ErrorKind::NotConnected } else { io::ErrorKind::UnexpectedEof };
            return Err(kind.into());
        }
        let mut fresh = &bytes[before..];
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
        }
        before = bytes.len();
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Hello { accepted, bytes }),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut answer = Vec::new();
                alert.write_all(&mut answer)?;
                socket.write_all(&answer).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

/// Tells a client that nobody here has the name it asked for.
pub(super) async fn unknown_name<S: AsyncWrite + Unpin>(socket: &mut S) -> io::Result<()> {
    socket.write_all(&UNRECOGNIZED_NAME).await?;
    socket.shutdown().await
}

/// Tells a client that nobody here speaks what it came for (RFC 7301 3.2).
pub(crate) async fn no_protocol<S: AsyncWrite + Unpin>(socket: &mut S) -> io::Result<()> {
    socket.write_all(&NO_APPLICATION_PROTOCOL).await?;
    socket.shutdown().await
}
