//! A connection to a server, in clear or over TLS.

use super::link::dial;
use super::tls::Tls;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection to a server.
pub(crate) enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Opens a connection. What `introduces` it goes before everything else, a handshake too.
    pub(super) async fn open(
        address: SocketAddr,
        egress: Option<IpAddr>,
        introduces: Option<&[u8]>,
        tls: Option<&Tls>,
    ) -> io::Result<Self> {
        let mut stream = dial(address, egress).await?;
        if let Some(words) = introduces {
            stream.write_all(words).await?;
        }
        Ok(match tls {
            None => Self::Plain(stream),
            Some(tls) => Self::Tls(Box::new(tls.connect(stream).await?)),
        })
    }

    /// Returns the socket.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Returns whether nothing came that nobody read, the end included. What came is lost.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let nothing = |e: io::Error| e.kind() == io::ErrorKind::WouldBlock;
        match self {
            Self::Plain(stream) => stream.try_read(&mut byte).err().is_some_and(nothing),
            Self::Tls(stream) => {
                let (socket, session) = stream.get_mut();
                let unread = session.process_new_packets().map(|s| s.plaintext_bytes_to_read());
                unread.is_ok_and(|unread| unread == 0)
                    && socket.try_read(&mut byte).err().is_some_and(nothing)
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
