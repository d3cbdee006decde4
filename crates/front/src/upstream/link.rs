//! One connection to a backend.

use super::{Broken, Outgoing};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// A connection that takes one request at a time.
pub(crate) struct Link {
    sender: SendRequest<Outgoing>,
    heard: Arc<AtomicBool>,
    used: bool,
}

impl Link {
    /// Sends a request and returns the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Broken> {
        self.heard.store(false, Ordering::Relaxed);
        Ok(self.sender.send_request(request).await?)
    }

    /// Returns whether a failed request may be sent again elsewhere: the connection had
    /// been used before, and no byte came since the request was sent.
    pub(crate) fn was_stale(&self) -> bool {
        self.used && !self.heard.load(Ordering::Relaxed)
    }

    /// Waits until the former answer is done with; false if the connection is closed.
    pub(crate) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Returns whether the connection is closed, as far as known.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns whether it carried a request before.
    pub(crate) fn is_used(&self) -> bool {
        self.used
    }

    /// Remembers that it carried a request.
    pub(crate) fn used(self) -> Self {
        Self { used: true, ..self }
    }
}

/// Bodies are small or come in parts: one plain write costs less than a gathering one.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.writev(false);
    builder
}

/// Opens a connection.
pub(super) async fn open(address: SocketAddr, egress: Option<IpAddr>) -> Result<Link, Broken> {
    let (io, heard) = connect(address, egress).await?;
    let (sender, connection) = builder().handshake(io).await?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told as well.
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "connection to backend broke");
        }
    });
    Ok(Link { sender, heard, used: false })
}

/// Opens a connection that may leave HTTP.
pub(super) async fn open_for_upgrade(
    address: SocketAddr,
    egress: Option<IpAddr>,
) -> Result<Link, Broken> {
    let (io, heard) = connect(address, egress).await?;
    let (sender, connection) = builder().handshake(io).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, %error, "connection to backend broke");
        }
    });
    Ok(Link { sender, heard, used: false })
}

async fn connect(
    address: SocketAddr,
    egress: Option<IpAddr>,
) -> Result<(TokioIo<Listened<TcpStream>>, Arc<AtomicBool>), Broken> {
    let stream = dial(address, egress).await.map_err(Broken::Connect)?;
    let heard = Arc::new(AtomicBool::new(false));
    Ok((TokioIo::new(Listened { stream, heard: heard.clone() }), heard))
}

async fn dial(address: SocketAddr, egress: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Only an address of the backend's family can be a source address.
    if let Some(egress) = egress.filter(|e| e.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(egress, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A stream that notes whether anything was read.
struct Listened<T> {
    stream: T,
    heard: Arc<AtomicBool>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Listened<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Listened<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
